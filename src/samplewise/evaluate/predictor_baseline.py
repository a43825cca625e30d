"""The baseline of a model with a linear predictor: the predictor alone, without a network.

A logistic distribution lies around each prediction. Its scale is the size of the recent errors
times one factor, which is fitted to the training split. Nothing else is learned.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from samplewise.config.models import Level
from samplewise.data.corpus import Corpus
from samplewise.data.excerpts import Excerpt, evenly_spaced
from samplewise.evaluate.baselines import CodeReader, Codes
from samplewise.evaluate.nll import nats_to_bits
from samplewise.heads.mixture import LogisticMixtureHead
from samplewise.models.sample_level import log_scale_limits
from samplewise.models.samplernn import SampleRNN
from samplewise.nn.linear import Linear
from samplewise.nn.linear_predictor import (
    LinearPredictor,
    LogisticPrior,
    error_sizes,
    mean_size,
)
from samplewise.progress import ProgressCallback

BLOCK = 2**14
"""Samples whose distributions are in memory at once."""
FIT_CLIPS, FIT_SAMPLES, FIT_STRIDE = 16, 2**15, 8
"""Training clips that the factor is fitted to, evenly spread; the largest number of samples of
each; every so many samples count."""
FACTORS = tuple(tenths / 10 for tenths in range(-15, 6))
"""Logarithms of the factors that are tried."""


class Predictions(NamedTuple):
    """Predictions of some samples."""

    place: Float[Tensor, " samples"]
    """The predictions, in codes."""
    log_size: Float[Tensor, " samples"]
    """Logarithm of the size of the errors before each sample, in codes."""
    codes: Int64[Tensor, " samples"]
    """The samples."""

    def nats(self, log_factor: float, model: SampleRNN) -> float:
        """Return the cost of the samples together.

        Args:
            log_factor: Logarithm of the scale of the logistic distribution in sizes of the errors.
            model: Its codes and its head.
        """
        q_levels = model.q_levels
        log_scale = (self.log_size + log_factor).clamp(*log_scale_limits(q_levels))
        if isinstance(model.head, LogisticMixtureHead):
            single = torch.stack([torch.zeros_like(log_scale), self.place, log_scale], -1)
            return model.head.nll(single[None], self.codes[None]).sum().item()
        logits = LogisticPrior.apply(self.place, log_scale, q_levels)
        return F.cross_entropy(logits, self.codes, reduction="sum").item()


def predictor_alone(
    model: SampleRNN,
    corpus: Corpus,
    clips: Sequence[Excerpt],
    level: Level,
    log_factor: float,
    progress: ProgressCallback | None = None,
) -> float:
    """Return bits per sample of clips under the linear predictor of a model alone.

    Args:
        model: A SampleRNN with a linear predictor.
        corpus: Corpus of the clips.
        clips: Clips to score; every sample counts once, and each clip begins after silence.
        level: Level policy of the model.
        log_factor: From :func:`fit_factor`.
        progress: Called with the samples done and their total.
    """
    samples = sum(clip.samples for clip in clips)
    reader = CodeReader(corpus, level, model.quantizer, progress, samples)
    nats = sum(
        part.nats(log_factor, model)
        for clip in clips
        for part in predictions(model, reader.blocks(clip))
    )
    return nats_to_bits(nats) / samples


def fit_factor(model: SampleRNN, corpus: Corpus, train: Sequence[Excerpt], level: Level) -> float:
    """Return the logarithm of the factor in ``FACTORS`` that is best on a part of ``train``.

    Args:
        model: A SampleRNN with a linear predictor.
        corpus: Corpus of the clips.
        train: Clips; of each of at most ``FIT_CLIPS``, the first ``FIT_SAMPLES`` samples are used.
        level: Level policy of the model.
    """
    reader = CodeReader(corpus, level, model.quantizer, None, 0)
    totals = dict.fromkeys(FACTORS, 0.0)
    for clip in evenly_spaced(train, FIT_CLIPS):
        stop = min(clip.stop, clip.start + FIT_SAMPLES)
        blocks = reader.blocks(Excerpt(clip.recording, clip.start, stop))
        for part in predictions(model, blocks):
            chosen = Predictions(*(tensor[::FIT_STRIDE] for tensor in part))
            for factor in FACTORS:
                totals[factor] += chosen.nats(factor, model)
    return min(totals, key=totals.__getitem__)


@torch.no_grad()
def predictions(model: SampleRNN, blocks: Iterable[Codes]) -> Iterator[Predictions]:
    """Yield the predictions of a clip, in blocks; before the clip there is silence.

    Args:
        model: A SampleRNN with a linear predictor.
        blocks: Codes of the clip.
    """
    predictor = _predictor(model)
    largest = model.config.lp_largest_error * model.q_levels
    device = predictor.window.device
    reach = model.config.lookback
    known = torch.full((reach,), predictor.silence, device=device)
    state, clock = predictor.initial_state(1), 0
    for large in blocks:
        for block in torch.from_numpy(large).to(device).split(BLOCK):
            codes = torch.cat([known, block])
            place, errors, state = predictor(codes[None, :-1], len(block), clock, state)
            size = mean_size(*error_sizes(errors, largest))
            yield Predictions(place[0], size[0].log(), block)
            known, clock = codes[-reach:], clock + len(block)


@torch.no_grad()
def silence_network(model: SampleRNN, log_factor: float) -> None:
    """Set the output maps of a model so that its distribution is that of the predictor alone.

    Args:
        model: A SampleRNN with a linear predictor, not folded; changed in place.
        log_factor: From :func:`fit_factor`.
    """
    level = model.sample_level
    last, logistic = level.mlp[-1], level.logistic
    for linear in (last, *([] if logistic is None else [logistic])):
        assert isinstance(linear, Linear)
        assert linear.bias is not None
        linear.weight.scale(0.0)
        linear.bias.zero_()
    if logistic is None:
        last.bias[2 * level.components :] = log_factor  # pyright: ignore[reportIndexIssue]
    else:
        assert logistic.bias is not None
        logistic.bias[1] = log_factor


def _predictor(model: SampleRNN) -> LinearPredictor:
    if model.predictor is None:
        raise ValueError("the model has no linear predictor")
    return model.predictor
