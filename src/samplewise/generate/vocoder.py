"""A vocoder: sound for a mel spectrogram, frame by frame as it arrives, or many at once."""

import copy
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat

import numpy as np
import torch
from jaxtyping import Float32

from samplewise.audio.mel import SILENCE
from samplewise.config.conditioning import MelConfig
from samplewise.errors import SamplewiseError
from samplewise.generate.backend import Backend
from samplewise.generate.clips import AUTO
from samplewise.generate.telling import class_number
from samplewise.generate.temperature import CONSTANT, Envelope
from samplewise.generate.uniforms import uniforms
from samplewise.models.base import Model
from samplewise.models.files import LoadedModel

Frame = Float32[np.ndarray, " n_mels"]


def vocode(
    loaded: LoadedModel,
    frames: Iterable[Frame],
    seed: int,
    *,
    label: str | None = None,
    temperature: Envelope = CONSTANT,
    index: int = 0,
    backend: Backend = AUTO,
) -> Iterator[Float32[np.ndarray, " hop"]]:
    """Draw the sound of each frame as soon as the frames it depends on are there.

    A frame waits for ``context`` further ones. In memory there are never more than a few, so the
    sequence may be endless.

    Args:
        loaded: A model that is told mel spectrograms.
        frames: As :func:`samplewise.audio.mel.mel_spectrogram` gives them.
        seed: In [0, 2**64).
        label: Who speaks, for a model that is told it.
        temperature: Its time 0 is the first sample.
        index: Number of the clip: with the seed it decides about the random numbers.
        backend: What computes.

    Yields:
        Amplitude of one frame, full scale ±1, as long as a hop.
    """
    model, rate = loaded.model, loaded.audio.sample_rate
    hop = mel_of(model).hop
    sampler = backend.sampler(model, 1)
    voices = sampler.start(1)
    for number, vectors in enumerate(frame_vectors(model, frames, label)):
        drawn, _, voices = sampler.draw(
            voices,
            uniforms(seed, [index], number * hop, hop),
            temperature.at(number * hop, hop, rate),
            vectors[None],
        )
        yield model.quantizer.decode(drawn[0])


def vocode_all(
    loaded: LoadedModel,
    mels: Sequence[Float32[np.ndarray, "_ n_mels"]],
    seed: int,
    *,
    labels: Sequence[str | None] | None = None,
    temperature: Envelope = CONSTANT,
    backend: Backend = AUTO,
) -> list[Float32[np.ndarray, " samples"]]:
    """Draw the sound of whole spectrograms side by side: the same samples as :func:`vocode`.

    Spectrogram i is clip i of the seed.

    Args:
        loaded: A model that is told mel spectrograms.
        mels: At least one frame each.
        seed: In [0, 2**64).
        labels: Who speaks in each, for a model that is told it.
        temperature: Its time 0 is the first sample of each.
        backend: What computes.
    """
    model, hop = loaded.model, mel_of(loaded.model).hop
    sampler = backend.sampler(model, len(mels))
    order = sorted(range(len(mels)), key=lambda i: -len(mels[i]))
    waves: list[Float32[np.ndarray, " samples"]] = [np.zeros(0, np.float32)] * len(mels)
    for first in range(0, len(order), sampler.most):
        group = order[first : first + sampler.most]
        longest = len(mels[group[0]])
        named = [None if labels is None else labels[i] for i in group]
        told = zip(group, named, strict=True)
        vectors = np.stack([_vectors(model, mels[i], label, longest) for i, label in told])
        drawn, _, _ = sampler.draw(
            sampler.start(len(group)),
            uniforms(seed, group, 0, longest * hop),
            temperature.at(0, longest * hop, loaded.audio.sample_rate),
            vectors,
        )
        for row, i in enumerate(group):
            waves[i] = model.quantizer.decode(drawn[row, : len(mels[i]) * hop])
    return waves


def frame_vectors(
    model: Model, frames: Iterable[Frame], label: str | None = None
) -> Iterator[Float32[np.ndarray, "upsampling width"]]:
    """Return the vectors of each frame: the same bits whether frames come one by one or at once.

    Each frame is worked out from a window of the same size, and in double precision, so that the
    number of threads, by which sums are split, does not show in single precision either.

    Raises:
        ValueError: If a frame is not as wide as the model's, or not finite.
        SamplewiseError: If the model does not know the class.
    """
    config = mel_of(model)
    assert model.conditioner is not None
    conditioner = copy.deepcopy(model.conditioner).double().cpu().requires_grad_(False)
    context = conditioner.config.context
    number = torch.tensor([class_number(model, label)])
    silent = np.full(config.n_mels, SILENCE, np.float32)
    window = deque([silent] * (2 * context + 1), maxlen=2 * context + 1)

    def current() -> Float32[np.ndarray, "upsampling width"]:
        mel = torch.from_numpy(np.stack(window))[None].double()
        return conditioner.vectors(mel, number)[0].float().numpy()

    followed = chain(frames, repeat(silent, context))
    for count, frame in enumerate(followed):
        if frame.shape != (config.n_mels,) or not np.isfinite(frame).all():
            raise ValueError(
                f"frame {count} has the shape {frame.shape}, or is not finite: the model takes "
                f"{config.n_mels} bands, ln of magnitudes of at least 1e-5"
            )
        window.append(frame.astype(np.float32))
        if count >= context:
            yield current()


def mel_of(model: Model) -> MelConfig:
    """Return the parameters of the spectrograms that a model is told.

    Raises:
        SamplewiseError: If it is told none.
    """
    told = None if model.conditioner is None else model.conditioner.config.mel
    if told is None:
        raise SamplewiseError(
            "this model is told no mel spectrogram, so it is no vocoder; train one with --mel"
        )
    return told


def _vectors(
    model: Model, mel: Float32[np.ndarray, "_ n_mels"], label: str | None, frames: int
) -> Float32[np.ndarray, "_ width"]:
    """Return the vectors of a whole spectrogram, with zeros up to the length of ``frames``."""
    vectors = np.concatenate(list(frame_vectors(model, mel, label)))
    per_frame = len(vectors) // len(mel)
    return np.pad(vectors, ((0, (frames - len(mel)) * per_frame), (0, 0)))
