"""The ways to run recurrent layers on a GPU: are they right, and how long does a step take?

    python experiments/recurrence_check.py -o recurrence.json
    python experiments/recurrence_check.py -o recurrence.json --device cpu --tiny

Kernels are compiled by many processes first. One process then measures row after row and is
replaced when a row hangs or breaks it. With ``--tiny`` Triton's interpreter runs the kernels.
"""

import json
import os
import queue
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from samplewise.config.fields import Cell

ROOT = Path(__file__).parent.parent
COMPILERS, START_SECONDS, ROW_SECONDS = 12, 30.0, 8.0
BROKEN = 3
"""Exit code of a process whose device cannot go on."""
STEPS, CHECKED_STEPS, REPEATS = 64, 16, 7
"""Steps that are timed; steps that are compared with float64; runs of which the median counts."""
WANTED = {"float32": 1e-5, "bfloat16": 1e-2, "float16": 1e-2}
"""Largest relative errors of outputs and gradients."""


@dataclass(frozen=True)
class RecurrenceArgs:
    """Compare the kernels of recurrent layers with float64, and time them."""

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """JSON file for the results."""
    device: str = "cuda"
    """cuda, cuda:N or cpu."""
    tiny: bool = False
    """Few small layers: tries out the check itself."""
    seconds: float = 75.0
    """When this time is over, rows that are left are skipped."""
    compile: str | None = None
    """Compile the kernels of these rows (JSON) and end."""
    measure: str | None = None
    """Measure these rows (JSON), print a line for each and end."""


@dataclass(frozen=True)
class Row:
    """A layer and a way to run it."""

    cell: Cell
    lanes: int
    dim: int
    way: str
    tiles: tuple[int, int, int, int, int] | None = None
    """Lanes, units, columns at a time, warps, stages; default: those of the package."""
    dtype: str = "bfloat16"
    steps: int = STEPS


def rows_of(tiny: bool) -> list[Row]:
    """Return the rows in their order: what matters most comes first."""
    if tiny:
        tiles = (16, 16, 16, 4, 1)
        return [
            Row("gru", 3, 12, way, tiles, "float32", 2) for way in ("eager", "phases", "persistent")
        ]
    kernels = ("phases", "persistent")
    cell: Cell
    rows = [Row("gru", 128, 1024, way) for way in ("eager", *kernels)]
    tiles = [
        (32, 32, 128, 4, 5),
        (32, 32, 128, 8, 4),
        (32, 32, 64, 4, 8),
        (64, 16, 128, 4, 4),
        (64, 32, 64, 8, 5),
        (32, 16, 128, 4, 6),
    ]
    rows += [Row("gru", 128, 1024, way, tile) for tile in tiles for way in kernels]
    for cell in ("gru", "gru-reset-after", "lstm"):
        rows += [Row(cell, 37, 100, way, None, "float32") for way in kernels]
    rows += [Row("gru-reset-after", 128, 1024, way) for way in ("cudnn", *kernels)]
    rows += [Row("gru", 128, 1024, way, steps=steps) for steps in (16, 256) for way in kernels]
    for lanes, dim in ((16, 256), (64, 256), (16, 1024), (64, 1024), (256, 1024), (512, 1024)):
        rows += [Row("gru", lanes, dim, way) for way in ("eager", *kernels)]
    for lanes, dim in ((256, 1024), (512, 1024), (16, 1024), (64, 256)):
        rows += [Row("gru-reset-after", lanes, dim, way) for way in ("cudnn", *kernels)]
    for lanes, dim in ((128, 1024), (16, 256)):
        rows += [Row("lstm", lanes, dim, way) for way in ("cudnn", *kernels)]
    rows += [Row("gru", 256, 1024, "persistent", tile) for tile in ((64, 32, 128, 8, 4),)]
    rows += [Row("gru", 128, 256, way) for way in kernels]
    rows += [Row("gru", 128, 1024, way, None, "float32") for way in kernels]
    rows += [Row("gru", 64, 896, way) for way in kernels]
    return rows


