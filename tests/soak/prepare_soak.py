"""Long checks of `samplewise prepare`: memory and speed on hours of audio, mutations, kills.

Run from the project's root, all three or by name::

    nice python tests/soak/prepare_soak.py hours --hours 10
    nice python tests/soak/prepare_soak.py mutations --mutations 1000
    nice python tests/soak/prepare_soak.py kills --kills 50

The suite runs short forms of the last two: ten mutations per format, two kills.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.data.mutations import FORMATS, mutate, valid_file

MINUTES_PER_FILE = 6
KINDS = [
    ("wav", 44100, 2),
    ("flac", 44100, 2),
    ("flac", 48000, 1),
    ("ogg", 44100, 2),
    ("mp3", 44100, 2),
    ("wav", 16000, 1),
    ("flac", 16000, 1),
    ("wav", 48000, 2),
]
COMMAND = [
    sys.executable,
    "-c",
    "import sys; from samplewise.cli.prepare import main; sys.exit(main(sys.argv[1:]))",
]


def make_hours(folder: Path, hours: float) -> float:
    """Write files of six minutes, mixed kinds, none equal to another; return the seconds."""
    count = max(1, round(hours * 60 / MINUTES_PER_FILE))
    rng = np.random.default_rng(0)
    for i in range(count):
        ending, rate, channels = KINDS[i % len(KINDS)]
        frames = MINUTES_PER_FILE * 60 * rate
        pitch = 80 * 2 ** (i / 12 % 4)
        level = rng.uniform(0.1, 0.9)
        with sf.SoundFile(folder / f"{i:04d}.{ending}", "w", rate, channels) as file:
            for start in range(0, frames, 65536):
                t = np.arange(start, min(start + 65536, frames)) / rate
                wave = np.sin(2 * np.pi * pitch * t) * (0.5 + 0.4 * np.sin(2 * np.pi * t / 7))
                wave = level * wave + 0.03 * rng.standard_normal(len(t))
                file.write(np.repeat(wave[:, None], channels, 1).clip(-1, 1).astype(np.float32))
        print(f"\r{i + 1}/{count} files", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return count * MINUTES_PER_FILE * 60.0


class MemoryWatch(threading.Thread):
    """Samples the resident memory of a process and all its children, until the process ends."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.peak, self.peak_private, self.is_over = pid, 0, 0, False

    def run(self) -> None:
        """Sample ten times a second."""
        while not self.is_over:
            family = [self.pid, *_children(self.pid)]
            self.peak = max(self.peak, sum(_status_bytes(pid, "VmRSS") for pid in family))
            private = sum(_status_bytes(pid, "RssAnon") for pid in family)
            self.peak_private = max(self.peak_private, private)
            time.sleep(0.1)


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            direct = [int(child) for child in task.read_text().split()]
        except OSError:
            continue
        for child in direct:
            found += [child, *_children(child)]
    return found


def _status_bytes(pid: int, field: str) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def soak_hours(place: Path, hours: float, jobs: int) -> bool:
    """Prepare hours of audio; under 1 GiB of resident memory, everything counted."""
    (place / "in").mkdir()
    seconds = make_hours(place / "in", hours)
    size = sum(path.stat().st_size for path in (place / "in").iterdir())
    command = [*COMMAND, str(place / "in"), "-o", str(place / "out"), "--jobs", str(jobs), "--json"]
    started = time.monotonic()
    cpu_before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    watch = MemoryWatch(process.pid)
    watch.start()
    output = process.communicate()[0]
    wall = time.monotonic() - started
    watch.is_over = True
    report = json.loads(output)
    again_started = time.monotonic()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    again = time.monotonic() - again_started
    cpu_after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = cpu_after.ru_utime + cpu_after.ru_stime - cpu_before.ru_utime - cpu_before.ru_stime
    print(
        f"hours: {seconds / 3600:.2f} h in {report['summary']['recordings']} files, "
        f"{size / 1e9:.2f} GB, {jobs} workers\n"
        f"  wall {wall:.1f} s = {seconds / wall:.0f} x real time; "
        f"all of prepare, assembly included, {seconds / max(cpu, 1e-9):.0f} x real time per core "
        f"({cpu:.0f} CPU-s, both runs)\n"
        f"  peak resident memory {watch.peak / 2**20:.0f} MiB (parent + workers), "
        f"of it private {watch.peak_private / 2**20:.0f} MiB\n"
        f"  again, nothing changed: {again:.2f} s"
    )
    return watch.peak < 2**30


