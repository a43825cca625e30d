"""The error of the speaker classifier, measured on recordings with known speakers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from samplewise.data.corpus import Corpus
from samplewise.data.excerpts import Excerpt, read_codes
from samplewise.errors import CorpusError
from samplewise.evaluate.speakers import Share, SpeakerClassifier, tile
from samplewise.generate.clips import samples_of
from samplewise.models.io import LoadedModel

ReadClip = Callable[[Excerpt], Float32[np.ndarray, " samples"]]
"""A function that returns the sound of a clip."""


@dataclass(frozen=True)
class ClassifierCheck:
    """Errors of a classifier on pairs of ends with known speakers."""

    unvoiced: Share
    """Share of all ends that have no mean fundamental frequency."""
    wrong: Share
    """Share of the voiced ends that are classified as the other speaker."""
    same_missed: Share
    """Share of pairs from one recording that are classified as two speakers."""
    different_missed: Share
    """Share of pairs from recordings of two speakers that are classified as one."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {name: share.to_json() for name, share in vars(self).items()}


def quantized_sound(loaded: LoadedModel, corpus: Corpus) -> ReadClip:
    """Return a reader of clips at the model's level, encoded and decoded by its quantiser."""
    quantizer, level = loaded.model.quantizer, loaded.audio.level
    return lambda clip: quantizer.decode(read_codes(corpus, clip, level, quantizer))


def check_classifier(
    corpus: Corpus,
    speakers: Mapping[str, str],
    classifier: SpeakerClassifier,
    *,
    before_s: float = 2.0,
    silence_s: float = 1.0,
    after_s: float = 2.0,
    splits: Sequence[str] = ("valid", "test"),
    read_clip: ReadClip | None = None,
) -> ClassifierCheck:
    """Classify the ends of clips of recordings as the memory experiment does.

    Recordings are tiled with clips of ``before_s + silence_s + after_s``; the middle is left out.
    The two ends of a clip are a pair of one speaker; the first end of one speaker's clip and the
    last end of the other's, in order, are a pair of two.

    Args:
        corpus: A corpus with labels.
        speakers: Speaker of each recording, by its source.
        classifier: The classifier to check.
        before_s: Length of the first end, seconds.
        silence_s: Length between the ends, seconds.
        after_s: Length of the last end, seconds.
        splits: Splits on which the classifier was not measured.
        read_clip: A reader such as :func:`quantized_sound`; None for the recordings themselves.

    Raises:
        CorpusError: If no recording is long enough.
    """
    rate = corpus.sample_rate
    first, last = samples_of(before_s, rate), samples_of(after_s, rate)
    length = first + round(silence_s * rate) + last
    clips = tile([r for split in splits for r in corpus.split(split)], length)
    if not clips:
        raise CorpusError(
            f"no recording in {' and '.join(splits)} of {corpus.folder} lasts {length / rate:g} s"
        )
    sound: ReadClip = read_clip or (
        lambda clip: corpus.amplitude(clip.recording, clip.start, clip.stop)
    )
    ends: dict[str, list[tuple[str | None, str | None]]] = {}
    for clip in clips:
        wave = sound(clip)
        pair = (classifier.f0(wave[:first], rate), classifier.f0(wave[-last:], rate))
        pairs = ends.setdefault(speakers[clip.recording.source], [])
        pairs.append((classifier.name(pair[0]), classifier.name(pair[1])))
    return _compare(ends)


def _compare(ends: Mapping[str, Sequence[tuple[str | None, str | None]]]) -> ClassifierCheck:
    given = [(name, end) for name, pairs in ends.items() for pair in pairs for end in pair]
    voiced = [(name, end) for name, end in given if end is not None]
    same = [pair for pairs in ends.values() for pair in pairs if None not in pair]
    crossed = []
    if len(ends) == 2:
        for one, other in zip(*ends.values(), strict=False):
            crossed += [(one[0], other[1]), (other[0], one[1])]
    different = [pair for pair in crossed if None not in pair]
    return ClassifierCheck(
        unvoiced=Share(len(given) - len(voiced), len(given)),
        wrong=Share(sum(name != end for name, end in voiced), len(voiced)),
        same_missed=Share(sum(a != b for a, b in same), len(same)),
        different_missed=Share(sum(a == b for a, b in different), len(different)),
    )
