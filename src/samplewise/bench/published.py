"""Published speeds of sample-by-sample vocoders, on the hardware of their authors.

They come from other machines and other models, so they are a rough guide and no baseline.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One published speed."""

    what: str
    """Name of the model."""
    where: str
    """Hardware, and how the speed was determined."""
    samples_per_s: float
    """Samples per second of one clip."""
    source: str
    """Paper, and the place in it."""


TABLE_2 = "Kalchbrenner et al. 2018, Table 2"
LPCNET = "Valin et al. 2022 (arXiv 2202.11169)"
WAVERNN = (
    Published("WaveRNN-896, dense", "GPU, NVIDIA P100", 96_000.0, "Kalchbrenner et al. 2018, 5.1"),
    Published("Sparse WaveRNN, 95%, 4x4", "2 cores, SD 835, estimate", 29_100.0, TABLE_2),
    Published("Sparse WaveRNN, 95%, 4x4", "2 cores, SD 808, estimate", 19_800.0, TABLE_2),
    Published("Sparse WaveRNN, 95%, 16x1", "2 cores, SD 835, estimate", 31_400.0, TABLE_2),
    Published("Sparse WaveRNN, 95%, 16x1", "2 cores, SD 808, estimate", 21_600.0, TABLE_2),
    # 4.5% and 11.6% of a core for 16 kHz.
    Published("LPCNet 384, 90%, int8", "1 core, i7-10810U", 16_000.0 / 0.045, LPCNET),
    Published("LPCNet 640, 85%, int8", "1 core, i7-10810U", 16_000.0 / 0.116, LPCNET),
)
"""Published speeds; LPCNet 640 reads about as many weights a sample as the sparse WaveRNN."""
