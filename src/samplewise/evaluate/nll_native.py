"""Negative log-likelihood by the native engine: a full-speed check of the reference's figure."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from samplewise.config.models import Level, conditioning_of
from samplewise.data.corpus import Corpus
from samplewise.data.excerpts import Excerpt
from samplewise.data.reader import ClipConditioning, ClipReader
from samplewise.engine.sampler import ConditioningVectors, NativeSampler, WeightFormat
from samplewise.evaluate.nll import CODE_BYTES, Scores
from samplewise.models.base import AutoregressiveModel
from samplewise.progress import ProgressCallback

CLIPS = 16
"""Scored side by side."""
CHUNK = 4096
"""Samples of each clip between two reports of progress."""


def score_natively(
    model: AutoregressiveModel,
    corpus: Corpus,
    clips: Sequence[Excerpt],
    level: Level,
    weights: WeightFormat = "int8",
    threads: int | None = None,
    labels: Mapping[str, str] | None = None,
    progress: ProgressCallback | None = None,
) -> Scores:
    """Score every sample of every clip exactly once; see :func:`samplewise.evaluate.nll.score`.

    Raises:
        ValueError: If there are no clips.
        EngineError: If there is no native engine.
    """
    if not clips:
        raise ValueError("clips is empty: there is nothing to score")
    sampler = NativeSampler(model, min(CLIPS, len(clips)), weights, threads)
    reader = ClipReader(corpus, level, model.quantizer, conditioning_of(model.config), labels)
    order = sorted(range(len(clips)), key=lambda index: -clips[index].samples)
    nats, done, total = [0.0] * len(clips), 0, sum(clip.samples for clip in clips)
    size = max(1, min(CLIPS, CODE_BYTES // (4 * clips[order[0]].samples)))
    for first in range(0, len(order), size):
        group = order[first : first + size]
        lengths = np.array([clips[index].samples for index in group])
        codes = np.full((len(group), lengths.max()), reader.silence, np.int32)
        sums, conditioning = np.zeros(len(group)), []
        for row, index in enumerate(group):
            content = reader.read(clips[index])
            codes[row, : lengths[row]] = content.codes
            if content.log_steps is not None:
                sums[row] = content.log_steps.sum(dtype=float)
            if content.conditioning is not None:
                conditioning.append(content.conditioning)
        all_vectors = _vectors(model, conditioning) if conditioning else None
        sampler_state = sampler.start(len(group))
        for start in range(0, codes.shape[1], CHUNK):
            part = codes[:, start : start + CHUNK]
            vectors = None
            if all_vectors is not None:
                last = start + part.shape[1] - 1
                vectors = all_vectors[:, start // sampler.hold : last // sampler.hold + 1]
            log_probs, sampler_state = sampler.log_probs(part, sampler_state, vectors)
            is_padding = start + np.arange(part.shape[1]) >= lengths[:, None]
            sums -= np.where(is_padding, 0.0, log_probs).sum(1)
            done += int((~is_padding).sum())
            if progress is not None:
                progress(done, total)
        for index, value in zip(group, sums.tolist(), strict=True):
            nats[index] = value
    return Scores(tuple(clips), tuple(nats))


@torch.inference_mode()
def _vectors(model: AutoregressiveModel, clips: Sequence[ClipConditioning]) -> ConditioningVectors:
    """Return every vector of every clip, with zeros up to the longest one."""
    assert model.conditioner is not None
    rows = []
    for clip in clips:
        mel = None if clip.mel is None else torch.from_numpy(clip.mel)[None]
        rows.append(model.conditioner.vectors(mel, torch.tensor([clip.label]))[0].numpy())
    longest = max(map(len, rows))
    return np.stack([np.pad(row, ((0, longest - len(row)), (0, 0))) for row in rows])
