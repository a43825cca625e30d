"""Stimuli: clips of equal length, rate, encoding and loudness, under names that say nothing.

Loudness is that of ITU-R BS.1770-4, by pyloudnorm. Clips are only scaled, never limited.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from samplewise.audio.files import read_audio
from samplewise.audio.resample import Resampler
from samplewise.data.excerpts import evenly_spaced
from samplewise.errors import SamplewiseError
from samplewise.kinds import CORPUS, SOUND_ENDINGS, kind_of
from samplewise.progress import ProgressCallback

PEAK = 0.97
"""Largest amplitude of a stimulus."""
LEAST_S, MOST_S = 0.4, 60.0
"""Length of clips; the loudness of less than 0.4 s is not defined."""
SILENT_LUFS = -70.0
"""Loudness below which a clip is silent (the absolute gate of BS.1770)."""
QUIETEST_LUFS = -33.0
"""Loudness below which no test is made; a clip that would force it is left out."""
FADE_S = 0.01
"""Length of the fades at both ends, so that a cut gives no clip away."""
BEEP_HZ, BEEP_S, BEEPS = 1000.0, 0.12, 3
"""Beeps of an attention check."""
MAX_RECORDINGS = 10_000
Wave = Float32[np.ndarray, " samples"]


@dataclass(frozen=True, eq=False)
class Source:
    """Clips of one system before they are equalised."""

    name: str
    """The system."""
    path: str
    """Where they are from, as it was given."""
    waves: tuple[Wave, ...]
    """Amplitude, full scale ±1."""
    names: tuple[str, ...]
    """What each clip is: a file, or seed and index."""
    sample_rate: int
    """Hertz."""
    is_recordings: bool
    """Whether they are real recordings."""


@dataclass(frozen=True, eq=False)
class Stimulus:
    """A clip as it is presented."""

    wave: Wave
    loudness_lufs: float
    """Before the gain."""
    gain_db: float


def read_source(
    given: str,
    count: int,
    seconds: float | None,
    seed: int,
    temperature: str | None,
    progress: Callable[[str], ProgressCallback],
) -> Source:
    """Read or generate the clips of a system.

    Args:
        given: ``NAME=PATH`` or a path: a run folder, a model file, the name of a bundled model, a
            corpus (its test split), or a folder of sound files.
        count: Number of clips at most.
        seconds: Length of generated clips and of excerpts; None: 10 s, or the corpus' own rule.
        seed: Seed of generated clips.
        temperature: Of generated clips; a number or an envelope; None: the model's own.
        progress: Opens a bar for generation.

    Raises:
        SamplewiseError: If there is nothing to read, or it cannot be read.
    """
    name, separator, text = given.partition("=")
    if not separator:
        name, text = Path(given).stem or given, given
    path = Path(text)
    if kind_of(path) == CORPUS:
        return _from_corpus(name, path, count, seconds)
    if path.is_dir() and not (path / "config.json").exists():
        return _from_folder(name, path, count, seconds)
    from samplewise.api import load

    model = load(path)
    clips = model.generate(
        count,
        seconds or 10.0,
        seed=seed,
        temperature=temperature,
        progress=progress(f"generating {name} (samples)"),
    )
    return Source(
        name,
        text,
        tuple(clip.samples for clip in clips),
        tuple(f"seed {clip.seed}, index {clip.index}" for clip in clips),
        model.sample_rate,
        is_recordings=False,
    )


def _from_corpus(name: str, path: Path, count: int, seconds: float | None) -> Source:
    from samplewise.data.corpus import Corpus
    from samplewise.data.tiles import read_tiles
    from samplewise.evaluate.clip_sets import default_seconds

    corpus = Corpus.open(path)
    length = round((seconds or default_seconds(corpus)) * corpus.sample_rate)
    waves = tuple(read_tiles(corpus, "test", length, "keep", count))
    if not waves:
        raise SamplewiseError(f"the test split of {path} is shorter than one clip; use --seconds")
    names = tuple(f"test excerpt {number}" for number in range(len(waves)))
    return Source(name, str(path), waves, names, corpus.sample_rate, is_recordings=True)


def _from_folder(name: str, path: Path, count: int, seconds: float | None) -> Source:
    """Read a folder's sound files, evenly spread over their sorted names.

    With a length, a file gives as many excerpts as it holds; without, one clip.
    """
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SOUND_ENDINGS and p.is_file())
    if not found:
        raise SamplewiseError(f"{path} holds no sound files, no corpus and no run")
    if len(found) > MAX_RECORDINGS:
        raise SamplewiseError(f"{path} holds more than {MAX_RECORDINGS:,} sound files")
    excerpts = []
    for file in evenly_spaced(found, count):
        wave, rate = read_audio(file, None)
        length = len(wave) if seconds is None else round(seconds * rate)
        for start in range(0, max(1, len(wave) - length + 1), length):
            label = f"{file.relative_to(path)} from {start / rate:.2f} s"
            excerpts.append((label, wave[start : start + length], rate))
    chosen = evenly_spaced(excerpts, count)
    rate = max(own for *_, own in chosen)
    waves = tuple(resample(wave, own, rate) for _, wave, own in chosen)
    names = tuple(label for label, *_ in chosen)
    return Source(name, str(path), waves, names, rate, is_recordings=False)


def resample(wave: Wave, rate: int, new_rate: int) -> Float32[np.ndarray, " resampled"]:
    """Return ``wave`` at another rate, Hz."""
    return wave if rate == new_rate else Resampler(rate, new_rate).push(wave, last=True)


def cut(wave: Wave, samples: int, sample_rate: int) -> Float32[np.ndarray, " {samples}"]:
    """Return the first ``samples`` with a fade at both ends.

    Raises:
        ValueError: If it is shorter.
    """
    if len(wave) < samples:
        raise ValueError(f"a clip of {len(wave)} samples has no {samples}")
    fade = round(FADE_S * sample_rate)
    gains = np.ones(samples, np.float32)
    gains[:fade] = np.linspace(0, 1, fade, dtype=np.float32)
    gains[samples - fade :] = gains[:fade][::-1]
    return (wave[:samples] * gains).astype(np.float32)


def loudness(wave: Float[np.ndarray, " samples"], sample_rate: int) -> float:
    """Return the integrated loudness in LUFS; -inf for silence."""
    import pyloudnorm

    return float(pyloudnorm.Meter(sample_rate).integrated_loudness(wave.astype(np.float64)))


def highest_loudness(wave: Wave, lufs: float) -> float:
    """Return the loudness that a clip reaches before its peak exceeds :data:`PEAK`, in LUFS."""
    return lufs + 20 * math.log10(PEAK / float(np.abs(wave).max()))


def equalise(wave: Wave, sample_rate: int, target_lufs: float) -> Stimulus:
    """Scale a clip to a loudness."""
    measured = loudness(wave, sample_rate)
    gain_db = target_lufs - measured
    return Stimulus((wave * 10 ** (gain_db / 20)).astype(np.float32), measured, gain_db)


def dither(wave: Wave, gain_db: float, largest_gain_db: float, rng: np.random.Generator) -> Wave:
    """Add noise that hides the steps of a file that was quiet, and the noise of these steps.

    Every clip gets triangular noise of one step of the clip whose gain is largest. The steps of a
    clip with less gain are smaller, so uniform noise adds what its own noise lacks.

    Args:
        wave: Amplitude after the gain, full scale ±1.
        gain_db: Gain of this clip.
        largest_gain_db: Largest gain of all clips.
        rng: Source of the noise.
    """
    own, step = (10 ** (gain / 20) / 2**15 for gain in (gain_db, max(0.0, largest_gain_db)))
    noise = rng.uniform(-0.5, 0.5, (3, len(wave)))
    noise = step * noise[:2].sum(0) + math.sqrt(step**2 - own**2) * noise[2]
    return (wave + noise).clip(-1, 1).astype(np.float32)


def with_beeps(stimulus: Wave, sample_rate: int) -> Wave:
    """Return a clip that beeps interrupt, for an attention check; as long and about as loud."""
    wave = stimulus.copy()
    length = min(round(BEEP_S * sample_rate), len(wave) // (2 * BEEPS))
    level = 0.7 * float(np.abs(wave).max())
    tone = level * np.sin(2 * np.pi * BEEP_HZ / sample_rate * np.arange(length))
    tone *= np.hanning(length) ** 0.25
    for number in range(BEEPS):
        start = round((number + 0.5) / BEEPS * len(wave) - length / 2)
        wave[start : start + length] = tone
    return wave
