"""Every choice that depends on the processor, under other instruction sets, on one core.

Run from the project's root; the table is printed as Markdown::

    nice python tests/soak/hardware.py                     # samples per second
    nice python tests/soak/hardware.py --demo-minutes 2    # and a demo each: bits, exit code
    nice python tests/soak/hardware.py --tests             # and the numeric tests
    nice python tests/soak/hardware.py --only "all with AVX2" --tests

Instruction sets that this processor lacks are left out. The suite runs a short form:
tests/training/test_hardware.py.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SETTINGS: dict[str, dict[str, str]] = {
    "nothing restricted": {},
    "torch without vectors": {"ATEN_CPU_CAPABILITY": "default"},
    "torch with AVX2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "oneDNN with SSE4.1": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    "oneDNN with AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "engine without vectors": {"SAMPLEWISE_ISA": "baseline"},
    "engine with AVX2": {"SAMPLEWISE_ISA": "avx2"},
    "all with AVX2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "SAMPLEWISE_ISA": "avx2",
    },
    "all with the least": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "SAMPLEWISE_ISA": "baseline",
    },
}
NUMERIC = (
    "tests/nn",
    "tests/engine",
    "tests/models",
    "tests/generate",
    "tests/training/test_optimizers.py",
    "--ignore=tests/engine/test_arm.py",
    "--ignore=tests/engine/test_core.py",
)


def run(command: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run Python with ``variables`` on one core."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"} | variables
    pinned = ["taskset", "-c", "0"] if sys.platform == "linux" else []
    return subprocess.run(
        [*pinned, sys.executable, "-m", *command], env=environment, capture_output=True, text=True
    )


def bench(preset: str, runs: int, variables: dict[str, str]) -> dict[str, str] | None:
    """Return speeds by column; None if this processor or build lacks the instruction set."""
    command = ["samplewise.cli.main", "bench", "--preset", preset, "--runs", str(runs)]
    command += ["--threads", "1", "--batch", "1", "--weights", "int8", "--device", "cpu", "--json"]
    done = run(command, variables)
    if "this CPU and build have" in done.stderr:
        return None
    done.check_returncode()
    result: dict[str, Any] = json.loads(done.stdout)
    training, (reference, engine) = result["training"][0], result["generation"]
    return {
        "training": f"{training['samples_per_s']:,.0f}",
        "hand-written": f"{training['hand_written_samples_per_s']:,.0f}",
        "products": training["matmul"],
        "optimizer": f"{training['parts']['optimizer']:.1%}",
        "reference": f"{reference['samples_per_s']:,.0f}",
        "engine": f"{engine['samples_per_s']:,.0f}",
    }


def demo(minutes: float, variables: dict[str, str]) -> dict[str, str]:
    """Run the demo; return its exit code and what it scored."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["samplewise.cli.main", "demo", "-o", folder, "--minutes", str(minutes)]
        code = run(command, variables).returncode
        scores = Path(folder) / "run" / "evaluation.json"
        found = json.loads(scores.read_text()) if scores.exists() else {"bits_per_sample": "-"}
    return {"demo": f"{found['bits_per_sample']:.3f} bits, exit code {code}"}


def main() -> int:
    """Print the table; 1 if a test failed."""
    parser = argparse.ArgumentParser(description="Speeds under other instruction sets, one core.")
    parser.add_argument("--preset", default="small", help="a SampleRNN with 8-bit codes")
    parser.add_argument("--runs", type=int, default=3, help="measured runs of each benchmark")
    parser.add_argument("--demo-minutes", type=float, default=0.0, help="0: no demo")
    parser.add_argument("--tests", action="store_true", help="run the numeric tests too")
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    args = parser.parse_args()
    failed = False
    for name in args.only:
        variables = SETTINGS[name]
        row = bench(args.preset, args.runs, variables)
        if row is None:
            print(f"{name}: not on this processor", file=sys.stderr)
            continue
        if args.demo_minutes:
            row |= demo(args.demo_minutes, variables)
        if args.tests:
            done = run(["pytest", "-q", *NUMERIC], variables)
            row["tests"] = (done.stdout.splitlines() or ["-"])[-1]
            failed |= bool(done.returncode)
        if name == args.only[0]:
            print("| " + " | ".join(["", *row]) + " |\n" + "|---" * (len(row) + 1) + "|")
        print("| " + " | ".join([name, *row.values()]) + " |", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
