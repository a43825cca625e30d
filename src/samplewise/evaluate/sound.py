"""The sound of clips beside the recordings of a corpus: distance, descriptors, copying.

All figures follow from samples alone, whatever drew them. Random choices have fixed seeds.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int

from samplewise.audio.descriptors import describe, mel_levels_db
from samplewise.audio.noise import measure_noise
from samplewise.data.excerpts import evenly_spaced
from samplewise.evaluate.copying import nearest_passages
from samplewise.evaluate.log_mel_distance import (
    PARTS,
    Moments,
    Projection,
    log_mel_distance,
    part_distances,
    part_vectors,
    total,
)
from samplewise.evaluate.pitch import harmonicity
from samplewise.quantizers import make_quantizer

Waves = Sequence[Float32[np.ndarray, " _"]]
Mels = Sequence[Float64[np.ndarray, "_ n_mels"]]
Chosen = Int[np.ndarray, " clips"]
RESAMPLES = 400
"""Bootstrap resamples of the clips."""
INTERVAL = (2.5, 97.5)
"""Percentiles of the resamples that bound an interval."""
RANGE = (5.0, 95.0)
"""Percentiles of the recordings that bound their range."""
SEED = 0
PIECE_S = 0.1
"""Length of the pieces that a reference shuffles, seconds."""
DRONE_HZ, WANDER = (250.0, 500.0), 0.01
"""Partials of the drone, and the steps of the random walk of their phase, radians a sample."""


@dataclass(frozen=True)
class Interval:
    """A figure of some clips, and its bootstrap interval of 95% over them."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """A descriptor of clips beside that of recordings."""

    clips: Interval
    """Median over the clips."""
    median: float
    """Median over the recordings."""
    low: float
    """5th percentile of the recordings."""
    high: float
    """95th percentile of the recordings."""
    inside: float
    """Share of the clips within these percentiles."""

    @property
    def is_inside(self) -> bool:
        """Whether the median of the clips lies within the range of the recordings."""
        return self.low <= self.clips.value <= self.high


@dataclass(frozen=True)
class SoundScore:
    """Figures of the sound of some clips; sound.json holds them."""

    sample_rate: int
    """Hz."""
    seconds: float
    """Length of a clip."""
    count: int
    """Number of clips."""
    recordings: int
    """Number of test recordings of this length that they are compared with."""
    log_mel_distance: Interval
    """Distance to the test recordings; 0: the same statistics."""
    distance_parts: dict[str, float]
    """Its parts, whose mean it is: spectrum, attack (80 ms), second (half a second to the next)."""
    references: dict[str, float]
    """The distance of other sounds to the test recordings."""
    descriptors: dict[str, Comparison]
    """Level, silence, spectrum, harmonicity, noise floor and onsets."""
    nearest_passage: Comparison
    """Highest correlation with a second of the training recordings; a copy: 1."""
    flagged: Interval
    """Share of the clips with a flag."""
    flags: dict[str, int]
    """Number of clips with each flag."""
    drawn_bits: Interval | None = None
    """Entropy of what was drawn: mean -log2 p of its codes; None if unknown."""
    test_bits: float | None = None
    """Bits per sample of the test recordings; None if unknown."""
    split: str = "test"
    """Split whose recordings are called test recordings here."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values; figures that are not defined are None."""
        return _without_nan(asdict(self))


@dataclass(frozen=True)
class SoundReference:
    """What clips are compared with: the recordings of a corpus, at one length."""

    sample_rate: int
    seconds: float
    projection: Projection
    """Components of the log-mel vectors of the training recordings."""
    test: Moments
    """Statistics of the test recordings."""
    test_mels: Mels
    """Mel levels of each test recording."""
    descriptors: Sequence[Mapping[str, float]]
    """Descriptors of each test recording."""
    distances: dict[str, float]
    """Distance of other sounds to the test recordings."""
    split: str = "test"
    """Where the test recordings come from."""


