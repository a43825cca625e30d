"""Memory of a model, computed from its configuration before anything of it is allocated."""

import math
from bisect import bisect_right
from dataclasses import dataclass

from samplewise.config.models import (
    HybridConfig,
    ModelConfig,
    RNNConfig,
    SampleRNNConfig,
    SubscaleWaveRNNConfig,
    WaveNetConfig,
    conditioning_of,
)
from samplewise.errors import CheckpointError
from samplewise.models.build import build_model
from samplewise.models.subscale_wavernn import BLOCK, max_clips
from samplewise.nn.state import to_tensors

MAX_MEMORY = 2 * 2**30
"""Bytes that a model from a file may take, unless told otherwise."""
PANEL = 32
"""Rows that the engine fills matrices up to multiples of (native/src/kernels/kernels.h)."""
TABLE_BYTES = 24
"""Per number of a table: single precision for the reference; double precision twice and single
precision once while the native engine packs it."""
FRONT_BYTES, SLOT_BYTES = 48, 32
"""Per sample of a subscale front; and per code that the conditioning network sees."""
PROBED_ROWS = 4
"""Clips that the reference computes at once at least; see :mod:`generate.batch_invariance`."""
SCORED_STEPS, SCORE_BYTES = 32, 8
"""Steps whose outputs the reference keeps until it scores them, in double precision."""


@dataclass(frozen=True)
class ModelMemory:
    """Bytes that a model takes for drawing some clips at once."""

    parameters: int
    """Number of weights."""
    weights: int
    """The weights, in single precision."""
    tables: int
    """Products of embeddings and maps, as they are packed."""
    state: int
    """What the clips remember."""
    work: int
    """Copies of the state, and the smallest pass."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.tables + self.state + self.work


def model_memory(config: ModelConfig, clips: int = 1) -> ModelMemory:
    """Return the memory of a model: weights and state exactly, the rest about.

    Args:
        config: The model.
        clips: Number of clips that are drawn at once.
    """
    model = build_model(config, seed=None).to("meta")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if isinstance(config, SubscaleWaveRNNConfig):
        clips = min(clips, max_clips(config))
    tensors = to_tensors(model.initial_state(1)).values()
    state = clips * sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    tables = TABLE_BYTES * (table_size(config) + _padded_conditioning(config))
    return ModelMemory(parameters, 4 * parameters, tables, state, 2 * state + _pass(config, clips))


def check_memory(config: ModelConfig, most: int | float = MAX_MEMORY) -> None:
    """Refuse a model that takes more than ``most`` bytes for one clip.

    Raises:
        CheckpointError: It names the parts, the bound and the flag that raises it.
    """
    least, parts = 3 * _pasts(config), "state of a clip and its copies alone"
    if least <= most:  # else thousands of layers need not be built
        memory = model_memory(config)
        least, parts = memory.total, describe_memory(memory)
    if least > most:
        raise CheckpointError(
            f"the model would take {gigabytes(least)} ({parts}), more than {gigabytes(most)}; if "
            f"you trust the file and have the memory, {_raise_bound(least)}"
        )


def check_batch(config: ModelConfig, clips: int, most: int | float, lower: str) -> None:
    """Refuse to draw so many clips at once that they take more than ``most`` bytes.

    Raises:
        ValueError: It names the parts, the number of clips that fit, and ``lower``, the flag to
            lower.
    """
    memory = model_memory(config, clips)
    if memory.total <= most or clips == 1:  # check_memory has refused the rest
        return
    fitting = bisect_right(range(1, clips), most, key=lambda n: model_memory(config, n).total)
    raise ValueError(
        f"{clips} clips at once would take {gigabytes(memory.total)} ({describe_memory(memory)}), "
        f"more than {gigabytes(most)}; lower {lower} to {max(1, fitting)} or, if you have the "
        f"memory, {_raise_bound(memory.total)}"
    )


def describe_memory(memory: ModelMemory) -> str:
    """Return the parts of a model's memory in words."""
    return (
        f"weights {gigabytes(memory.weights)}, tables {gigabytes(memory.tables)}, state "
        f"{gigabytes(memory.state)}, work {gigabytes(memory.work)}"
    )


def gigabytes(size: int | float) -> str:
    """Return a number of bytes in words: ``1.5 GiB``."""
    return f"{size / 2**30:.3g} GiB" if size >= 2**28 else f"{size / 2**20:.3g} MiB"


def table_size(config: ModelConfig) -> int:
    """Return the numbers in the table of what each code gives to the first map."""
    if isinstance(config, SampleRNNConfig) and config.sample_input in ("embedding", "one-hot"):
        return config.frame_sizes[0] * config.q_levels * config.dim
    if isinstance(config, RNNConfig) and config.sample_input == "embedding":
        return config.q_levels * _input_maps(config) * config.dim
    return 0


def _input_maps(config: SampleRNNConfig | RNNConfig) -> int:
    """Return the maps from a stack's input: one to each gate of each layer that sees it."""
    gates = 4 if config.cell == "lstm" else 3
    return gates * (config.n_rnn if config.skip else 1)


def _padded_conditioning(config: ModelConfig) -> int:
    """Return the numbers of the maps of conditioning vectors in the engine, in whole panels."""
    conditioning = conditioning_of(config)
    if conditioning is None:
        return 0
    if isinstance(config, WaveNetConfig):
        return len(config.dilations) * 2 * _whole_panels(config.channels) * conditioning.width
    maps = _input_maps(config) if isinstance(config, SampleRNNConfig | RNNConfig) else 3
    if isinstance(config, SampleRNNConfig):
        maps *= len(config.frame_sizes) - 1
    return maps * _whole_panels(config.dim) * conditioning.width


def _whole_panels(rows: int) -> int:
    return -(-rows // PANEL) * PANEL


def _pasts(config: ModelConfig) -> int:
    """Return the bytes that dilated layers remember of one clip."""
    if not isinstance(config, WaveNetConfig | HybridConfig):
        return 0
    return 4 * config.channels * sum(config.dilations)


def _pass(config: ModelConfig, clips: int) -> int:
    """Return the bytes of the smallest pass.

    The reference tries two top frames of one clip, and keeps outputs of every clip.
    """
    if not isinstance(config, SubscaleWaveRNNConfig):
        kept = max(2 * 4 * config.top_frame, clips * SCORED_STEPS * SCORE_BYTES)
        return kept * config.activations_per_sample
    rows, seen = config.n_subscale, config.columns + config.horizon
    network, gates = 2 * config.residual_channels + 4 * config.channels, 3 * config.dim
    slots = SLOT_BYTES * (rows - 1) ** 2
    whole = seen * (rows * 4 * (network + 8 * config.dim + 2 * 512) + slots)
    block = min(BLOCK, config.columns)
    lag = 1 + math.ceil(config.horizon / block)
    front = FRONT_BYTES * rows * block * ((rows - 1) * lag + 1)
    asked = (block + config.horizon) * (rows * 4 * network + slots) + block * rows * 4 * gates
    return max(whole, clips * front + max(PROBED_ROWS, clips) * asked)


def _raise_bound(least: int | float) -> str:
    return f"raise the bound with --max-memory {math.ceil(least / 2**30) + 1}"
