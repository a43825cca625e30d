"""Training speed: our step against a hand-written loop over torch's own GRU, in one run."""

import statistics
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from samplewise.data.stream import Batch
from samplewise.evaluate.handwritten import HandWrittenTraining
from samplewise.evaluate.speed import interleave, median_rate
from samplewise.models.build import build_model
from samplewise.models.configs import ModelConfig, SampleRNNConfig
from samplewise.nn.state import detach
from samplewise.training.tbptt import Subsequence, accumulate_gradients, clip_gradients


class OurTraining:
    """The step of :mod:`training.loop` without its bookkeeping, gradients clipped by value."""

    def __init__(self, config: ModelConfig, lanes: int, device: str, bfloat16: bool = False):
        self.model = build_model(config, seed=0).to(device)
        self.parameters = list(self.model.parameters())
        self.optimizer = torch.optim.Adam(self.parameters, fused=True)
        self.subsequence = Subsequence(self.model)
        self.state = detach(self.model.initial_state(lanes))
        kind = torch.device(device).type
        self.autocast = torch.autocast(kind, torch.bfloat16) if bfloat16 else None

    def step(self, codes: Int[Tensor, "lanes one_and_time"]) -> None:
        """Train on one subsequence."""
        target = codes[:, 1:]
        batch = Batch(
            previous=codes[:, :-1],
            target=target,
            mask=torch.ones_like(target, dtype=torch.bool),
            reset=torch.zeros(len(codes), dtype=torch.bool, device=codes.device),
            clips=(None,) * len(codes),
            samples=target.numel(),
        )
        self.optimizer.zero_grad(set_to_none=True)
        _, self.state = accumulate_gradients(
            self.subsequence, batch, self.state, autocast=self.autocast
        )
        clip_gradients(self.parameters, "value", 1.0)
        self.optimizer.step()


def training_speed(
    config: ModelConfig,
    lanes: int,
    seq_len: int,
    steps: int,
    runs: int,
    device: str = "cpu",
    bfloat16: bool = False,
    after_run: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Time whole steps (forward, backward, clip, Adam) on made-up codes, ours and hand-written.

    Only a SampleRNN has a hand-written counterpart.

    Args:
        config: Sizes of both models.
        lanes: Sequences side by side.
        seq_len: Samples of a subsequence.
        steps: Steps per run.
        runs: Measured runs of each.
        device: Where.
        bfloat16: Products in bfloat16, both.
        after_run: Called after every run.

    Returns:
        samples_per_s of the median run, all runs and, beside a hand-written loop, its
        hand_written_samples_per_s and ratio: the median of the ratios of neighbouring runs.
    """
    generator = torch.Generator().manual_seed(0)
    lookback = config.lookback if isinstance(config, SampleRNNConfig) else 1
    shape = (lanes, lookback + seq_len)
    codes = torch.randint(config.q_levels, shape, generator=generator).to(device)
    ours = OurTraining(config, lanes, device, bfloat16)
    samples = lanes * seq_len * steps
    contestants = {"ours": lambda: [ours.step(codes[:, lookback - 1 :]) for _ in range(steps)]}
    if isinstance(config, SampleRNNConfig):
        theirs = HandWrittenTraining(config, device, bfloat16)
        contestants["hand_written"] = lambda: [theirs.step(codes) for _ in range(steps)]
    seconds = interleave(contestants, runs, device, after_run)
    result = {
        "lanes": lanes,
        "seq_len": seq_len,
        "samples_per_s": median_rate(samples, seconds["ours"]),
        "runs": {name: [samples / value for value in part] for name, part in seconds.items()},
    }
    if "hand_written" in seconds:
        pairs = zip(seconds["ours"], seconds["hand_written"], strict=True)
        result["hand_written_samples_per_s"] = median_rate(samples, seconds["hand_written"])
        result["ratio"] = statistics.median(theirs / ours for ours, theirs in pairs)
    return result