def soak_mutations(place: Path, mutations: int, jobs: int) -> bool:
    """Prepare thousands of damaged files: no crash, no hang, memory below 1 GB."""
    is_good, total_kept, total_skipped = True, 0, 0
    peak, slowest = 0, 0.0
    for name in FORMATS:
        folder = place / name
        folder.mkdir()
        sf.write(folder / "good.wav", 0.1 * np.random.default_rng(1).standard_normal(16000), 16000)
        data, rng = valid_file(name), np.random.default_rng(list(name.encode()))
        for i in range(mutations):
            (folder / f"{i:05d}.wav").write_bytes(mutate(data, rng))
        report, watch, wall = _prepare_watched(folder, place / f"{name}.corpus", jobs)
        crashed = [s for s in report["skipped"] if _is_failure(s["reason"])]
        total_kept += report["summary"]["recordings"] - 1
        total_skipped += len(report["skipped"])
        is_good &= not crashed and len(report["skipped"]) + report["summary"]["recordings"] == (
            mutations + 1
        )
        peak, slowest = max(peak, watch.peak), max(slowest, wall)
        print(
            f"  {name:12} {mutations} mutations, {wall:6.1f} s, "
            f"{watch.peak / 2**20:.0f} MiB, failures: {crashed[:3]}",
            flush=True,
        )
    print(
        f"mutations: {len(FORMATS)} formats x {mutations}: {total_kept} used, "
        f"{total_skipped} skipped with a reason, {'no' if is_good else 'SOME'} crashes or hangs "
        f"(limit 5 s a file), peak resident memory {peak / 2**20:.0f} MiB"
    )
    return is_good and peak < 10**9


def _is_failure(reason: str) -> bool:
    return any(word in reason for word in ("crashed", "sign of life", "decoder failed", "memory"))


def _prepare_watched(
    folder: Path, output: Path, jobs: int
) -> tuple[dict[str, Any], MemoryWatch, float]:
    script = (
        "import sys, json; from pathlib import Path; from dataclasses import asdict\n"
        "from samplewise.data.index import Settings\n"
        "from samplewise.data.prepare.prepare import prepare\n"
        "done = prepare(Path(sys.argv[1]), Path(sys.argv[2]),"
        " Settings(16000, 0.06, 0.06, 0, 'auto'), int(sys.argv[3]), timeout_s=5.0)\n"
        "print(json.dumps(asdict(done.index)))\n"
    )
    command = [sys.executable, "-c", script, str(folder), str(output), str(jobs)]
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    watch = MemoryWatch(process.pid)
    watch.start()
    output_text = process.communicate()[0]
    watch.is_over = True
    if process.returncode:
        raise SystemExit(f"prepare of {folder} ended with status {process.returncode}")
    return json.loads(output_text), watch, time.monotonic() - started


def soak_kills(place: Path, kills: int, jobs: int) -> bool:
    """Kill prepare at random moments; the corpus must end as if it had never been killed."""
    folder = place / "kill-in"
    folder.mkdir()
    for i in range(60):
        wave = 0.1 * np.random.default_rng(i).standard_normal(44100 * 20)
        sf.write(folder / f"{i}.{'flac' if i % 2 else 'wav'}", wave, 44100)
    straight, killed = place / "straight", place / "killed"
    command = [*COMMAND, str(folder), "--jobs", str(jobs), "-o"]
    started = time.monotonic()
    subprocess.run([*command, str(straight)], stdout=subprocess.DEVNULL, check=True)
    duration = time.monotonic() - started
    dice = np.random.default_rng(0)
    hits = finished = corpora = equal = 0
    while hits < kills:
        process = subprocess.Popen([*command, str(killed)], stdout=subprocess.DEVNULL)
        try:
            process.wait(dice.uniform(0, 1.1 * duration))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            hits += 1
        if process.wait() == 0:
            finished += 1
            corpora += 1
            equal += _content(straight) == _content(killed)
            shutil.rmtree(killed)
    subprocess.run([*command, str(killed)], stdout=subprocess.DEVNULL, check=True)
    corpora += 1
    equal += _content(straight) == _content(killed)
    print(
        f"kills: {hits} kills while making {corpora} corpora; {equal} of {corpora} are equal "
        "byte for byte to the one that was never interrupted"
    )
    return equal == corpora


def _content(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in ("corpus.json", "samples.npy")]


def main() -> int:
    """Run the checks that are asked for; 0 if all hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checks", nargs="*", default=["hours", "mutations", "kills"])
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--mutations", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--work", type=Path, help="folder for the files; about 6 GB for 10 hours")
    args = parser.parse_args()
    checks = {
        "hours": lambda place: soak_hours(place, args.hours, args.jobs),
        "mutations": lambda place: soak_mutations(place, args.mutations, args.jobs),
        "kills": lambda place: soak_kills(place, args.kills, args.jobs),
    }
    is_good = True
    for name in args.checks:
        with tempfile.TemporaryDirectory(dir=args.work) as place:
            is_good &= checks[name](Path(place))
    print("all hold" if is_good else "SOMETHING DOES NOT HOLD")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
