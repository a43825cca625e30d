"""Sound scores of clips that a model draws, or that lie in a folder, against a corpus."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from samplewise.audio.files import read_audio
from samplewise.config.models import Level
from samplewise.data.corpus import Corpus
from samplewise.data.tiles import read_tiles, training_noise
from samplewise.errors import CorpusError, SamplewiseError
from samplewise.evaluate.log_mel_distance import LEAST_S
from samplewise.evaluate.sound import SoundReference, SoundScore, score_sound, sound_reference
from samplewise.generate.artifacts import find_artifacts
from samplewise.generate.backend import Backend
from samplewise.generate.clip_folder import INDEX
from samplewise.generate.clips import AUTO, iterate_clips
from samplewise.models.io import LoadedModel
from samplewise.progress import ProgressCallback
from samplewise.strict_json import read_object

ENDINGS = (".wav", ".flac", ".ogg", ".mp3")
"""Endings of the files of a folder that are clips."""
COUNT, SECONDS, SEED = 16, 10.0, 0
"""Clips that are drawn by default, their length, and their seed."""
LEAST_EXCERPTS = 4
"""Clips are shorter than 10 s where the test split would hold fewer excerpts of that length."""
MOST_EXCERPTS = 64
"""Test excerpts, and training excerpts for the statistics, at most; evenly spread."""
SEARCHED_S, MOST_SEARCHED = 60.0, 240
"""Length of the training passages in which copies are looked for, and their number at most."""
OVERLAP_S = 1.0
"""Seconds by which they overlap, the length of a passage."""


def score_model(
    loaded: LoadedModel,
    corpus: Corpus,
    *,
    count: int = COUNT,
    seconds: float | None = None,
    seed: int = SEED,
    split: str = "test",
    reference: SoundReference | None = None,
    test_bits: float | None = None,
    backend: Backend = AUTO,
    progress: ProgressCallback | None = None,
) -> SoundScore:
    """Draw clips with default settings and compare them with the test recordings.

    Args:
        loaded: The model.
        corpus: The recordings, at the rate of the model.
        count: Number of clips.
        seconds: Length of a clip; None: 10, or less for a short test split.
        seed: Seed of the clips.
        split: Recordings that they are compared with; valid, to choose among models.
        reference: From :func:`corpus_reference`, if it is known; it decides length and split.
        test_bits: Bits per sample of that split under the model, if they are known.
        backend: What computes the draws.
        progress: Called with samples drawn of all clips together, and their total.

    Raises:
        CorpusError: If the sample rates differ, or a split is too short.
        ValueError: If there is no clip, or it is too short.
    """
    rate, level = loaded.audio.sample_rate, loaded.audio.level
    if corpus.sample_rate != rate:
        raise CorpusError(
            f"{corpus.folder} has a sample rate of {corpus.sample_rate} Hz, but the model was "
            f"trained at {rate} Hz"
        )
    if reference is None:
        reference = corpus_reference(corpus, level, seconds, count, split)
    clips = list(
        iterate_clips(
            loaded, range(count), reference.seconds, seed, progress=progress, backend=backend
        )
    )
    return score_sound(
        [clip.samples for clip in clips],
        reference,
        _searched(corpus, level),
        [clip.flags for clip in clips],
        [clip.bits_per_sample for clip in clips],
        test_bits,
    )


def score_folder(folder: Path, corpus: Corpus, split: str = "test") -> SoundScore:
    """Compare the sound files of a folder with the test recordings of a corpus.

    The clips are resampled to the rate of the corpus and cut to the length of the shortest.

    Raises:
        SamplewiseError: If there is no sound file, or the clips are too short.
        AudioError: If a file cannot be read.
        CorpusError: If a split is too short.
    """
    if not folder.is_dir():
        raise SamplewiseError(f"{folder} is no folder of clips")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS)
    if not paths:
        raise SamplewiseError(f"{folder} holds no {', '.join(ENDINGS)} file")
    waves = [read_audio(path, corpus.sample_rate)[0] for path in paths]
    samples = min(map(len, waves))
    clips = [wave[:samples] for wave in waves]
    reference = corpus_reference(corpus, "keep", samples / corpus.sample_rate, len(clips), split)
    noise = training_noise(corpus, "keep")
    return score_sound(
        clips,
        reference,
        _searched(corpus, "keep"),
        [tuple(find_artifacts(x, corpus.sample_rate, recordings=noise)) for x in clips],
        _recorded_bits(folder, [path.name for path in paths]),
    )


def default_seconds(corpus: Corpus, most: float = SECONDS, split: str = "test") -> float:
    """Return the length of clips: ``most``, or less where the split is short."""
    total = sum(recording.samples for recording in corpus.split(split))
    return max(LEAST_S, min(most, total // LEAST_EXCERPTS / corpus.sample_rate))


def corpus_reference(
    corpus: Corpus, level: Level, seconds: float | None, count: int, split: str = "test"
) -> SoundReference:
    """Return what clips of one length are compared with; None: of :func:`default_seconds`.

    Raises:
        CorpusError: If the split, or the training split, holds fewer than two excerpts of that
            length.
        ValueError: If there is no clip, or it is too short for a distance.
    """
    seconds = default_seconds(corpus, split=split) if seconds is None else seconds
    samples = round(seconds * corpus.sample_rate)
    if count < 1:
        raise ValueError(f"count = {count} must be at least 1")
    if seconds < LEAST_S:
        raise ValueError(f"seconds = {seconds:g} must be at least {LEAST_S:g} for a sound score")
    held_out, training = (
        list(read_tiles(corpus, name, samples, level, MOST_EXCERPTS)) for name in (split, "train")
    )
    for name, found in ((split, held_out), ("training", training)):
        if len(found) < 2:
            raise CorpusError(
                f"the {name} split of {corpus.folder} holds {len(found)} excerpts of {seconds:g} "
                "s, and 2 are needed; choose a smaller --seconds, or prepare more recordings"
            )
    return sound_reference(held_out, training, corpus.sample_rate, count, split)


def _searched(corpus: Corpus, level: Level) -> Iterator[Float32[np.ndarray, " samples"]]:
    """Return the training passages in which copies are looked for."""
    total = sum(recording.samples for recording in corpus.split("train"))
    samples = min(total, round(SEARCHED_S * corpus.sample_rate))
    overlap = min(samples - 1, round(OVERLAP_S * corpus.sample_rate))
    return read_tiles(corpus, "train", samples, level, MOST_SEARCHED, overlap)


def _recorded_bits(folder: Path, names: Sequence[str]) -> list[float] | None:
    """Return bits per sample of the files by generation.json; None if they are not there."""
    try:
        entries = {entry["file"]: entry for entry in read_object(folder / INDEX)["clips"]}
        return [float(entries[name]["bits_per_sample"]) for name in names]
    except (OSError, ValueError, KeyError, TypeError):
        return None
