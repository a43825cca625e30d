"""A Triton kernel that draws many samples of a WaveRNN in one launch, for GPUs.

Kalchbrenner et al. 2018, section 2.1: one persistent kernel, whose programs hold the weights in
registers. Here they are float32: the registers of an H100 hold 8.6 million words.

A program owns some units. It computes their rows of R and O1 to O4, and sends the results to the
others, four times a sample. All else each program computes for itself: gates, states and draws. So
no program waits for another's gates or draws.

There is no barrier. What is sent is a word of 64 bits, the value and the number of the sample,
which memory reads and writes as one. Who needs values reads their words until all have its
number: no other access has to be ordered before or after. Two samples have places of their own in
turn. That is enough: no program can send for sample t + 2 before all have drawn c of sample t + 1.
For that O1's rows of sample t + 1 of every program are needed, which depend on all that it reads
of sample t.
"""

from dataclasses import dataclass
from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

LEVELS = tl.constexpr(256)
"""Values of a coarse or a fine code."""
WARPS = 8
THREADS = 32 * WARPS
"""What is read until it has arrived has at least so many elements: each is read by one thread."""
REGISTERS = 136
"""Weights of a thread, at most: of its 255 registers some are needed for the rest."""


@triton.jit
@no_type_check
def _send(place, inside, value, number):
    bits = value.to(tl.int32, bitcast=True).to(tl.int64) & 0xFFFFFFFF
    tl.store(place, (tl.cast(number, tl.int64) << 32) | bits, mask=inside)


@triton.jit
@no_type_check
def _load_word(place, inside, number):
    """Load words, past the first-level cache; return also which lack ``number``."""
    word = tl.load(place, mask=inside, other=0, volatile=True)
    return word, (inside & ((word >> 32) != number)).to(tl.int32)


@triton.jit
@no_type_check
def _value(word):
    return word.to(tl.int32).to(tl.float32, bitcast=True)


@triton.jit
@no_type_check
def _receive(place, inside, number):
    """Read words until all have ``number``; return their values, 0 outside."""
    word, late = _load_word(place, inside, number)
    some = tl.max(tl.max(late, 1), 0)
    while some > 0:
        word, late = _load_word(place, inside, number)
        some = tl.max(tl.max(late, 1), 0)
    return _value(word)


@triton.jit
@no_type_check
def _tanh(x):
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit
@no_type_check
def _load_rows(matrix, row, rows, k, COLUMNS: tl.constexpr, STRIDE: tl.constexpr):
    inside = (row[:, None] < rows) & (k[None, :] < COLUMNS)
    return tl.load(matrix + row[:, None] * STRIDE + k[None, :], mask=inside, other=0.0)


@triton.jit
@no_type_check
def _product(w, x, M: tl.constexpr):
    """Multiply rows of a matrix and M vectors: (M, rows)."""
    if M == 1:
        return tl.sum(w * tl.sum(x, 0)[None, :], 1)[None, :]
    else:
        lane = tl.arange(0, M)
        result = tl.zeros([M, w.shape[0]], tl.float32)
        for m in range(M):
            own = tl.sum(tl.where(lane[:, None] == m, x, 0.0), 0)
            sums = tl.sum(w * own[None, :], 1)
            result += tl.where(lane[:, None] == m, sums[None, :], 0.0)
        return result


@triton.jit
@no_type_check
def _output(held, matrix, bias, x, row, rows, k, COLUMNS: tl.constexpr, M: tl.constexpr):
    """Map M vectors by rows of O1 to O4, which registers hold beside one clip alone."""
    w = held
    if M > 1:
        w = _load_rows(matrix, row, rows, k, COLUMNS, COLUMNS)
    return _product(w, x, M) + bias[None, :]


@triton.jit
@no_type_check
def _scale(code):
    """Scale a byte to [-1, 1]."""
    return (code.to(tl.float32) * (2 / 255) - 1)[:, None]


