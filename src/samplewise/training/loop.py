"""The training loop: fit, validate, preview, save."""

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch.nn.parallel import DistributedDataParallel

from samplewise.config.presets import PRESET_STEPS
from samplewise.data.excerpts import Excerpt
from samplewise.errors import TrainingError
from samplewise.evaluate.nll import nats_to_bits, score
from samplewise.nn.recurrence_choice import recurrence_by
from samplewise.training.interrupts import Interrupts
from samplewise.training.logger import RunLogger
from samplewise.training.prefetch import Prefetch
from samplewise.training.previews import make_preview
from samplewise.training.pruning import prune_if_due
from samplewise.training.ranks import Agreement
from samplewise.training.run import RunState, validation_clips
from samplewise.training.static_step import (
    StaticStep,
    describe_launches,
    describe_recurrence,
    uses_graph,
)
from samplewise.training.tbptt import Subsequence
from samplewise.training.train_step import ADVICE, share_of, share_used, train_step

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

    def add(self, nats: float, samples: int, norm: float) -> None:
        """Add the results of a step; of none, if it has no samples."""
        if samples:
            self.nats, self.samples, self.norm = self.nats + nats, self.samples + samples, norm


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
    if logger is not None and run.ranks.device.type == "cuda":
        for line in (describe_launches(run), *describe_recurrence(run)):
            logger.say(line)
    static = StaticStep(run) if uses_graph(run) else None
    # A static step is read one step late: what follows must not happen before it was.
    settle = (lambda: (0.0, 0, 0.0)) if static is None else static.settle
    clips = validation_clips(config, run.corpus)
    clock = Clock(progress.seconds)
    saved = previewed = validated = clock.now
    validation_took = 0.0
    budget_due = clock.now + BUDGET_AFTER_S
    interval = _Interval()
    if config.from_model is not None and progress.best_bits is None:
        validate(run, logger, clips)  # the weights a run begins with may be the best
        progress.seconds = clock.now

    def own() -> Agreement:
        now = clock.now
        return Agreement(interrupts.requested, now - saved >= 60 * config.save_minutes, now)

    while (reason := _finished(run, own)) is None:
        began = clock.now
        interval.add(*(train_step(run, subsequence, own=own) if static is None else static()))
        progress.seconds = clock.now
        interval.seconds += progress.seconds - began
        if config.pruning.sparsity:
            prune_if_due(run, logger, share_used(run))
        if logger is not None and interval.seconds >= config.log_seconds:
            interval.add(*settle())
            _log(run, logger, interval)
            interval = _Interval()
        if logger is not None and progress.seconds >= budget_due:
            _say_budget(run, logger)
            budget_due = math.inf
        if _validation_is_due(run, clock.now - validated, validation_took):
            began = clock.now
            interval.add(*settle())
            bits = validate(run, logger, clips)
            progress.seconds = validated = clock.now
            validation_took = validated - began
            if run.ranks.sum(should_stop is not None and should_stop(bits))[0]:
                run.save()
                return STOPPED_EARLY
        is_due = own().save if run.ranks.world == 1 else run.agreed.save
        if is_due or (config.save_every and progress.step % config.save_every == 0):
            interval.add(*settle())
            run.save()
            saved = clock.now
        if config.preview.minutes and clock.now - previewed >= 60 * config.preview.minutes:
            interval.add(*settle())
            if logger is not None:
                make_preview(run, logger)
            previewed = clock.now
    interval.add(*settle())
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


def validate(run: RunState, logger: RunLogger | None, clips: Sequence[Excerpt]) -> float:
    """Score the usable weights on ``clips``; keep them as the run's model if they are the best."""
    config, progress, ranks = run.config, run.progress, run.ranks
    own = clips[ranks.rank :: ranks.world]
    nats = 0.0
    if own:
        with recurrence_by(config.recurrence):
            nats = math.fsum(score(run.usable, run.corpus, own, config.level, run.labels).nats)
    nats, samples = ranks.sum(nats, sum(clip.samples for clip in own))
    bits = nats_to_bits(nats / samples)
    if not math.isfinite(bits):
        raise TrainingError(f"validation at step {progress.step} gave {bits} bits; {ADVICE}")
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


def _finished(run: RunState, own: Callable[[], Agreement]) -> str | None:
    budget, progress = run.config.budget, run.progress
    if (own() if run.ranks.world == 1 else run.agreed).stop:
        return INTERRUPTED
    if budget.steps is not None and progress.step >= budget.steps:
        return "1 step made" if budget.steps == 1 else f"{budget.steps} steps made"
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
        lr=float(run.optimizer.param_groups[0]["lr"]),
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
    used = share_of(run, run.progress.seconds)
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
    used = share_of(run, run.progress.seconds)
    if not used:
        return ""
    left = run.progress.seconds * (1 - used) / used
    hours, minutes = divmod(round(left / 60), 60)
    if hours:
        return f"  eta {hours} h {minutes:02d}"
    return f"  eta {minutes} min" if left >= 90 else f"  eta {left:.0f} s"
