"""Negative log-likelihood by the native engine: a full-speed check of the reference's figure."""

from collections.abc import Sequence

import numpy as np

from samplewise.data.clips import Clip, Level, read_codes
from samplewise.data.corpus import Corpus
from samplewise.engine.sampler import NativeSampler, WeightFormat
from samplewise.evaluate.nll import CODE_BYTES, Progress, Scores
from samplewise.models.base import Model

CLIPS = 16
"""Scored side by side."""
CHUNK = 4096
"""Samples of each clip between two reports of progress."""


def score_natively(
    model: Model,
    corpus: Corpus,
    clips: Sequence[Clip],
    level: Level,
    weights: WeightFormat = "int8",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Score every sample of every clip exactly once; see :func:`samplewise.evaluate.nll.score`.

    Raises:
        ValueError: If there are no clips.
        EngineError: If there is no native engine.
    """
    if not clips:
        raise ValueError("clips is empty: there is nothing to score")
    sampler = NativeSampler(model, min(CLIPS, len(clips)), weights, threads)
    order = sorted(range(len(clips)), key=lambda index: -clips[index].samples)
    nats, done, total = [0.0] * len(clips), 0, sum(clip.samples for clip in clips)
    size = max(1, min(CLIPS, CODE_BYTES // (4 * clips[order[0]].samples)))
    for first in range(0, len(order), size):
        group = order[first : first + size]
        lengths = np.array([clips[index].samples for index in group])
        codes = np.full((len(group), lengths.max()), model.quantizer.silence, np.int32)
        for row, index in enumerate(group):
            codes[row, : lengths[row]] = read_codes(corpus, clips[index], level, model.quantizer)
        voices, sums = sampler.start(len(group)), np.zeros(len(group))
        for start in range(0, codes.shape[1], CHUNK):
            part = codes[:, start : start + CHUNK]
            log_probs, voices = sampler.log_probs(part, voices)
            is_padding = start + np.arange(part.shape[1]) >= lengths[:, None]
            sums -= np.where(is_padding, 0.0, log_probs).sum(1)
            done += int((~is_padding).sum())
            if progress is not None:
                progress(done, total)
        for index, value in zip(group, sums.tolist(), strict=True):
            nats[index] = value
    return Scores(tuple(clips), tuple(nats))
