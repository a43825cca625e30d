"""What is varied for each family of models: data, and nothing but data.

A new family needs one entry in `MODELS`. The first four words of a search, "which values are
sensible", are answered here; `--fix`, `--range` and `--choices` change the answer for one search.
"""

from samplewise.config.models import (
    FusedSubscaleConfig,
    HybridConfig,
    RNNConfig,
    SampleRNNConfig,
    SubscaleWaveRNNConfig,
    WaveNetConfig,
    WaveRNNConfig,
)
from samplewise.config.training import TrainConfig
from samplewise.search.space import Choices, Entry, Range, Space, Times, resolve

TRAINING: dict[str, Entry | Times] = {
    "learning_rate": Range(2e-4, 1e-2, log=True),
    "clip": Choices(("value", "norm")),
    "clip_limit": Range(0.1, 10.0, log=True),
    "lanes": Times((0.5, 1, 2)),
    "seq_len": Choices((128, 256, 512, 1024)),
    "ema": Choices((0.0, 0.99, 0.999)),
}
"""How a model of any family is trained. Subsequences are multiples of every top frame below."""

SAMPLERNN: dict[str, Entry | Times] = {
    "model.frame_sizes": Choices(
        (
            *((4, 4), (8, 8), (16, 16)),
            *((2, 2, 8), (4, 4, 16), (8, 8, 32), (16, 8, 64)),
            *((2, 2, 8, 32), (4, 4, 16, 64), (16, 4, 16, 64)),
        )
    ),
    "model.dim": Times((0.5, 0.75, 1, 1.5, 2)),
    "model.n_rnn": Choices((1, 2, 3)),
    "model.skip": Choices((False, True), only_if=("model.n_rnn", (2, 3, 4, 5))),
    "model.cell": Choices(("gru", "gru-reset-after", "lstm")),
    "model.emb_size": Choices((32, 64, 128, 256), only_if=("model.sample_input", ("embedding",))),
    "model.weight_norm": Choices((True, False)),
}
"""SampleRNN: two to four tiers, and what the paper's section 3 lists about them."""

RNN: dict[str, Entry | Times] = {
    name: SAMPLERNN[name]
    for name in ("model.dim", "model.n_rnn", "model.skip", "model.cell", "model.emb_size")
}
"""The baseline: what a recurrent stack of a SampleRNN varies."""

WAVENET: dict[str, Entry | Times] = {
    "learning_rate": Range(5e-5, 5e-3, log=True),
    "seq_len": Choices((512, 1024, 1600, 3200)),
    "model.blocks": Choices((1, 2, 3, 4)),
    "model.layers": Choices((6, 7, 8, 9, 10)),
    "model.channels": Times((0.5, 0.75, 1, 1.5, 2)),
    "model.skip_channels": Times((0.5, 1, 2)),
    "model.weight_norm": Choices((True, False)),
}
"""WaveNet: a receptive field from 64 to 4093 samples, and widths."""

HYBRID: dict[str, Entry | Times] = {
    **WAVENET,
    "seq_len": Choices((512, 1024, 1536, 3072)),
    "model.layers": Choices((4, 5, 6, 7, 8)),
    "model.frame_size": Choices((16, 32, 64, 128)),
    "model.frame_level": Choices(("rnn", "convolution")),
    "model.dim": Times((0.5, 1, 2)),
}
"""Hybrids: a WaveNet of a shorter field below frames."""

WAVERNN: dict[str, Entry | Times] = {
    "model.dim": Times((0.5, 1, 2)),
    "seq_len": Choices((480, 960, 1920)),
}
"""WaveRNN: its one size."""

SUBSCALE: dict[str, Entry | Times] = {
    "model.dim": Times((0.5, 1, 2)),
    "model.channels": Times((0.5, 1, 2)),
    "model.residual_channels": Times((0.5, 1, 2)),
    "seq_len": Times((1, 2)),
}
"""Subscale WaveRNN: widths of the WaveRNN and of the network; subsequences of whole segments."""

FUSED: dict[str, Entry | Times] = {
    "model.dim": Times((0.5, 1, 2)),
    "seq_len": Times((1, 2)),
}
"""Fused Subscale WaveRNN: its one size."""

MODELS: dict[type, dict[str, Entry | Times]] = {
    SampleRNNConfig: SAMPLERNN,
    RNNConfig: RNN,
    WaveNetConfig: WAVENET,
    HybridConfig: HYBRID,
    WaveRNNConfig: WAVERNN,
    SubscaleWaveRNNConfig: SUBSCALE,
    FusedSubscaleConfig: FUSED,
}
"""Configuration of a model -> what is varied about it."""


def space_of(config: TrainConfig) -> Space:
    """Return what a search varies about ``config`` unless it is told otherwise.

    Raises:
        ValueError: If nothing is known about this family of models.
    """
    family = type(config.model)
    if family not in MODELS:
        raise ValueError(
            f"preset = {config.preset!r} is a {family.__name__}, for which search/families.py has "
            f"no entry; it knows {', '.join(known.__name__ for known in MODELS)}"
        )
    return resolve(config, {**TRAINING, **MODELS[family]})
