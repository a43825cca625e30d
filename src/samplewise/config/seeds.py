"""One seed, many independent generators: every purpose has its own, a pure function of the seed.

Nothing in the project draws from a global generator, so nothing needs to be saved or restored.
"""

import hashlib

import numpy as np


def derive(seed: int, purpose: str, *indices: int) -> int:
    """Return a 64-bit seed for one purpose, independent of every other purpose and index."""
    text = ":".join([purpose, str(seed), *map(str, indices)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def numpy_generator(seed: int, purpose: str, *indices: int) -> np.random.Generator:
    """Return the NumPy generator of one purpose."""
    return np.random.Generator(np.random.Philox(key=derive(seed, purpose, *indices)))
