"""Cues: what a model is told about each clip besides its past, mel frames and a class."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from samplewise.audio.mel import SILENCE, mel_spectrogram
from samplewise.config.conditioning import Conditioning
from samplewise.data.clips import Clip
from samplewise.data.corpus import Corpus
from samplewise.errors import CorpusError


@dataclass(frozen=True)
class ClipCues:
    """Of a whole clip."""

    mel: Float[np.ndarray, "frames n_mels"] | None
    """``context`` frames, then those of the clip, then ``context`` more."""
    label: int
    """Place of its class in the list of classes; 0 if there are none."""


@dataclass(frozen=True)
class Cues:
    """Of one subsequence of every lane."""

    mel: Float[Tensor, "lanes frames n_mels"] | None
    """The frames that the subsequence lies in, with ``context`` more on either side."""
    offset: Int[Tensor, " lanes"]
    """Samples by which the subsequence begins after its first frame does."""
    label: Int[Tensor, " lanes"]
    """Class of each lane."""

    def map(self, function: Callable[[Tensor], Tensor]) -> "Cues":
        """Return the cues with ``function`` applied to each tensor."""
        mel = None if self.mel is None else function(self.mel)
        return Cues(mel, function(self.offset), function(self.label))


@dataclass(frozen=True)
class CueReader:
    """Gives the cues of clips, and cuts out those of a subsequence."""

    conditioning: Conditioning
    read: Callable[[Clip], ClipCues]
    """Reads a clip's."""

    def cut(
        self, lanes: Sequence[ClipCues | None], positions: Sequence[int], seq_len: int
    ) -> "Cues":
        """Return the cues of ``seq_len`` samples from each lane's position on.

        Args:
            lanes: Of each lane's clip; None where a lane has run out.
            positions: Samples from the start of the clip.
            seq_len: Length of the subsequence, in samples.
        """
        labels = torch.tensor([0 if cues is None else cues.label for cues in lanes])
        mel = self.conditioning.mel
        if mel is None:
            return Cues(None, torch.zeros(len(lanes), dtype=torch.long), labels)
        count = frames_across(seq_len, mel.hop) + 2 * self.conditioning.context
        frames = np.full((len(lanes), count, mel.n_mels), SILENCE, np.float32)
        for row, (cues, position) in enumerate(zip(lanes, positions, strict=True)):
            if cues is not None and cues.mel is not None:
                part = cues.mel[position // mel.hop :][:count]
                frames[row, : len(part)] = part
        offsets = torch.tensor([position % mel.hop for position in positions])
        return Cues(torch.from_numpy(frames), offsets, labels)


def frames_across(samples: int, hop: int) -> int:
    """Return how many frames ``samples`` samples touch at most, wherever they begin."""
    return (samples + hop - 2) // hop + 1


def cue_reader(
    corpus: Corpus, conditioning: Conditioning | None, labels: Mapping[str, str] | None
) -> CueReader | None:
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
    return CueReader(conditioning, partial(_read, corpus, conditioning, labels))


def _read(
    corpus: Corpus, conditioning: Conditioning, labels: Mapping[str, str] | None, clip: Clip
) -> ClipCues:
    label = 0
    if conditioning.classes:
        assert labels is not None
        label = conditioning.classes.index(labels[clip.recording.source])
    return ClipCues(_clip_mel(corpus, conditioning, clip), label)


def _clip_mel(
    corpus: Corpus, conditioning: Conditioning, clip: Clip
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
