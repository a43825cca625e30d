"""Block-sparse training: the schedule, and what a pruning does to a run.

Kalchbrenner et al. 2018, section 3.1: training begins dense; every so many steps the blocks of
smallest magnitude are zeroed, up to a share that grows as a cubic to the sparsity asked for; then
the mask stays.
"""

import torch

from samplewise.config.training import PruningConfig
from samplewise.models.pruning import apply_masks, masks_of, prune_model
from samplewise.nn.linear import Weight
from samplewise.training.logger import RunLogger
from samplewise.training.run import RunState

PAPER_EVERY, SHORT_EVERY = 500, 50
"""Steps between two prunings: of a schedule in steps, and of one that follows the budget."""
START, END = 0.05, 0.5
"""Chosen: the part of a budget over which the share grows. The paper's is 0.002 to 0.4 of 500,000
steps; a short run needs longer to know which weights matter."""


def share_at(config: PruningConfig, step: int, used: float) -> float:
    """Return z, the share of blocks that are to be zero: Z (1 - (1 - (t - t0) / S)^3).

    Args:
        config: Has Z (``sparsity``), t0 and S (``start``, ``steps``), or None for a
            schedule over the budget.
        step: Steps made, t.
        used: Share of the budget used, in [0, 1].
    """
    if config.start is None or config.steps is None:
        done = (used - START) / (END - START)
    else:
        done = (step - config.start) / config.steps
    if done >= 1:
        return config.sparsity  # exactly
    return config.sparsity * (1 - (1 - max(0.0, done)) ** 3)


def is_due(config: PruningConfig, step: int, share: float, pruned: float) -> bool:
    """Return whether to prune after ``step`` steps.

    Args:
        config: Says how often.
        step: Steps made.
        share: What the schedule asks for.
        pruned: What the last pruning was given.
    """
    every = config.every
    if every is None:
        every = SHORT_EVERY if config.steps is None else PAPER_EVERY
    return share > pruned and (step % every == 0 or share == config.sparsity)


def prune_if_due(run: RunState, logger: RunLogger | None, used: float) -> None:
    """Prune a run if its schedule says so; all ranks do the same to the same weights.

    Adam's moments of what goes are cleared, so that nothing moves it any more. Averaged weights get
    the same masks. Chosen: a block that was zeroed does not come back. Validations start anew: the
    best of a run is the best at its last sparsity.

    Args:
        run: After a step.
        logger: The run's; None on all ranks but the first.
        used: Share of the budget used, in [0, 1].
    """
    config, progress = run.config.pruning, run.progress
    share = share_at(config, progress.step, used)
    if not is_due(config, progress.step, share, progress.sparsity):
        return
    prune_model(run.model, share, config.block_size)
    if run.averaged is not None:
        apply_masks(run.averaged, masks_of(run.model))
    clear_moments(run.model, run.optimizer)
    progress.sparsity = share
    progress.best_bits, progress.bad_validations = None, 0
    if logger is not None:
        logger.event("prune", progress.step, seconds=progress.seconds, sparsity=share)
        if share == config.sparsity:
            logger.say(f"step {progress.step}  {share:.1%} of the blocks are zero from now on")


@torch.no_grad()
def clear_moments(model: torch.nn.Module, optimizer: torch.optim.Adam) -> None:
    """Set the optimizer's moments to zero behind the masks."""
    for part in model.modules():
        if isinstance(part, Weight) and part.mask is not None:
            for moment in optimizer.state.get(part.v, {}).values():
                if moment.shape == part.v.shape:
                    moment.mul_(part.mask)
