"""A vocoder: sound for a mel spectrogram, frame by frame as it arrives, or many at once."""

import copy
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat

import numpy as np
import torch
from jaxtyping import Float32

from samplewise.audio.lpc import predict, synthesize
from samplewise.audio.mel import SILENCE
from samplewise.audio.mel_correction import Piece, as_amplitude, correct_sound, corrected
from samplewise.config.conditioning import MelConfig
from samplewise.errors import SamplewiseError
from samplewise.generate.backend import Backend
from samplewise.generate.class_conditioning import class_number
from samplewise.generate.clips import AUTO
from samplewise.generate.temperature import CONSTANT, Envelope
from samplewise.generate.uniforms import uniforms
from samplewise.models.base import Model
from samplewise.models.io import LoadedModel

BLOCK_FRAMES = 512
"""Frames whose filters are worked out at once: memory does not grow much with the length."""
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
    corrections: int = 0,
) -> Iterator[Float32[np.ndarray, " hop"]]:
    """Draw the sound of each frame as soon as the frames it depends on are there.

    A frame waits for ``context`` further ones, and for
    :func:`samplewise.audio.mel_correction.delay` more at each correction. In memory there are never
    more than these, so the sequence may be endless.

    Args:
        loaded: A model that is told mel spectrograms.
        frames: As :func:`samplewise.audio.mel.mel_spectrogram` gives them.
        seed: In [0, 2**64).
        label: Who speaks, for a model that is told it.
        temperature: Its time 0 is the first sample.
        index: Number of the clip: with the seed it decides about the random numbers.
        backend: What computes.
        corrections: How often the sound is brought nearer to the frames.

    Yields:
        Amplitude of one frame, full scale ±1, as long as a hop.
    """
    model, rate = loaded.model, loaded.audio.sample_rate
    hop = mel_of(model).hop

    def pieces() -> Iterator[Piece]:
        sampler = backend.sampler(model, 1)
        sampler_state, sounding = sampler.start(1), Sounding(model, rate)
        for number, told in enumerate(condition_frames(model, frames, label)):
            drawn, _, sampler_state = sampler.draw(
                sampler_state,
                uniforms(seed, [index], number * hop, hop),
                temperature.at(number * hop, hop, rate),
                told.vectors[None],
            )
            yield sounding(model.quantizer.decode(drawn[0]), [told]), told.mel[0]

    return corrected(pieces(), mel_of(model), rate, corrections)


def vocode_all(
    loaded: LoadedModel,
    mels: Sequence[Float32[np.ndarray, "_ n_mels"]],
    seed: int,
    *,
    labels: Sequence[str | None] | None = None,
    temperature: Envelope = CONSTANT,
    backend: Backend = AUTO,
    corrections: int = 0,
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
        corrections: How often the sound is brought nearer to the frames.
    """
    model, config, rate = loaded.model, mel_of(loaded.model), loaded.audio.sample_rate
    hop, sampler = config.hop, backend.sampler(model, len(mels))
    order = sorted(range(len(mels)), key=lambda i: -len(mels[i]))
    waves: list[Float32[np.ndarray, " samples"]] = [np.zeros(0, np.float32)] * len(mels)
    for first in range(0, len(order), sampler.max_batch):
        group = order[first : first + sampler.max_batch]
        longest = len(mels[group[0]])
        named = [None if labels is None else labels[i] for i in group]
        pairs = zip(group, named, strict=True)
        told = [list(condition_frames(model, mels[i], label)) for i, label in pairs]
        vectors = np.stack([_padded(one, longest) for one in told])
        drawn, _, _ = sampler.draw(
            sampler.start(len(group)),
            uniforms(seed, group, 0, longest * hop),
            temperature.at(0, longest * hop, rate),
            vectors,
        )
        for row, i in enumerate(group):
            sounding = Sounding(model, rate)
            own = model.quantizer.decode(drawn[row, : len(mels[i]) * hop])
            parts = [
                sounding(own[at * hop :][: BLOCK_FRAMES * hop], told[row][at:][:BLOCK_FRAMES])
                for at in range(0, len(mels[i]), BLOCK_FRAMES)
            ]
            waves[i] = correct_sound(np.concatenate(parts), mels[i], config, rate, corrections)
    return waves


@dataclass(frozen=True)
class FrameConditioning:
    """What the sound of a frame is made from."""

    vectors: Float32[np.ndarray, "upsampling width"]
    """What the model is told while it draws it."""
    mel: Float32[np.ndarray, "2 n_mels"]
    """The frame, and the one after it; the last one again."""


class Sounding:
    """Gives the sound of what was drawn, some frames at a time; most models draw it themselves.

    Args:
        model: What draws.
        sample_rate: Hz.
    """

    def __init__(self, model: Model, sample_rate: int):
        assert model.conditioner is not None
        self._told, self._mel = model.conditioner.config, mel_of(model)
        self._rate = sample_rate
        self.past = np.zeros(self._told.lpc_order)
        """The last samples of the sound, before it is clipped."""

    def __call__(
        self, drawn: Float32[np.ndarray, " samples"], told: Sequence[FrameConditioning]
    ) -> Float32[np.ndarray, " samples"]:
        """Return the amplitude, full scale ±1, of the next frames."""
        order = self._told.lpc_order
        if not order:
            return drawn
        mels = np.stack([*(one.mel[0] for one in told), told[-1].mel[1]])
        found = predict(mels, self._mel, self._rate, order, self._told.upsampling)
        sound = synthesize(drawn, found, self.past)
        self.past = np.concatenate([self.past, sound])[-order:]
        return as_amplitude(sound)


def frame_vectors(
    model: Model, frames: Iterable[Frame], label: str | None = None
) -> Iterator[Float32[np.ndarray, "upsampling width"]]:
    """Return the vectors of each frame; see :class:`FrameConditioning`."""
    return (told.vectors for told in condition_frames(model, frames, label))


def condition_frames(
    model: Model, frames: Iterable[Frame], label: str | None
) -> Iterator[FrameConditioning]:
    """Return what is told of each frame: the same bits whether frames come one by one or at once.

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

    def current() -> FrameConditioning:
        mel = np.stack(window)
        vectors = conditioner.vectors(torch.from_numpy(mel)[None].double(), number)[0]
        after = context if window[context + 1] is silent else context + 1
        return FrameConditioning(vectors.float().numpy(), mel[[context, after]])

    followed = chain(frames, repeat(silent, context))
    for count, frame in enumerate(followed):
        if frame.shape != (config.n_mels,) or not np.isfinite(frame).all():
            raise ValueError(
                f"frame {count} has the shape {frame.shape}, or is not finite: the model takes "
                f"{config.n_mels} bands, ln of magnitudes of at least 1e-5"
            )
        window.append(frame.astype(np.float32, copy=False))
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


def _padded(told: Sequence[FrameConditioning], frames: int) -> Float32[np.ndarray, "_ width"]:
    """Return the vectors of a whole spectrogram, with zeros up to the length of ``frames``."""
    vectors = np.concatenate([one.vectors for one in told])
    per_frame = len(told[0].vectors)
    return np.pad(vectors, ((0, (frames - len(told)) * per_frame), (0, 0)))