@triton.jit
@no_type_check
def _constants(base, candidate, lane, k, ROWS: tl.constexpr, D: tl.constexpr):
    """Load what does not depend on codes: (r, u, e) of the gates' input, and the bias.

    Pointers are those of the first unit of a half.
    """
    inside = k < D // 2
    own = (lane[:, None] < ROWS) & inside[None, :]
    place = base + lane[:, None] * (3 * D) + k[None, :]
    r = tl.load(place, mask=own, other=0.0)
    u = tl.load(place + D, mask=own, other=0.0)
    e = tl.load(place + 2 * D, mask=own, other=0.0)
    bias = tl.load(candidate + k, mask=inside, other=0.0)
    return r, u, e, bias


@triton.jit
@no_type_check
def _add_input(r, u, e, columns, x, k, D: tl.constexpr):
    """Add to the gates what one scalar adds."""
    inside = k < D // 2
    r += tl.load(columns + k, mask=inside, other=0.0)[None, :] * x
    u += tl.load(columns + D + k, mask=inside, other=0.0)[None, :] * x
    e += tl.load(columns + 2 * D + k, mask=inside, other=0.0)[None, :] * x
    return r, u, e


@triton.jit
@no_type_check
def _load_sums(place, inside, number, D: tl.constexpr):
    r, late_r = _load_word(place, inside, number)
    u, late_u = _load_word(place + D, inside, number)
    e, late_e = _load_word(place + 2 * D, inside, number)
    return r, u, e, tl.max(tl.max(late_r | late_u | late_e, 1), 0)


