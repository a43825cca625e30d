"""A step of training without the host: on a GPU it is one CUDA graph.

Inputs, state, learning rate and results have fixed places in memory. The host fills the inputs in,
launches the graph and reads the results of the step before, so it never waits for what it has just
launched. A cost that has exploded is noticed on the device, and from then on the optimizer leaves
the weights as they are. On a CPU there is no graph: the same operators run at each step.
"""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from samplewise.config.fields import Cell
from samplewise.data.lanes import Batch, StreamCursor
from samplewise.evaluate.nll import nats_to_bits
from samplewise.nn.matmul import products_by
from samplewise.nn.recurrence_choice import DESCRIPTIONS, choose_recurrence, recurrence_by
from samplewise.nn.rnn import RecurrentLayer
from samplewise.nn.state import map_tensors, to_tensors
from samplewise.training.run import RunState
from samplewise.training.tbptt import Subsequence, accumulate_gradients, clip_gradients
from samplewise.training.train_step import (
    autocast,
    average_weights,
    check_cost,
    learning_rate,
    most_bits,
)

WARM_UP = 3
"""Steps before a graph is captured, so that libraries have their buffers and Adam its moments."""
logger = logging.getLogger(__name__)


def uses_graph(run: RunState) -> bool:
    """Return whether steps of a run are launched as CUDA graphs."""
    is_on_gpu = run.ranks.device.type == "cuda"
    return is_on_gpu and run.config.cuda_graph and needs_the_host(run) is None


def describe_launches(run: RunState) -> str:
    """Return a line about how steps are launched on a GPU."""
    if uses_graph(run):
        return "each step is one CUDA graph"
    reason = needs_the_host(run) or "--no-cuda-graph"
    return f"each step is launched operator by operator ({reason})"


def describe_recurrence(run: RunState) -> Iterator[str]:
    """Yield a line about each kind of recurrent layer, on a GPU: how it runs."""
    config, device = run.config, run.ranks.device
    dtype = torch.float32 if autocast(run) is None else torch.bfloat16
    batch = config.lanes // run.ranks.world // config.accumulate
    layers = [layer for layer in run.model.modules() if isinstance(layer, RecurrentLayer)]
    with recurrence_by(config.recurrence):
        kinds: dict[tuple[Cell, int], None] = {(layer.cell, layer.dim): None for layer in layers}
        for cell, dim in kinds:
            way = choose_recurrence(cell, config.seq_len, batch, dim, dtype, device)
            yield f"recurrent layers ({cell}, {dim} units): {DESCRIPTIONS[way]}"


def needs_the_host(run: RunState) -> str | None:
    """Return why steps of a run cannot be static; None if they can."""
    if run.ranks.world > 1:
        return "several ranks exchange gradients"
    if run.config.optimizer.name != "adam":
        return f"{run.config.optimizer.name} takes its step sizes from the host"
    if run.config.pruning.sparsity:
        return "pruning changes the masks"
    return None


@dataclass
class _Launched:
    """A step whose results were not read yet."""

    step: int
    """Steps made before it."""
    samples: int
    cursor: StreamCursor
    """Where the stream was after its batch."""
    results: Tensor
    """On the host, once ``done``: cost in nats, norm of the gradient."""
    done: torch.cuda.Event | None


