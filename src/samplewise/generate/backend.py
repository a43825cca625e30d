"""Back ends: what computes the draws.

With float32 weights all give the same codes for a seed, up to rounding ties; narrower weights are
a slightly different model.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int, Int64

from samplewise.engine.sampler import ConditioningVectors, NativeSampler, WeightFormat
from samplewise.engine.weights import can_pack
from samplewise.errors import EngineError
from samplewise.generate.batch_invariance import pick_threads
from samplewise.generate.graphed import GraphedSampler
from samplewise.generate.persistent import PersistentSampler, obstacle
from samplewise.generate.reference import ReferenceSampler
from samplewise.generate.segments import SegmentSampler
from samplewise.generate.step_operators import Products
from samplewise.generate.wavefront import NativeWavefrontSampler, WavefrontSampler
from samplewise.models.base import AutoregressiveModel
from samplewise.models.segment_model import SegmentModel
from samplewise.models.step_model import StepModel
from samplewise.models.subscale_wavernn import SubscaleWaveRNN
from samplewise.models.wavernn import WaveRNN
from samplewise.native import default_threads, has_native, native_module
from samplewise.progress import ProgressCallback


@runtime_checkable
class Sampler(Protocol):
    """Draws codes; the state of its clips is an argument and a result."""

    name: str

    @property
    def lookahead(self) -> int:
        """Uniforms that :meth:`draw` needs beyond those of the samples it returns."""
        ...

    @property
    def max_batch(self) -> int:
        """Largest number of clips that :meth:`start` takes at once."""
        ...

    def prefill(
        self,
        prompt: Int[np.ndarray, " samples"],
        progress: ProgressCallback | None = None,
        conditioning: ConditioningVectors | None = None,
    ) -> Any:
        """Run a prompt through the model; return the state of one clip after it."""
        ...

    def start(self, clips: int, after: Any = None) -> Any:
        """Return the state of clips that begin in silence, or after what :meth:`prefill` gave."""
        ...

    def draw(
        self,
        sampler_state: Any,
        uniforms: Float32[np.ndarray, "clips numbers"],
        temperature: Float64[np.ndarray, "*clips numbers"] | None = None,
        conditioning: ConditioningVectors | None = None,
    ) -> tuple[Int64[np.ndarray, "clips samples"], Float64[np.ndarray, "clips samples"], Any]:
        """Return codes, ln p of each at temperature 1 in nats, and the next state.

        There are ``lookahead`` more uniforms, and temperatures, than samples.
        """
        ...

    def teacher_force(
        self,
        sampler_state: Any,
        codes: Int[np.ndarray, "clips samples"],
        conditioning: ConditioningVectors | None = None,
    ) -> Any:
        """Feed codes as if they had been drawn; return the next state."""
        ...


@dataclass(frozen=True)
class Backend:
    """Which back end, and its settings."""

    name: Literal["auto", "native", "graphed", "persistent", "reference"] = "auto"
    """auto: native where it can run the model; on a GPU graphed where it can, else reference."""
    weights: WeightFormat = "int8"
    """How the native engine stores weights."""
    threads: int | None = None
    """CPU threads; None: every core for the native engine, torch's setting for the others."""
    products: Products = "float32"
    """tf32: a GPU rounds operands of products to 10 bits of mantissa (graphed alone)."""
    min_p: float = 0.0
    """Codes at most so many times as probable as the most probable one are not drawn, in [0, 1)."""

    def __post_init__(self) -> None:
        """Check what every model needs."""
        if not 0 <= self.min_p < 1:
            raise ValueError(f"min_p = {self.min_p} must lie in [0, 1)")

    def resolve(self, model: AutoregressiveModel) -> "Backend":
        """Return the same with a name other than ``auto``.

        Raises:
            EngineError: If what was asked for cannot run this model.
        """
        backend = self._choose(model)
        if self.products != "float32" and backend.name != "graphed":
            raise EngineError(
                f"products = {self.products} are for the graphed back end, not {backend.name}; "
                "use --backend graphed"
            )
        return backend

    def _choose(self, model: AutoregressiveModel) -> "Backend":
        if self.name == "reference":
            return self
        values, in_steps = model.real_values, isinstance(model, StepModel)
        if self.name == "graphed":
            if not in_steps:
                raise EngineError(
                    "the graphed back end draws one sample after the other, but a "
                    f"{model.config.family} model draws in another order; use --backend reference"
                )
            return self
        if self.name == "persistent":
            reason = obstacle(model)
            if reason is not None:
                raise EngineError(f"the persistent back end cannot draw this model: {reason}")
            return self
        fits = values.device.type == "cpu" and values.dtype == torch.float32
        if self.name == "native":
            if not fits:
                raise EngineError(
                    f"the native engine runs float32 models on the CPU, not {values.dtype} on "
                    f"{values.device}; use --device cpu or --backend reference"
                )
            native_module()
            return self
        if values.device.type == "cuda" and in_steps:
            return replace(self, name="graphed")
        return replace(
            self, name="native" if fits and can_pack(model) and has_native() else "reference"
        )

    def for_clips(self, model: AutoregressiveModel, clips: int, min_p: float) -> "Backend":
        """Return the same with ``min_p``, and with threads that suit ``clips`` clips at once."""
        backend = replace(self, min_p=min_p)
        if backend.name in BY_TORCH and backend.threads is None:
            backend = replace(backend, threads=pick_threads(model, clips))
        return backend

    def sampler(self, model: AutoregressiveModel, clips: int) -> Sampler:
        """Return what draws up to ``clips`` clips at once.

        Raises:
            ValueError: If codes shall be cut off, but the model draws amplitudes from a density.
        """
        if self.min_p and model.head.is_density:
            raise ValueError(
                f"min_p = {self.min_p}, but a mixture of Gaussians has no codes to cut"
            )
        name = self.resolve(model).name
        make = BY_TORCH.get(name)
        if make is not None:
            if name == "graphed":
                make = partial(graphed_sampler, products=self.products)
            if self.threads is None or model.real_values.device.type != "cpu":
                return make(model, clips, self.min_p)
            with torch_threads(self.threads):  # rows of a batch are planned with these threads
                return ThreadedSampler(make(model, clips, self.min_p), self.threads)
        if isinstance(model, SubscaleWaveRNN):
            return NativeWavefrontSampler(model, clips, self.weights, self.threads, self.min_p)
        return NativeSampler(model, clips, self.weights, self.threads, min_p=self.min_p)

    def describe(self, model: AutoregressiveModel) -> str:
        """Return a description for messages: ``native back end (int8), up to 2 threads``."""
        name = self.resolve(model).name
        if name == "native":
            threads = self.threads or default_threads()
            return f"native back end ({self.weights}), up to {_threads(threads)}"
        device = model.real_values.device
        threads = self.threads or torch.get_num_threads()
        where = f"cpu, {_threads(threads)}" if device.type == "cpu" else str(device)
        rounded = "" if self.products == "float32" else f" ({self.products})"
        return f"{name} back end{rounded} on {where}"


