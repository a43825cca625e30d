"""Synthetic sound for the tests of corpora."""

import numpy as np


def noise(samples: int, seed: int, level: float = 0.1) -> np.ndarray:
    """Reproducible float noise of a peak below ten times ``level``."""
    return level * np.random.default_rng(seed).standard_normal(samples).clip(-9, 9)
