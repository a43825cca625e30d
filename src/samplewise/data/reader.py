"""Reader of clips: their codes, and what conditions them.

A model with a linear prediction draws the excitation in place of the sound (audio/lpc.py). Codes
of the excitation follow from the sound and its mel frames.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from samplewise.audio.lpc import FULL_SCALE, excitation, predict
from samplewise.audio.mel import SILENCE, mel_spectrogram
from samplewise.audio.mel_scales import MelStatistics, measure
from samplewise.config.conditioning import ConditioningConfig
from samplewise.config.models import Level
from samplewise.config.seeds import numpy_generator
from samplewise.data.corpus import Corpus
from samplewise.data.excerpts import Excerpt, cut, evenly_spaced, read_codes
from samplewise.errors import CorpusError
from samplewise.nn.conditioning import ConditioningInputs
from samplewise.quantizers import DualQuantizer, Quantizer

BLOCK_FRAMES = 512
"""Frames that are predicted at once: memory does not grow with the length."""
EXCERPTS, EXCERPT_S = 100, 2.0
"""Number and length in seconds of the excerpts that mel statistics are measured on."""


@dataclass(frozen=True)
class ClipConditioning:
    """The conditioning of a whole clip."""

    mel: Float[np.ndarray, "frames n_mels"] | None
    """``context`` frames, then those of the clip, then ``context`` more."""
    label: int
    """Place of its class in the list of classes; 0 if there are none."""


@dataclass(frozen=True)
class ClipContent:
    """What a model is trained on, or scored with."""

    codes: Int[np.ndarray, " samples"]
    """Codes of the sound, or of its excitation."""
    conditioning: ClipConditioning | None = None
    """None if the model takes none."""
    log_steps: Float[np.ndarray, " samples"] | None = None
    """ln of how many 16-bit steps of the sound a step of each code is; None if codes are the
    sound's."""


