"""Every experiment that trains, by the name on the command line."""

from samplewise.experiments import samplernn, wavernn

EXPERIMENTS = samplernn.EXPERIMENTS | wavernn.EXPERIMENTS
