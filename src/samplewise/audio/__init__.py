"""Sound files: reading, writing, resampling, level."""
