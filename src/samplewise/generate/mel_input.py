"""Spectrograms from elsewhere, for a vocoder: read, converted, and compared with its training."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32

from samplewise.audio.mel import mel_spectrogram
from samplewise.audio.mel_scales import (
    MelStatistics,
    convert,
    doubt,
    is_turned,
    usual_statistics,
)
from samplewise.config.codec import from_json
from samplewise.config.mel_scale import MelScale
from samplewise.generate.prompts import read_prompt
from samplewise.generate.vocoder import Frame, mel_of
from samplewise.models.io import LoadedModel

Layout = Literal["auto", "frames-first", "bands-first"]
ARCHIVES = (".npz", ".pt", ".pth", ".pkl", ".h5", ".mat")
LOOKED_AT = 64
"""Frames of a stream after which it is judged."""


@dataclass(frozen=True)
class MelInput:
    """Reads spectrograms for one model."""

    loaded: LoadedModel
    scale: MelScale
    """Of the values."""
    is_sure: bool
    """Whether it was given: what looks wrong is then only told."""
    layout: Layout
    """Axes of files."""
    warn: Callable[[str], None]
    """Called with warnings."""

    def read(self, path: Path) -> Float32[np.ndarray, "frames n_mels"]:
        """Return a .npy file as the model takes spectrograms.

        Raises:
            ValueError: If it is no such file, or hardly a spectrogram of this scale.
        """
        values = self._laid_out(path, _load(path))
        if not np.isfinite(values).all():
            raise ValueError(f"{path} holds values that are not finite")
        self._judge(path.name, values)
        return self._converted(values)

    def stream(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield frames as the model takes them; tell once if they look wrong.

        Raises:
            ValueError: If the first frame can hardly be of this scale.
        """
        seen: list[Frame] = []
        rest = iter(frames)
        for frame in rest:
            seen.append(frame)
            if np.isfinite(frame).all() and len(seen) in (1, LOOKED_AT):
                self._judge("the stream", np.stack(seen), is_short=True)
            yield self._converted(frame)
            if len(seen) == LOOKED_AT:
                break
        yield from map(self._converted, chain(rest))

    def _converted(self, values: Float[np.ndarray, "*frames n_mels"]) -> np.ndarray:
        if self.scale == MelScale() and not self.is_sure:
            return values.astype(np.float32)
        config = mel_of(self.loaded.model)
        return convert(values, self.scale, config, self.loaded.audio.sample_rate)

    def _judge(self, name: str, values: np.ndarray, is_short: bool = False) -> None:
        config, rate = mel_of(self.loaded.model), self.loaded.audio.sample_rate
        ours = self._converted(values)
        doubted = doubt(ours, statistics_of(self.loaded), config, rate)
        if doubted is None:
            return
        is_refused, words = doubted
        if is_refused and not self.is_sure:
            raise ValueError(f"{name}: {words}. If they are right as they are, give --mel-scale ln")
        if self.is_sure:
            words = f"as given, {words.partition('; ')[0]}"  # guesses are about values as they are
        if is_refused or not is_short:
            self.warn(f"warning: {name}: {words}")

    def _laid_out(self, path: Path, values: np.ndarray) -> np.ndarray:
        n_mels = mel_of(self.loaded.model).n_mels
        found = values
        while found.ndim > 2 and len(found) == 1:
            found = found[0]  # a batch of one
        fits = found.ndim == 2 and found.size > 0 and found.dtype.kind == "f"
        if fits and self.layout == "auto" and found.shape == (n_mels, n_mels):
            statistics = statistics_of(self.loaded)
            if is_turned(found, statistics):
                raise ValueError(
                    f"{path} holds {n_mels} x {n_mels} values, of which the first axis looks like "
                    "the bands; give --mel-layout bands-first, or frames-first if they are frames"
                )
            self.warn(
                f"warning: {path} holds {n_mels} x {n_mels} values, read as frames x bands; give "
                "--mel-layout bands-first if they are bands x frames"
            )
        elif fits and (
            self.layout == "bands-first" or (self.layout == "auto" and found.shape[1] != n_mels)
        ):
            found = found.T
        if not fits or found.shape[1] != n_mels:
            raise ValueError(
                f"{path} holds {values.dtype} of shape {values.shape}; the model takes floats, "
                f"frames x {n_mels} bands, or bands x frames, of one recording"
            )
        return found


def is_sound(path: Path) -> bool:
    """Return whether an input is a sound file, by its name, rather than a spectrogram."""
    return path.suffix.lower() not in (".npy", *ARCHIVES)


def read_mel(
    path: Path,
    loaded: LoadedModel,
    mels: MelInput | None = None,
    notice: Callable[[str], None] = lambda line: None,
) -> tuple[Float32[np.ndarray, "frames n_mels"], int | None]:
    """Return the spectrogram of a file, and the number of samples if the file is a sound.

    Args:
        path: A sound file, or a .npy file of a spectrogram.
        loaded: A model that is conditioned on mel spectrograms.
        mels: Reads .npy files; None: the model's own scale is expected.
        notice: Called with what was changed about a sound, in words.

    Raises:
        AudioError: If the sound cannot be read.
        ValueError: If the file holds no spectrogram of this scale.
    """
    if not is_sound(path):
        mels = mels or MelInput(loaded, MelScale(), False, "auto", warnings.warn)
        return mels.read(path), None
    sound = read_prompt(path, loaded.audio)
    for line in sound.notices:
        notice(f"{path}: {line}")
    config = mel_of(loaded.model)
    frames = mel_spectrogram(torch.from_numpy(sound.wave), config, loaded.audio.sample_rate)
    return frames.numpy(), len(sound.wave)


def statistics_of(loaded: LoadedModel) -> MelStatistics:
    """Return the statistics of the spectrograms that a model was trained on, or usual ones.

    Raises:
        ValueError: If the model's file holds something else in their place.
    """
    n_mels = mel_of(loaded.model).n_mels
    found = loaded.provenance.get("mel")
    if found is None:
        return usual_statistics(n_mels)
    statistics = from_json(MelStatistics, found, f"{loaded.path}: mel")
    if not len(statistics.mean) == len(statistics.deviation) == n_mels:
        raise ValueError(f"{loaded.path}: mel has not {n_mels} bands")
    return statistics


def _load(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        is_archive = file.read(2) == b"PK"
    if is_archive or path.suffix.lower() in ARCHIVES:
        raise ValueError(
            f"{path} is an archive or a pickle, which is not read; save the spectrogram alone as a "
            ".npy file: numpy.save('mel.npy', array), of a tensor tensor.cpu().numpy()"
        )
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is not a .npy file of numbers ({error})") from None
