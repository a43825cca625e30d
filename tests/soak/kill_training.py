"""Kill a training that saves at every step, hundreds of times; compare with a naive writer.

    python tests/soak/kill_training.py --kills 200

Prints how many kills fell into a save, how many checkpoints were lost or older than what had been
acknowledged (0 are allowed), whether the run that survived ends in the bits of one that was never
stopped, and how many files a naive writer loses under the same kills (the control: if it loses
none, the harness proves nothing).
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TRAINING = """
import sys, time
from pathlib import Path
from dataclasses import replace
import torch
torch.set_num_threads(1)
from samplewise.data.corpus import Corpus
from samplewise.config.models import SampleRNNConfig
from samplewise.training import checkpoint
from samplewise.config.training import BudgetConfig, PreviewConfig, TrainConfig
from samplewise.training.interrupts import Interrupts
from samplewise.training.loop import fit
from samplewise.training.ranks import Ranks
from samplewise.training.run import RunState, start
corpus, folder, steps = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
config = TrainConfig(
    preset="soak", model=SampleRNNConfig(frame_sizes=(2, 2, 8), dim=256, emb_size=32),
    lanes=2, seq_len=16, clip_seconds=1.0, budget=BudgetConfig(steps),
    save_every=1, valid_every=10**9, valid_seconds=0.1, preview=PreviewConfig(0.0), device="cpu",
)
real = RunState.save
def save(self):
    print("saving", self.progress.step, flush=True)
    real(self)
    print("saved", self.progress.step, flush=True)
RunState.save = save
run = start(config, Corpus.open(corpus), folder, Ranks(0, 1, torch.device("cpu")))
print("resumed", run.progress.step, flush=True)
with Interrupts() as interrupts:
    fit(run, None, interrupts)
"""

NAIVE = """
import sys
from pathlib import Path
data = bytes(16_000_000)
path = Path(sys.argv[1])
number = 0
print("resumed 0", flush=True)
while True:
    number += 1
    print("saving", number, flush=True)
    with path.open("wb") as file:
        for start in range(0, len(data), 1 << 20):
            file.write(data[start : start + (1 << 20)])
    print("saved", number, flush=True)
"""


def kill_after(arguments: list[str], wait: float) -> tuple[int, int, bool, bool]:
    """Start, let it save once, kill after ``wait`` seconds.

    Returns:
        Step it resumed from, last step acknowledged, whether it died while saving, whether it had
        ended by itself.
    """
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    while lines[-1] and not lines[-1].startswith("saved"):
        lines.append(process.stdout.readline())
    time.sleep(wait)
    process.send_signal(signal.SIGKILL)
    lines += process.communicate()[0].splitlines()
    words = [line.split() for line in lines if line.split()]
    resumed = int(words[0][1])
    acknowledged = max([int(n) for verb, n in words if verb == "saved"], default=resumed)
    return resumed, acknowledged, words[-1][0] == "saving", process.returncode == 0


def main() -> int:
    """Run the soak; 0 if nothing was lost and the control lost something."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # pyright: ignore[reportOptionalMemberAccess]
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--naive", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    generator = random.Random(args.seed)  # noqa: S311
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = folder / "corpus"
        smoke = Path(__file__).parent.parent.parent / "examples" / "smoke"
        prepare = ["-m", "samplewise.cli.main", "prepare", str(smoke), "-o", str(corpus)]
        subprocess.run([sys.executable, *prepare], check=True, capture_output=True)
        script, run = folder / "train.py", folder / "run"
        script.write_text(TRAINING)
        train = [sys.executable, str(script), str(corpus)]
        lost = in_save = 0
        acknowledged, began = 0, time.monotonic()
        for kill in range(args.kills):
            resumed, newest, saving, _ = kill_after(
                [*train, str(run), str(10**9)], generator.uniform(0.0, 0.4)
            )
            lost += resumed < acknowledged
            acknowledged, in_save = max(acknowledged, newest), in_save + saving
            if kill % 20 == 19:
                left = (time.monotonic() - began) / (kill + 1) * (args.kills - kill - 1)
                print(f"{kill + 1} kills, step {acknowledged}, {left:.0f} s left", flush=True)
        final = str(acknowledged + 5)
        subprocess.run([*train, str(run), final], check=True, capture_output=True)
        leftovers = list((run / "state").glob(".tmp-*"))
        subprocess.run([*train, str(folder / "whole"), final], check=True, capture_output=True)
        same = _newest(run) == _newest(folder / "whole")
        naive_lost = _naive(folder, args.naive, generator)
    print(
        json.dumps(
            {
                "kills": args.kills,
                "in_save": in_save,
                "lost_or_older_than_acknowledged": lost,
                "steps": int(final),
                "equal_to_never_stopped": same,
                "leftovers": len(leftovers),
                "naive_kills": args.naive,
                "naive_lost": naive_lost,
            },
            indent=2,
        )
    )
    return 0 if lost == 0 and same and not leftovers and naive_lost else 1


def _newest(run: Path) -> bytes:
    folder = sorted((run / "state").glob("step-*"))[-1]
    return (folder / "tensors.safetensors").read_bytes()


def _naive(folder: Path, kills: int, generator: random.Random) -> int:
    script, target = folder / "naive.py", folder / "naive.bin"
    script.write_text(NAIVE)
    lost = 0
    for _ in range(kills):
        kill_after([sys.executable, str(script), str(target)], generator.uniform(0.0, 0.1))
        lost += target.stat().st_size != 16_000_000
    return lost


if __name__ == "__main__":
    sys.exit(main())
