"""Train on 1,000 simulated hours and on one hour; print memory, speed and the time to start.

    python tests/soak/thousand_hours.py --steps 200

The shards of the large corpus are hard links to one file, so it takes 0.6 GB of disk in place of
115. Everything else is real: a corpus.json with 250,000 recordings, checksums, random clips.
Throughput is counted in CPU seconds, so that other work on the machine does not matter.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from samplewise.config.codec import with_fields
from samplewise.config.presets import PRESETS
from samplewise.data.corpus import Corpus
from samplewise.data.index import (
    SHARDS_FORMAT,
    CorpusIndex,
    Recording,
    Settings,
    Shard,
    corpus_digest,
)
from samplewise.data.parts import BLOCK_BYTES, SAMPLE_BYTES, header
from samplewise.data.prepare.summary import summarise
from samplewise.data.stored import Checksums
from samplewise.strict_json import to_text
from samplewise.training.ranks import Ranks
from samplewise.training.run import start
from samplewise.training.tbptt import Subsequence
from samplewise.training.train_step import train_step

RATE = 16_000
RECORDING_S = 14.4
SHARDS = 200
SHARD_SAMPLES = (1000 * 3600 * RATE * SAMPLE_BYTES // SHARDS // BLOCK_BYTES + 1) * (
    BLOCK_BYTES // SAMPLE_BYTES
)


def make_corpus(
    folder: Path,
    hours: float,
    shards: int,
    sound: np.ndarray | None,
    recording_s: float = RECORDING_S,
) -> None:
    """Write a corpus of ``shards`` names of one file.

    Args:
        folder: Is made.
        hours: Sum of the recordings.
        shards: Number of names.
        sound: Samples of the file; None: a sparse file of silence.
        recording_s: Length of each recording.
    """
    folder.mkdir(parents=True)
    size, sums = SHARD_SAMPLES * SAMPLE_BYTES, Checksums()
    sha256 = hashlib.sha256(b"" if sound is None else sound.data).hexdigest()
    names = [f"samples-{number:03d}-{sha256[:8]}.npy" for number in range(shards)]
    with (folder / names[0]).open("wb") as file:
        file.write(header(SHARD_SAMPLES))
        if sound is None:
            file.truncate(file.tell() + size)
            sums.add(bytes(BLOCK_BYTES))
            checksums = sums.text() * (size // BLOCK_BYTES)
        else:
            file.write(sound.data)
            sums.add(sound.tobytes())
            checksums = sums.text()
    for name in names[1:]:
        os.link(folder / names[0], folder / name)
    length = round(recording_s * RATE)
    count = int(hours * 3600 / recording_s)
    recordings = tuple(
        Recording(
            f"{number:06d}.wav",
            number * length,
            length,
            "train" if number % 50 else ("valid" if number % 100 else "test"),
            f"{number:064x}",
            1.0,
            0.5,
        )
        for number in range(count)
    )
    settings = Settings(RATE, 0.06, 0.06, 0, "recordings")
    index = CorpusIndex(
        format=SHARDS_FORMAT,
        sample_rate=RATE,
        channels=1,
        gain=1.0,
        split_rule="by recording",
        digest=corpus_digest(RATE, 1.0, recordings),
        settings=settings,
        summary=summarise(settings, (), recordings, ()),
        warnings=(),
        recordings=recordings,
        files=(),
        skipped=(),
        notes=(),
        checksums=checksums * shards,
        shards=tuple(Shard(name, SHARD_SAMPLES, sha256) for name in names),
    )
    (folder / "corpus.json").write_text(to_text(asdict(index)))


def memory_mb() -> float:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1e6


@contextmanager
def timed(figures: dict[str, float], name: str) -> Iterator[None]:
    """Note the CPU seconds of the block."""
    began = time.process_time()
    yield
    figures[name] = round(time.process_time() - began, 2)


def measure(place: Path, steps: int) -> dict:
    """Train on the corpus in ``place``; return the figures."""
    figures: dict = {}
    with timed(figures, "open_cpu_s"):
        corpus = Corpus.open(place)
    figures["hours"] = round(sum(r.samples for r in corpus.recordings) / RATE / 3600, 1)
    figures["memory_opened_mb"] = round(memory_mb())
    config = with_fields(
        PRESETS["small"], minutes=None, steps=10**9, lanes=16, seq_len=256, device="cpu"
    )
    with timed(figures, "start_cpu_s"):
        run = start(config, corpus, place.with_suffix(".run"), Ranks(0, 1, torch.device("cpu")))
    subsequence, memory, seconds, samples = Subsequence(run.model), [], 0.0, 0
    for step in range(steps):
        began = time.process_time()
        _, count, _ = train_step(run, subsequence)
        if step >= steps // 10:
            seconds, samples = seconds + time.process_time() - began, samples + count
        if (step + 1) % max(1, steps // 10) == 0:
            memory.append(round(memory_mb()))
    figures["memory_mb"] = memory
    figures["samples_per_cpu_s"] = round(samples / seconds)
    with timed(figures, "batches_cpu_s"):
        for _ in range(steps):
            run.stream.next_batch()
    return figures


def main() -> None:
    """Measure both corpora, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.corpus is not None:
        print(json.dumps(measure(arguments.corpus, arguments.steps)))
        return
    place = Path(tempfile.mkdtemp(prefix="hours-", dir=arguments.folder))
    try:
        noise = np.random.default_rng(0).standard_normal(SHARD_SAMPLES // 100)
        wave = np.tile(150 * np.cumsum(noise - noise.mean()), 101)[:SHARD_SAMPLES]
        sound = np.clip(wave, -32000, 32000).astype("<i2")
        results = {}
        for name, hours, shards in (("one", 1.0, 1), ("thousand", 1000.0, SHARDS)):
            make_corpus(place / name, hours, shards, sound)
            size = (place / name / "corpus.json").stat().st_size / 1e6
            print(f"{name}: corpus.json {size:.0f} MB")
        del noise, wave, sound
        for name in ("one", "thousand"):
            again = [sys.executable, __file__, "--steps", str(arguments.steps), "--corpus"]
            out = subprocess.run([*again, place / name], check=True, stdout=subprocess.PIPE)
            results[name] = json.loads(out.stdout)
        print(json.dumps(results, indent=2))
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