class Saved:
    """What autograd keeps between the two directions."""

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep ``tensors``."""
        self.saved_tensors = tensors


class Layer:
    """The arguments of a row's layer, and what runs it forwards and backwards.

    Args:
        row: The layer.
        device: Where it is.
        steps: Steps of the sequence.
        exact: Whether to compute in float64, from the same values.
    """

    def __init__(self, row: Row, device: str, steps: int, exact: bool = False):
        import torch

        self.row, self.exact = row, exact
        generator = torch.Generator(device).manual_seed(0)
        operand = getattr(torch, row.dtype)
        gates, size = (4 if row.cell == "lstm" else 3), (row.lanes, row.dim)

        def normal(*shape: int, scale: float = 1.0, dtype: Any = torch.float32) -> Any:
            values = torch.randn(*shape, generator=generator, device=device) * scale
            values = values.to(dtype)
            return values.double() if exact else values

        self.gates = normal(steps, row.lanes, gates * row.dim, dtype=operand)
        self.h0, self.c0 = normal(*size, scale=0.5), normal(*size, scale=0.5)
        scale = row.dim**-0.5
        self.weight = normal(gates * row.dim, row.dim, scale=scale, dtype=operand)
        self.bias = normal(row.dim)
        self.grad, self.grad_c = normal(steps, *size), normal(*size)
        self.saved: Any = Saved()

    def forward(self) -> list[Any]:
        """Return h after every step and an LSTM's last c."""
        from samplewise.nn.recurrence import LSTM, GRUResetAfter, GRUResetBefore

        row, gates, weight = self.row, self.gates, self.weight
        if row.way in ("phases", "persistent") and not self.exact:
            from samplewise.nn.fused_recurrence import FusedRecurrence
            from samplewise.nn.triton_recurrence import Tiles, TritonSteps

            tiles = None if row.tiles is None else Tiles(*row.tiles)
            c0 = self.c0 if row.cell == "lstm" else None
            steps = TritonSteps(row.way, tiles)
            outputs = FusedRecurrence.forward(
                self.saved, row.cell, steps, gates, self.h0, c0, weight, self.bias
            )
            return [output for output in outputs if output is not None]
        gates = gates.to(self.h0.dtype)
        if row.cell == "lstm":
            return list(LSTM.forward(self.saved, gates, self.h0, self.c0, weight))
        if row.cell == "gru":
            return [GRUResetBefore.forward(self.saved, gates, self.h0, weight)]
        bias = self.bias.to(gates.dtype)
        return [GRUResetAfter.forward(self.saved, gates, self.h0, weight, bias)]

    def backward(self) -> list[Any]:
        """Return the gradients of gates, h0, an LSTM's c0, weight and the candidate's bias."""
        import torch

        from samplewise.nn.recurrence import LSTM, GRUResetAfter, GRUResetBefore

        with torch.no_grad():
            if self.row.way in ("phases", "persistent") and not self.exact:
                from samplewise.nn.fused_recurrence import FusedRecurrence

                grad_c = self.grad_c if self.row.cell == "lstm" else None
                found = FusedRecurrence.backward(self.saved, self.grad, grad_c)
                return [gradient for gradient in found if gradient is not None]
            if self.row.cell == "lstm":
                return list(LSTM.backward(self.saved, self.grad, self.grad_c))
            function = GRUResetBefore if self.row.cell == "gru" else GRUResetAfter
            return list(function.backward(self.saved, self.grad))


