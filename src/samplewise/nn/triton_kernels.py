"""Triton kernels of GRU and LSTM: the body of each phase of a step, and what runs through them.

A phase is the part of a step between two products that depend on one another. A program computes
one tile of it: some lanes (rows of the batch) by some units. Sums, state, gates and gradients of
the state are float32; operands of products have the type of the weights.

Arrays are those of :mod:`samplewise.nn.recurrence`, time first. What one program writes others
read only in a later phase, at an address that was never read before.

Without :func:`no_type_check` the checks of the tests would hide the source from the compiler.
"""

from typing import no_type_check

import triton
import triton.language as tl

BARRIER_STRIDE = tl.constexpr(32)
"""Counters are this many int32 apart: each has a cache line of its own."""


@triton.jit
@no_type_check
def _place(base, row, lane, unit, WIDTH: tl.constexpr):
    return base + row * WIDTH + (lane[:, None] * WIDTH + unit[None, :])


@triton.jit
@no_type_check
def _read(base, row, lane, unit, inside, WIDTH: tl.constexpr):
    """Read a tile past the first-level cache, which does not see what other programs write."""
    place = _place(base, row, lane, unit, WIDTH)
    return tl.load(place, mask=inside, other=0.0, cache_modifier=".cg").to(tl.float32)


@triton.jit
@no_type_check
def _write(base, row, lane, unit, inside, WIDTH: tl.constexpr, value):
    place = _place(base, row, lane, unit, WIDTH)
    tl.store(place, value.to(base.dtype.element_ty), mask=inside)


@triton.jit
@no_type_check
def _tanh(x):
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit
@no_type_check
def _load_rows(base, lane, k, B: tl.constexpr, K: tl.constexpr, WIDTH: tl.constexpr,
               M: tl.constexpr, BK: tl.constexpr):  # fmt: skip
    """Load columns ``k`` of the lanes' rows; there is a mask only where some may lie outside."""
    place = base + lane[:, None] * WIDTH + k[None, :]
    if K % BK == 0 and B % M == 0:
        return tl.load(place, cache_modifier=".cg")
    else:
        mask = (lane[:, None] < B) & (k[None, :] < K)
        return tl.load(place, mask=mask, other=0.0, cache_modifier=".cg")


@triton.jit
@no_type_check
def _load_weights(base, unit, k, D: tl.constexpr, K: tl.constexpr, WIDTH: tl.constexpr,
                  BN: tl.constexpr, BK: tl.constexpr):  # fmt: skip
    place = base + unit[None, :] * WIDTH + k[:, None]
    if K % BK == 0 and D % BN == 0:
        return tl.load(place)
    else:
        return tl.load(place, mask=(unit[None, :] < D) & (k[:, None] < K), other=0.0)


@triton.jit
@no_type_check
def _add_products(s0, s1, s2, s3, GATES: tl.constexpr, a, A_WIDTH: tl.constexpr, weight,
                  W_WIDTH: tl.constexpr, K: tl.constexpr, lane, unit, B: tl.constexpr,
                  D: tl.constexpr, M: tl.constexpr, BN: tl.constexpr,
                  BK: tl.constexpr):  # fmt: skip
    """Add to each sum the product of rows of ``a`` and rows of a gate's weights, over K columns."""
    STRIDE: tl.constexpr = D * W_WIDTH
    for k0 in range(0, K, BK):
        k = k0 + tl.arange(0, BK)
        x = _load_rows(a, lane, k, B, K, A_WIDTH, M, BK)
        w = _load_weights(weight, unit, k, D, K, W_WIDTH, BN, BK)
        s0 = tl.dot(x, w, s0, input_precision="ieee")
        if GATES > 1:
            w = _load_weights(weight + STRIDE, unit, k, D, K, W_WIDTH, BN, BK)
            s1 = tl.dot(x, w, s1, input_precision="ieee")
        if GATES > 2:
            w = _load_weights(weight + 2 * STRIDE, unit, k, D, K, W_WIDTH, BN, BK)
            s2 = tl.dot(x, w, s2, input_precision="ieee")
        if GATES > 3:
            w = _load_weights(weight + 3 * STRIDE, unit, k, D, K, W_WIDTH, BN, BK)
            s3 = tl.dot(x, w, s3, input_precision="ieee")
    return s0, s1, s2, s3


