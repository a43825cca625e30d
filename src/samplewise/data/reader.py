"""The conditioning of each clip, besides its past: mel frames and a class.

A model that draws excitations (audio/prediction.py) finds them here too: they follow from the sound
and its mel frames.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from samplewise.audio.lpc import FULL_SCALE, excitation, predict
from samplewise.audio.mel import SILENCE, mel_spectrogram
from samplewise.audio.mel_scales import MelStatistics, measure
from samplewise.config.conditioning import ConditioningConfig
from samplewise.config.seeds import numpy_generator
from samplewise.data.clips import Clip, cut, spread
from samplewise.data.corpus import Corpus
from samplewise.errors import CorpusError
from samplewise.nn.conditioning import ConditioningInputs
from samplewise.quantizers import DualQuantizer

BLOCK_FRAMES = 512
"""Frames that are predicted at once: memory does not grow with the length."""
EXCERPTS, EXCERPT_S = 100, 2.0
"""How much is looked at for the statistics of spectrograms; seconds."""


@dataclass(frozen=True)
class Excitation:
    """What a linear prediction leaves of a clip."""

    codes: Int[np.ndarray, " samples"]
    """In 16 bits."""
    log_steps: Float[np.ndarray, " samples"]
    """ln of how many 16-bit steps of the sound a step of each code is."""


@dataclass(frozen=True)
class ClipConditioning:
    """Of a whole clip."""

    mel: Float[np.ndarray, "frames n_mels"] | None
    """``context`` frames, then those of the clip, then ``context`` more."""
    label: int
    """Place of its class in the list of classes; 0 if there are none."""
    excitation: Excitation | None = None
    """What a model draws in place of the sound."""


@dataclass(frozen=True)
class ConditioningReader:
    """Gives the cues of clips, and cuts out those of a subsequence."""

    conditioning: ConditioningConfig
    read: Callable[[Clip], ClipConditioning]
    """Reads a clip's."""

    def cut(
        self, lanes: Sequence[ClipConditioning | None], positions: Sequence[int], seq_len: int
    ) -> "ConditioningInputs":
        """Return the cues of ``seq_len`` samples from each lane's position on.

        Args:
            lanes: Of each lane's clip; None where a lane has run out.
            positions: Samples from the start of the clip.
            seq_len: Length of the subsequence, in samples.
        """
        labels = torch.tensor(
            [
                0 if conditioning_inputs is None else conditioning_inputs.label
                for conditioning_inputs in lanes
            ]
        )
        mel = self.conditioning.mel
        if mel is None:
            return ConditioningInputs(None, torch.zeros(len(lanes), dtype=torch.long), labels)
        count = frames_across(seq_len, mel.hop) + 2 * self.conditioning.context
        frames = np.full((len(lanes), count, mel.n_mels), SILENCE, np.float32)
        for row, (conditioning_inputs, position) in enumerate(zip(lanes, positions, strict=True)):
            if conditioning_inputs is not None and conditioning_inputs.mel is not None:
                part = conditioning_inputs.mel[position // mel.hop :][:count]
                frames[row, : len(part)] = part
        offsets = torch.tensor([position % mel.hop for position in positions])
        steps = _cut_steps(lanes, positions, seq_len) if self.conditioning.lpc_order else None
        return ConditioningInputs(torch.from_numpy(frames), offsets, labels, steps)


def _cut_steps(
    lanes: Sequence[ClipConditioning | None], positions: Sequence[int], seq_len: int
) -> Float[Tensor, "lanes time"]:
    steps = torch.zeros(len(lanes), seq_len)
    for row, (conditioning_inputs, position) in enumerate(zip(lanes, positions, strict=True)):
        if conditioning_inputs is not None and conditioning_inputs.excitation is not None:
            part = conditioning_inputs.excitation.log_steps[position:][:seq_len]
            steps[row, : len(part)] = torch.from_numpy(part)
    return steps


def frames_across(samples: int, hop: int) -> int:
    """Return how many frames ``samples`` samples touch at most, wherever they begin."""
    return (samples + hop - 2) // hop + 1


def conditioning_reader(
    corpus: Corpus, conditioning: ConditioningConfig | None, labels: Mapping[str, str] | None
) -> ConditioningReader | None:
    """Return what reads the cues of clips of ``corpus``; None if a model takes none.

    Args:
        corpus: Where the clips lie.
        conditioning: Of the model.
        labels: Class of each recording by its source; needed if the model has classes.

    Raises:
        CorpusError: If labels are missing, or name a class that the model does not know.
    """
    if conditioning is None:
        return None
    if conditioning.classes:
        if labels is None:
            raise CorpusError(
                f"the model knows {len(conditioning.classes)} classes "
                f"({', '.join(conditioning.classes[:5])}); say with --labels which one each "
                "recording is of: a CSV with the columns file and speaker, or `folders`"
            )
        unknown = sorted(set(labels.values()) - set(conditioning.classes))
        if unknown:
            raise CorpusError(
                f"the labels name {unknown[0]!r}, which the model does not know; it knows "
                f"{', '.join(conditioning.classes)}"
            )
    return ConditioningReader(conditioning, partial(_read, corpus, conditioning, labels))


def mel_statistics(corpus: Corpus, conditioning: ConditioningConfig | None) -> MelStatistics | None:
    """Return the statistics of excerpts of the training split; None if a model takes no mels."""
    if conditioning is None or conditioning.mel is None:
        return None
    clips = cut(corpus.split("train"), round(EXCERPT_S * corpus.sample_rate))
    mels = (_clip_mel(corpus, conditioning, clip) for clip in spread(clips, EXCERPTS))
    return measure(mel for mel in mels if mel is not None)


def _read(
    corpus: Corpus, conditioning: ConditioningConfig, labels: Mapping[str, str] | None, clip: Clip
) -> ClipConditioning:
    label = 0
    if conditioning.classes:
        assert labels is not None
        label = conditioning.classes.index(labels[clip.recording.source])
    mel = _clip_mel(corpus, conditioning, clip)
    excited = None
    if conditioning.lpc_order:
        assert mel is not None
        excited = _excitation(corpus, conditioning, clip, mel)
    return ClipConditioning(mel, label, excited)


def _excitation(
    corpus: Corpus,
    conditioning: ConditioningConfig,
    clip: Clip,
    mel: Float[np.ndarray, "frames n_mels"],
) -> Excitation:
    """Predict a clip from itself and what precedes it in the recording.

    Half a step of 16 bits to either side is noise: the density of a sound so smeared is at most
    the probability of the sound (Theis et al. 2016, section 3.1), so bits are an upper bound.
    """
    config, order = conditioning.mel, conditioning.lpc_order
    assert config is not None
    frames = -(-clip.samples // config.hop)
    frame_mels = mel[conditioning.context :][: frames + 1]
    if clip.start + frames * config.hop >= clip.recording.samples:
        frame_mels = np.concatenate(
            [frame_mels[:-1], frame_mels[-2:-1]]
        )  # the recording ends before it has decayed
    first = max(0, clip.start - order)
    wave = corpus.amplitude(clip.recording, first, clip.stop).astype(float)
    noise = numpy_generator(0, "dequantisation", clip.start).random(len(wave))
    wave += (noise - 0.5) / DualQuantizer().silence
    before = order - (clip.start - first)
    wave = np.pad(wave, (before, frames * config.hop - clip.samples))
    codes, steps = [], []
    for frame in range(0, frames, BLOCK_FRAMES):
        part = frame_mels[frame : frame + BLOCK_FRAMES + 1]
        found = predict(part, config, corpus.sample_rate, order, conditioning.upsampling)
        sound = wave[frame * config.hop :][: (len(part) - 1) * config.hop + order]
        codes.append(DualQuantizer().encode(excitation(sound, found)))
        steps.append(np.log(FULL_SCALE * found.gain).astype(np.float32))
    log_steps = np.concatenate(steps).repeat(conditioning.hold)
    return Excitation(np.concatenate(codes)[: clip.samples], log_steps[: clip.samples])


def _clip_mel(
    corpus: Corpus, conditioning: ConditioningConfig, clip: Clip
) -> Float[np.ndarray, "frames n_mels"] | None:
    """Return the frames of a clip, on a grid that starts with it, and its surroundings."""
    mel = conditioning.mel
    if mel is None:
        return None
    around = conditioning.context * mel.hop
    start = clip.start - around - mel.n_fft // 2
    stop = clip.start + -(-clip.samples // mel.hop) * mel.hop + around + mel.n_fft
    first, last = max(0, start), min(clip.recording.samples, stop)
    wave = np.zeros(stop - start, np.float32)
    wave[first - start : last - start] = corpus.amplitude(clip.recording, first, last)
    before = mel.n_fft // 2  # so that the first frame is centred where it belongs
    frames = mel_spectrogram(torch.from_numpy(wave), mel, corpus.sample_rate, before)
    count = -(-clip.samples // mel.hop) + 2 * conditioning.context
    frames = frames[:count]
    # What is centred outside the recording is silence, as it is for a vocoder.
    centres = clip.start + (torch.arange(count) - conditioning.context) * mel.hop
    frames[(centres < 0) | (centres >= clip.recording.samples)] = SILENCE
    return frames.numpy()
