"""The training loop: fit, validate, preview, save."""

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import get_ema_multi_avg_fn

from samplewise.atomic_io import write_json
from samplewise.config.presets import PRESET_STEPS
from samplewise.data.excerpts import Excerpt
from samplewise.errors import TrainingError
from samplewise.evaluate.nll import nats_to_bits, score
from samplewise.nn.matmul import products_by
from samplewise.training.interrupts import Interrupts
from samplewise.training.logger import RunLogger
from samplewise.training.prefetch import Prefetch
from samplewise.training.previews import make_preview
from samplewise.training.pruning import prune_if_due
from samplewise.training.run import RunState, validation_clips
from samplewise.training.tbptt import (
    Mark,
    Subsequence,
    accumulate_gradients,
    clip_gradients,
    no_mark,
)

EXPLODED = 4.0
"""A cost of so many times that of guessing (log2 q bits) means that training has blown up."""
BUDGET_AFTER_S = 30.0
"""Seconds of a session after which it is said how many steps the budget will hold."""
VALIDATION_SHARE = 0.05
"""Share of the time that validations may take on a GPU: those that would take more are left out. On
a CPU none is, so that which weights are the best does not depend on the clock."""
ENOUGH_STEPS = 1 / 3
"""Share of the steps that a preset was made for below which a budget is warned of."""
INTERRUPTED = "interrupted; give the same command to go on"
"""Returned by :func:`fit` when somebody asked it to stop."""
STOPPED_EARLY = "stopped early"
"""Returned by :func:`fit` when ``should_stop`` ended the run."""


@dataclass
class _Interval:
    """What happened since the last line of progress."""

    seconds: float = 0.0
    nats: float = 0.0
    samples: int = 0
    norm: float = 0.0


def fit(
    run: RunState,
    logger: RunLogger | None,
    interrupts: Interrupts,
    should_stop: Callable[[float], bool] | None = None,
) -> str:
    """Train until a budget is used up or somebody stops it; return why it stopped.

    Every rank calls this function; only the first has a logger.

    Args:
        run: The run to train.
        logger: Writes metrics and lines of progress; None on the other ranks.
        interrupts: Requests to stop.
        should_stop: Called after each validation but the last, with its bits per sample; True
            saves the run and ends it with ``STOPPED_EARLY``.

    Raises:
        TrainingError: If the cost or its gradient is not finite, or has exploded.
    """
    try:
        return _fit(run, logger, interrupts, should_stop)
    finally:
        if isinstance(run.stream, Prefetch):
            run.stream.close()


def _fit(
    run: RunState,
    logger: RunLogger | None,
    interrupts: Interrupts,
    should_stop: Callable[[float], bool] | None,
) -> str:
    config, progress = run.config, run.progress
    subsequence = Subsequence(run.model, run.config.sample_stride)
    if run.ranks.world > 1:
        # Buffers are constants, and masks are the same on all ranks, as the weights are.
        with warnings.catch_warnings():
            # Its successor does not exist before torch 2.13, and broadcasts once all the same.
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            subsequence = DistributedDataParallel(subsequence, broadcast_buffers=False)
    clips = validation_clips(config, run.corpus)
    clock = Clock(progress.seconds)
    saved = previewed = validated = clock.now
    validation_took = 0.0
    budget_due = clock.now + BUDGET_AFTER_S
    interval = _Interval()
    if config.from_model is not None and progress.best_bits is None:
        validate(run, logger, clips)  # the weights a run begins with may be the best
        progress.seconds = clock.now
    while (reason := _finished(run, interrupts)) is None:
        began = clock.now
        nats, samples, interval.norm = train_step(run, subsequence)
        interval.nats, interval.samples = interval.nats + nats, interval.samples + samples
        progress.seconds = clock.now
        interval.seconds += progress.seconds - began
        if config.pruning.sparsity:
            prune_if_due(run, logger, share_used(run))
        if logger is not None and interval.seconds >= config.log_seconds:
            _log(run, logger, interval)
            interval = _Interval()
        if logger is not None and progress.seconds >= budget_due:
            _say_budget(run, logger)
            budget_due = math.inf
        if _validation_is_due(run, clock.now - validated, validation_took):
            began = clock.now
            bits = validate(run, logger, clips)
            progress.seconds = validated = clock.now
            validation_took = validated - began
            if run.ranks.sum(should_stop is not None and should_stop(bits))[0]:
                run.save()
                return STOPPED_EARLY
        due = clock.now - saved >= 60 * config.save_minutes
        if run.ranks.sum(due)[0] or (config.save_every and progress.step % config.save_every == 0):
            run.save()
            saved = clock.now
        if config.preview.minutes and clock.now - previewed >= 60 * config.preview.minutes:
            if logger is not None:
                make_preview(run, logger)
            previewed = clock.now
    if logger is not None and interval.samples:
        _log(run, logger, interval)
    if logger is not None and progress.sparsity < config.pruning.sparsity:
        logger.say(
            f"only {progress.sparsity:.1%} of the blocks are zero, not "
            f"{config.pruning.sparsity:.1%}: the schedule had not ended"
        )
    if reason != INTERRUPTED:
        validate(run, logger, clips)
        progress.seconds = clock.now
        if config.preview.minutes and logger is not None:
            make_preview(run, logger)
    run.save()
    return reason