@triton.jit
@no_type_check
def _forward(arrays, t, lane_block, unit_block, CELL: tl.constexpr, PHASE: tl.constexpr,
             B: tl.constexpr, D: tl.constexpr, M: tl.constexpr, BN: tl.constexpr,
             BK: tl.constexpr):  # fmt: skip
    """Compute one tile of a phase of step ``t``."""
    lane = lane_block * M + tl.arange(0, M)
    unit = unit_block * BN + tl.arange(0, BN)
    inside = (lane[:, None] < B) & (unit[None, :] < D)
    row = tl.cast(t, tl.int64) * B
    if CELL == "gru":
        gates, weight, h, operand, rz, n, reset = arrays
        if PHASE == 0:
            s_r = _read(gates, row, lane, unit, inside, 3 * D)
            s_z = _read(gates + D, row, lane, unit, inside, 3 * D)
            before = _read(h, row, lane, unit, inside, D)
            s_r, s_z, _, _ = _add_products(
                s_r, s_z, 0.0, 0.0, 2, operand + row * D, D, weight, D, D,
                lane, unit, B, D, M, BN, BK,
            )  # fmt: skip
            r = tl.sigmoid(s_r)
            _write(rz, row, lane, unit, inside, 2 * D, r)
            _write(rz + D, row, lane, unit, inside, 2 * D, tl.sigmoid(s_z))
            _write(reset, row, lane, unit, inside, D, r * before)
        else:
            s_n = _read(gates + 2 * D, row, lane, unit, inside, 3 * D)
            z = _read(rz + D, row, lane, unit, inside, 2 * D)
            before = _read(h, row, lane, unit, inside, D)
            s_n, _, _, _ = _add_products(
                s_n, 0.0, 0.0, 0.0, 1, reset + row * D, D, weight + 2 * D * D, D, D,
                lane, unit, B, D, M, BN, BK,
            )  # fmt: skip
            new = _tanh(s_n)
            after = new + z * (before - new)
            _write(n, row, lane, unit, inside, D, new)
            _write(h, row + B, lane, unit, inside, D, after)
            _write(operand, row + B, lane, unit, inside, D, after)
    elif CELL == "gru-reset-after":
        gates, weight, bias, h, operand, rz, n, recurrent = arrays
        s_r = _read(gates, row, lane, unit, inside, 3 * D)
        s_z = _read(gates + D, row, lane, unit, inside, 3 * D)
        x_n = _read(gates + 2 * D, row, lane, unit, inside, 3 * D)
        before = _read(h, row, lane, unit, inside, D)
        b_n = tl.load(bias + unit, mask=unit < D, other=0.0).to(tl.float32)
        s_n = tl.zeros([M, BN], tl.float32) + b_n[None, :]
        s_r, s_z, s_n, _ = _add_products(
            s_r, s_z, s_n, 0.0, 3, operand + row * D, D, weight, D, D,
            lane, unit, B, D, M, BN, BK,
        )  # fmt: skip
        r = tl.sigmoid(s_r)
        z = tl.sigmoid(s_z)
        new = _tanh(x_n + r * s_n)
        after = new + z * (before - new)
        _write(rz, row, lane, unit, inside, 2 * D, r)
        _write(rz + D, row, lane, unit, inside, 2 * D, z)
        _write(n, row, lane, unit, inside, D, new)
        _write(recurrent, row, lane, unit, inside, D, s_n)
        _write(h, row + B, lane, unit, inside, D, after)
        _write(operand, row + B, lane, unit, inside, D, after)
    else:
        gates, weight, h, operand, c, ifgo = arrays
        s_i = _read(gates, row, lane, unit, inside, 4 * D)
        s_f = _read(gates + D, row, lane, unit, inside, 4 * D)
        s_g = _read(gates + 2 * D, row, lane, unit, inside, 4 * D)
        s_o = _read(gates + 3 * D, row, lane, unit, inside, 4 * D)
        before = _read(c, row, lane, unit, inside, D)
        s_i, s_f, s_g, s_o = _add_products(
            s_i, s_f, s_g, s_o, 4, operand + row * D, D, weight, D, D,
            lane, unit, B, D, M, BN, BK,
        )  # fmt: skip
        i = tl.sigmoid(s_i)
        f = tl.sigmoid(s_f)
        g = _tanh(s_g)
        o = tl.sigmoid(s_o)
        cell = f * before + i * g
        after = o * _tanh(cell)
        _write(ifgo, row, lane, unit, inside, 4 * D, i)
        _write(ifgo + D, row, lane, unit, inside, 4 * D, f)
        _write(ifgo + 2 * D, row, lane, unit, inside, 4 * D, g)
        _write(ifgo + 3 * D, row, lane, unit, inside, 4 * D, o)
        _write(c, row + B, lane, unit, inside, D, cell)
        _write(h, row + B, lane, unit, inside, D, after)
        _write(operand, row + B, lane, unit, inside, D, after)