def sound_reference(
    test: Waves, training: Waves, sample_rate: int, count: int, split: str = "test"
) -> SoundReference:
    """Return what clips of a corpus are compared with.

    Args:
        test: Test recordings, cut to the length of the clips; at least 2.
        training: Training recordings of that length.
        sample_rate: Hz.
        count: Number of clips that will be compared, and of sounds in each reference.
        split: Where the test recordings come from.
    """
    training_mels = [mel_levels_db(wave, sample_rate) for wave in training]
    test_mels = [mel_levels_db(wave, sample_rate) for wave in test]
    projection = Projection.fit(total([Moments.of(part_vectors(m)) for m in training_mels]))
    target = total([projection.moments(mel) for mel in test_mels])
    references = reference_sounds(test, training, sample_rate, count)
    return SoundReference(
        sample_rate,
        len(test[0]) / sample_rate,
        projection,
        target,
        test_mels,
        [sound_descriptors(wave, sample_rate) for wave in test],
        {
            name: log_mel_distance(
                total([projection.moments(mel_levels_db(x, sample_rate)) for x in waves]), target
            )
            for name, waves in references.items()
        },
        split,
    )


def score_sound(
    clips: Waves,
    reference: SoundReference,
    searched: Iterable[Float32[np.ndarray, " _"]],
    flags: Sequence[Sequence[str]],
    drawn_bits: Sequence[float] | None = None,
    test_bits: float | None = None,
) -> SoundScore:
    """Return the figures of some clips of equal length.

    Args:
        clips: Amplitudes, full scale ±1, at the rate of the reference.
        reference: What they are compared with.
        searched: Training recordings, some at a time, in which copies are looked for.
        flags: Flags of each clip.
        drawn_bits: Bits per sample of each clip at temperature 1.
        test_bits: Bits per sample of the test recordings.
    """
    rate = reference.sample_rate
    mels = [mel_levels_db(wave, rate) for wave in clips]
    moments = [reference.projection.moments(mel) for mel in mels]
    values = [sound_descriptors(wave, rate) for wave in clips]
    nearest = nearest_passages(
        [*mels, *reference.test_mels],
        (mel_levels_db(wave, rate) for wave in searched),
    )

    def distance(chosen: Chosen) -> float:
        times = np.bincount(chosen, minlength=len(moments)).tolist()
        return log_mel_distance(total(moments, times), reference.test)

    parts = part_distances(total(moments), reference.test)

    return SoundScore(
        sample_rate=rate,
        seconds=reference.seconds,
        count=len(clips),
        recordings=len(reference.test_mels),
        log_mel_distance=bootstrap(distance, len(clips), is_biased=True),
        distance_parts=dict(zip(PARTS, parts.tolist(), strict=True)),
        references=reference.distances,
        descriptors={
            name: compare([row[name] for row in values], [row[name] for row in rows])
            for rows in [reference.descriptors]
            for name in rows[0]
        },
        nearest_passage=compare(nearest[: len(clips)], nearest[len(clips) :]),
        flagged=_mean([float(bool(found)) for found in flags]),
        flags={name: sum(name in found for found in flags) for name in _names(flags)},
        drawn_bits=None if drawn_bits is None else _mean(drawn_bits),
        test_bits=test_bits,
        split=reference.split,
    )


def sound_descriptors(wave: Float32[np.ndarray, " samples"], sample_rate: int) -> dict[str, float]:
    """Return the descriptors of a sound by name, harmonicity included."""
    found = asdict(describe(wave, sample_rate)) | asdict(measure_noise(wave, sample_rate))
    return found | {"harmonicity": harmonicity(wave, sample_rate)}


