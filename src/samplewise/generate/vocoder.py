"""A vocoder: sound for a mel spectrogram, frame by frame as it arrives, or for many at once."""

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
from samplewise.audio.mel_correction import (
    Piece,
    as_amplitude,
    check_overlap,
    correct_sound,
    corrected,
)
from samplewise.config.conditioning import MelConfig
from samplewise.errors import SamplewiseError
from samplewise.generate.artifacts import find_artifacts
from samplewise.generate.backend import Backend
from samplewise.generate.class_conditioning import class_index
from samplewise.generate.clips import AUTO, Clip, noise_of_recordings
from samplewise.generate.drawing import Drawing
from samplewise.generate.temperature import CONSTANT, Envelope
from samplewise.models.base import AutoregressiveModel
from samplewise.models.io import LoadedModel

BLOCK_FRAMES = 512
"""Frames whose LPC filters are computed at once: bounds the memory."""
MAX_CORRECTIONS = 1000
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
    """Draw the sound of each frame as soon as the frames that it depends on have arrived.

    A frame waits for ``context`` further ones, and for
    :func:`samplewise.audio.mel_correction.delay` more at each correction. No more frames than these
    are in memory, so the sequence may be endless.

    Args:
        loaded: A model that is conditioned on mel spectrograms.
        frames: As :func:`samplewise.audio.mel.mel_spectrogram` gives them.
        seed: In [0, 2**64).
        label: Class of the sound, for a model that is conditioned on classes too.
        temperature: Its time 0 is the first sample.
        index: Index of the clip: with the seed it determines the uniforms.
        backend: What computes the draws.
        corrections: Rounds of spectral correction towards the frames.

    Yields:
        Amplitude of one frame, full scale ±1, as long as a hop.
    """
    model, rate = loaded.model, loaded.audio.sample_rate
    hop = mel_of(model).hop

    def pieces() -> Iterator[Piece]:
        drawing = Drawing(backend.sampler(model, 1), seed, [index], rate, temperature)
        synthesis = LPCSynthesis(model, rate)
        for conditioning in condition_frames(model, frames, label):
            codes, _ = drawing.draw(hop, conditioning.vectors[None])
            sound = synthesis(model.quantizer.decode(codes[0]), [conditioning])
            yield sound, conditioning.mel[0]

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
) -> list[Clip]:
    """Draw the sound of whole spectrograms side by side: the same samples as :func:`vocode`.

    Spectrogram i is clip i of the seed.

    Args:
        loaded: A model that is conditioned on mel spectrograms.
        mels: At least one frame each.
        seed: In [0, 2**64).
        labels: Class of each sound, for a model that is conditioned on classes too.
        temperature: Its time 0 is the first sample of each.
        backend: What computes the draws.
        corrections: Rounds of spectral correction towards the spectrograms.
    """
    model, config, rate = loaded.model, mel_of(loaded.model), loaded.audio.sample_rate
    hop, sampler = config.hop, backend.sampler(model, len(mels))
    silence = float(model.quantizer.amplitudes[model.quantizer.silence])
    order = sorted(range(len(mels)), key=lambda i: -len(mels[i]))
    clips: dict[int, Clip] = {}
    for first in range(0, len(order), sampler.max_batch):
        group = order[first : first + sampler.max_batch]
        longest = len(mels[group[0]])
        names = [None if labels is None else labels[i] for i in group]
        pairs = zip(group, names, strict=True)
        frames = [list(condition_frames(model, mels[i], label)) for i, label in pairs]
        drawing = Drawing(sampler, seed, group, rate, temperature)
        vectors = np.stack([_padded(own, longest) for own in frames])
        codes, log_probs = drawing.draw(longest * hop, vectors)
        for row, i in enumerate(group):
            synthesis, drawn = LPCSynthesis(model, rate), codes[row, : len(mels[i]) * hop]
            amplitude = model.quantizer.decode(drawn)
            parts = [
                synthesis(
                    amplitude[at * hop :][: BLOCK_FRAMES * hop], frames[row][at:][:BLOCK_FRAMES]
                )
                for at in range(0, len(mels[i]), BLOCK_FRAMES)
            ]
            wave = correct_sound(np.concatenate(parts), mels[i], config, rate, corrections)
            log_likelihood = float(log_probs[row, : len(drawn)].sum())
            flags = find_artifacts(wave, rate, silence, noise_of_recordings(loaded))
            reasons = tuple(flags.values())
            clips[i] = Clip(
                i, seed, wave, rate, drawn, log_likelihood, tuple(flags), names[row], reasons
            )
    return [clips[i] for i in range(len(mels))]


