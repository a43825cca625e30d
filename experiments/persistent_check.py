"""The persistent WaveRNN on a GPU: does it draw what the reference draws, and how fast?

    python experiments/persistent_check.py -o persistent.json
    python experiments/persistent_check.py -o persistent.json --device cpu --tiny

Kernels are compiled by a process each. Then one process measures row after row; if it hangs, it is
stopped. With ``--tiny`` Triton's interpreter runs the kernel.
"""

import json
import os
import subprocess
import sys
import time
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

ROOT = Path(__file__).parent.parent
ROWS = [(896, 1), (896, 4), (384, 1), (224, 1), (384, 4), (224, 4)]
"""Units and clips: what matters most comes first."""
CHECKED, TIMED = 2000, 24_000
"""Samples that are compared, a quarter of them after the first row, and that are timed."""
WANTED = 0.99
"""Least share of equal codes."""


@dataclass(frozen=True)
class PersistentArgs:
    """Compare the persistent back end with the reference, and time it."""

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """JSON file for the results."""
    device: str = "cuda"
    """cuda, cuda:N or cpu."""
    tiny: bool = False
    """One small model: tries out the check itself."""
    seconds: float = 60.0
    """When this time is over, what still runs is stopped."""
    rows: int = len(ROWS)
    """How many rows to measure, from the first on."""
    compile: int | None = None
    """Compile the kernel of this row and end."""
    measure: bool = False
    """Measure all rows, print a line for each and end."""


def make_sampler(dim: int, clips: int, device: str) -> Any:
    """Return the sampler of a model with weights at random."""
    import torch

    from samplewise.config.models import WaveRNNConfig
    from samplewise.generate.batch_invariance import RowPlan
    from samplewise.generate.persistent import PersistentSampler, obstacle
    from samplewise.models.build import build_model
    from samplewise.models.wavernn import WaveRNN

    model = build_model(WaveRNNConfig(dim=dim), seed=1).eval().requires_grad_(False)
    assert isinstance(model, WaveRNN)
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator) / dim**0.5)
    for output, _ in model.output_maps():  # as decided as a trained model
        output.weight.scale(4)
    model.fold()
    model.to(device)
    reason = None if device == "cpu" else obstacle(model)
    if reason is not None:
        raise RuntimeError(reason)
    sampler = PersistentSampler(model, clips)
    sampler.plan = RowPlan(clips, clips)
    return sampler


def compare(sampler: Any, samples: int) -> dict[str, Any]:
    """Draw samples; compare each with what float64 draws after the same samples before it.

    A code that differs does not make those after it differ.
    """
    import torch

    from samplewise.generate.uniforms import uniforms

    numbers = uniforms(1, range(sampler.max_batch), 0, samples)
    start = sampler.start(sampler.max_batch)
    codes, log_probs, after = sampler.draw(start, numbers)
    again, log_probs_again, _ = sampler.draw(start, numbers)
    model = deepcopy(sampler.model).double()
    stage, drawn = model.head.sample_stage, []
    forced = torch.from_numpy(codes.T.copy()).to(start.previous.device)
    symbols = model.head.symbols(forced).unbind(-1)

    def sample_stage(*arguments: Any) -> Any:
        symbol, rest = stage(*arguments)
        drawn.append(symbol)
        t, place = divmod(len(drawn) - 1, 2)
        return symbols[place][t], rest

    model.head.sample_stage = sample_stage
    previous, params = start.previous, []
    state = model.initial_state(len(previous))
    by_time = torch.from_numpy(numbers.T.copy()).to(previous.device)
    with torch.inference_mode():
        for uniform in by_time:
            previous, state, step = model.sample(previous, state, uniform)
            params.append(step)
        own = torch.stack(drawn[::2]) * 256 + torch.stack(drawn[1::2])
        logits = torch.stack(params).flatten(0, 1)
        scores = model.head.log_prob(logits, forced.flatten()).view_as(forced)
    return {
        "equal": float((own == forced).double().mean()),
        "log_prob_error": float(np.abs(scores.T.cpu().numpy() - log_probs).max()),
        "state_error": float((after.model.h - state.h).abs().max()),
        "repeats": bool((codes == again).all() and (log_probs == log_probs_again).all()),
        "distinct_codes": len(np.unique(codes)),
    }


