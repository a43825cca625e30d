"""Benchmark of generation: every back end, and the limit of the machine."""

import statistics
from collections.abc import Callable, Sequence
from operator import truediv
from typing import Any, Literal

import numpy as np
import torch

from samplewise.bench.timing import interleave, median_rate
from samplewise.config.models import ModelConfig
from samplewise.engine.sampler import NativeSampler, WeightFormat
from samplewise.engine.weights import can_pack
from samplewise.generate.backend import Sampler, reference_sampler
from samplewise.generate.graphed import GraphedSampler
from samplewise.generate.step_operators import Products
from samplewise.generate.uniforms import uniforms
from samplewise.generate.wavefront import NativeWavefrontSampler
from samplewise.models.base import AutoregressiveModel
from samplewise.models.build import build_model
from samplewise.models.pruning import prune_model
from samplewise.models.step_model import StepModel
from samplewise.models.subscale_wavernn import SubscaleWaveRNN
from samplewise.native import default_threads, has_native, native_module

SAMPLE_RATE, WAVERNN_RATE = 16000, 24000
"""Sample rates of the SampleRNN and the WaveRNN paper, Hz."""
WARM_UP_SAMPLES = 16
"""Samples that are generated before the clock starts."""
MORE_SAMPLES = 8
"""Factor by which the others generate more samples in a run than the reference."""


def generation_speed(
    config: ModelConfig,
    clips: int,
    samples: int,
    runs: int,
    *,
    weights: Sequence[WeightFormat] = ("int8", "f16"),
    threads: Sequence[int] | None = None,
    device: str = "cpu",
    graphed: bool | None = None,
    products: Sequence[Products] = ("float32",),
    reference: bool = True,
    sparsity: float = 0.0,
    block: tuple[int, int] = (16, 4),
    after_run: Callable[[], None] | None = None,
) -> list[dict[str, Any]]:
    """Time the reference, the graphed back end on a GPU, and the native engine on a CPU, in turn.

    Args:
        config: Configuration of the model, which has its initial weights.
        clips: Clips that are generated together.
        samples: Samples of each clip in a run of the reference.
        runs: Number of measured runs.
        weights: Weight formats of the native engine.
        threads: Numbers of threads of the native engine; None for one, and for every core that
            this process may use.
        device: cpu, cuda or cuda:N.
        graphed: Whether to time the graphed back end, if it can draw the model; None: on a GPU.
        products: Precisions of the graphed back end's products.
        reference: Whether to time the reference.
        sparsity: Share of the blocks that are pruned; with initial weights, in effect at random.
        block: Rows and columns of a block.
        after_run: Called after every run.

    Returns:
        One row for each contestant: backend, weights, threads, clips, macs_per_sample (native);
        samples_per_s of all clips; real_time and real_time_24khz, the speed of one clip at 16 and
        24 kHz; ratio to the reference, if it is timed; limit_samples_per_s, the bound by the
        bandwidth and multiply-adds of the machine (measured in the same run), and share_of_limit.

    Raises:
        ValueError: If blocks do not tile the model's matrices.
    """
    model = build_model(config, seed=0).to(device).eval().requires_grad_(False)
    if sparsity:
        model.prepare_to_prune()
        prune_model(model, sparsity, block)
    model.fold()
    threads_of_torch = torch.get_num_threads()
    rows = []
    if reference:
        own = reference_sampler(model, clips)
        rows += [_in_groups(own, clips, samples, "f32", threads_of_torch)]
    if (device != "cpu" if graphed is None else graphed) and isinstance(model, StepModel):
        rows += [
            _graphed(model, clips, samples * MORE_SAMPLES, threads_of_torch, name)
            for name in products
        ]
    for count in contestant_threads(threads) if _runs_natively(model, device) else ():
        rows += [_native(model, clips, samples, name, count) for name in weights]
    draws = [row.pop("draw") for row in rows]
    seconds = interleave(
        {str(index): draw for index, draw in enumerate(draws)}, runs, device, after_run
    )
    for index, row in enumerate(rows):
        own = [value / (clips * row["samples"]) for value in seconds[str(index)]]
        rate = median_rate(1, own)
        row |= {"samples_per_s": rate, "real_time": rate / clips / SAMPLE_RATE}
        row["real_time_24khz"] = rate / clips / WAVERNN_RATE
        if reference:
            theirs = [value / (clips * samples) for value in seconds["0"]]
            row["ratio"] = statistics.median(map(truediv, theirs, own))
        row["runs"] = [1 / value for value in own]
        if "limit_samples_per_s" in row:
            row["share_of_limit"] = rate / row["limit_samples_per_s"]
    return rows


