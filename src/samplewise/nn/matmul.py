"""Matrix products in float32 on x86 CPUs through oneDNN.

torch gives them to MKL, which on AMD processors leaves AVX-512 unused: oneDNN is there up to twice
as fast. Without AVX-512 MKL is the faster one: training measures both (:func:`faster_library`).
Small products, other types and other devices stay with torch.
"""

import math
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

MEASURED_SECONDS, CLEARLY = 0.05, 0.95
MIN_ROWS, MIN_WEIGHTS, MANY_ROWS = 4, 2**16, 1024
"""Below these, the overhead of a call outweighs the gain."""
IS_X86 = platform.machine().lower() in ("x86_64", "amd64")


def _find_linear() -> Any:
    if not (IS_X86 and torch.backends.mkldnn.is_available()):
        return None
    try:  # the operator that torch.compile calls for a linear layer; absent from some builds
        linear = torch.ops.mkldnn._linear_pointwise.default
        probe = linear(torch.ones(2, 3), torch.ones(1, 3), None, "none", [], "")
    except (AttributeError, RuntimeError, NotImplementedError):
        return None
    return linear if probe.tolist() == [[3.0], [3.0]] else None


_linear = _find_linear()
Library = Literal["onednn", "blas"]
"""What multiplies: oneDNN where it is of use, or torch's BLAS alone (MKL on x86)."""
_library: ContextVar[Library] = ContextVar("library", default="onednn")


@contextmanager
def products_by(library: Library) -> Iterator[None]:
    """Leave the products of this block to ``library``."""
    before = _library.set(library)
    try:
        yield
    finally:
        _library.reset(before)


@cache
def faster_library() -> Library:
    """Return the library that is faster in a step of a recurrent layer; measured once a process.

    oneDNN unless the other is clearly faster, so that chance does not decide.
    """
    if _linear is None:
        return "blas"
    h, weight = torch.ones(16, 256), torch.ones(768, 256)
    seconds: dict[Library, float] = {"onednn": math.inf, "blas": math.inf}
    stop = time.perf_counter() + MEASURED_SECONDS
    while math.isinf(seconds["blas"]) or time.perf_counter() < stop:
        for library in seconds:
            with products_by(library):
                start = time.perf_counter()
                product(h, weight)
                # The shortest counts: other programs only add time.
                seconds[library] = min(seconds[library], time.perf_counter() - start)
    return "blas" if seconds["blas"] < CLEARLY * seconds["onednn"] else "onednn"


def uses_onednn(a: Float[Tensor, "rows inner"], columns: int) -> bool:
    """Say whether ``a`` times a matrix with ``columns`` columns is left to oneDNN.

    The answer is the same for 4 rows and for 1,023: a step then gives a clip the same bits whatever
    the batch.
    """
    rows, inner = a.shape
    return (
        _linear is not None
        and _library.get() == "onednn"
        and a.dtype == torch.float32
        and a.device.type == "cpu"
        and rows >= MIN_ROWS
        and (inner * columns >= MIN_WEIGHTS or rows >= MANY_ROWS)
        and not torch.is_autocast_enabled("cpu")
    )


def product(
    a: Float[Tensor, "rows inner"],
    b: Float[Tensor, "columns inner"],
    bias: Float[Tensor, " columns"] | None = None,
) -> Float[Tensor, "rows columns"]:
    """Return ``a`` times ``b`` transposed, plus ``bias``; not differentiable.

    A ``b`` of lower precision is an operand only: ``a`` is rounded to it, the result has a's type.
    """
    if a.dtype != b.dtype:
        return product(a.to(b.dtype), b, bias).to(a.dtype)
    if uses_onednn(a, b.shape[0]):
        return _linear(a, b, bias, "none", [], "")
    return a @ b.t() if bias is None else torch.addmm(bias, a, b.t())


def add_product(
    c: Float[Tensor, "rows columns"],
    a: Float[Tensor, "rows inner"],
    b: Float[Tensor, "columns inner"],
    out: Float[Tensor, "rows columns"] | None = None,
) -> Float[Tensor, "rows columns"]:
    """Return ``c`` plus ``a`` times ``b`` transposed, in ``out`` if given; not differentiable.

    Precision is as in :func:`product`.
    """
    if a.dtype != b.dtype:
        return torch.add(c, product(a, b), out=out)
    if uses_onednn(a, b.shape[0]):
        return torch.add(c, _linear(a, b, None, "none", [], ""), out=out)
    return torch.addmm(c, a, b.t(), out=out)


def linear(
    x: Float[Tensor, "*lead inputs"],
    weight: Float[Tensor, "outputs inputs"],
    bias: Float[Tensor, " outputs"] | None = None,
) -> Float[Tensor, "*lead outputs"]:
    """Return what ``F.linear`` returns, with the same gradients."""
    rows = x.reshape(-1, x.shape[-1])
    if not uses_onednn(rows, weight.shape[0]):
        return F.linear(x, weight, bias)
    return _Linear.apply(rows, weight, bias).view(*x.shape[:-1], weight.shape[0])


class _Linear(torch.autograd.Function):
    """y = x w^T + b."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad
        return (
            product(grad, weight.t()) if for_x else None,
            product(grad.t(), x.t()) if for_weight else None,
            grad.sum(0) if for_bias else None,
        )
