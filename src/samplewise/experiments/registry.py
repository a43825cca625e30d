"""Every experiment by the name on the command line: those that train, and those that time."""

from samplewise.experiments import samplernn, speedrun, wavernn, wavernn_speeds
from samplewise.experiments.experiment import Experiment
from samplewise.experiments.speeds import SpeedExperiment

EXPERIMENTS: dict[str, Experiment | SpeedExperiment] = {
    **samplernn.EXPERIMENTS,
    **wavernn.EXPERIMENTS,
    **wavernn_speeds.EXPERIMENTS,
    "speedrun": speedrun.speedrun(),
}
