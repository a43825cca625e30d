"""Processes that train together, started by torchrun, by SLURM or by :func:`spawn`."""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException
from torch.multiprocessing.spawn import spawn as spawn_processes

from samplewise.errors import TrainingError
from samplewise.nn.device import use_device

PATIENCE_S = 1.0
"""Seconds that a rank waits before it reports a lost connection."""
LOST = re.compile(r"connection (closed|reset|refused)|broken pipe|remote process exited", re.I)
"""What gloo and NCCL say if another rank has ended."""


@dataclass(frozen=True)
class Ranks:
    """Place of this process among those that train together."""

    rank: int
    world: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def rows(self, lanes: int) -> slice:
        """Return the lanes of this rank.

        Raises:
            ValueError: If the lanes cannot be shared equally.
        """
        if lanes % self.world:
            raise ValueError(f"lanes = {lanes} must be a multiple of the {self.world} ranks")
        share = lanes // self.world
        return slice(self.rank * share, (self.rank + 1) * share)

    def wait(self) -> None:
        """Wait until every rank has called this method."""
        if self.world > 1:
            dist.barrier()

    def sum(self, *values: float | int) -> list[float]:
        """Return the sums of ``values`` over all ranks, in double precision."""
        if self.world == 1:
            return list(map(float, values))
        totals = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(totals)
        return totals.tolist()

    def gather(self, tensor: Tensor) -> Tensor:
        """Join the rows of all ranks, in rank order."""
        if self.world == 1:
            return tensor
        parts = [torch.empty_like(tensor) for _ in range(self.world)]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)


@dataclass(frozen=True)
class Agreement:
    """What the ranks agreed on in the exchange of the last step."""

    stop: bool = False
    """Whether one of them was asked to stop."""
    save: bool = False
    """Whether a checkpoint is due on one of them."""
    seconds: float = 0.0
    """Mean of their seconds of training."""


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Join the process group that the environment names, if any, and leave it at the end.

    Raises:
        TrainingError: Within the block, if another rank ends before this one.
    """
    environment = _slurm_environment() | dict(os.environ)
    world = int(environment.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks(0, 1, use_device(device))
        return
    os.environ.update(environment)
    rank, local_rank = int(environment["RANK"]), int(environment.get("LOCAL_RANK", "0"))
    own = use_device(device, local_rank)
    if own.type == "cuda":
        dist.init_process_group("nccl", device_id=own)
    else:
        dist.init_process_group("gloo")
    try:
        ranks = Ranks(rank, world, own)
        yield ranks
        ranks.wait()  # a rank that leaves early may cut off another's last exchange
    except RuntimeError as error:
        if not LOST.search(str(error)):
            raise
        raise TrainingError(
            f"rank {rank} lost another rank, whose own message says why it ended; give the same "
            "command to go on from the last checkpoint"
        ) from error
    finally:
        dist.destroy_process_group()


def is_launched() -> bool:
    """Return whether torchrun or SLURM started this process as one of several."""
    return int((_slurm_environment() | dict(os.environ)).get("WORLD_SIZE", "1")) > 1


def spawn(function: Callable[..., object], count: int, *arguments: Any) -> None:
    """Run ``function(*arguments)`` in ``count`` processes on this machine; they can join a group.

    Raises:
        TrainingError: If one of them failed; the others have been ended.
    """
    # The store is opened here and stays open: a port that is free now may be taken later.
    store = dist.TCPStore(  # pyright: ignore[reportPrivateImportUsage]  # public, says its manual
        "127.0.0.1", 0, is_master=True, wait_for_workers=False
    )
    try:
        spawn_processes(_enter, (count, store.port, function, arguments), nprocs=count)
    except ProcessRaisedException as error:
        reason = str(error).strip().splitlines()[-1].partition(": ")[2]
        raise TrainingError(f"rank {error.error_index} failed: {reason or error}") from error
    except ProcessExitedException as error:
        raise TrainingError(
            f"rank {error.error_index} died ({error}); give the same command to go on from the "
            "last checkpoint"
        ) from error


def _enter(
    rank: int, count: int, port: int, function: Callable[..., object], arguments: tuple[Any, ...]
) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # no rank opens the port: the parent has
    }
    try:
        function(*arguments)
    except (RuntimeError, TrainingError):
        # If another rank failed and the connection broke, the error of that rank comes first.
        time.sleep(PATIENCE_S)
        raise
    # All files are closed and on disk. A normal exit sometimes aborts in threads of the process
    # group that still run, and a rank that has finished would count as failed.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _slurm_environment() -> dict[str, str]:
    """Return torchrun's variables made from srun's; torchrun's own take precedence.

    ``SLURM_STEP_*`` are set by srun alone: a batch script or a shell of salloc is no rank.
    """
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) == 1:
        return {}
    job = int(os.environ.get("SLURM_JOB_ID", "0"))
    return {
        "RANK": os.environ["SLURM_PROCID"],
        "WORLD_SIZE": os.environ["SLURM_STEP_NUM_TASKS"],
        "LOCAL_RANK": os.environ.get("SLURM_LOCALID", "0"),
        "MASTER_ADDR": first_host(os.environ.get("SLURM_STEP_NODELIST", "127.0.0.1")),
        "MASTER_PORT": str(20_000 + job % 10_000),
    }


def first_host(hosts: str) -> str:
    """Return the first host of SLURM's compressed list: ``a02`` of ``a[02-04,7],b1``."""
    found = re.match(r"([^,\[]*)(?:\[([^],-]+)[^]]*\])?([^,\[]*)", hosts)
    return "".join(part or "" for part in found.groups()) if found else hosts
