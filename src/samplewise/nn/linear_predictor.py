"""Backward-adaptive linear prediction: the filter is computed from the samples that are known.

A decoder can do what the encoder did, so no side information is needed (Chen et al. 1992, LD-CELP,
ITU-T G.728). Here what was drawn so far takes the place of what was decoded.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from samplewise.config.samplernn import LONG_ERRORS
from samplewise.native import can_load_native, native_module

RECENT, LONG = 16, LONG_ERRORS
"""Samples over which the size of the prediction errors is averaged, each with half the weight."""
LEAST_SIZE = 0.4
"""Least size of prediction errors, in codes."""
SILENCE_POWER = 1e-5
"""Added to the summed squares of a window, so that silence has a filter: all zeros."""
FLAT_SILENCE_POWER = 1e-9
"""The same where the average spectrum was made flat."""
FALL = 64
"""Samples over which the window falls at its newest end."""

PredictorState = tuple[Float[Tensor, "batch order"], Float[Tensor, "batch long"]]
"""Filter of the current block, the latest sample's weight first; and the last predictions, oldest
first, in codes."""


class LinearPredictor(nn.Module):
    """Predicts each sample from the ``order`` samples before it.

    Every ``hop`` samples there is a new filter, from the last ``window`` samples. Filters of both
    methods are stable: 1 / A(z) has all its poles inside the unit circle, so errors of the
    prediction die away also where drawn samples are fed back. The autocorrelation method needs a
    window that fades, which widens every resonance: what is drawn is noise of the right colour.
    Burg's method (Burg 1975) needs none; its resonances are as narrow as the partials of a tone.

    Args:
        method: ``autocorrelation`` or ``burg``.
        tilt: Fixed predictor of Burg's method, the latest sample's weight first. It makes the
            average spectrum flat, and the adaptive one is computed from the result. The noise is
            white there, so it keeps what is drawn from leaving the average spectrum.
        order: Samples that a prediction looks back.
        window: Samples that a filter is computed from.
        hop: Samples between two filters.
        noise: Share of the power that counts as white noise: keeps poles away from the circle.
        damping: How much weaker each further weight is, as a share.
        amplitudes: Of every code, ascending.
        silence: Code of amplitude 0.
    """

    def __init__(
        self,
        method: str,
        tilt: Sequence[float],
        order: int,
        window: int,
        hop: int,
        noise: float,
        damping: float,
        amplitudes: Float32[Tensor, " q_levels"],
        silence: int,
    ):
        super().__init__()
        self.method, self.order, self.hop, self.noise = method, order, hop, noise
        self.silence = silence
        self.tilt = tuple(tilt)
        self.taps = order + (len(tilt) if method == "burg" else 0)
        self.amplitudes: Tensor
        self.window: Tensor
        shares = (1 - damping) ** torch.arange(1, self.taps + 1, dtype=torch.float64)
        self.damping: Tensor | None
        self.register_buffer("damping", shares.float() if damping else None, persistent=False)
        self.register_buffer("amplitudes", amplitudes, persistent=False)
        self.register_buffer("window", asymmetric_window(window), persistent=False)

    def initial_state(self, batch: int) -> PredictorState:
        """Return the state after silence."""
        new = self.window.new_zeros
        return new(batch, self.taps), new(batch, LONG) + float(self.silence)

    @torch.no_grad()
    def forward(
        self, codes: Int[Tensor, "batch past"], time: int, clock: int, state: PredictorState
    ) -> tuple[Float[Tensor, "batch {time}"], Float[Tensor, "batch past_errors"], PredictorState]:
        """Predict the ``time`` samples after the last but ``time - 1`` of ``codes``.

        Args:
            codes: The code before each sample to predict; before the first of them as many as the
                window, the order and the errors reach back.
            time: Number of samples to predict.
            clock: Samples before the first of them since the sequence began.
            state: After those samples.

        Returns:
            The predictions in codes (real numbers); the errors of the predictions of the last
            ``LONG + time - 1`` known samples, in codes; and the state after the call.
        """
        amplitudes = self.amplitudes[codes]
        known = codes.shape[1] - time + 1  # codes before the first sample to predict
        filters, last_places = state
        first = -clock % self.hop  # the first sample here that has a new filter
        blocks = max(0, -(-(time - first) // self.hop))
        start = first - self.hop if first else 0  # of the block that the first sample is in
        if blocks:
            begin = known + first - len(self.window)
            frames = amplitudes[:, begin:].unfold(1, len(self.window), self.hop)[:, :blocks]
            fresh = self.filters(frames)
            if self.damping is not None:
                fresh = fresh * self.damping
            everything = torch.cat([filters.unsqueeze(1), fresh], 1) if first else fresh
        else:
            everything = filters.unsqueeze(1)
        end = start + everything.shape[1] * self.hop
        # The first block may begin before the call, and the last one end after it.
        padded = nn.functional.pad(amplitudes, (self.taps + self.hop, end - time))
        with torch.autocast(amplitudes.device.type, enabled=False):
            predicted = self._filtered(padded[:, self.hop + known + start :], everything)
        places = self.place(predicted[:, -start : time - start])
        joined = torch.cat([last_places, places], 1)
        errors = codes[:, known - LONG :] - joined[:, : LONG + time - 1]
        return places, errors, (everything[:, -1].clone(), joined[:, -LONG:])

    def _filtered(
        self, past: Float[Tensor, "batch samples"], filters: Float[Tensor, "batch blocks taps"]
    ) -> Float[Tensor, "batch predicted"]:
        """Predict the samples of each block with its filter; ``past`` begins ``taps`` before."""
        batch, blocks, taps = filters.shape
        oldest_first = filters.flip(-1)
        if self.training and not past.is_cuda:  # quick, but its rounding depends on the batch
            windows = past.unfold(1, self.hop + taps - 1, self.hop)[:, :blocks]
            rows = windows.reshape(1, batch * blocks, -1)
            kernels = oldest_first.reshape(batch * blocks, 1, taps)
            return nn.functional.conv1d(rows, kernels, groups=batch * blocks).view(batch, -1)
        pasts = past.unfold(1, taps, 1)[:, : blocks * self.hop].unflatten(1, (-1, self.hop))
        return (pasts @ oldest_first.unsqueeze(-1)).flatten(1)

    def filters(
        self, frames: Float[Tensor, "batch blocks window"]
    ) -> Float[Tensor, "batch blocks {self.taps}"]:
        """Return the filter of each window of samples, the latest sample's weight first."""
        if self.method == "burg":
            # Training needs speed, and not the last bit.
            return self._burg(frames if self.training else frames.double()).to(frames.dtype)
        if self.training and _is_for_native(frames):
            return _native_filters(frames, self.window, self.order, self.noise)
        size = 1 << (frames.shape[-1] + self.order - 1).bit_length()
        spectrum = torch.fft.rfft((frames * self.window).double(), size)
        power = spectrum.real.square() + spectrum.imag.square()
        lags = torch.fft.irfft(power, size)[..., : self.order + 1]
        lags[..., 0] = lags[..., 0] * (1 + self.noise) + SILENCE_POWER
        places = torch.arange(self.order, device=lags.device)
        toeplitz = lags[..., (places[:, None] - places).abs()]
        factor = torch.linalg.cholesky_ex(toeplitz).L  # without a wait for the GPU's verdict
        right = lags[..., 1:].unsqueeze(-1)
        if factor.is_cuda:  # cholesky_solve allocates memory there, so no CUDA graph could hold it
            half = torch.linalg.solve_triangular(factor, right, upper=False)
            weights = torch.linalg.solve_triangular(factor.mT, half, upper=True)
        else:
            weights = torch.cholesky_solve(right, factor)
        return weights.squeeze(-1).to(frames.dtype)

    def _burg(
        self, frames: Float[Tensor, "batch blocks window"]
    ) -> Float[Tensor, "batch blocks {self.taps}"]:
        """Return the filters of what the fixed predictor leaves, joined with it."""
        start = len(self.tilt)
        flat = frames[..., start:].clone()
        for delay, weight in enumerate(self.tilt, 1):
            flat.add_(frames[..., start - delay : -delay], alpha=-weight)
        weights = burg(flat, self.order, self.noise)
        # 1 - (sum of filter) = (1 - tilt) (1 - weights), polynomials in the delay.
        combined = nn.functional.pad(weights, (0, start))
        for delay, weight in enumerate(self.tilt, 1):
            combined[..., delay - 1] += weight
            combined[..., delay : delay + self.order] -= weight * weights
        return combined

    def place(self, amplitudes: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the place of amplitudes among the codes, a real number in [0, q - 1].

        A straight line joins the amplitudes of neighbouring codes.
        """
        table = self.amplitudes
        below = torch.bucketize(amplitudes.contiguous(), table, right=True) - 1
        below = below.clamp(0, len(table) - 2)
        share = (amplitudes - table[below]) / (table[below + 1] - table[below])
        return below + share.clamp(0, 1)


def burg(
    flat: Float[Tensor, "*windows samples"], order: int, noise: float
) -> Float[Tensor, "*windows {order}"]:
    """Return the filter of each window by Burg's method, the latest sample's weight first.

    Each reflection coefficient k makes the errors of both directions of a lattice least. White
    noise of ``noise`` times the power adds what is expected of it to the sums. Single precision is
    computed in double precision by the compiled module, on a CPU that has it.
    """
    if flat.is_cuda and (kernel := _burg_kernel()) is not None:
        return kernel(flat, order, noise, FLAT_SILENCE_POWER)
    if _is_for_native(flat):
        return _native_filters(flat, None, order, noise)
    power = noise * flat.square().mean(-1, keepdim=True)
    forward, backward = flat[..., 1:].clone(), flat[..., :-1].clone()
    errors = forward.square().sum(-1, keepdim=True) + backward.square().sum(-1, keepdim=True)
    weights = flat.new_zeros(*flat.shape[:-1], order)
    for n in range(order):
        known, added = weights[..., :n], forward.shape[-1] * power
        both = (known * known.flip(-1)).sum(-1, keepdim=True)
        each = 1 + known.square().sum(-1, keepdim=True)
        product = torch.linalg.vecdot(forward, backward).unsqueeze(-1)
        k = 2 * (product + added * both) / (errors + 2 * added * each + FLAT_SILENCE_POWER)
        weights[..., :n] -= k * known.flip(-1)
        weights[..., n] = k.squeeze(-1)
        next_forward = torch.addcmul(forward, k, backward, value=-1)
        backward.addcmul_(k, forward, value=-1)
        # The errors at both ends have no partner at the next order.
        ends = next_forward[..., :1].square() + backward[..., -1:].square()
        errors = ((1 + k.square()) * errors - 4 * k * product - ends).clamp(min=0)
        forward, backward = next_forward[..., 1:], backward[..., :-1]
    return weights


def _is_for_native(windows: Tensor) -> bool:
    is_plain = windows.device.type == "cpu" and windows.dtype == torch.float32
    return is_plain and can_load_native()


def _native_filters(
    windows: Float[Tensor, "*windows samples"],
    fade: Float[Tensor, " samples"] | None,
    order: int,
    noise: float,
) -> Float[Tensor, "*windows {order}"]:
    """Return filters by the autocorrelation method with a window that fades, or by Burg's."""
    rows = windows.flatten(0, -2).contiguous()
    found = windows.new_empty(len(rows), order)
    shape = None if fade is None else fade.numpy()
    native_module().run_filters(rows.numpy(), shape, found.numpy(), noise, torch.get_num_threads())
    return found.view(*windows.shape[:-1], order)


@cache
def _burg_kernel() -> Callable[..., Tensor] | None:
    """Return Burg's method in Triton, or None on a machine without it."""
    try:
        from samplewise.nn.triton_burg import burg_weights
    except ImportError:
        return None
    return burg_weights


def error_sizes(
    errors: Float[Tensor, "batch past_errors"], largest: float
) -> tuple[Float[Tensor, "batch time"], Float[Tensor, "batch time"]]:
    """Return the mean size of the last ``RECENT`` and ``LONG`` errors before each sample.

    Args:
        errors: In codes.
        largest: Larger errors count as this one, in codes.
    """
    sizes = errors.abs().clamp(max=largest)
    return sizes[:, LONG - RECENT :].unfold(1, RECENT, 1).mean(-1), sizes.unfold(1, LONG, 1).mean(
        -1
    )


def mean_size(
    recent: Float[Tensor, "batch time"], long: Float[Tensor, "batch time"]
) -> Float[Tensor, "batch time"]:
    """Return the size of errors from both means of :func:`error_sizes`."""
    return (recent + long) / 2 + LEAST_SIZE


def asymmetric_window(length: int) -> Float32[Tensor, " {length}"]:
    """Return a window that rises as a squared sine and falls over its newest ``FALL`` samples."""
    rise = np.sin(np.linspace(0, np.pi / 2, length - FALL)) ** 2
    fall = np.cos(np.linspace(0, np.pi / 2, FALL)) ** 2
    return torch.from_numpy(np.concatenate([rise, fall]).astype(np.float32))


class LogisticPrior(torch.autograd.Function):
    """Log density of a logistic distribution at every code, up to a constant of each row.

    -2 log(2 cosh(z / 2)), z = (code - place) / scale. Autograd would keep six tensors of this size.
    """

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, place: Float[Tensor, " rows"], log_scale: Float[Tensor, " rows"], q_levels: int
    ) -> Float[Tensor, "rows {q_levels}"]:
        """Return it for every row."""
        codes = torch.arange(q_levels, dtype=place.dtype, device=place.device)
        half = 0.5 * torch.exp(-log_scale)
        z = (codes - place.unsqueeze(1)) * half.unsqueeze(1)
        ctx.save_for_backward(z, half)
        size = z.abs()
        return torch.exp(size * -2).log1p_().add_(size).mul_(-2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the gradients of place and log scale."""
        z, half = ctx.saved_tensors
        slope = torch.tanh(z).mul_(grad).mul_(-2)  # with respect to z
        for_place = -slope.sum(1) * half
        for_log_scale = -(slope * z).sum(1)
        return for_place, for_log_scale, None