class Clock:
    """Seconds of training, those of earlier sessions included."""

    def __init__(self, before: float):
        self._zero = time.monotonic() - before

    @property
    def now(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._zero


def share_used(run: RunState) -> float:
    """Return the share of the budget that is used, in [0, 1]; 0 without a budget."""
    # All ranks must agree on it: it decides the learning rate and the end.
    return _share(run, run.ranks.sum(run.progress.seconds)[0] / run.ranks.world)


def _share(run: RunState, seconds: float) -> float:
    budget, shares = run.config.budget, [0.0]
    if budget.steps is not None:
        shares.append(run.progress.step / max(1, budget.steps))
    if budget.epochs is not None:
        shares.append(run.stream.epochs / max(1e-9, budget.epochs))
    if budget.minutes is not None:
        shares.append(seconds / max(1e-9, 60 * budget.minutes))
    return min(1.0, max(shares))


def validate(run: RunState, logger: RunLogger | None, clips: Sequence[Excerpt]) -> float:
    """Score the usable weights on ``clips``; keep them as the run's model if they are the best."""
    config, progress, ranks = run.config, run.progress, run.ranks
    own = clips[ranks.rank :: ranks.world]
    nats = 0.0
    if own:
        nats = math.fsum(score(run.usable, run.corpus, own, config.level, run.labels).nats)
    nats, samples = ranks.sum(nats, sum(clip.samples for clip in own))
    bits = nats_to_bits(nats / samples)
    if not math.isfinite(bits):
        raise TrainingError(f"validation at step {progress.step} gave {bits} bits; {_ADVICE}")
    if progress.best_bits is None or bits < progress.best_bits:
        progress.best_bits, progress.best_step, progress.bad_validations = bits, progress.step, 0
        if ranks.is_first:
            run.save_model()
    else:
        progress.bad_validations += 1
    if logger is not None:
        values = {"seconds": progress.seconds, "bits": bits, "best": progress.best_bits}
        logger.event("valid", progress.step, **values)
        best = "the best" if progress.best_step == progress.step else f"best {values['best']:.3f}"
        logger.say(f"step {progress.step}  valid {bits:.3f} bits/sample ({best})")
    return bits


def _validation_is_due(run: RunState, since: float, took: float) -> bool:
    """Return whether to validate now.

    Args:
        run: What is trained.
        since: Seconds since the last validation.
        took: Seconds that it took.
    """
    if run.progress.step % run.config.valid_every:
        return False
    if run.ranks.device.type == "cpu":
        return True
    return not run.ranks.sum(took > VALIDATION_SHARE * (since + took))[0]


def autocast(run: RunState) -> Any:
    """Return the context for the run's precision; None for float32."""
    device = run.ranks.device
    wanted = run.config.precision
    if device.type == "cuda" and wanted == "auto":
        # A density of 16-bit amplitudes does not survive 8 bits of mantissa.
        fits = torch.cuda.is_bf16_supported() and not run.model.head.is_density
        wanted = "bfloat16" if fits else "float32"
    return torch.autocast(device.type, torch.bfloat16) if wanted == "bfloat16" else None


_ADVICE = (
    "the last good checkpoint is kept. Try a lower --learning-rate, --clip norm, or --precision "
    "float32; then give the same command with another -o"
)


def train_step(run: RunState, subsequence: Any, mark: Mark = no_mark) -> tuple[float, int, float]:
    """Make one step.

    Args:
        run: What is trained.
        subsequence: Its cost, wrapped for several ranks or not.
        mark: Called after each part: data, forward, backward, clip, optimizer, averaging.

    Returns:
        The batch's cost in nats over all ranks, its samples, and the norm of the gradient.

    Raises:
        TrainingError: As :func:`fit`.
    """
    config, progress = run.config, run.progress
    batch = run.stream.next_batch()
    mark("data")
    rate = config.optimizer.learning_rate_at(progress.step, share_used(run))
    if config.from_model is not None:
        rate *= config.from_rate
    run.optimizer.param_groups[0]["lr"] = rate
    run.optimizer.zero_grad(set_to_none=True)
    with products_by("blas" if config.matmul == "blas" else "onednn"):
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
    (total,) = run.ranks.sum(nats.item())
    bits, size = nats_to_bits(total / batch.samples), norm.item()
    limit = EXPLODED * math.log2(config.model.q_levels)
    if not (math.isfinite(bits) and math.isfinite(size) and bits < limit):
        _stop_before_damage(run, bits, size)
    mark("clip")
    run.optimizer.step()
    mark("optimizer")
    run.state = state
    progress.step += 1
    progress.samples_seen += batch.samples
    if run.averaged is not None:
        # A short memory at first, so that the initial weights are soon forgotten.
        decay = min(config.ema, (1 + progress.step) / (10 + progress.step))
        average = get_ema_multi_avg_fn(decay)
        average(list(run.averaged.parameters()), list(run.model.parameters()), None)
        mark("averaging")
    return total, batch.samples, size


def _stop_before_damage(run: RunState, bits: float, norm: float) -> None:
    """Leave the weights as they are, note which batch it was, and stop."""
    step = run.progress.step
    if run.ranks.is_first:
        cursor = run.stream.cursor
        batch = {"step": step, "bits": str(bits), "grad_norm": str(norm), "cursor": cursor.lanes}
        write_json(run.folder / "failed-batch.json", batch)
    raise TrainingError(
        f"the cost at step {step} is {bits:.4g} bits per sample and its gradient's norm {norm:.4g} "
        f"(clips in failed-batch.json): {_ADVICE}"
    )


def _finished(run: RunState, interrupts: Interrupts) -> str | None:
    budget, progress = run.config.budget, run.progress
    if run.ranks.sum(interrupts.requested)[0]:
        return INTERRUPTED
    if budget.steps is not None and progress.step >= budget.steps:
        return f"{budget.steps} steps made"
    if budget.patience and progress.bad_validations >= budget.patience:
        return f"no better validation in {budget.patience}"
    if share_used(run) >= 1:
        return "the budget is used up"
    return None


def _log(run: RunState, logger: RunLogger, interval: _Interval) -> None:
    progress = run.progress
    bits = nats_to_bits(interval.nats / interval.samples)
    speed = interval.samples / interval.seconds
    logger.event(
        "train",
        progress.step,
        seconds=progress.seconds,
        bits=bits,
        lr=run.optimizer.param_groups[0]["lr"],
        samples_per_s=speed,
        samples_seen=progress.samples_seen,
        grad_norm=interval.norm,
        epoch=run.stream.epochs,
    )
    valid = "" if progress.best_bits is None else f"  valid {progress.best_bits:.3f}"
    sparse = f"  sparse {progress.sparsity:.1%}" if run.config.pruning.sparsity else ""
    logger.say(
        f"step {progress.step}  train {bits:.3f}{valid} bits/sample{sparse}  "
        f"{_thousands(speed)} samples/s{_time_left(run)}"
    )


def _say_budget(run: RunState, logger: RunLogger) -> None:
    """Say how many steps the budget will hold, and whether the preset needs many more."""
    used = _share(run, run.progress.seconds)
    if not used:
        return
    steps, preset = round(run.progress.step / used), run.config.preset
    made_for = PRESET_STEPS.get(preset, 0)
    text = f"the budget will hold about {steps:,} steps"
    if steps < ENOUGH_STEPS * made_for:
        text = (
            f"warning: {text}, but the preset {preset} was made for about {made_for:,}: expect "
            "noise. Give it a larger budget (--minutes) or a faster computer, or take a smaller "
            "preset"
        )
    logger.say(text)


def _thousands(value: float) -> str:
    return f"{value / 1000:.1f}k" if value >= 1000 else f"{value:.0f}"


def _time_left(run: RunState) -> str:
    used = _share(run, run.progress.seconds)
    if not used:
        return ""
    left = run.progress.seconds * (1 - used) / used
    hours, minutes = divmod(round(left / 60), 60)
    if hours:
        return f"  eta {hours} h {minutes:02d}"
    return f"  eta {minutes} min" if left >= 90 else f"  eta {left:.0f} s"
