"""Recurrences in Triton: interpreted against float64, compiled for an H100, and run on a GPU."""

import re
import subprocess
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tests.interpreted import run_interpreted

from samplewise.nn.fused_recurrence import FusedRecurrence
from samplewise.nn.recurrence import LSTM, GRUResetAfter, GRUResetBefore

CELLS = ("gru", "gru-reset-after", "lstm")
TIME, DIM = 2, 20
CASES = {
    "3 lanes": (3, (16, 16, 32), torch.float32),
    "half": (3, (16, 32, 32), torch.float16),
    "19 lanes": (19, (16, 32, 16), torch.float32),
}
"""Lanes; lanes, units and columns of a tile; type of the operands. The width fills no tile."""
INTERPRETED = """
import sys, torch
from tests.nn.test_triton_recurrence import fused, interpreted_cases
torch.save({case: fused(*case) for case in interpreted_cases()}, sys.argv[1])
"""


def arguments(cell, lanes, dim, time, dtype, device="cpu"):
    """Random gates, h0, c0, weight and bias, and gradients of h and the last c."""
    generator = torch.Generator().manual_seed(1)
    gates = 4 if cell == "lstm" else 3

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    values = [normal(time, lanes, gates * dim), normal(lanes, dim) / 2, normal(lanes, dim) / 2]
    values += [normal(gates * dim, dim) / dim**0.5, normal(dim)]
    values[3] = values[3].to(dtype)
    gradients = normal(time, lanes, dim), normal(lanes, dim)
    return [x.to(device).requires_grad_() for x in values], [x.to(device) for x in gradients]


def outputs_and_gradients(run, values, gradients):
    outputs = [output for output in run(*values) if output is not None]
    pairs = zip(outputs, gradients, strict=False)
    sum((output * grad.to(output.dtype)).sum() for output, grad in pairs).backward()
    found = [value.grad for value in values if value.grad is not None]
    return [output.detach() for output in outputs] + found


def run_kernels(cell, way, tiles=None):
    from samplewise.nn.triton_recurrence import TritonSteps

    lstm, after = cell == "lstm", cell == "gru-reset-after"
    return lambda gates, h0, c0, weight, bias: FusedRecurrence.apply(
        cell,
        TritonSteps(way, tiles),
        gates,
        h0,
        c0 if lstm else None,
        weight,
        bias if after else None,
    )


def fused(cell, way, case):
    from samplewise.nn.triton_recurrence import Tiles

    lanes, tiles, dtype = CASES[case]
    run = run_kernels(cell, way, Tiles(*tiles))
    return outputs_and_gradients(run, *arguments(cell, lanes, DIM, TIME, dtype))


def run_loop(cell):
    if cell == "lstm":
        return lambda gates, h0, c0, weight, bias: LSTM.apply(gates, h0, c0, weight)
    if cell == "gru":
        return lambda gates, h0, c0, weight, bias: (GRUResetBefore.apply(gates, h0, weight),)
    return lambda gates, h0, c0, weight, bias: (GRUResetAfter.apply(gates, h0, weight, bias),)


def exact(cell, values, gradients):
    values = [value.detach().double().requires_grad_() for value in values]
    return outputs_and_gradients(run_loop(cell), values, [x.double() for x in gradients])


def interpreted_cases():
    whole = product(CELLS, ("phases", "persistent"), ("3 lanes",))
    return [*whole, *product(CELLS, ("phases",), ("half",)), ("gru", "phases", "19 lanes")]


def check_errors(found, expected, limit):
    for x, wanted in zip(found, expected, strict=True):
        assert (x.double() - wanted).norm() / wanted.norm() < limit


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory):
    """Results of Triton's interpreter."""
    target = tmp_path_factory.mktemp("interpreted") / "results.pt"
    run_interpreted(INTERPRETED, target)
    return torch.load(target)


@pytest.mark.parametrize("case", interpreted_cases(), ids=" ".join)
def test_outputs_and_gradients_are_those_of_the_time_loop_in_double_precision(case, interpreted):
    cell, _, name = case
    lanes, _, dtype = CASES[name]
    expected = exact(cell, *arguments(cell, lanes, DIM, TIME, dtype))
    check_errors(interpreted[case], expected, 1e-5 if dtype == torch.float32 else 1e-2)


@pytest.mark.parametrize("cell", CELLS)
def test_one_launch_for_all_steps_is_a_launch_for_each_phase_bit_for_bit(cell, interpreted):
    found = [interpreted[cell, way, "3 lanes"] for way in ("phases", "persistent")]
    assert all(map(torch.equal, *found))


class Recorder:
    """A kernel that is compiled for an H100 where it would be launched."""

    def __init__(self, kernel, compiled):
        self.kernel, self.compiled = kernel, compiled

    def __getitem__(self, grid):
        return lambda *args, **options: self.compiled.append(
            self.kernel.warmup(*args, grid=grid, **options)
        )