@dataclass(frozen=True)
class FrameConditioning:
    """The conditioning of one frame of a spectrogram."""

    vectors: Float32[np.ndarray, "upsampling width"]
    """Conditioning vectors in force during the frame."""
    mel: Float32[np.ndarray, "2 n_mels"]
    """The frame and the next one; the last frame is repeated."""


class LPCSynthesis:
    """Turns drawn samples into sound, some frames at a time.

    A model with ``lpc_order`` draws the excitation of a linear prediction, which is filtered here;
    other models draw the sound itself, which is returned unchanged.

    Args:
        model: What draws.
        sample_rate: Hertz.
    """

    def __init__(self, model: AutoregressiveModel, sample_rate: int):
        assert model.conditioner is not None
        self._config, self._mel = model.conditioner.config, mel_of(model)
        self._rate = sample_rate
        self.past = np.zeros(self._config.lpc_order)
        """The last samples of the sound, before it is clipped."""

    def __call__(
        self, drawn: Float32[np.ndarray, " samples"], frames: Sequence[FrameConditioning]
    ) -> Float32[np.ndarray, " samples"]:
        """Return the amplitude, full scale ±1, of the next frames."""
        order = self._config.lpc_order
        if not order:
            return drawn
        mels = np.stack([*(frame.mel[0] for frame in frames), frames[-1].mel[1]])
        filters = predict(mels, self._mel, self._rate, order, self._config.upsampling)
        sound = synthesize(drawn, filters, self.past)
        self.past = np.concatenate([self.past, sound])[-order:]
        return as_amplitude(sound)


def condition_frames(
    model: AutoregressiveModel, frames: Iterable[Frame], label: str | None
) -> Iterator[FrameConditioning]:
    """Return the conditioning of each frame: the same bits one by one or all at once.

    Each frame is computed from a window of the same size, and in double precision: the number of
    threads, by which sums are split, then does not change the single-precision result.

    Raises:
        ValueError: If a frame is not as wide as the model's, or not finite.
        SamplewiseError: If the model does not know the class.
    """
    config = mel_of(model)
    assert model.conditioner is not None
    conditioner = copy.deepcopy(model.conditioner).double().cpu().requires_grad_(False)
    context = conditioner.config.context
    number = torch.tensor([class_index(model, label)])
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


def check_corrections(model: AutoregressiveModel, corrections: int) -> None:
    """Refuse rounds of correction that the model's spectrograms do not allow.

    Raises:
        ValueError: If there are too many, or the windows overlap too little.
        SamplewiseError: If the model is no vocoder.
    """
    config = mel_of(model)
    if not 0 <= corrections <= MAX_CORRECTIONS:
        raise ValueError(
            f"corrections = {corrections} must not be negative, nor above {MAX_CORRECTIONS}"
        )
    if corrections:
        check_overlap(config)


def mel_of(model: AutoregressiveModel) -> MelConfig:
    """Return the parameters of the spectrograms that a model is conditioned on.

    Raises:
        SamplewiseError: If it is conditioned on none.
    """
    mel = None if model.conditioner is None else model.conditioner.config.mel
    if mel is None:
        raise SamplewiseError(
            "this model takes no mel spectrogram, so it is no vocoder; train one with --mel"
        )
    return mel


def _padded(
    frames: Sequence[FrameConditioning], count: int
) -> Float32[np.ndarray, "vectors width"]:
    """Return the vectors of a whole spectrogram, with zeros up to those of ``count`` frames."""
    vectors = np.concatenate([frame.vectors for frame in frames])
    per_frame = len(frames[0].vectors)
    return np.pad(vectors, ((0, (count - len(frames)) * per_frame), (0, 0)))