def measure(row: Row, device: str) -> dict[str, Any]:
    """Return errors against float64, and microseconds a step in either direction."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    result: dict[str, Any] = {}
    first: list[Any] = []
    if row.way == "cudnn":
        return time_cudnn(row, device)
    with torch.no_grad():
        steps = min(CHECKED_STEPS, row.steps)
        exact, layer = (Layer(row, device, steps, exact=exact) for exact in (True, False))
        for name in ("forward", "backward"):
            errors = [
                float((found.double() - wanted).norm() / wanted.norm())
                for found, wanted in zip(
                    getattr(layer, name)(), getattr(exact, name)(), strict=True
                )
            ]
            result[f"{name}_errors"] = errors
            if not max(errors) < WANTED[row.dtype]:  # also for NaN
                result["wrong"] = True
        del exact
        layer = Layer(row, device, row.steps)
        if row.way in ("phases", "persistent"):
            first = layer.forward() + layer.backward()
            second = layer.forward() + layer.backward()
            result["repeats"] = all(map(torch.equal, first, second))
            if row.way == "persistent":
                other = Layer(replace(row, way="phases"), device, row.steps)
                found = other.forward() + other.backward()
                result["equals_phases"] = all(map(torch.equal, first, found))
        for name in ("forward", "backward"):
            if name == "backward":
                layer.forward()  # what the graph saved may be gone
            try:
                seconds, replayed = timed(getattr(layer, name), device)
            except RuntimeError as error:  # without a graph, then
                result[f"{name}_no_graph"] = str(error)[:300]
                seconds, replayed = seconds_of(getattr(layer, name)), None
            result[f"{name}_us"] = 1e6 * seconds / row.steps
            if first and replayed is not None:
                expected = first[: len(replayed)] if name == "forward" else first[-len(replayed) :]
                result[f"{name}_graph"] = all(map(torch.equal, replayed, expected))
    return result


def timed(work: Callable[[], list[Any]], device: str) -> tuple[float, list[Any] | None]:
    """Return the median seconds of ``work``, on a GPU replayed as a graph, and what it returned."""
    import torch

    if torch.device(device).type != "cuda":
        began = time.perf_counter()
        work()
        return time.perf_counter() - began, None
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        work()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = work()
    return seconds_of(graph.replay), output


def seconds_of(work: Callable[[], object]) -> float:
    """Return the median seconds that the GPU needs for ``work``."""
    import torch

    found = []
    for _ in range(REPEATS + 1):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        end.synchronize()
        found.append(start.elapsed_time(end) / 1e3)
    return statistics.median(found[1:])


def time_cudnn(row: Row, device: str) -> dict[str, Any]:
    """Time torch's own layer; its product with the inputs, of the layer's width, is included."""
    import torch

    dtype = getattr(torch, row.dtype)
    kind = torch.nn.LSTM if row.cell == "lstm" else torch.nn.GRU
    layer = kind(row.dim, row.dim, device=device, dtype=dtype)
    x = torch.randn(row.steps, row.lanes, row.dim, device=device, dtype=dtype, requires_grad=True)
    h, _ = layer(x)
    grad, inputs = torch.randn_like(h), [x, *layer.parameters()]
    both = seconds_of(lambda: torch.autograd.grad(layer(x)[0], inputs, grad))
    forward = seconds_of(lambda: layer(x))
    return {
        "forward_us": 1e6 * forward / row.steps,
        "backward_us": 1e6 * (both - forward) / row.steps,
    }


def measure_rows(args: RecurrenceArgs, rows: list[Row]) -> int:
    """Measure rows, print a line for each; end early if the device cannot go on."""
    import torch

    for row in rows:
        began = time.perf_counter()
        try:
            result = measure(row, args.device)
            if torch.device(args.device).type == "cuda":
                torch.cuda.synchronize()
        except Exception as error:  # one row must not end the others
            result = {"failed": f"{type(error).__name__}: {str(error)[:300]}"}
        print(json.dumps(result | {"seconds": time.perf_counter() - began}), flush=True)
        if "CUDA error" in result.get("failed", ""):
            return BROKEN
    return 0


class Compiler:
    """A kernel that is compiled where it would be launched."""

    def __init__(self, kernel: Any):
        self.kernel = kernel

    def __getitem__(self, grid: Any) -> Callable[..., Any]:
        """Return what compiles for ``grid``."""
        return lambda *args, **options: self.kernel.warmup(*args, grid=grid, **options)


def compile_rows(args: RecurrenceArgs, rows: list[Row]) -> int:
    """Compile the kernels of rows into Triton's cache on disk."""
    from samplewise.nn import triton_recurrence as module

    module.one_phase, module.all_steps = Compiler(module.one_phase), Compiler(module.all_steps)
    for row in rows:
        try:
            layer = Layer(row, args.device, 2)
            layer.forward()
            layer.backward()
        except Exception as error:  # it is reported when the row is measured
            print(f"{row}: {error}", file=sys.stderr)
    return 0


def command(args: RecurrenceArgs, kind: str, rows: list[Row]) -> list[str]:
    """Return the command of a process for ``rows``."""
    listed = json.dumps([asdict(row) for row in rows])
    options = ["-o", str(args.output), "--device", args.device, *(["--tiny"] * args.tiny)]
    return [sys.executable, __file__, *options, f"--{kind}", listed]


def environment(args: RecurrenceArgs) -> dict[str, str]:
    """Return the environment of processes: the package's sources, and the interpreter on CPUs."""
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    interpreted = {"TRITON_INTERPRET": "1"} if args.device == "cpu" else {}
    return os.environ | {"PYTHONPATH": path} | interpreted


