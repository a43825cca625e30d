"""Mel spectrograms of other programs: conversion to our scale, and recognition of other scales.

Our values are ln of amplitudes under filters of unit area (:class:`MelConfig`).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Float32, Float64

from samplewise.audio.mel import SILENCE, mel_filters
from samplewise.config.conditioning import MelConfig
from samplewise.config.mel_scale import MelScale

SMALLEST = 1e-10
"""Amplitudes and powers up to this value count as silence."""
HINT, REFUSED = 1.1, 6.0
"""Scores above which a spectrogram gets a warning, and is refused. Of 110 recordings of speech,
piano and other sounds, under the statistics of two corpora of speech, the highest score was 1.0. As
log10, nine in ten were above 1.2."""
BELOW, ABOVE = 1.0, 2.0
"""ln by which values may fall below the floor and exceed the ceiling."""
LOUDER, NARROWER, LOUDEST = 2.0, 0.35, 0.5
"""Usual deviations of the mean, of ln of the standard deviation, and of the loudest values."""
PILED, PILE_SCORE = 0.005, 3.0
"""Share of values at a floor that is not ours, and what it adds to the score."""
CONVENTIONS = {
    "ln of amplitudes with a lower floor: --mel-scale ln": MelScale(),
    "log10 of amplitudes: --mel-scale log10": MelScale("log10"),
    "dB (20 log10 of amplitudes): --mel-scale db, or db-power if of powers": MelScale("db"),
    "ln of powers: --mel-scale ln-power": MelScale("ln-power"),
    "log10 of powers: --mel-scale log10-power": MelScale("log10-power"),
    "amplitudes: --mel-scale amplitude, or power if of powers": MelScale("amplitude"),
    "powers: --mel-scale power, or amplitude if of amplitudes": MelScale("power"),
    "ln of 16-bit amplitudes: --mel-shift -10.397": MelScale("ln", 1.0, -10.397),
    "dB of 16-bit amplitudes: --mel-scale db --mel-shift -90.309": MelScale("db", 1.0, -90.309),
    **{
        f"dB normalised to [{low:g}, {high:g}], floor {floor:g} dB, reference {ref:g} dB: "
        f"--mel-scale db --mel-factor {factor:g} --mel-shift {floor + ref - factor * low:g}": (
            MelScale("db", factor, floor + ref - factor * low)
        )
        for low, high in ((0.0, 1.0), (-1.0, 1.0), (0.0, 4.0), (-4.0, 4.0))
        for floor, ref in ((-100.0, 20.0), (-100.0, 0.0))
        for factor in [-floor / (high - low)]
    },
    "log10 of powers divided by 4, plus 1: --mel-scale log10-power --mel-factor 4 --mel-shift -4": (
        MelScale("log10-power", 4.0, -4.0)
    ),
}
"""Description of a convention -> the scale that reads it."""


@dataclass(frozen=True)
class MelStatistics:
    """Statistics of the spectrograms that a model was trained on; ln of amplitudes."""

    floor: float
    """Smallest value."""
    ceiling: float
    """Largest value."""
    mean: tuple[float, ...]
    """Mean of each band."""
    deviation: tuple[float, ...]
    """Standard deviation of each band."""

    @property
    def overall(self) -> tuple[float, float]:
        """Mean and standard deviation of all values."""
        mean, deviation = np.array(self.mean), np.array(self.deviation)
        return float(mean.mean()), float(np.sqrt((deviation**2).mean() + mean.var()))


def usual_statistics(n_mels: int) -> MelStatistics:
    """Return usual statistics of speech and music, for model files without statistics."""
    return MelStatistics(SILENCE, 2.0, (-5.5,) * n_mels, (2.2,) * n_mels)


def measure(mels: Iterable[Float[np.ndarray, "_ n_mels"]]) -> MelStatistics:
    """Return the statistics of spectrograms with at least one frame in all."""
    values = np.concatenate(list(mels)).astype(np.float64)
    rounded = [[round(float(x), 3) for x in row] for row in (values.mean(0), values.std(0))]
    floor, ceiling = round(float(values.min()), 3), round(float(values.max()), 3)
    return MelStatistics(floor, ceiling, tuple(rounded[0]), tuple(rounded[1]))


def convert(
    values: Float[np.ndarray, "*frames n_mels"],
    scale: MelScale,
    config: MelConfig,
    sample_rate: int,
) -> Float32[np.ndarray, "*frames n_mels"]:
    """Convert spectrograms of another scale to ours; values are at least :data:`SILENCE`.

    Amplitudes of powers, and levels between the centres of other bands, are computed as if spectra
    were flat within a band: this is exact for noise and close for speech.

    Args:
        values: Values as the other program wrote them.
        scale: Scale of these values.
        config: Parameters of the model; ``values`` must have its windows, hops and bands.
        sample_rate: Hz.
    """
    return _convert(values, scale, config, sample_rate).clip(min=SILENCE).astype(np.float32)


def _convert(
    values: Float[np.ndarray, "*frames n_mels"],
    scale: MelScale,
    config: MelConfig,
    sample_rate: int,
) -> Float64[np.ndarray, "*frames n_mels"]:
    x = values.astype(np.float64) * scale.factor + scale.shift
    kind, is_power = scale.scale.removesuffix("-power"), scale.scale.endswith("power")
    if kind in ("amplitude", "power"):
        x = np.log(x.clip(min=SMALLEST))
    elif kind != "ln":
        x = x * math.log(10) / (20 if kind == "db" else 1)
    own = config if scale.f_min is None else replace(config, f_min=scale.f_min)
    own = own if scale.f_max is None else replace(own, f_max=scale.f_max)
    theirs, centres = _bands(own, sample_rate, scale.bands, scale.norm)
    if is_power:
        halved = x if kind == "db" else x / 2  # dB of a power and of its amplitude are the same
        x = halved + theirs / 2
    ours, wanted = _bands(config, sample_rate, "slaney", "slaney")
    if np.array_equal(centres, wanted):
        return x + (ours - theirs)
    flat = (x - theirs).reshape(-1, len(theirs))
    moved = [np.interp(wanted, centres, row) for row in flat]
    return np.stack(moved).reshape(x.shape) + ours


@lru_cache
def _bands(
    config: MelConfig, sample_rate: int, bands: str, norm: str
) -> tuple[Float64[np.ndarray, " n_mels"], Float64[np.ndarray, " n_mels"]]:
    """Return ln of the area of every band in bins of the transform, and its centre in bins."""
    filters = mel_filters(config, sample_rate, bands == "htk", norm == "slaney").double().numpy()
    areas, bins = filters.sum(1), np.arange(filters.shape[1])
    used = areas > 0  # a narrow band may hold no bin
    places = np.arange(len(areas))
    centres = np.interp(places, places[used], (filters[used] @ bins) / areas[used])
    return np.interp(places, places[used], np.log(areas[used])), centres


def doubt(
    values: Float[np.ndarray, "frames n_mels"],
    statistics: MelStatistics,
    config: MelConfig,
    sample_rate: int,
) -> tuple[bool, str] | None:
    """Return whether and why values are not ln of amplitudes; None if they may be.

    Args:
        values: A spectrogram of any scale.
        statistics: Statistics of the spectrograms that the model was trained on.
        config: Parameters of the model's spectrograms.
        sample_rate: Hz.

    Returns:
        Whether the values are refused, and a message that names the likely scale.
    """
    score = _score(values.astype(np.float64), statistics, is_ours=True)
    if score <= HINT:
        return None
    rivals = {
        name: _score(_convert(values, scale, config, sample_rate), statistics)
        for name, scale in CONVENTIONS.items()
        if values.min() >= 0 or scale.scale not in ("amplitude", "power")
    }
    likely = min(rivals, key=lambda name: rivals[name])
    if score <= REFUSED and rivals[likely] > score / 2:
        return None  # an unusual sound
    low, high = values.min(), values.max()
    mean, _ = statistics.overall
    range_text = (
        f"its values, {low:.4g} to {high:.4g}, mean {values.mean():.4g}, are not ln of amplitudes "
        f"as the model was trained on ({statistics.floor:.4g} to {statistics.ceiling:.4g}, mean "
        f"{mean:.4g})"
    )
    guess = "give --mel-scale, --mel-factor and --mel-shift"
    if rivals[likely] < min(score / 2, REFUSED):
        guess = f"they may be {likely}"
    return bool(score > REFUSED), f"{range_text}; {guess} (docs/vocode.md lists front ends)"


def _score(
    values: Float64[np.ndarray, "frames n_mels"], statistics: MelStatistics, is_ours: bool = False
) -> float:
    """Return how unusual a spectrogram is; 0 if as loud and as varied as the training data."""
    low, high = float(values.min()), float(np.quantile(values, 0.999))
    mean, deviation = statistics.overall
    excess = max(0.0, high - statistics.ceiling)
    if is_ours and (low < SILENCE - BELOW or excess > ABOVE):
        return math.inf
    is_piled = is_ours and low > SILENCE + BELOW and (values == low).mean() > PILED
    audible = values.clip(min=SILENCE)
    higher = audible.mean() - mean
    log_spread = math.log(max(audible.std(), 1e-3) / deviation)
    if is_ours and higher < 0:  # quiet sounds and silence are usual
        higher, log_spread = 0.0, 0.0
    log_spread = min(log_spread, 0.0) if is_ours else log_spread
    unusual = (higher / LOUDER) ** 2 + (excess / LOUDEST) ** 2 + (log_spread / NARROWER) ** 2
    return 0.5 * unusual + PILE_SCORE * is_piled


def is_turned(values: Float[np.ndarray, "n_mels n_mels"], statistics: MelStatistics) -> bool:
    """Return whether the first axis of a square array is more likely the axis of bands."""
    profile = np.array(statistics.mean)
    if profile.std() == 0:
        # Neighbouring frames are more alike than neighbouring bands of different energy.
        return bool(np.abs(np.diff(values, axis=1)).mean() < np.abs(np.diff(values, axis=0)).mean())
    alike = [np.corrcoef(values.mean(axis), profile)[0, 1] for axis in (0, 1)]
    return bool(alike[1] > alike[0])
