"""Benchmark of training: the steps of a preset and of a hand-written loop, in one run."""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from samplewise.bench.handwritten import HandWrittenTraining
from samplewise.bench.timing import interleave, median_rate, synchronize
from samplewise.config.models import SampleRNNConfig
from samplewise.config.training import TrainConfig
from samplewise.data.corpus import Corpus
from samplewise.data.index import CorpusIndex, Recording, Settings, Summary
from samplewise.training.prefetch import Prefetch
from samplewise.training.ranks import Ranks
from samplewise.training.run import RunState, start
from samplewise.training.static_step import StaticStep, uses_graph
from samplewise.training.tbptt import Subsequence
from samplewise.training.train_step import autocast, train_step

PARTS = ("data", "forward", "backward", "clip", "optimizer", "averaging")
"""Parts of a step, in their order."""
RATE = 16000
"""Sample rate of the synthetic recordings, in Hz."""
WHOLE_SECONDS = 8.0
"""Length of a recording in seconds, if clips are whole recordings."""


class PartTimer:
    """A timer of the parts of steps, in seconds."""

    def __init__(self, device: str):
        self.seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)
        self._device, self._last = device, time.perf_counter()

    def __call__(self, part: str) -> None:
        """Add the time since the last call to ``part``."""
        synchronize(self._device)
        now = time.perf_counter()
        self.seconds[part] += now - self._last
        self._last = now


def training_speed(
    config: TrainConfig,
    steps: int,
    runs: int,
    device: str = "cpu",
    after_run: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Time training steps of ``config`` and of the hand-written loop, on synthetic recordings.

    Our steps are those of :func:`training.loop.fit`. Clips are read seldom, when a lane begins one,
    so each step gets its share of that time. Only a SampleRNN with a softmax has a hand-written
    counterpart: the paper's, without a linear predictor and with costs at all samples.

    Args:
        config: Model and training.
        steps: Steps in a run.
        runs: Number of measured runs of each.
        device: Device of the training.
        after_run: Called after every run.

    Returns:
        samples_per_s of the median run, all runs, parts (the share of each part in a step) and,
        beside a hand-written loop, its hand_written_samples_per_s and ratio: the median of the
        ratios of neighbouring runs.
    """
    if torch.device(device).type == "cuda":
        gc.collect()  # graphs of an earlier call hold memory
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    if config.optimizer.name == "muon":  # as many steps of the matrices in each run
        steps = -(-steps // config.optimizer.muon_every) * config.optimizer.muon_every
    # Without random offsets all clips have one length.
    config, corpus = replace(config, random_offsets=False), made_up_corpus(config)
    with TemporaryDirectory() as folder:
        run = start(config, corpus, Path(folder) / "run", Ranks(0, 1, torch.device(device)))
    subsequence = Subsequence(run.model, run.config.sample_stride)
    reading = _read_first_clips(run, corpus)

    static = StaticStep(run) if uses_graph(run) else None
    take_step = partial(train_step, run, subsequence) if static is None else static
    contestants: dict[str, Callable[[], object]] = {
        "ours": lambda: [take_step() for _ in range(steps)]
    }
    bfloat16 = autocast(run) is not None
    if isinstance(config.model, SampleRNNConfig) and config.model.head == "categorical":
        plain = replace(config.model, lp_order=0, mlp_maps=3)  # as in the paper
        theirs = HandWrittenTraining(plain, device, bfloat16)
        shape = (config.lanes, plain.lookback + config.seq_len)
        generator = torch.Generator().manual_seed(0)
        codes = torch.randint(config.model.q_levels, shape, generator=generator).to(device)
        contestants["hand_written"] = lambda: [theirs.step(codes) for _ in range(steps)]
    seconds = interleave(contestants, runs, device, after_run)
    seconds["ours"] = [value + steps * reading for value in seconds["ours"]]

    timer = PartTimer(device)
    for _ in range(steps):
        train_step(run, subsequence, timer)
    timer.seconds["data"] += steps * reading
    if isinstance(run.stream, Prefetch):
        run.stream.close()
    samples = config.lanes * config.seq_len * steps
    result = {
        "lanes": config.lanes,
        "seq_len": config.seq_len,
        "optimizer": config.optimizer.name,
        "precision": "bfloat16" if bfloat16 else "float32",
        "matmul": run.config.matmul,
        "cuda_graph": static is not None,
        "recurrence": run.config.recurrence,
        "samples_per_s": median_rate(samples, seconds["ours"]),
        "runs": {name: [samples / value for value in part] for name, part in seconds.items()},
        "parts": {
            name: value / sum(timer.seconds.values()) for name, value in timer.seconds.items()
        },
    }
    if "hand_written" in seconds:
        pairs = zip(seconds["ours"], seconds["hand_written"], strict=True)
        result["hand_written_samples_per_s"] = median_rate(samples, seconds["hand_written"])
        result["ratio"] = statistics.median(theirs / ours for ours, theirs in pairs)
    return result


def _read_first_clips(run: RunState, corpus: Corpus) -> float:
    """Read the first clip of every lane; return the seconds of reading for each later step.

    They are 0 where a thread reads ahead.
    """
    if isinstance(run.stream, Prefetch):
        return 0.0
    began = time.perf_counter()
    run.stream.next_batch()
    clip = max(recording.samples for recording in corpus.recordings)
    return (time.perf_counter() - began) * run.config.seq_len / clip


def made_up_corpus(config: TrainConfig) -> Corpus:
    """Return a corpus of tones and noise in memory: recordings of one clip each."""
    size = round((config.clip_seconds or WHOLE_SECONDS) * RATE)
    time = np.arange(size) / RATE
    noise = np.random.default_rng(0).normal(0, 0.02, size)
    wave = 0.3 * np.sin(880 * np.pi * time) + noise
    recordings = tuple(
        Recording(f"{split}.wav", 0, size, split, "0" * 64, 1.0, 0.5)
        for split in ("train", "valid")
    )
    index = CorpusIndex(
        format=1,
        sample_rate=RATE,
        channels=1,
        gain=1.0,
        split_rule="made up",
        digest="made up",
        settings=Settings(RATE, 0.5, 0.0, 0, "recordings"),
        summary=Summary(2, {}, None, None, 0.0, 0, 0, 0, 0),
        warnings=(),
        recordings=recordings,
        files=(),
        skipped=(),
        notes=(),
    )
    return Corpus(Path(), index, np.round(32767 * wave).astype("<i2"))