class StaticStep:
    """The step of a run; :func:`needs_the_host` says whether there can be one.

    Args:
        run: What is trained. Its state is from now on a part of this object's memory.
    """

    def __init__(self, run: RunState):
        self._run = run
        self._subsequence = Subsequence(run.model, run.config.sample_stride)
        device = run.ranks.device
        self._on_gpu = self._captures = device.type == "cuda"
        run.state = map_tensors(run.state, lambda tensor: tensor.clone().contiguous())
        # Fused Adam reads a rate on a GPU as float32. On a CPU it is the host's own number.
        precision = torch.float32 if self._on_gpu else torch.float64
        self._rate = torch.zeros((), dtype=precision, device=device)
        self._weight = torch.zeros((), device=device)
        self._failed = torch.zeros((), device=device)
        self._results = torch.zeros(2, dtype=torch.float64, device=device)
        self._on_host = [
            torch.zeros(2, dtype=torch.float64, pin_memory=self._on_gpu) for _ in range(2)
        ]
        (group,) = run.optimizer.param_groups
        group["lr"], group["capturable"] = self._rate, self._on_gpu
        run.optimizer.found_inf = self._failed  # pyright: ignore[reportAttributeAccessIssue]
        self._batch: Batch | None = None
        self._launched: _Launched | None = None
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self._made = 0
        seq_len, stride = run.config.seq_len, run.config.sample_stride
        self._period = math.lcm(seq_len * stride, run.model.config.top_frame)

    def __call__(self) -> tuple[float, int, float]:
        """Launch a step; return what the step before cost, as :func:`train_step` does.

        The first call returns no samples.

        Raises:
            TrainingError: If the cost of the step before has exploded.
        """
        run, progress = self._run, self._run.progress
        batch = run.stream.next_batch()
        if self._batch is None:
            self._batch = batch.map(lambda tensor: tensor.clone().contiguous())
        else:
            for place, tensor in zip(self._batch.tensors(), batch.tensors(), strict=True):
                place.copy_(tensor, non_blocking=True)
        self._rate.fill_(learning_rate(run))
        self._weight.fill_(1 / batch.samples)
        clock = run.state.clock
        library = "blas" if run.config.matmul == "blas" else "onednn"
        with products_by(library), recurrence_by(run.config.recurrence):
            self._launch(clock)
        results, done = self._on_host[self._made % 2], None
        results.copy_(self._results, non_blocking=True)
        if self._on_gpu:
            done = torch.cuda.Event()
            done.record()
        before, self._made = self._launched, self._made + 1
        self._launched = _Launched(progress.step, batch.samples, run.stream.cursor, results, done)
        run.state = replace(run.state, clock=clock + run.config.seq_len)
        progress.step += 1
        progress.samples_seen += batch.samples
        average_weights(run)
        return self._read(before)

    def settle(self) -> tuple[float, int, float]:
        """Wait for the last step; return what it cost.

        Raises:
            TrainingError: As :meth:`__call__`.
        """
        last, self._launched = self._launched, None
        return self._read(last)

    def _read(self, launched: _Launched | None) -> tuple[float, int, float]:
        if launched is None:
            return 0.0, 0, math.nan
        if launched.done is not None:
            launched.done.synchronize()
        nats, norm = launched.results.tolist()
        bits = nats_to_bits(nats / launched.samples)
        check_cost(self._run, launched.step, bits, norm, launched.cursor)
        return nats, launched.samples, norm

    def _launch(self, clock: int) -> None:
        """Make the step at ``clock``, by a graph if there can be one."""
        if not self._captures:
            return self._compute(clock)
        if self._made < WARM_UP:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                self._compute(clock)
            return torch.cuda.current_stream().wait_stream(side)
        # What a step does depends on its place among the frames, and among the strided samples.
        place = clock % self._period
        if place not in self._graphs:
            try:
                self._graphs[place] = self._capture(clock)
            except RuntimeError as error:
                self._captures = False
                reason = str(error).partition("\n")[0]
                logger.warning("no CUDA graph (%s): a step is launched by its operators", reason)
                return self._compute(clock)
        self._graphs[place].replay()

    def _capture(self, clock: int) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        shared = next(iter(self._graphs.values())).pool() if self._graphs else None
        # The thread that reads batches ahead may go on meanwhile.
        with torch.cuda.graph(graph, pool=shared, capture_error_mode="thread_local"):
            self._compute(clock)
        return graph

    def _compute(self, clock: int) -> None:
        """Make a step out of what is in the static memory, and leave the results there."""
        run, config = self._run, self._run.config
        assert self._batch is not None
        run.optimizer.zero_grad(set_to_none=True)
        nats, after = accumulate_gradients(
            self._subsequence,
            self._batch,
            replace(run.state, clock=clock),
            groups=config.accumulate,
            weight=self._weight,
            autocast=autocast(run),
        )
        clip, limit = config.optimizer.clip, config.optimizer.clip_limit
        norm = clip_gradients(list(run.model.parameters()), clip, limit)
        with torch.no_grad():
            bits = nats_to_bits(nats * self._weight)
            sound = bits.isfinite() & norm.isfinite() & (bits < most_bits(run))
            self._failed.copy_(torch.maximum(self._failed, (~sound).float()))
            run.optimizer.step()
            self._results.copy_(torch.stack([nats, norm.double()]))
            places = to_tensors(run.state).values()
            for place, tensor in zip(places, to_tensors(after).values(), strict=True):
                place.copy_(tensor)
