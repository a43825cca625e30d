"""The graphed back end: on a GPU many samples of a batch are one CUDA graph.

The reference launches dozens of operators a sample, and the host is slower at that than the GPU at
computing them. Here a graph holds some dozens of samples, from the codes before them to their
log-probabilities. States, random numbers, temperatures and conditioning vectors are copied to
fixed places in memory before a graph is launched. Nothing waits for the GPU until the codes of a
whole :meth:`GraphedSampler.draw` are copied to the host. The operators are those of
:mod:`samplewise.generate.fused_step`, or else of the reference. On a CPU they run without a graph,
on the same fixed places.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from samplewise.generate.fused_step import fuse
from samplewise.generate.reference import ReferenceSampler, SamplerState
from samplewise.generate.step_operators import Products
from samplewise.models.step_model import StepModel
from samplewise.nn.state import map_tensors, to_tensors

SAMPLES = 64
"""Samples of a graph, about: enough that launching it costs little."""
Drawn = tuple[Tensor, Tensor, SamplerState]
logger = logging.getLogger(__name__)


@dataclass
class _Static:
    """Samples that are always drawn in the same places of memory."""

    inputs: Any
    """State, random numbers, temperatures and conditioning vectors."""
    graph: torch.cuda.CUDAGraph | None = None
    """None: their operators are launched one by one."""
    results: Drawn | None = None
    """Where the graph leaves what it draws."""


class GraphedSampler(ReferenceSampler):
    """Draws as the reference does, many samples a launch.

    What a step computes depends on its place among the frames. So there is a graph for each
    place at which graphs begin, and for each of two lengths. A draw that begins within a frame is
    launched operator by operator up to the next frame, as are the samples of its last frame if it
    ends within one.

    Args:
        model: As for the reference.
        clips: Largest number of clips that are drawn together.
        min_p: As for the reference.
        products: Precision of the products.

    Raises:
        ValueError: If products are ``tf32``, but the model is not float32.
    """

    name = "graphed"

    def __init__(
        self,
        model: StepModel,
        clips: int = 1,
        min_p: float = 0.0,
        products: Products = "float32",
    ):
        super().__init__(model, clips, min_p)
        dtype, self.products = model.real_values.dtype, products
        if products == "tf32" and dtype != torch.float32:
            raise ValueError(f"products = tf32 are for float32 models, not for {dtype}")
        self.fused = fuse(model, products)
        """What draws with few operators; None for a model that has nothing of the kind."""
        period = model.config.top_frame
        frame = getattr(model.config, "frame_sizes", (period,))[-1]
        # A graph either holds whole periods of the clock, or a period holds whole graphs.
        if period <= SAMPLES:
            longest = -(-SAMPLES // period) * period
        else:
            longest = max(
                size for size in range(frame, max(frame, SAMPLES) + 1, frame) if period % size == 0
            )
        self.sizes = (longest, frame)
        """Samples of a graph: as many as possible, and those between such graphs."""
        self._period = period
        self._captures = model.real_values.device.type == "cuda"
        self._statics: dict[Any, _Static] = {}
        self._pool: Any = None

    def draw(self, *arguments: Any, **named: Any) -> Any:
        """As the reference does."""
        is_rounded = self.products == "tf32" and self.model.real_values.is_cuda
        # cuDNN's layers pack their weights every time.
        with torch.backends.cudnn.flags(enabled=False), _tf32(is_rounded):
            return super().draw(*arguments, **named)

    def _parts(self, clock: int, samples: int) -> Iterator[int]:
        longest, frame = self.sizes
        end = clock + samples
        while clock < end:
            if self._fits(clock, longest) and clock + longest <= end:
                size = longest
            elif self._fits(clock, frame) and clock + frame <= end:
                size = frame
            else:  # to the next frame
                size = min(end, (clock // frame + 1) * frame) - clock
            yield size
            clock += size

    def _fits(self, clock: int, size: int) -> bool:
        """Return whether a graph of ``size`` samples may begin at ``clock``."""
        return clock % min(size, self._period) == 0

    def _draw_part(
        self,
        sampler_state: SamplerState,
        numbers: Tensor,
        temperatures: Tensor | None,
        vectors: Tensor | None,
    ) -> Drawn:
        samples, clock = len(numbers), sampler_state.model.clock
        if samples not in self.sizes or not self._fits(clock, samples):
            return super()._draw_part(sampler_state, numbers, temperatures, vectors)
        inputs = (sampler_state, numbers, temperatures, vectors)
        key = (clock % self._period, samples, len(sampler_state.previous), temperatures is None)
        static = self._statics.get(key)
        if static is None:
            static = self._statics[key] = _Static(_copy_all(inputs))
            if self._captures:
                self._capture(static)
        else:
            for kept, new in zip(_tensors(static.inputs), _tensors(inputs), strict=True):
                kept.copy_(new)
        if static.graph is not None:
            static.graph.replay()
        drawn, scores, after = static.results or self._launch(*static.inputs)
        after, drawn, scores, _ = _copy_all((after, drawn, scores, None))
        state = replace(after.model, clock=clock + samples)
        return drawn, scores, SamplerState(state, after.previous, sampler_state.clips)

    def _launch(
        self,
        sampler_state: SamplerState,
        numbers: Tensor,
        temperatures: Tensor | None,
        vectors: Tensor | None,
    ) -> Drawn:
        """Draw whole frames by operators, as few as there are."""
        inputs = (sampler_state, numbers, temperatures, vectors)
        if self.fused is None:
            return super()._draw_part(*inputs)
        drawn, params, after = self.fused.draw(*inputs, self.min_p)
        scores = self.model.head.log_prob(params.flatten(0, 1), drawn.flatten())
        return drawn, scores.view_as(drawn), after

    def _capture(self, static: _Static) -> None:
        """Make a graph of what draws samples from ``static.inputs``."""

        def compute() -> Drawn:
            return self._launch(*static.inputs)

        try:
            static.graph, static.results = capture(compute, self._pool)
        except RuntimeError as error:
            self._captures = False
            reason = str(error).partition("\n")[0]
            logger.warning("no CUDA graph (%s): samples are launched by operators", reason)
        else:
            self._pool = static.graph.pool()


def capture(compute: Callable[[], Drawn], pool: Any = None) -> tuple[torch.cuda.CUDAGraph, Drawn]:
    """Return a CUDA graph of ``compute``, and where it leaves its results."""
    current = torch.cuda.current_stream()
    side = torch.cuda.Stream()
    side.wait_stream(current)
    with torch.cuda.stream(side):
        compute()  # so that libraries have their buffers
    current.wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            results = compute()
    finally:
        torch.cuda.set_stream(current)  # torch leaves another one after an error
    return graph, results


@contextmanager
def _tf32(is_rounded: bool) -> Iterator[None]:
    """Let a GPU round the operands of products within the block."""
    before = torch.get_float32_matmul_precision()
    if is_rounded:
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        if is_rounded:
            torch.set_float32_matmul_precision(before)


def _copy_all(parts: Any) -> Any:
    sampler_state, *tensors = parts
    state = map_tensors(sampler_state.model, _copy)
    copied = SamplerState(state, _copy(sampler_state.previous), sampler_state.clips)
    first, second, third = (None if tensor is None else _copy(tensor) for tensor in tensors)
    return copied, first, second, third


def _copy(tensor: Tensor) -> Tensor:
    return tensor.clone(memory_format=torch.contiguous_format)


def _tensors(parts: Any) -> list[Tensor]:
    sampler_state, *tensors = parts
    state = to_tensors(sampler_state.model).values()
    return [*state, sampler_state.previous, *(part for part in tensors if part is not None)]