def _runs_natively(model: AutoregressiveModel, device: str) -> bool:
    is_known = can_pack(model) or isinstance(model, SubscaleWaveRNN)
    return device == "cpu" and has_native() and is_known


def contestant_threads(threads: Sequence[int] | None) -> list[int]:
    """Return the numbers of threads that the engine is timed with."""
    return sorted(set(threads or (1, default_threads())))


def _graphed(
    model: StepModel, clips: int, samples: int, threads: int, products: Products
) -> dict[str, Any]:
    sampler = GraphedSampler(model, clips, products=products)
    weights = "f32" if products == "float32" else products
    # The first run captures the graphs.
    return _in_groups(sampler, clips, samples, weights, threads, samples)


def _in_groups(
    sampler: Sampler,
    clips: int,
    samples: int,
    weights: WeightFormat | Literal["tf32"],
    threads: int,
    warm_up: int = WARM_UP_SAMPLES,
) -> dict[str, Any]:
    # The sampler may take fewer clips at once; the other groups follow.
    groups = [
        range(i, min(i + sampler.max_batch, clips)) for i in range(0, clips, sampler.max_batch)
    ]

    def draw(count: int = samples) -> None:
        for group in groups:
            sampler.draw(
                sampler.start(len(group)), uniforms(0, group, 0, count + sampler.lookahead)
            )

    draw(warm_up)
    return {
        "clips": clips,
        "backend": sampler.name,
        "weights": weights,
        "threads": threads,
        "at_once": len(groups[0]),
        "samples": samples,
        "draw": draw,
    }


def _native(
    model: AutoregressiveModel, clips: int, samples: int, weights: WeightFormat, threads: int
) -> dict[str, Any]:
    if isinstance(model, SubscaleWaveRNN):
        front = NativeWavefrontSampler(model, clips, weights, threads)
        return _in_groups(front, clips, samples, weights, threads) | {"isa": front.cell.packed.isa}
    sampler = NativeSampler(model, clips, weights, threads)
    random_numbers = uniforms(0, range(clips), 0, samples * MORE_SAMPLES)

    def draw(uniforms: np.ndarray = random_numbers) -> None:
        sampler.draw(sampler.start(clips), uniforms)

    draw(random_numbers[:, :WARM_UP_SAMPLES])
    return {
        "clips": clips,
        "backend": "native",
        "weights": weights,
        "threads": threads,
        "isa": sampler.packed.isa,
        "samples": random_numbers.shape[1],
        "macs_per_sample": sampler.packed.macs_per_sample,
        "limit_samples_per_s": _limit(sampler, clips, threads),
        "draw": draw,
    }


def _limit(sampler: NativeSampler, clips: int, threads: int) -> float:
    """Return the samples per second that reading the weights once and multiplying would allow."""
    packed = sampler.packed
    share = max(1 << 16, packed.bytes // threads)
    roofline = native_module().roofline(threads, share)
    reading = packed.bytes_per_sample / (roofline["read_gb_s"] * 1e9)
    # Half-precision weights are converted at every use, which many clips share.
    products = "f16_one_clip" if sampler.weights == "f16" and clips == 1 else sampler.weights
    multiplying = packed.macs_per_sample * clips / (roofline[products] * 1e9)
    return clips / max(reading, multiplying)