def reference_sampler(model: AutoregressiveModel, clips: int, min_p: float = 0.0) -> Sampler:
    """Return what draws up to ``clips`` clips with PyTorch, in the order that the model needs."""
    if isinstance(model, SubscaleWaveRNN):
        return WavefrontSampler(model, clips, min_p)
    if isinstance(model, SegmentModel):
        return SegmentSampler(model, clips, min_p)
    assert isinstance(model, StepModel)
    return ReferenceSampler(model, clips, min_p)


def graphed_sampler(
    model: AutoregressiveModel, clips: int, min_p: float = 0.0, products: Products = "float32"
) -> Sampler:
    """Return what draws up to ``clips`` clips with PyTorch, many samples a launch."""
    assert isinstance(model, StepModel)
    return GraphedSampler(model, clips, min_p, products)


def persistent_sampler(model: AutoregressiveModel, clips: int, min_p: float = 0.0) -> Sampler:
    """Return what draws up to 4 clips of a WaveRNN on a GPU, thousands of samples a launch."""
    assert isinstance(model, WaveRNN)
    return PersistentSampler(model, clips, min_p)


BY_TORCH: dict[str, Callable[..., Sampler]] = {
    "reference": reference_sampler,
    "graphed": graphed_sampler,
    "persistent": persistent_sampler,
}
"""Back ends in PyTorch, on any device."""


class ThreadedSampler:
    """A sampler that computes with so many threads of torch, whose setting it leaves as it was."""

    def __init__(self, sampler: Sampler, threads: int):
        self._sampler, self._threads = sampler, threads
        self.name = sampler.name

    @property
    def lookahead(self) -> int:
        """Uniforms that :meth:`draw` needs beyond those of the samples it returns."""
        return self._sampler.lookahead

    @property
    def max_batch(self) -> int:
        """Largest number of clips that :meth:`start` takes at once."""
        return self._sampler.max_batch

    def prefill(self, *arguments: Any, **named: Any) -> Any:
        """As the sampler does."""
        with torch_threads(self._threads):
            return self._sampler.prefill(*arguments, **named)

    def start(self, *arguments: Any, **named: Any) -> Any:
        """As the sampler does."""
        with torch_threads(self._threads):
            return self._sampler.start(*arguments, **named)

    def draw(self, *arguments: Any, **named: Any) -> Any:
        """As the sampler does."""
        with torch_threads(self._threads):
            return self._sampler.draw(*arguments, **named)

    def teacher_force(self, *arguments: Any, **named: Any) -> Any:
        """As the sampler does."""
        with torch_threads(self._threads):
            return self._sampler.teacher_force(*arguments, **named)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch compute with ``count`` CPU threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _threads(count: int) -> str:
    return f"{count} thread{'s' * (count > 1)}"