@dataclass(frozen=True)
class ClipReader:
    """Reads clips of a corpus for a model: for training, for scoring and for the native engine.

    Raises:
        CorpusError: If labels are missing, or name a class that the model does not know.
    """

    corpus: Corpus
    """The corpus that the clips are of."""
    level: Level
    """Level policy of the codes."""
    quantizer: Quantizer
    """Quantizer of the model."""
    conditioning: ConditioningConfig | None = None
    """Conditioning of the model."""
    labels: Mapping[str, str] | None = None
    """Class of each recording by its source; needed if the model has classes."""

    def __post_init__(self) -> None:
        """Check the labels."""
        if self.conditioning is None or not self.conditioning.classes:
            return
        known = self.conditioning.classes
        if self.labels is None:
            raise CorpusError(
                f"the model knows {len(known)} classes ({', '.join(known[:5])}); say with --labels "
                "which one each recording is of: a CSV with the columns file and speaker, or "
                "`folders`"
            )
        unknown = sorted(set(self.labels.values()) - set(known))
        if unknown:
            raise CorpusError(
                f"the labels name {unknown[0]!r}, which the model does not know; it knows "
                f"{', '.join(known)}"
            )

    @property
    def silence(self) -> int:
        """Code of silence, which precedes a clip and pads it."""
        return self.quantizer.silence

    def read(self, clip: Excerpt) -> ClipContent:
        """Return the codes of a clip, its conditioning and the steps of its codes."""
        config = self.conditioning
        if config is None:
            return ClipContent(read_codes(self.corpus, clip, self.level, self.quantizer))
        label = 0
        if config.classes:
            assert self.labels is not None
            label = config.classes.index(self.labels[clip.recording.source])
        conditioning = ClipConditioning(_clip_mel(self.corpus, config, clip), label)
        if config.lpc_order:
            assert conditioning.mel is not None
            codes, log_steps = _excitation(self.corpus, config, clip, conditioning.mel)
            return ClipContent(codes, conditioning, log_steps)
        codes = read_codes(self.corpus, clip, self.level, self.quantizer)
        return ClipContent(codes, conditioning)

    def conditioning_inputs(
        self, lanes: Sequence[ClipContent | None], positions: Sequence[int], seq_len: int
    ) -> ConditioningInputs | None:
        """Return the conditioning of ``seq_len`` samples from each lane's position on.

        Args:
            lanes: The clip of each lane; None where a lane has run out.
            positions: Samples from the start of the clip.
            seq_len: Length of the subsequence, in samples.
        """
        if self.conditioning is None:
            return None
        parts = [None if clip is None else clip.conditioning for clip in lanes]
        labels = torch.tensor([0 if part is None else part.label for part in parts])
        mel = self.conditioning.mel
        if mel is None:
            return ConditioningInputs(None, torch.zeros(len(lanes), dtype=torch.long), labels)
        count = frames_across(seq_len, mel.hop) + 2 * self.conditioning.context
        frames = np.full((len(lanes), count, mel.n_mels), SILENCE, np.float32)
        for row, (part, position) in enumerate(zip(parts, positions, strict=True)):
            if part is not None and part.mel is not None:
                own = part.mel[position // mel.hop :][:count]
                frames[row, : len(own)] = own
        offsets = torch.tensor([position % mel.hop for position in positions])
        steps = _cut_steps(lanes, positions, seq_len) if self.conditioning.lpc_order else None
        return ConditioningInputs(torch.from_numpy(frames), offsets, labels, steps)


def _cut_steps(
    lanes: Sequence[ClipContent | None], positions: Sequence[int], seq_len: int
) -> Float[Tensor, "lanes time"]:
    steps = torch.zeros(len(lanes), seq_len)
    for row, (clip, position) in enumerate(zip(lanes, positions, strict=True)):
        if clip is not None and clip.log_steps is not None:
            part = clip.log_steps[position:][:seq_len]
            steps[row, : len(part)] = torch.from_numpy(part)
    return steps


def frames_across(samples: int, hop: int) -> int:
    """Return how many frames ``samples`` samples touch at most, wherever they begin."""
    return (samples + hop - 2) // hop + 1


def mel_statistics(corpus: Corpus, conditioning: ConditioningConfig | None) -> MelStatistics | None:
    """Return the statistics of excerpts of the training split; None if a model takes no mels."""
    if conditioning is None or conditioning.mel is None:
        return None
    clips = cut(corpus.split("train"), round(EXCERPT_S * corpus.sample_rate))
    mels = (_clip_mel(corpus, conditioning, clip) for clip in evenly_spaced(clips, EXCERPTS))
    return measure(mel for mel in mels if mel is not None)


def _excitation(
    corpus: Corpus,
    conditioning: ConditioningConfig,
    clip: Excerpt,
    mel: Float[np.ndarray, "frames n_mels"],
) -> tuple[Int[np.ndarray, " samples"], Float[np.ndarray, " samples"]]:
    """Return the 16-bit codes of a clip's excitation, and the log steps of the codes.

    The prediction is made from the clip and from what precedes it in the recording. Half a step of
    16 bits to either side is noise: the density of a sound so smeared is at most the probability of
    the sound (Theis et al. 2016, section 3.1), so bits are an upper bound.
    """
    config, order = conditioning.mel, conditioning.lpc_order
    assert config is not None
    frames = -(-clip.samples // config.hop)
    frame_mels = mel[conditioning.context :][: frames + 1]
    if clip.start + frames * config.hop >= clip.recording.samples:
        # The recording ends before it has decayed: its last frame is repeated.
        frame_mels = np.concatenate([frame_mels[:-1], frame_mels[-2:-1]])
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
    return np.concatenate(codes)[: clip.samples], log_steps[: clip.samples]


def _clip_mel(
    corpus: Corpus, conditioning: ConditioningConfig, clip: Excerpt
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
