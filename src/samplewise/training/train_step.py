"""One step of training: the learning rate, the gradients, the checks, the averaged weights."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from samplewise.atomic_io import write_json
from samplewise.data.lanes import StreamCursor
from samplewise.errors import TrainingError
from samplewise.evaluate.nll import nats_to_bits
from samplewise.nn.matmul import products_by
from samplewise.nn.recurrence_choice import recurrence_by
from samplewise.training.ranks import Agreement
from samplewise.training.run import RunState
from samplewise.training.tbptt import Mark, accumulate_gradients, clip_gradients, no_mark

EXPLODED = 4.0
"""A cost of so many times that of guessing (log2 q bits) means that training has blown up."""
ADVICE = (
    "the last good checkpoint is kept. Try a lower --learning-rate, --clip norm, or --precision "
    "float32; then give the same command with another -o"
)
"""Ends the message of a run that has blown up."""


def share_used(run: RunState) -> float:
    """Return the share of the budget that is used, in [0, 1]; 0 without a budget."""
    # All ranks must agree on it: it decides the learning rate and the end.
    is_alone = run.ranks.world == 1
    return share_of(run, run.progress.seconds if is_alone else run.agreed.seconds)


def share_of(run: RunState, seconds: float) -> float:
    """Return :func:`share_used` after ``seconds`` of training."""
    budget, shares = run.config.budget, [0.0]
    if budget.steps is not None:
        shares.append(run.progress.step / max(1, budget.steps))
    if budget.epochs is not None:
        shares.append(run.stream.epochs / max(1e-9, budget.epochs))
    if budget.minutes is not None:
        shares.append(seconds / max(1e-9, 60 * budget.minutes))
    return min(1.0, max(shares))


def autocast(run: RunState) -> Any:
    """Return the context for the run's precision; None for float32."""
    device = run.ranks.device
    wanted = run.config.precision
    if device.type == "cuda" and wanted == "auto":
        fits = torch.cuda.is_bf16_supported() and not run.model.head.needs_float32
        wanted = "bfloat16" if fits else "float32"
    return torch.autocast(device.type, torch.bfloat16) if wanted == "bfloat16" else None


def train_step(
    run: RunState,
    subsequence: Any,
    mark: Mark = no_mark,
    own: Callable[[], Agreement] = Agreement,
) -> tuple[float, int, float]:
    """Make one step.

    Several ranks exchange their gradients and one small tensor: the cost, and what they agree on.

    Args:
        run: What is trained.
        subsequence: Its cost, wrapped for several ranks or not.
        mark: Called after each part: data, forward, backward, clip, optimizer, averaging.
        own: Called after the backward pass; returns what this rank brings to :attr:`run.agreed`.

    Returns:
        The batch's cost in nats over all ranks, its samples, and the norm of the gradient.

    Raises:
        TrainingError: As :func:`fit`.
    """
    config, progress = run.config, run.progress
    batch = run.stream.next_batch()
    mark("data")
    run.optimizer.param_groups[0]["lr"] = learning_rate(run)
    run.optimizer.zero_grad(set_to_none=True)
    library = "blas" if config.matmul == "blas" else "onednn"
    with products_by(library), recurrence_by(config.recurrence):
        nats, state = accumulate_gradients(
            subsequence,
            batch,
            run.state,
            groups=config.accumulate,
            world=run.ranks.world,
            autocast=autocast(run),
            mark=mark,
        )
    clip, limit = config.optimizer.clip, config.optimizer.clip_limit
    norm = clip_gradients(list(run.model.parameters()), clip, limit)
    mine = own()
    total, stops, saves, seconds = run.ranks.sum(nats.item(), mine.stop, mine.save, mine.seconds)
    run.agreed = Agreement(stops > 0, saves > 0, seconds / run.ranks.world)
    bits, size = nats_to_bits(total / batch.samples), norm.item()
    check_cost(run, progress.step, bits, size, run.stream.cursor)
    mark("clip")
    run.optimizer.step()
    mark("optimizer")
    run.state = state
    progress.step += 1
    progress.samples_seen += batch.samples
    average_weights(run)
    mark("averaging")
    return total, batch.samples, size


def learning_rate(run: RunState) -> float:
    """Return the learning rate of the next step."""
    config = run.config
    rate = config.optimizer.learning_rate_at(run.progress.step, share_used(run))
    return rate if config.from_model is None else rate * config.from_rate


def most_bits(run: RunState) -> float:
    """Return the cost in bits per sample from which on training has blown up."""
    return EXPLODED * math.log2(run.config.model.q_levels)


def average_weights(run: RunState) -> None:
    """Move the averaged weights, if there are any, towards those of the last step."""
    if run.averaged is None:
        return
    # A short memory at first, so that the initial weights are soon forgotten.
    step = run.progress.step
    average = get_ema_multi_avg_fn(min(run.config.ema, (1 + step) / (10 + step)))
    average(list(run.averaged.parameters()), list(run.model.parameters()), None)


def check_cost(run: RunState, step: int, bits: float, norm: float, cursor: StreamCursor) -> None:
    """Stop if training has blown up, and note which batch it was; the weights are as they were.

    Args:
        run: What is trained.
        step: Steps made before the one that is checked.
        bits: Its cost per sample.
        norm: Norm of its gradient.
        cursor: Where the stream was after its batch.

    Raises:
        TrainingError: If the cost or the gradient is not finite, or the cost is too high.
    """
    if math.isfinite(bits) and math.isfinite(norm) and bits < most_bits(run):
        return
    if run.ranks.is_first:
        batch = {"step": step, "bits": str(bits), "grad_norm": str(norm), "cursor": cursor.lanes}
        write_json(run.folder / "failed-batch.json", batch)
    raise TrainingError(
        f"the cost at step {step} is {bits:.4g} bits per sample and its gradient's norm {norm:.4g} "
        f"(clips in failed-batch.json): {ADVICE}"
    )