@triton.jit
@no_type_check
def _receive_sums(sums, lane, k, number, ROWS: tl.constexpr, D: tl.constexpr):
    """Receive R h of one half: (r, u, e)."""
    inside = (lane[:, None] < ROWS) & (k[None, :] < D // 2)
    place = sums + lane[:, None] * (3 * D) + k[None, :]
    r, u, e, late = _load_sums(place, inside, number, D)
    while late > 0:
        r, u, e, late = _load_sums(place, inside, number, D)
    return _value(r), _value(u), _value(e)


@triton.jit
@no_type_check
def _send_sums(sums, lane, unit, r, u, e, number, ROWS: tl.constexpr, D: tl.constexpr):
    inside = (lane[:, None] < ROWS) & (unit[None, :] < D)
    place = sums + lane[:, None] * (3 * D) + unit[None, :]
    _send(place, inside, r, number)
    _send(place + D, inside, u, number)
    _send(place + 2 * D, inside, e, number)


@triton.jit
@no_type_check
def _new_state(r, u, e, bias, s_r, s_u, s_e, h):
    """The paper's equations for u, r, e and h."""
    gate = tl.sigmoid(u + s_u)
    new = _tanh(e + tl.sigmoid(r + s_r) * (s_e + bias[None, :]))
    return gate * h + (1 - gate) * new


@triton.jit
@no_type_check
def _draw(logits, uniform, temperature, least, TEMPERED: tl.constexpr):
    """Invert the CDF as :func:`samplewise.heads.categorical.invert_cdf` does, in float64.

    Returns codes, the CDF, its end and its value.
    """
    top = tl.max(logits, 1).to(tl.float64)
    scaled = logits.to(tl.float64)
    if TEMPERED:
        top = top / temperature
        scaled = scaled / temperature[:, None]
    share = tl.exp(scaled - top[:, None])
    share = tl.where(scaled <= (top + least)[:, None], 0.0, share)
    cdf = tl.cumsum(share, 1)
    total = tl.max(cdf, 1)
    value = uniform * total
    code = tl.sum((cdf <= value[:, None]).to(tl.int32), 1)
    return tl.minimum(code, 255), cdf, total, value


@triton.jit
@no_type_check
def _next_uniform(cdf, total, value, M: tl.constexpr):
    """Return where ``value`` lies within the share of its code."""
    lower = cdf <= value[:, None]
    below = tl.max(tl.where(lower, cdf, 0.0), 1)
    above = tl.min(tl.where(lower, total[:, None], cdf), 1)
    last = tl.full((M,), 1 - 2**-50, tl.float64)
    return tl.minimum(tl.maximum((value - below) / (above - below), 0.0), last)


@triton.jit(do_not_specialize=["steps", "base_stride"])
@no_type_check
def draw_samples(weights, state, numbers, results, exchange, steps, base_stride,
                 ROWS: tl.constexpr, M: tl.constexpr, D: tl.constexpr, K: tl.constexpr,
                 U: tl.constexpr, L: tl.constexpr, LOGIT_PROGRAMS: tl.constexpr,
                 TEMPERED: tl.constexpr):  # fmt: skip
    """Draw ``steps`` samples of ``ROWS`` clips; all programs must be resident at once.

    ``M`` and ``K`` are powers of two that hold the clips and half of the units. A program owns
    ``U`` units, ``U / 2`` rows of O1 and O3 and, if it is one of the first, ``L`` of O2 and O4.
    """
    recurrent, columns, candidate, base, o1, b1, o2, b2, o3, b3, o4, b4 = weights
    h, previous = state
    uniforms, temperatures, log_min_p = numbers
    codes, params = results
    sums, hidden, logits = exchange
    HALF: tl.constexpr = D // 2
    program = tl.program_id(0)
    lane, level = tl.arange(0, M), tl.arange(0, LEVELS)
    # One element at a time: all vectors then lie in the same threads and are not moved about.
    k = tl.max_contiguous(tl.arange(0, K), 1)
    unit = program * U + tl.arange(0, U)
    row = program * (U // 2) + tl.arange(0, U // 2)
    own = program * L + tl.arange(0, L)
    clip = lane < ROWS
    is_half = clip[:, None] & (k[None, :] < HALF)
    is_level = clip[:, None] & (level[None, :] < LEVELS)
    is_row = clip[:, None] & (row[None, :] < HALF)
    is_own = clip[:, None] & (own[None, :] < LEVELS)

    coarse_r = _load_rows(recurrent, unit, D, k, HALF, D)
    coarse_u = _load_rows(recurrent + D * D, unit, D, k, HALF, D)
    coarse_e = _load_rows(recurrent + 2 * D * D, unit, D, k, HALF, D)
    fine_r = _load_rows(recurrent + HALF, unit, D, k, HALF, D)
    fine_u = _load_rows(recurrent + D * D + HALF, unit, D, k, HALF, D)
    fine_e = _load_rows(recurrent + 2 * D * D + HALF, unit, D, k, HALF, D)
    w1 = _load_rows(o1, row, HALF, k, HALF, HALF)
    w3 = _load_rows(o3, row, HALF, k, HALF, HALF)
    w2 = _load_rows(o2, own, LEVELS, k, HALF, HALF)
    w4 = _load_rows(o4, own, LEVELS, k, HALF, HALF)
    v1 = tl.load(b1 + row, mask=row < HALF, other=0.0)
    v3 = tl.load(b3 + row, mask=row < HALF, other=0.0)
    v2 = tl.load(b2 + own, mask=own < LEVELS, other=0.0)
    v4 = tl.load(b4 + own, mask=own < LEVELS, other=0.0)
    least = tl.load(log_min_p)

    place = h + lane[:, None] * D + k[None, :]
    h_c = tl.load(place, mask=is_half, other=0.0)
    h_f = tl.load(place + HALF, mask=is_half, other=0.0)
    last = tl.load(previous + lane, mask=clip, other=0).to(tl.int32)
    coarse, fine = last // LEVELS, last % LEVELS
    s_r = _product(coarse_r, h_c, M) + _product(fine_r, h_f, M)
    s_u = _product(coarse_u, h_c, M) + _product(fine_u, h_f, M)
    s_e = _product(coarse_e, h_c, M) + _product(fine_e, h_f, M)
    t = steps * 0
    _send_sums(sums, lane, unit, s_r, s_u, s_e, t + 1, ROWS, D)
    c_r, c_u, c_e = _receive_sums(sums, lane, k, t + 1, ROWS, D)
    while t < steps:
        number = t + 1
        parity = t & 1
        hidden_c = hidden + parity * (2 * ROWS * HALF)
        hidden_f = hidden_c + ROWS * HALF
        logits_c = logits + parity * (2 * ROWS * LEVELS)
        logits_f = logits_c + ROWS * LEVELS
        scores = params + t * (ROWS * 2 * LEVELS) + lane[:, None] * (2 * LEVELS) + own[None, :]
        uniform = tl.load(uniforms + t * ROWS + lane, mask=clip, other=0.0).to(tl.float64)
        temperature = uniform
        if TEMPERED:
            temperature = tl.load(temperatures + t * ROWS + lane, mask=clip, other=1.0)

        # The coarse half: c and f of the sample before are known, as is R h.
        start = base + t * base_stride
        r, u, e, bias = _constants(start, candidate, lane, k, ROWS, D)
        r, u, e = _add_input(r, u, e, columns, _scale(coarse), k, D)
        r, u, e = _add_input(r, u, e, columns + 3 * D, _scale(fine), k, D)
        h_c = _new_state(r, u, e, bias, c_r, c_u, c_e, h_c)
        y = tl.maximum(_output(w1, o1, v1, h_c, row, HALF, k, HALF, M), 0.0)
        _send(hidden_c + lane[:, None] * HALF + row[None, :], is_row, y, number)
        s_r = _product(coarse_r, h_c, M)
        s_u = _product(coarse_u, h_c, M)
        s_e = _product(coarse_e, h_c, M)
        if program < LOGIT_PROGRAMS:
            x = _receive(hidden_c + lane[:, None] * HALF + k[None, :], is_half, number)
            out = _output(w2, o2, v2, x, own, LEVELS, k, HALF, M)
            _send(logits_c + lane[:, None] * LEVELS + own[None, :], is_own, out, number)
            tl.store(scores, out, mask=is_own)

        # The fine half; what does not need c comes before the wait for it.
        r, u, e, bias = _constants(start + HALF, candidate + HALF, lane, k, ROWS, D)
        r, u, e = _add_input(r, u, e, columns + HALF, _scale(coarse), k, D)
        r, u, e = _add_input(r, u, e, columns + 3 * D + HALF, _scale(fine), k, D)
        now = sums + parity * (ROWS * 3 * D) + HALF
        f_r, f_u, f_e = _receive_sums(now, lane, k, number, ROWS, D)
        values = _receive(logits_c + lane[:, None] * LEVELS + level[None, :], is_level, number)
        coarse, cdf, total, value = _draw(values, uniform, temperature, least, TEMPERED)
        r, u, e = _add_input(r, u, e, columns + 6 * D + HALF, _scale(coarse), k, D)
        h_f = _new_state(r, u, e, bias, f_r, f_u, f_e, h_f)
        y = tl.maximum(_output(w3, o3, v3, h_f, row, HALF, k, HALF, M), 0.0)
        _send(hidden_f + lane[:, None] * HALF + row[None, :], is_row, y, number)
        s_r += _product(fine_r, h_f, M)
        s_u += _product(fine_u, h_f, M)
        s_e += _product(fine_e, h_f, M)
        following = sums + (1 - parity) * (ROWS * 3 * D)
        _send_sums(following, lane, unit, s_r, s_u, s_e, number + 1, ROWS, D)
        if program < LOGIT_PROGRAMS:
            x = _receive(hidden_f + lane[:, None] * HALF + k[None, :], is_half, number)
            out = _output(w4, o4, v4, x, own, LEVELS, k, HALF, M)
            _send(logits_f + lane[:, None] * LEVELS + own[None, :], is_own, out, number)
            tl.store(scores + LEVELS, out, mask=is_own)

        # What can be done while the logits are on their way.
        c_r, c_u, c_e = _receive_sums(following, lane, k, number + 1, ROWS, D)
        rest = _next_uniform(cdf, total, value, M)

        values = _receive(logits_f + lane[:, None] * LEVELS + level[None, :], is_level, number)
        fine, _, _, _ = _draw(values, rest, temperature, least, TEMPERED)
        if program == 0:
            code = (coarse * LEVELS + fine).to(tl.int64)
            tl.store(codes + t * ROWS + lane, code, mask=clip)
        t += 1
    if program == 0:
        tl.store(place, h_c, mask=is_half)
        tl.store(place + HALF, h_f, mask=is_half)


@dataclass(frozen=True)
class Division:
    """How a WaveRNN is divided among programs."""

    units: int
    """Units of a program."""
    programs: int
    levels: int
    """Rows of O2 and O4 of each of the first programs."""
    inner: int
    """Columns of a product, and units of a half: a power of two."""

    @property
    def fits(self) -> bool:
        """Whether registers hold the weights."""
        return (7 * self.units + 2 * self.levels) * self.inner // THREADS <= REGISTERS


def divide(dim: int, multiprocessors: int) -> Division:
    """Return how ``dim`` units are divided among at most so many programs.

    Args:
        dim: Units, even.
        multiprocessors: Programs that run at once.
    """
    inner = max(THREADS, _power_of_two(dim // 2))
    units = 4
    while units * multiprocessors < dim:
        units *= 2
    programs = -(-dim // units)
    levels = _power_of_two(-(-256 // programs))
    return Division(units, programs, levels, inner)


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()


@dataclass(frozen=True)
class WaveRNNWeights:
    """The weights of a WaveRNN, float32, contiguous; gates in the order r, u, e."""

    recurrent: Float32[Tensor, "gates dim"]
    """R."""
    columns: Float32[Tensor, "3 gates"]
    """What c_(t-1), f_(t-1) and c_t are multiplied by."""
    candidate: Float32[Tensor, " dim"]
    """Bias of e within the reach of r."""
    outputs: tuple[Tensor, ...]
    """O1 to O4, each followed by its bias."""


def draw_wavernn(
    weights: WaveRNNWeights,
    base: Float32[Tensor, "times rows gates"],
    h: Float32[Tensor, "rows dim"],
    previous: Int64[Tensor, " rows"],
    uniforms: Float32[Tensor, "samples rows"],
    temperatures: Float64[Tensor, "samples rows"] | None,
    log_min_p: Float64[Tensor, ""],
    division: Division,
) -> tuple[Int64[Tensor, "samples rows"], Float[Tensor, "samples rows 512"], Tensor]:
    """Draw samples in one launch.

    Args:
        weights: Of the model.
        base: What biases and conditioning add to the gates: at each sample, or one for all.
        h: State.
        previous: Last codes.
        uniforms: Random numbers that make the samples, in [0, 1).
        temperatures: Of the samples; None: 1.
        log_min_p: Codes so much less probable than the most probable one are not drawn; ln.
        division: From :func:`divide`.

    Returns:
        Codes, logits of coarse and fine codes, and the state after them.
    """
    samples, rows = uniforms.shape
    dim = h.shape[1]

    def new(*shape: int, dtype: torch.dtype) -> Tensor:
        return torch.empty(*shape, dtype=dtype, device=h.device)

    def words(*shape: int) -> Tensor:
        return torch.zeros(2, *shape, dtype=torch.int64, device=h.device)

    h = h.clone(memory_format=torch.contiguous_format)
    # A copy is aligned as always; else another kernel would be compiled.
    previous = previous.clone(memory_format=torch.contiguous_format)
    results = new(samples, rows, dtype=torch.int64), new(samples, rows, 512, dtype=torch.float32)
    exchange = words(rows, 3 * dim), words(2, rows, dim // 2), words(2, rows, LEVELS.value)
    options = {"num_warps": WARPS, "num_stages": 1, "launch_cooperative_grid": True}
    draw_samples[(division.programs,)](
        (weights.recurrent, weights.columns, weights.candidate, base, *weights.outputs),
        (h, previous),
        (uniforms, uniforms if temperatures is None else temperatures, log_min_p),
        results,
        exchange,
        samples,
        base.stride(0) if len(base) > 1 else 0,
        rows,
        _power_of_two(rows),
        dim,
        division.inner,
        division.units,
        division.levels,
        -(-LEVELS.value // division.levels),
        temperatures is not None,
        **options,
    )
    return *results, h
