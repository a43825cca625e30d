"""What a device can do at most, and how much of it a step of training needs."""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from samplewise.bench.timing import synchronize
from samplewise.config.models import ModelConfig, SampleRNNConfig, conditioning_of
from samplewise.config.training import TrainConfig
from samplewise.data.lanes import Batch
from samplewise.models.build import build_model
from samplewise.nn.state import detach
from samplewise.training.tbptt import Subsequence, accumulate_gradients

RUNS = 5
COPIED_BYTES, COPIES = {"cpu": 2**24, "cuda": 2**31}, 8
SIDE = {"cpu": 64, "cuda": 8192}
"""Rows and columns of the matrices that are multiplied."""
PRODUCTS = 8


def copy_speed(device: str) -> float:
    """Return bytes per second of copies within the device, read and written bytes together."""
    kind = torch.device(device).type
    source = torch.ones(COPIED_BYTES[kind], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = _seconds(lambda: target.copy_(source), COPIES, device)
    return 2 * len(source) / seconds


def product_speed(device: str) -> float:
    """Return operations per second of products of large bfloat16 matrices."""
    side = SIDE[torch.device(device).type]
    # A GPU multiplies ones faster than numbers that differ.
    a, b = torch.randn(2, side, side, dtype=torch.bfloat16, device=device)
    return 2 * side**3 / _seconds(lambda: a @ b, PRODUCTS, device)


def _seconds(function: Callable[[], object], repeats: int, device: str) -> float:
    """Return the seconds of one call: the median run's, after one that is not measured."""
    seconds = []
    for _ in range(RUNS + 1):
        synchronize(device)
        began = time.perf_counter()
        for _ in range(repeats):
            function()
        synchronize(device)
        seconds.append((time.perf_counter() - began) / repeats)
    return statistics.median(seconds[1:])


def step_operations(config: ModelConfig, lanes: int, seq_len: int) -> int:
    """Count the multiplications and additions of the matrix products in a step of training.

    The step runs on torch's ``meta`` device, which computes shapes alone.

    Args:
        config: The model; its conditioning and its linear predictor are left out.
        lanes: Sequences trained side by side.
        seq_len: Samples of a subsequence.
    """
    if conditioning_of(config) is not None:
        config = replace(config, conditioning=None)  # pyright: ignore[reportCallIssue]
    if isinstance(config, SampleRNNConfig):
        config = replace(config, lp_order=0)
    model = build_model(config, seed=None).to("meta")
    codes = torch.empty(lanes, seq_len, dtype=torch.int64, device="meta")
    mask = torch.empty(lanes, seq_len, dtype=torch.bool, device="meta")
    batch = Batch(codes, codes, mask, mask[:, 0], (None,) * lanes, lanes * seq_len)
    with FlopCounterMode(display=False) as counter:
        accumulate_gradients(Subsequence(model), batch, detach(model.initial_state(lanes)))
    return counter.get_total_flops()


def operations_per_s(config: TrainConfig, samples_per_s: float) -> float:
    """Return the operations of :func:`step_operations` that training makes in a second."""
    operations = step_operations(config.model, config.lanes, config.seq_len)
    return operations / config.lanes / config.seq_len * samples_per_s
