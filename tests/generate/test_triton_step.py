"""Kernels of the graphed back end: interpreted against float64, compiled for an H100, on a GPU."""

import math
from types import SimpleNamespace

import pytest
import torch
from tests.interpreted import run_interpreted
from tests.nn.test_triton_recurrence import Recorder, stack_bytes

from samplewise.generate import step_operators

ROWS, UNITS, SIZE, LEVELS = 3, 300, 2, 256
INTERPRETED = """
import sys, torch
from tests.generate.test_triton_step import by_kernels
torch.save(by_kernels("cpu", torch.float32), sys.argv[1])
"""


def inputs(device, dtype):
    """Random arguments of all operators, states and conditions as parts of wider rows."""
    generator = torch.Generator().manual_seed(1)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float32).to(device, dtype)

    codes = torch.randint(LEVELS, (SIZE, ROWS), generator=generator).to(device)
    return SimpleNamespace(
        codes=codes,
        symbols=tuple(torch.randint(256, (3, ROWS), generator=generator).to(device)),
        values=normal(LEVELS),
        weights=normal(SIZE, UNITS),
        table=normal(SIZE * LEVELS, UNITS),
        base=normal(ROWS, 2 * UNITS)[:, UNITS:],
        bias=normal(UNITS),
        gates=normal(ROWS, 3 * UNITS),
        both=normal(ROWS, 2 * UNITS),
        products=normal(ROWS, 3 * UNITS),
        h=normal(ROWS, 2 * UNITS)[:, :UNITS],
        scalars=normal(3, 3 * UNITS),
        logits=4 * normal(ROWS, LEVELS),
        uniforms=torch.tensor([0.0, 0.3, 1 - 2**-24]).to(device),
        temperature=torch.tensor([0.7, 1.0, 1.3], dtype=torch.float64).to(device),
    )


def units_of(module, x, units, scalars=None, symbols=(), gates=None):
    out = torch.zeros_like(x.gates[:, :UNITS])
    gates = x.gates if gates is None else gates
    module.reset_after(gates, x.products, x.bias, x.h, out, units, scalars, symbols)
    return out


def by_module(module, x):
    """All that a module computes besides draws."""
    half = UNITS // 2
    return {
        "values": module.add_values(x.codes, x.values, x.weights, x.base),
        "values of the bias": module.add_values(x.codes, x.values, x.weights, x.bias),
        "rows": module.add_rows(x.codes, x.table, LEVELS, x.base),
        "reset": module.reset(x.gates, x.both, x.h),
        "update": module.update(x.gates, x.both, x.h.contiguous(), x.h),
        "after": units_of(module, x, slice(None)),
        "coarse": units_of(module, x, slice(0, half), x.scalars, x.symbols[:2]),
        "fine": units_of(module, x, slice(half, None), x.scalars, x.symbols),
        "bias": units_of(module, x, slice(half, None), x.scalars, x.symbols, x.gates[0]),
    }


CASES = [(warm, min_p) for warm in (False, True) for min_p in (0.0, 0.2)]


def draws(x):
    """Symbols and the numbers for the next ones, by the kernel."""
    from samplewise.generate import triton_step

    found = {}
    for warm, min_p in CASES:
        symbol, rest = x.symbols[0].clone(), x.uniforms.double()
        least = math.log(min_p) if min_p else 0.0
        colder = x.temperature if warm else None
        for target in (rest, None):
            logits = torch.cat([x.logits, x.logits], -1)[:, :LEVELS]
            triton_step.draw(logits, x.uniforms, colder, least, symbol, target)
        found[warm, min_p] = symbol.clone(), rest
    return found


def by_kernels(device, dtype):
    from samplewise.generate import triton_step

    x = inputs(device, dtype)
    return by_module(triton_step, x), draws(x)


def check(found):
    """Compare with the operators in double precision."""
    results, drawn = found
    expected = by_module(step_operators, inputs("cpu", torch.float64))
    for name, result in results.items():
        torch.testing.assert_close(result.cpu().double(), expected[name], rtol=1e-5, atol=2e-6)
    x = inputs("cpu", torch.float32)
    for case, (symbol, rest) in drawn.items():
        warm, min_p = case
        colder = x.temperature if warm else None
        wanted = step_operators.draw_symbol(x.logits, x.uniforms, colder, min_p)
        assert torch.equal(symbol.cpu(), wanted[0])
        torch.testing.assert_close(rest.cpu(), wanted[1], rtol=1e-9, atol=1e-9)


def test_kernels_compute_what_the_operators_do(tmp_path):
    target = tmp_path / "results.pt"
    run_interpreted(INTERPRETED, target)
    check(torch.load(target))


def test_compiled_for_an_h100_nothing_spills(tmp_path, monkeypatch):
    pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.runtime.driver import driver

    from samplewise.generate import triton_step

    h100 = SimpleNamespace(
        get_current_target=lambda: GPUTarget("cuda", 90, 32),
        get_current_device=lambda: 0,
        get_current_stream=lambda device: 0,
    )
    monkeypatch.setattr(driver, "_active", h100)
    compiled, names = [], [name for name in vars(triton_step) if name.endswith("_kernel")]
    for name in names:
        monkeypatch.setattr(triton_step, name, Recorder(getattr(triton_step, name), compiled))
    by_kernels("cpu", torch.float32)
    kernels = {kernel.hash: kernel for kernel in compiled}.values()
    assert {kernel.metadata.name for kernel in kernels} == set(names)
    for kernel in kernels:
        assert stack_bytes(kernel, tmp_path / "kernel.cubin") == 0


@pytest.mark.gpu
def test_on_a_gpu_kernels_compute_what_the_operators_do(gpu):
    if gpu.type != "cuda":
        pytest.skip("kernels of Triton run on GPUs alone")
    check(by_kernels(gpu, torch.float32))


@pytest.mark.gpu
def test_a_product_ends_in_a_relu(gpu):
    x = inputs(gpu, torch.float32)
    weight = x.both.repeat(7, 1)[:, :UNITS]
    found = step_operators.relu_product(x.h, weight, x.gates[0, : len(weight)])
    exact = x.h.double() @ weight.double().t() + x.gates[0, : len(weight)].double()
    torch.testing.assert_close(found.double(), exact.relu(), rtol=1e-5, atol=1e-4)