def compile_all(args: RecurrenceArgs, rows: list[Row]) -> None:
    """Compile the kernels of all rows, by several processes."""
    # Launches of the same kernels follow one another: what is compiled once is compiled for all.
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        if row.way in ("phases", "persistent"):
            groups.setdefault(replace(row, steps=0), []).append(row)
    wanted = [group[0] for group in groups.values()]
    several = min(COMPILERS, os.cpu_count() or 1, len(wanted))
    processes = [
        subprocess.Popen(command(args, "compile", wanted[i::several]), env=environment(args))
        for i in range(several)
    ]
    for process in processes:
        try:
            process.wait(args.seconds / 2)
        except subprocess.TimeoutExpired:
            process.kill()


def results_of(
    args: RecurrenceArgs, rows: list[Row], end: float
) -> Iterator[tuple[Row, dict[str, Any]]]:
    """Yield each row and its result; a row that hangs or ends its process has failed.

    When a row hangs, others that run the same way are skipped.
    """
    left = list(rows)
    while left and time.monotonic() < end:
        with subprocess.Popen(
            command(args, "measure", left), env=environment(args), stdout=subprocess.PIPE, text=True
        ) as process:
            lines: queue.Queue[str | None] = queue.Queue()
            threading.Thread(target=read_lines, args=(process, lines), daemon=True).start()
            limit = START_SECONDS
            while left and time.monotonic() < end:
                try:
                    line = lines.get(timeout=min(limit, max(1.0, end - time.monotonic())))
                except queue.Empty:
                    row = left.pop(0)
                    yield row, {"failed": f"no result within {limit:.0f} s"}
                    for other in left:
                        if other.way == row.way:
                            yield other, {"failed": "skipped: another hung"}
                    left = [other for other in left if other.way != row.way]
                    break
                if line is None:
                    if process.wait() != BROKEN:
                        yield left.pop(0), {"failed": f"the process ended: {process.returncode}"}
                    break
                yield left.pop(0), json.loads(line)
                limit = ROW_SECONDS
            process.kill()
    for row in left:
        yield row, {"failed": "skipped: out of time"}


def read_lines(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    """Put the lines that a process prints into ``lines``, and None when it has ended."""
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(None)


def line_of(row: Row, result: dict[str, Any]) -> str:
    """Return a row and its result as a line of the table."""
    tiles = "" if row.tiles is None else "x".join(map(str, row.tiles))
    line = f"{row.cell:<16}{row.lanes:>5}{row.dim:>6}{row.steps:>5} {row.dtype:<9}{row.way:<11}"
    line += f"{tiles:<17}"
    if "failed" in result:
        return line + result["failed"].partition("\n")[0][:90]
    errors = [result.get(f"{name}_errors") for name in ("forward", "backward")]
    line += "".join(f"{max(found):>9.1e}" if found else f"{'-':>9}" for found in errors)
    line += f"{result['forward_us']:>8.1f}{result['backward_us']:>8.1f}"
    wrong = [name for name in ("wrong", "forward_no_graph", "backward_no_graph") if name in result]
    names = ("repeats", "equals_phases", "forward_graph", "backward_graph")
    return " ".join([line, *wrong, *(f"not {name}" for name in names if result.get(name) is False)])


def main(argv: list[str]) -> int:
    """Run the check; return 1 if a row was wrong or failed."""
    args = tyro.cli(RecurrenceArgs, args=argv, prog="recurrence_check")
    for kind, work in (("compile", compile_rows), ("measure", measure_rows)):
        listed = getattr(args, kind)
        if listed is not None:
            rows = [Row(**row) for row in json.loads(listed)]
            return work(args, rows)
    began, rows = time.monotonic(), rows_of(args.tiny)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    if args.device != "cpu":
        compile_all(args, rows)
    compiled = time.monotonic() - began
    head = f"{'cell':<16}{'lanes':>5}{'dim':>6}{'T':>5} {'type':<9}{'way':<11}{'tiles':<17}"
    head += f"{'err fwd':>9}{'err bwd':>9}{'us fwd':>8}{'us bwd':>8}"
    print(f"compiled in {compiled:.1f} s\n{head}")
    report: dict[str, Any] = {"compile_seconds": compiled, "rows": []}
    for row, result in results_of(args, rows, began + args.seconds):
        print(line_of(row, result), flush=True)
        report["rows"].append(asdict(row) | result)
        args.output.write_text(json.dumps(report, indent=1))
    print(f"{time.monotonic() - began:.0f} s")
    return any("failed" in row or "wrong" in row for row in report["rows"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
