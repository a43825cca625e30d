"""How another program writes mel spectrograms. Without torch: the command line reads it."""

import math
from dataclasses import dataclass
from typing import Literal

ScaleName = Literal[
    "ln", "log10", "db", "amplitude", "ln-power", "log10-power", "db-power", "power"
]
"""What a value is of the amplitude, or of the power, in a band; db: 20 log10 of an amplitude, which
is 10 log10 of a power."""
BandsName = Literal["slaney", "htk"]


@dataclass(frozen=True)
class MelScale:
    """A scale of mel spectrograms; the defaults are those of this project."""

    scale: ScaleName = "ln"
    """What ``factor`` x value + ``shift`` is."""
    factor: float = 1.0
    """Values are multiplied by it first."""
    shift: float = 0.0
    """Then added."""
    bands: BandsName = "slaney"
    """Formula of the mel scale."""
    norm: Literal["slaney", "none"] = "slaney"
    """slaney: filters of unit area; none: of unit height."""
    f_min: float | None = None
    """Lower edge of the lowest band, Hz; None: the model's."""
    f_max: float | None = None
    """Upper edge of the highest band, Hz; None: the model's."""

    def __post_init__(self) -> None:
        """Check that values can be converted."""
        if not (math.isfinite(self.factor) and self.factor and math.isfinite(self.shift)):
            raise ValueError(
                f"mel_factor, mel_shift = {self.factor}, {self.shift} must be finite, and the "
                "factor not 0"
            )
