"""The ten-minute check of a GPU: what it must get right, and how fast it is (docs/gpu.md).

    python experiments/gpu_check.py -o gpu-check.json --corpus corpora/mine
    python experiments/gpu_check.py -o gpu-check.json --device cpu --tiny

Every stage is a process with a limit of its own. The JSON is written after each; the first stage
that fails ends the check, unless --keep-going.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import tyro

ROOT = Path(__file__).parent.parent
PRESETS = ("paper-3tier", "speech", "paper-2tier", "music")
LANES = (128, 512)
GENERATED, CLIPS = ("wavernn-896", "paper-3tier"), (1, 16, 256, 512)
REFERENCE_CLIPS = (1, 256)
TINY_TESTS = ("-k", "3-tier", "tests/models/test_gpu.py")


@dataclass(frozen=True)
class CheckArgs:
    """Check a GPU: identities with the CPU, speed of training and generation, three minutes."""

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """JSON file for the results; previews go into a folder beside it."""
    device: str = "cuda"
    """cuda, cuda:N or cpu."""
    corpus: Path | None = None
    """Prepared corpus for the three minutes of training; default: made-up recordings."""
    tiny: bool = False
    """Small models and few steps: tries out the check itself."""
    minutes: float = 3.0
    """Minutes of training in the last stage."""
    keep_going: bool = False
    """Go on after a stage that failed: for a GPU that is lent for a short time."""
    stage: str | None = None
    """Run one stage, and write its result to `output`."""


def limits(args: CheckArgs) -> dict[str, Any]:
    """Measure the ceilings of the device."""
    from samplewise.bench.ceilings import copy_speed, product_speed
    from samplewise.bench.timing import machine

    return machine(args.device) | {
        "copy_bytes_per_s": copy_speed(args.device),
        "bfloat16_operations_per_s": product_speed(args.device),
    }


def identities(args: CheckArgs) -> dict[str, Any]:
    """Run the tests that are marked gpu."""
    # Only their files: others need extras that a machine with a GPU may lack.
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    marked = [str(file) for file in files if "mark.gpu" in file.read_text()]
    which = TINY_TESTS if args.tiny else marked
    options = ["-o", "addopts=--import-mode=importlib"]  # without checks of types and shapes
    options += ["-p", "no:benchmark"]  # it warns of what follows, if it is there
    if not args.tiny and find_spec("xdist"):
        options += ["-n", "8"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "gpu", *options, *which],
        cwd=ROOT,
        env=os.environ | {"SAMPLEWISE_GPU": args.device},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stdout[-10_000:] + done.stderr[-2_000:])
    return {"tests": done.stdout.strip().splitlines()[-1].strip("= ")}


def training(args: CheckArgs) -> list[dict[str, Any]]:
    """Time steps of training, beside a hand-written loop."""
    import torch

    from samplewise.bench.ceilings import operations_per_s
    from samplewise.bench.training import training_speed
    from samplewise.config.presets import PRESETS as CONFIGS

    rows, on_gpu = [], torch.device(args.device).type == "cuda"
    for name in PRESETS[:1] if args.tiny else PRESETS:
        for lanes in (2,) if args.tiny else LANES:
            config = replace(CONFIGS[name], lanes=lanes)
            if args.tiny:
                small = replace(config.model, dim=16, emb_size=4)
                config = replace(config, model=small, seq_len=32, clip_seconds=0.1)
            also_without = on_gpu and (name, lanes) == (PRESETS[0], LANES[0])
            for cuda_graph in (True, False) if also_without else (on_gpu,):
                config = replace(config, cuda_graph=cuda_graph)
                speed = training_speed(config, *((1, 1) if args.tiny else (5, 5)), args.device)
                speed["operations_per_s"] = operations_per_s(config, speed["samples_per_s"])
                if on_gpu:
                    speed["peak_bytes"] = torch.cuda.max_memory_allocated(args.device)
                rows.append({"preset": name, **speed})
    return rows


def generation(args: CheckArgs) -> list[dict[str, Any]]:
    """Time the generation of one clip and of many at once."""
    from samplewise.bench.generation import generation_speed
    from samplewise.config.presets import PRESETS as CONFIGS
    from samplewise.generate.step_operators import Products

    rows = []
    for name in GENERATED:
        model = CONFIGS[name].model
        if args.tiny:
            model = replace(model, dim=16)
        for clips in CLIPS[:2] if args.tiny else CLIPS:
            samples, runs = (8, 1) if args.tiny else (128, 3)
            products: list[Products] = ["float32", "tf32"] if clips > 1 else ["float32"]
            options = {"products": products, "reference": clips in REFERENCE_CLIPS}
            timed = generation_speed(
                model, clips, samples, runs, device=args.device, graphed=True, weights=(), **options
            )
            rows += [{"preset": name, **row} for row in timed]
    return rows


def learning(args: CheckArgs) -> dict[str, Any]:
    """Train `paper-3tier` for three minutes: bits against samples and seconds."""
    from samplewise.bench.training import made_up_corpus
    from samplewise.config.presets import PAPER_3TIER
    from samplewise.config.training import BudgetConfig, PreviewConfig
    from samplewise.data.corpus import Corpus
    from samplewise.strict_json import parse_object
    from samplewise.training.logger import METRICS
    from samplewise.training.session import train_run

    config = replace(
        PAPER_3TIER,
        device=args.device,
        budget=BudgetConfig(minutes=args.minutes),
        preview=PreviewConfig(minutes=args.minutes, seconds=4.0, count=1),
    )
    if args.tiny:
        config = replace(
            config,
            model=replace(config.model, dim=16, emb_size=4),
            budget=BudgetConfig(steps=2),
            preview=PreviewConfig(minutes=0.0),
            **{"lanes": 2, "seq_len": 32, "clip_seconds": 0.1},
        )
    corpus = made_up_corpus(config) if args.corpus is None else Corpus.open(args.corpus)
    folder = args.output.with_name(f"{args.output.stem}-run")
    train_run(config, corpus, folder, say=print, fresh=True)
    lines = (folder / METRICS).read_text().splitlines()
    return {"corpus": corpus.digest, "events": [parse_object(line) for line in lines]}


STAGES: dict[str, tuple[Callable[[CheckArgs], Any], float]] = {
    "identities": (identities, 240),
    "limits": (limits, 60),
    "training": (training, 300),
    "generation": (generation, 120),
    "learning": (learning, 300),
}
"""Stages in their order, and the seconds that each may take."""


def run_stage(name: str, args: CheckArgs, limit: float) -> Any:
    """Run a stage in a process of its own and return its result.

    Raises:
        RuntimeError: If it failed, with the end of what it said.
        subprocess.TimeoutExpired: If it took too long.
    """
    from samplewise.strict_json import read_object

    with TemporaryDirectory(dir=args.output.parent) as folder:
        path = Path(folder) / args.output.name
        command = [sys.executable, __file__, "--stage", name, "-o", str(path)]
        command += ["--device", args.device, *(["--tiny"] * args.tiny)]
        command += ["--minutes", str(args.minutes)]
        command += ["--corpus", str(args.corpus)] if args.corpus else []
        done = subprocess.run(command, timeout=limit, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stdout[-10_000:] + done.stderr[-10_000:])
        for kept in Path(folder).glob("*-run/previews"):
            kept.rename(args.output.with_name(f"{args.output.stem}-previews"))
        return read_object(path)["result"]


def table(results: dict[str, Any]) -> str:
    """Return the speeds and the identities as text."""
    limits = results.get("limits", {})
    lines = [f"{limits.get('gpu', limits.get('cpu', ''))}, torch {limits.get('torch', '')}"]
    ceiling = limits.get("bfloat16_operations_per_s")
    if ceiling:
        copied = limits["copy_bytes_per_s"] / 1e12
        lines += [f"bfloat16 products {ceiling / 1e12:.3g} TFLOP/s, copies {copied:.3g} TB/s"]
    if "identities" in results:
        lines += [f"tests: {results['identities']['tests']}"]
    head = f"{'preset':<16}{'lanes':>6}{'graph':>6}{'samples/s':>13}{'hand-written':>14}"
    head += f"{'of ceiling':>12}"
    lines += ["", f"{'training':<12}{head}"] * ("training" in results)
    for row in results.get("training", []):
        hand = row.get("hand_written_samples_per_s", 0)
        lines += [
            f"{'':<12}{row['preset']:<16}{row['lanes']:>6}{'yes' if row['cuda_graph'] else '-':>6}"
            f"{row['samples_per_s']:>13,.0f}{hand:>14,.0f}"
            f"{row['operations_per_s'] / ceiling:>12.1%}"
        ]
    head = f"{'generation':<12}{'preset':<16}{'clips':>6}  {'back end':<14}{'samples/s':>13}"
    lines += ["", head] * ("generation" in results)
    lines += [
        f"{'':<12}{row['preset']:<16}{row['clips']:>6}  {row['backend'] + ' ' + row['weights']:<14}"
        f"{row['samples_per_s']:>13,.0f}"
        for row in results.get("generation", [])
    ]
    for event in results.get("learning", {}).get("events", []):
        if event["event"] == "valid":
            lines += [f"step {event['step']}, {event['seconds']:.0f} s: {event['bits']:.3f} bits"]
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Run the check and return the exit code: 1 if a stage failed."""
    args = tyro.cli(CheckArgs, args=argv, prog="gpu_check")
    from samplewise.atomic_io import write_json
    from samplewise.nn.device import use_device

    use_device(args.device)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    if args.stage is not None:
        write_json(args.output, {"result": STAGES[args.stage][0](args)})
        return 0
    results: dict[str, Any] = {"seconds": {}}
    for name, (_, limit) in STAGES.items():
        began = time.monotonic()
        try:
            results[name] = run_stage(name, args, limit)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            results.setdefault("failed", {})[name] = str(error)
        results["seconds"][name] = round(time.monotonic() - began, 1)
        write_json(args.output, results)
        if "failed" in results and not args.keep_going:
            break
    print(table(results))
    for name, error in results.get("failed", {}).items():
        print(f"\n{name} failed:\n{error}")
    return int("failed" in results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