@triton.jit
@no_type_check
def _backward(arrays, t, lane_block, unit_block, CELL: tl.constexpr, PHASE: tl.constexpr,
              B: tl.constexpr, D: tl.constexpr, M: tl.constexpr, BN: tl.constexpr,
              BK: tl.constexpr):  # fmt: skip
    """Compute one tile of a phase of step ``t``, which counts down to -1: the gradient of h0.

    The first phase ends the gradient of h by what the gates of step ``t + 1`` add, and begins step
    ``t``. ``carried`` holds the part of a unit's gradient that needs no product.
    """
    lane = lane_block * M + tl.arange(0, M)
    unit = unit_block * BN + tl.arange(0, BN)
    inside = (lane[:, None] < B) & (unit[None, :] < D)
    row = tl.cast(t, tl.int64) * B
    later = row + B
    if CELL == "gru":
        grad, transposed, h, rz, n, grad_gates, carried = arrays
        grad_h = _read(carried, 0, lane, unit, inside, D)
        if PHASE == 0:
            grad_h, _, _, _ = _add_products(
                grad_h, 0.0, 0.0, 0.0, 1, grad_gates + later * (3 * D), 3 * D,
                transposed, 3 * D, 2 * D, lane, unit, B, D, M, BN, BK,
            )  # fmt: skip
            if t >= 0:
                grad_h += _read(grad, row, lane, unit, inside, D)
                z = _read(rz + D, row, lane, unit, inside, 2 * D)
                new = _read(n, row, lane, unit, inside, D)
                before = _read(h, row, lane, unit, inside, D)
                grad_z = grad_h * (before - new) * z * (1 - z)
                grad_n = grad_h * (1 - z) * (1 - new * new)
                _write(grad_gates + D, row, lane, unit, inside, 3 * D, grad_z)
                _write(grad_gates + 2 * D, row, lane, unit, inside, 3 * D, grad_n)
            _write(carried, 0, lane, unit, inside, D, grad_h)
        else:
            r = _read(rz, row, lane, unit, inside, 2 * D)
            z = _read(rz + D, row, lane, unit, inside, 2 * D)
            before = _read(h, row, lane, unit, inside, D)
            reset = tl.zeros([M, BN], tl.float32)
            reset, _, _, _ = _add_products(
                reset, 0.0, 0.0, 0.0, 1, grad_gates + row * (3 * D) + 2 * D, 3 * D,
                transposed + 2 * D, 3 * D, D, lane, unit, B, D, M, BN, BK,
            )  # fmt: skip
            _write(grad_gates, row, lane, unit, inside, 3 * D, reset * before * r * (1 - r))
            _write(carried, 0, lane, unit, inside, D, grad_h * z + reset * r)
    elif CELL == "gru-reset-after":
        grad, transposed, h, rz, n, recurrent, grad_gates, grad_recurrent, carried = arrays
        grad_h = _read(carried, 0, lane, unit, inside, D)
        grad_h, _, _, _ = _add_products(
            grad_h, 0.0, 0.0, 0.0, 1, grad_gates + later * (3 * D), 3 * D,
            transposed, 3 * D, 2 * D, lane, unit, B, D, M, BN, BK,
        )  # fmt: skip
        grad_h, _, _, _ = _add_products(
            grad_h, 0.0, 0.0, 0.0, 1, grad_recurrent + later * D, D,
            transposed + 2 * D, 3 * D, D, lane, unit, B, D, M, BN, BK,
        )  # fmt: skip
        if t >= 0:
            grad_h += _read(grad, row, lane, unit, inside, D)
            r = _read(rz, row, lane, unit, inside, 2 * D)
            z = _read(rz + D, row, lane, unit, inside, 2 * D)
            new = _read(n, row, lane, unit, inside, D)
            before = _read(h, row, lane, unit, inside, D)
            s_n = _read(recurrent, row, lane, unit, inside, D)
            grad_n = grad_h * (1 - z) * (1 - new * new)
            grad_z = grad_h * (before - new) * z * (1 - z)
            _write(grad_gates, row, lane, unit, inside, 3 * D, grad_n * s_n * r * (1 - r))
            _write(grad_gates + D, row, lane, unit, inside, 3 * D, grad_z)
            _write(grad_gates + 2 * D, row, lane, unit, inside, 3 * D, grad_n)
            _write(grad_recurrent, row, lane, unit, inside, D, grad_n * r)
            grad_h = grad_h * z
        _write(carried, 0, lane, unit, inside, D, grad_h)
    else:
        grad, transposed, c, ifgo, grad_gates, carried, carried_c = arrays
        grad_h = tl.zeros([M, BN], tl.float32)
        grad_h, _, _, _ = _add_products(
            grad_h, 0.0, 0.0, 0.0, 1, grad_gates + later * (4 * D), 4 * D,
            transposed, 4 * D, 4 * D, lane, unit, B, D, M, BN, BK,
        )  # fmt: skip
        if t >= 0:
            grad_h += _read(grad, row, lane, unit, inside, D)
            i = _read(ifgo, row, lane, unit, inside, 4 * D)
            f = _read(ifgo + D, row, lane, unit, inside, 4 * D)
            g = _read(ifgo + 2 * D, row, lane, unit, inside, 4 * D)
            o = _read(ifgo + 3 * D, row, lane, unit, inside, 4 * D)
            before = _read(c, row, lane, unit, inside, D)
            cell = _tanh(_read(c, later, lane, unit, inside, D))
            grad_c = _read(carried_c, 0, lane, unit, inside, D) + grad_h * o * (1 - cell * cell)
            _write(grad_gates, row, lane, unit, inside, 4 * D, grad_c * g * i * (1 - i))
            _write(grad_gates + D, row, lane, unit, inside, 4 * D, grad_c * before * f * (1 - f))
            _write(grad_gates + 2 * D, row, lane, unit, inside, 4 * D, grad_c * i * (1 - g * g))
            _write(grad_gates + 3 * D, row, lane, unit, inside, 4 * D, grad_h * cell * o * (1 - o))
            _write(carried_c, 0, lane, unit, inside, D, grad_c * f)
        else:
            _write(carried, 0, lane, unit, inside, D, grad_h)