@pytest.fixture
def h100(monkeypatch):
    """An H100 to compile for."""
    pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.runtime.driver import driver

    active = SimpleNamespace(
        get_current_target=lambda: GPUTarget("cuda", 90, 32),
        get_current_device=lambda: 0,
        get_current_stream=lambda device: 0,
    )
    monkeypatch.setattr(driver, "_active", active)


@pytest.fixture
def compiled(h100, monkeypatch):
    """Kernels that would have been launched."""
    from samplewise.nn import triton_recurrence as module

    monkeypatch.setattr(module, "multiprocessors", lambda device: 132)
    kernels = []
    for name in ("one_phase", "all_steps"):
        monkeypatch.setattr(module, name, Recorder(getattr(module, name), kernels))
    return kernels


def stack_bytes(kernel, path):
    """What a thread of ``kernel`` keeps in memory because its registers are too few."""
    import triton

    path.write_bytes(kernel.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    command = [tool, "-res-usage", path]
    used = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (size,) = re.findall(r"STACK:(\d+)", used)
    return int(size)


@pytest.mark.parametrize("way", ["phases", "persistent"])
@pytest.mark.parametrize("cell", CELLS)
def test_compiled_for_an_h100_nothing_spills_and_reads_pass_by_the_first_cache(
    cell, way, compiled, tmp_path
):
    run = run_kernels(cell, way)
    outputs_and_gradients(run, *arguments(cell, 128, 1024, 2, torch.bfloat16))
    kernels = {kernel.hash: kernel for kernel in compiled}.values()
    per_direction = 2 if (cell, way) == ("gru", "phases") else 1
    assert len(kernels) == 2 * per_direction  # none is compiled again for another step
    for kernel in kernels:
        assert kernel.metadata.launch_cooperative_grid == (way == "persistent")
        assert kernel.metadata.shared <= 227 * 1024
        assert "mma" in kernel.asm["ptx"]
        assert "cp.async.cg" in kernel.asm["ptx"]
        assert "cp.async.ca" not in kernel.asm["ptx"]
        assert stack_bytes(kernel, tmp_path / "kernel.cubin") == 0


@pytest.mark.parametrize("way", ["phases", "persistent"])
@pytest.mark.parametrize("cell", CELLS)
def test_beside_the_kernels_nothing_comes_from_the_host(cell, way, monkeypatch):
    pytest.importorskip("triton")
    from tests.training.test_host_free import OnTheHost

    from samplewise.nn import triton_recurrence as module

    class Kernel:
        def __getitem__(self, grid):
            return lambda *args, **options: None

    for name in ("one_phase", "all_steps"):
        monkeypatch.setattr(module, name, Kernel())
    values, gradients = arguments(cell, 3, DIM, TIME, torch.bfloat16, "meta")
    with OnTheHost() as host:
        found = outputs_and_gradients(run_kernels(cell, way), values, gradients)
    assert host.found == {}
    assert {x.device.type for x in found} == {"meta"}


@pytest.fixture
def cuda(gpu):
    """The GPU; the kernels have no other device."""
    if gpu.type != "cuda":
        pytest.skip("kernels of Triton run on GPUs alone")
    return gpu


SHAPES = [(128, 1024, 64, torch.bfloat16), (16, 256, 64, torch.bfloat16)]
SHAPES += [(37, 100, 9, torch.float32), (300, 896, 5, torch.bfloat16)]


@pytest.mark.gpu
@pytest.mark.parametrize(("lanes", "dim", "time", "dtype"), SHAPES)
@pytest.mark.parametrize("way", ["phases", "persistent"])
@pytest.mark.parametrize("cell", CELLS)
def test_on_a_gpu_kernels_equal_double_precision_and_repeat_bit_for_bit(
    cell, way, lanes, dim, time, dtype, cuda
):
    values, gradients = arguments(cell, lanes, dim, time, dtype, cuda)
    found = []
    for _ in range(2):
        for value in values:
            value.grad = None
        found.append(outputs_and_gradients(run_kernels(cell, way), values, gradients))
    assert all(map(torch.equal, *found))
    check_errors(found[0], exact(cell, values, gradients), 1e-5 if dtype == torch.float32 else 1e-2)


@pytest.mark.gpu
@pytest.mark.parametrize("way", ["phases", "persistent"])
def test_on_a_gpu_a_graph_of_the_kernels_repeats_them_bit_for_bit(way, cuda):
    values, gradients = arguments("gru", 16, 256, 9, torch.bfloat16, cuda)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        expected = outputs_and_gradients(run_kernels("gru", way), values, gradients)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for value in values:
            value.grad = None
        found = outputs_and_gradients(run_kernels("gru", way), values, gradients)
    for _ in range(2):
        graph.replay()
        assert all(map(torch.equal, found, expected))