def measure(dim: int, clips: int, args: PersistentArgs) -> dict[str, Any]:
    """Return errors and speed of a row."""
    from samplewise.generate.uniforms import uniforms

    sampler = make_sampler(dim, clips, args.device)
    checked = CHECKED if (dim, clips) == ROWS[0] else CHECKED // 4
    result = compare(sampler, 2 if args.tiny else checked)
    samples = 1 if args.tiny else TIMED
    numbers = uniforms(2, range(clips), 0, samples)
    state, seconds = sampler.start(clips), []
    for _ in range(1 if args.tiny else 3):
        began = time.perf_counter()
        sampler.draw(state, numbers)
        seconds.append(time.perf_counter() - began)
    best = min(seconds)
    result["us_a_step"] = 1e6 * best / samples
    result["samples_per_second"] = clips * samples / best
    if result["equal"] < WANTED or not result["repeats"]:
        result["wrong"] = True
    return result


def measure_rows(args: PersistentArgs, rows: list[tuple[int, int]]) -> int:
    """Measure rows and print a line for each; a row that fails ends them."""
    import torch

    if args.device != "cpu":
        torch.cuda.set_device(args.device if ":" in args.device else "cuda:0")
    for dim, clips in rows:
        began = time.perf_counter()
        try:
            result = measure(dim, clips, args)
        except Exception as error:  # reported as the result of the row
            result = {"failed": f"{type(error).__name__}: {str(error)[:300]}"}
        print(json.dumps(result | {"seconds": time.perf_counter() - began}), flush=True)
        if "CUDA error" in result.get("failed", ""):
            return 1
    return 0


def compile_row(args: PersistentArgs, row: tuple[int, int]) -> int:
    """Compile the kernel of a row into Triton's cache on disk, without launching it."""
    import torch

    from samplewise.nn import triton_wavernn

    class Compiler:
        def __getitem__(self, grid: Any) -> Any:
            return lambda *arguments, **options: kernel.warmup(*arguments, grid=grid, **options)

    kernel, triton_wavernn.draw_samples = triton_wavernn.draw_samples, Compiler()  # pyright: ignore[reportAttributeAccessIssue]
    sampler = make_sampler(*row, args.device)
    with torch.inference_mode():
        state = sampler.start(row[1])
        sampler._draw_part(state, torch.zeros(2, row[1], device=args.device), None, None)
    return 0


def start(args: PersistentArgs, *options: str) -> subprocess.Popen[str]:
    """Start a process of this check."""
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    interpreted = {"TRITON_INTERPRET": "1"} if args.device == "cpu" else {}
    command = [sys.executable, __file__, "-o", str(args.output), "--device", args.device]
    command += ["--rows", str(args.rows), *(["--tiny"] * args.tiny)]
    return subprocess.Popen(
        [*command, *options],
        env=os.environ | {"PYTHONPATH": path} | interpreted,
        stdout=subprocess.PIPE if "--measure" in options else None,
        text=True,
    )


def line_of(row: dict[str, Any]) -> str:
    """Return a row and its result as a line of the table."""
    line = f"wavernn-{row['dim']:<6}{row['clips']:>3} "
    if "failed" in row:
        return line + row["failed"][:120]
    line += f"{row['samples_per_second']:>12,.0f} samples/s {row['us_a_step']:>8.2f} us a step  "
    line += f"equal {row['equal']:.4%}, ln p {row['log_prob_error']:.1e}, "
    line += f"h {row['state_error']:.1e}, {row['distinct_codes']} codes"
    return line + " WRONG" * ("wrong" in row) + " not repeatable" * (not row["repeats"])


def main(argv: list[str]) -> int:
    """Run the check; return 1 if a row was wrong or failed."""
    args = tyro.cli(PersistentArgs, args=argv, prog="persistent_check")
    rows = [(8, 1)] if args.tiny else ROWS[: args.rows]
    if args.compile is not None:
        return compile_row(args, rows[args.compile])
    if args.measure:
        return measure_rows(args, rows)
    began = time.monotonic()
    if args.device != "cpu":
        for process in [start(args, "--compile", str(i)) for i in range(len(rows))]:
            try:
                process.wait(max(1.0, began + args.seconds * 2 / 3 - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
    print(f"compiled in {time.monotonic() - began:.1f} s", flush=True)
    measuring = start(args, "--measure")
    try:
        lines, _ = measuring.communicate(timeout=began + args.seconds - time.monotonic())
    except subprocess.TimeoutExpired:
        measuring.kill()
        lines, _ = measuring.communicate()
    results = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
    missing = [{"failed": "no result"}] * (len(rows) - len(results))
    report = [
        {"dim": dim, "clips": clips} | result
        for (dim, clips), result in zip(rows, results + missing, strict=True)
    ]
    for row in report:
        print(line_of(row))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(report, indent=1))
    print(f"{time.monotonic() - began:.0f} s")
    return any("failed" in row or "wrong" in row for row in report)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