def compare(clips: Sequence[float], recordings: Sequence[float]) -> Comparison:
    """Return a descriptor of clips beside that of recordings; NaN does not count."""
    ours, theirs = np.array(clips), np.array(recordings)
    low, median, high = _percentiles(theirs, (RANGE[0], 50.0, RANGE[1]))
    inside = float(((ours >= low) & (ours <= high)).mean())
    interval = bootstrap(lambda chosen: _percentiles(ours[chosen], (50.0,))[0], len(ours))
    return Comparison(interval, median, low, high, inside)


def bootstrap(figure: Callable[[Chosen], float], count: int, is_biased: bool = False) -> Interval:
    """Return a figure of some clips and the interval of its resamples.

    Args:
        figure: The figure, from the numbers of the clips; one may occur several times.
        count: Number of clips.
        is_biased: Resamples, which hold fewer different clips, make a distance larger: they are
            moved so that their median is the figure.
    """
    random = np.random.default_rng(SEED)
    resampled = [figure(random.integers(0, count, count)) for _ in range(RESAMPLES)]
    low, median, high = _percentiles(np.array(resampled), (INTERVAL[0], 50.0, INTERVAL[1]))
    value = figure(np.arange(count))
    shift = value - median if is_biased else 0.0
    return Interval(value, low + shift, high + shift)


def reference_sounds(
    test: Waves, training: Waves, sample_rate: int, count: int
) -> dict[str, Waves]:
    """Return sounds whose distances give a distance its meaning, ``count`` of each at most.

    Drone and white noise have the mean power of the test recordings; mu-law noise is of codes that
    are all equally likely.
    """
    random = np.random.default_rng(SEED)
    known, length, numbers = evenly_spaced(training, count), len(test[0]), range(count)
    rms = math.sqrt(np.mean([np.square(wave, dtype=np.float64).mean() for wave in test]))
    codes = make_quantizer("mulaw", 256)
    return {
        "training recordings": known,
        "the same as mu-law codes": [codes.decode(codes.encode(wave)) for wave in known],
        "the same in shuffled pieces of 100 ms": [
            shuffle_pieces(wave, round(PIECE_S * sample_rate), random) for wave in known
        ],
        "drone": [drone(length, sample_rate, rms, random) for _ in numbers],
        "white noise": [
            random.normal(0, rms, length).clip(-1, 1).astype(np.float32) for _ in numbers
        ],
        "mu-law noise": [codes.decode(random.integers(0, 256, length)) for _ in numbers],
    }


def shuffle_pieces(
    wave: Float32[np.ndarray, " samples"], piece: int, random: np.random.Generator
) -> Float32[np.ndarray, " samples"]:
    """Return the pieces of a sound in random order; what is left at the end stays there."""
    whole = len(wave) // piece * piece
    pieces = random.permutation(wave[:whole].reshape(-1, piece))
    return np.concatenate([pieces.ravel(), wave[whole:]])


def drone(
    samples: int, sample_rate: int, rms: float, random: np.random.Generator
) -> Float32[np.ndarray, " samples"]:
    """Return two partials whose phase wanders, over a little noise."""
    time = np.arange(samples) / sample_rate
    wander = np.cumsum(random.normal(0, WANDER, samples))
    root = DRONE_HZ[0]
    tones = [np.sin(2 * np.pi * hz * time + hz / root * wander) * root / hz for hz in DRONE_HZ]
    wave = np.sum(tones, axis=0) + random.normal(0, 0.02, samples)
    return (wave / wave.std() * rms).clip(-1, 1).astype(np.float32)


def _mean(values: Sequence[float]) -> Interval:
    array = np.array(values, np.float64)
    return bootstrap(lambda chosen: float(array[chosen].mean()), len(array))


def _names(flags: Sequence[Sequence[str]]) -> list[str]:
    return sorted({name for found in flags for name in found})


def _percentiles(
    values: Float64[np.ndarray, " values"], percentiles: Sequence[float]
) -> list[float]:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return [math.nan] * len(percentiles)
    return [float(value) for value in np.percentile(finite, percentiles)]


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
