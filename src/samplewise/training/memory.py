"""Memory that training needs, and that the machine has; too large a run is refused at once."""

import os
from contextlib import suppress
from pathlib import Path

from samplewise.config.training import TrainConfig
from samplewise.errors import TrainingError
from samplewise.models.memory import gigabytes

CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Where Linux says what a container may take."""


def training_memory(config: TrainConfig, parameters: int) -> int:
    """Return the least bytes that a step takes.

    Weights, gradients, Adam's two moments and averaged weights; the logits of a subsequence, and
    no other activations.
    """
    copies = 4 + bool(config.ema)
    lanes, model = config.lanes // config.accumulate // config.ranks, config.model
    logits = 512 if model.quantizer == "dual" else model.q_levels
    if getattr(model, "head", "categorical") != "categorical":
        logits = 0
    return 4 * (copies * parameters + lanes * config.seq_len * logits)


def machine_memory() -> int | None:
    """Return the bytes of memory that this process can have at most; None if it is not known."""
    sizes = []
    with suppress(ValueError, OSError, AttributeError):
        sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in CONTAINER_LIMITS:
        with suppress(ValueError, OSError):
            sizes.append(int(path.read_text()))
    return min(sizes, default=None)


def check_training_memory(config: TrainConfig, parameters: int) -> None:
    """Refuse training that cannot fit into the machine's memory.

    Raises:
        TrainingError: It says what is needed and what there is.
    """
    needed, there = training_memory(config, parameters), machine_memory()
    if there is not None and needed > there:
        raise TrainingError(
            f"{parameters / 1e6:.0f} M parameters and {config.lanes} lanes of {config.seq_len} "
            f"samples need at least {gigabytes(needed)} of memory, but this machine has "
            f"{gigabytes(there)}; choose a smaller model (--model.dim), fewer --lanes or a larger "
            "--accumulate"
        )