@triton.jit
@no_type_check
def _phase(arrays, t, lane_block, unit_block, BACK: tl.constexpr, CELL: tl.constexpr,
           PHASE: tl.constexpr, B: tl.constexpr, D: tl.constexpr, M: tl.constexpr,
           BN: tl.constexpr, BK: tl.constexpr):  # fmt: skip
    if BACK:
        _backward(arrays, t, lane_block, unit_block, CELL, PHASE, B, D, M, BN, BK)
    else:
        _forward(arrays, t, lane_block, unit_block, CELL, PHASE, B, D, M, BN, BK)


@triton.jit(do_not_specialize=["t"])
@no_type_check
def one_phase(arrays, t, BACK: tl.constexpr, CELL: tl.constexpr, PHASE: tl.constexpr,
              B: tl.constexpr, D: tl.constexpr, M: tl.constexpr, BN: tl.constexpr,
              BK: tl.constexpr):  # fmt: skip
    """One phase of step ``t``: a program for each tile."""
    _phase(arrays, t, tl.program_id(1), tl.program_id(0), BACK, CELL, PHASE, B, D, M, BN, BK)


@triton.jit
@no_type_check
def _wait_for_all(counter, target):
    """Wait until the programs that share ``counter`` have added up to ``target``."""
    tl.debug_barrier()
    tl.atomic_add(counter, 1, sem="acq_rel", scope="gpu")
    while tl.atomic_add(counter, 0, sem="acquire", scope="gpu") < target:
        pass
    tl.debug_barrier()


@triton.jit(do_not_specialize=["steps"])
@no_type_check
def all_steps(arrays, counters, steps, PROGRAMS: tl.constexpr, PHASES: tl.constexpr,
              BACK: tl.constexpr, CELL: tl.constexpr, B: tl.constexpr, D: tl.constexpr,
              M: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):  # fmt: skip
    """All steps in one launch: ``PROGRAMS`` for each block of lanes, which wait for each other.

    All programs must be resident at once (a cooperative launch). Blocks of lanes are independent:
    each has a counter of its own, 0 at the start.
    """
    lane_block = tl.program_id(0) // PROGRAMS
    program = tl.program_id(0) % PROGRAMS
    counter = counters + lane_block * BARRIER_STRIDE
    BLOCKS: tl.constexpr = (D + BN - 1) // BN
    STEP: tl.constexpr = -1 if BACK else 1
    t = steps - 1 if BACK else steps * 0
    target = steps * 0
    while (t >= -1) & (t < steps):
        for phase in tl.static_range(PHASES):
            # The gradient of h0, step -1, takes the first phase alone: the second is for nothing.
            if (not BACK) or phase == 0:
                unit_block = program
                while unit_block < BLOCKS:
                    _phase(arrays, t, lane_block, unit_block, BACK, CELL, phase, B, D, M, BN, BK)
                    unit_block += PROGRAMS
            else:
                if t >= 0:
                    unit_block = program
                    while unit_block < BLOCKS:
                        _phase(
                            arrays, t, lane_block, unit_block, BACK, CELL, phase, B, D, M, BN, BK
                        )
                        unit_block += PROGRAMS
            target += PROGRAMS
            _wait_for_all(counter, target)
        t += STEP
