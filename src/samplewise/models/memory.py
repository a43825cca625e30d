"""Memory of a model, computed from its configuration before anything of it is allocated."""

import math
from dataclasses import dataclass

from samplewise.config.models import (
    HybridConfig,
    ModelConfig,
    RNNConfig,
    SampleRNNConfig,
    SubscaleWaveRNNConfig,
    WaveNetConfig,
)
from samplewise.errors import CheckpointError
from samplewise.models.build import build_model
from samplewise.models.subscale_wavernn import BLOCK
from samplewise.nn.state import to_tensors

MAX_MEMORY = 2 * 2**30
"""Bytes that a model from a file may take, unless told otherwise."""
TABLE_BYTES = 24
"""Per number of a table: single precision for the reference; double precision twice and single
precision once while the native engine packs it."""
FRONT_BYTES, SLOT_BYTES = 48, 32
"""Per sample of a subscale front; and per code that the conditioning network sees."""
PROBED_ROWS = 4
"""Clips that the reference computes side by side at least; see :mod:`generate.rows`."""


@dataclass(frozen=True)
class ModelMemory:
    """Bytes that a model takes for drawing one clip."""

    parameters: int
    """Number of weights."""
    weights: int
    """The weights, in single precision."""
    tables: int
    """Products of embeddings and maps, as they are packed."""
    state: int
    """What one clip remembers."""
    work: int
    """Copies of the state, and the smallest pass."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.tables + self.state + self.work


def model_memory(config: ModelConfig) -> ModelMemory:
    """Return the memory of a model: weights and state exactly, the rest about."""
    model = build_model(config, seed=None).to("meta")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    tensors = to_tensors(model.initial_state(1)).values()
    state = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    tables = TABLE_BYTES * table_size(config)
    return ModelMemory(parameters, 4 * parameters, tables, state, 2 * state + _pass(config))


def check_memory(config: ModelConfig, most: int | float = MAX_MEMORY) -> None:
    """Refuse a model that takes more than ``most`` bytes.

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
            "you trust the file and have the memory, raise the bound with --max-memory "
            f"{math.ceil(least / 2**30) + 1}"
        )


def describe_memory(memory: ModelMemory) -> str:
    """Return the parts of a model's memory in words."""
    return (
        f"weights {gigabytes(memory.weights)}, tables {gigabytes(memory.tables)}, state of a clip "
        f"{gigabytes(memory.state)}, work {gigabytes(memory.work)}"
    )


def gigabytes(size: int | float) -> str:
    """Return a number of bytes in words: ``1.5 GiB``."""
    return f"{size / 2**30:.3g} GiB" if size >= 2**28 else f"{size / 2**20:.3g} MiB"


def table_size(config: ModelConfig) -> int:
    """Return the numbers in the table of what each code gives to the first map."""
    if getattr(config, "head", None) == "gmm":
        return 0
    if isinstance(config, SampleRNNConfig) and config.sample_input != "none":
        return config.frame_sizes[0] * config.q_levels * config.dim
    if isinstance(config, RNNConfig) and config.sample_input == "embedding":
        gates = 4 if config.cell == "lstm" else 3
        return config.q_levels * gates * config.dim * (config.n_rnn if config.skip else 1)
    return 0


def _pasts(config: ModelConfig) -> int:
    """Return the bytes that dilated layers remember of one clip."""
    if not isinstance(config, WaveNetConfig | HybridConfig):
        return 0
    return 4 * config.channels * sum(config.dilations)


def _pass(config: ModelConfig) -> int:
    """Return the bytes of the smallest pass: the reference tries two top frames."""
    if not isinstance(config, SubscaleWaveRNNConfig):
        return 2 * 4 * config.top_frame * config.activations_per_sample
    rows, seen = config.n_subscale, config.columns + config.horizon
    numbers = 2 * config.residual_channels + 4 * config.channels + 8 * config.dim + 2 * 512
    whole = rows * seen * 4 * numbers + SLOT_BYTES * (rows - 1) ** 2 * seen
    block = min(BLOCK, config.columns)
    lag = 1 + math.ceil(config.horizon / block)
    front = FRONT_BYTES * rows * block * ((rows - 1) * lag + 1)
    asked = PROBED_ROWS * SLOT_BYTES * (rows - 1) ** 2 * (block + config.horizon)
    return max(whole, front + asked)
