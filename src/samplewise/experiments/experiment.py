"""Experiments: rows to train, the paper's figures, budgets and sizes."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from samplewise.config.models import (
    FusedSubscaleConfig,
    HybridConfig,
    ModelConfig,
    RNNConfig,
    SampleRNNConfig,
    SubscaleWaveRNNConfig,
    WaveNetConfig,
    WaveRNNConfig,
)
from samplewise.config.training import BudgetConfig, TrainConfig

Kind = Literal["table", "memory", "figure", "speedrun"]
Size = Literal["small", "paper"]
SHRINK = 4
"""Widths of the paper are divided by this in the small size."""
SMALL_LANES = 16
SMALL_WAVERNN_LANES = 8
SMALL_DILATIONS = (1, 1, 2, 2, 4, 4)
"""Of a small Subscale WaveRNN: a horizon of 28 columns, so that short segments exceed it."""
SMALL_NOTE = (
    "small size: every width a quarter of the paper's (GRU and MLP 256, embedding 64; WaveNet 32 "
    "channels, half, and 64 skip channels), 16 lanes at most, WaveNet at a learning rate of 0.001"
)
BUDGET = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|h|steps|Msamples)")
MINUTES = {"s": 1 / 60, "min": 1.0, "h": 60.0}


def slug(words: str) -> str:
    """Return a name for a file or a folder."""
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


@dataclass(frozen=True)
class Row:
    """One system of a table: its training configuration and the paper's figures."""

    name: str
    """As in the paper."""
    config: TrainConfig
    """With the paper's sizes."""
    paper: dict[str, float]
    """The paper's figure by column."""
    paper_minutes: float = 3 * 24 * 60.0
    """How long the paper trained it, as far as is known; the official code stops after 3 days."""
    paper_steps: int | None = None
    """Steps that the paper trained it for, if it says steps; they come before minutes."""
    budget: "Budget | None" = None
    """Of this row alone, in place of the one of the whole experiment."""
    is_trained: bool = True
    """False: the linear predictor of the model alone, without training."""

    @property
    def slug(self) -> str:
        """Name of the row's folder."""
        return slug(self.name)


@dataclass(frozen=True)
class Experiment:
    """A table or a figure of a paper."""

    name: str
    """``paper.table``, as on the command line."""
    title: str
    """What it shows."""
    source: str
    """Where it stands in the paper."""
    unit: str
    """Of the figures."""
    rows: tuple[Row, ...]
    kind: Kind = "table"
    splits: tuple[Literal["valid", "test"], ...] = ("test",)
    """What is scored; the table shows the first."""
    note: str = ""
    """Note on how to read the figures."""
    small_note: str = SMALL_NOTE
    """Description of the small size."""
    in_nats: bool = False
    """The paper's figures are nats per sample: ours are shown in nats and in bits."""
    paper_only: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Systems of the paper that are not trained here, and their figures by column."""
    paper_curves: Mapping[str, Mapping[float, float]] = field(default_factory=dict)
    """The paper's figure by sparsity, of each of its curves; the picture then has curves."""

    @property
    def columns(self) -> list[str]:
        """The paper's columns, in order."""
        return list(dict.fromkeys(column for row in self.rows for column in row.paper))

    @property
    def paper(self) -> dict[str, Mapping[str, float]]:
        """The paper's figures of every line: those trained here first."""
        return {row.name: row.paper for row in self.rows} | dict(self.paper_only)


@dataclass(frozen=True)
class Budget:
    """How long each row is trained."""

    minutes: float | None = None
    steps: int | None = None
    samples: int | None = None
    """Samples trained on, the same for every row whatever its batch; rounded up to whole steps."""

    def apply(self, config: TrainConfig, row: Row) -> TrainConfig:
        """Return ``config`` with this budget and no other."""
        minutes, steps = self.minutes, self.steps
        if self.samples is not None:
            steps = math.ceil(self.samples / (config.lanes * config.seq_len))
        if minutes is None and steps is None:
            minutes, steps = row.paper_minutes, row.paper_steps
        if steps is not None:
            minutes = None
        return replace(config, budget=BudgetConfig(steps=steps, minutes=minutes))

    def __str__(self) -> str:
        if self.steps is not None:
            return f"{self.steps} steps"
        if self.samples is not None:
            return f"{self.samples / 1e6:g} million samples"
        return "the paper's" if self.minutes is None else f"{self.minutes:g} min"


def parse_budget(words: str) -> Budget:
    """Read ``10min``, ``2h``, ``90s``, ``5000steps``, ``8Msamples`` or ``paper``.

    Raises:
        ValueError: If it is none of these, or nothing.
    """
    if words == "paper":
        return Budget()
    found = BUDGET.fullmatch(words.strip())
    if not found or float(found[1]) <= 0:
        raise ValueError(
            f"budget = {words!r} must be a time, steps or samples for each row, as in 10min, 2h, "
            "5000steps, 8Msamples, or paper"
        )
    if found[2] == "steps":
        return Budget(steps=max(1, round(float(found[1]))))
    if found[2] == "Msamples":
        return Budget(samples=max(1, round(1e6 * float(found[1]))))
    return Budget(minutes=float(found[1]) * MINUTES[found[2]])


def only_row(experiment: Experiment, name: str) -> Experiment:
    """Return the experiment with one row.

    Args:
        experiment: Table, memory experiment or speedrun.
        name: Of the row, or of its folder.

    Raises:
        ValueError: If there is no such row, or the experiment is a figure of all rows.
    """
    if experiment.kind == "figure":
        raise ValueError(f"only = {name!r}, but {experiment.name} is one figure of all its rows")
    rows = tuple(row for row in experiment.rows if row.slug == slug(name))
    if not rows:
        known = "; ".join(row.name for row in experiment.rows)
        raise ValueError(f"only = {name!r} is no row of {experiment.name}; its rows: {known}")
    return replace(experiment, rows=rows)


def shrink(config: TrainConfig) -> TrainConfig:
    """Return the small size of a row: the same system at a quarter of its width."""
    model = _narrow(config.model)
    if isinstance(model, WaveRNNConfig | FusedSubscaleConfig | SubscaleWaveRNNConfig):
        return _shrink_wavernn(config, model)
    is_wavenet = isinstance(model, WaveNetConfig | HybridConfig)
    optimizer = replace(config.optimizer, learning_rate=0.001) if is_wavenet else config.optimizer
    lanes = min(config.lanes, SMALL_LANES)
    return replace(config, model=model, lanes=lanes, optimizer=optimizer)


def _shrink_wavernn(config: TrainConfig, model: ModelConfig) -> TrainConfig:
    """Return settings for some hundred steps: fewer lanes, a higher rate, a faster average."""
    subscale = isinstance(model, SubscaleWaveRNNConfig)
    return replace(
        config,
        model=model,
        lanes=SMALL_WAVERNN_LANES // 2 if subscale else SMALL_WAVERNN_LANES,
        seq_len=model.top_frame if subscale else config.seq_len,
        optimizer=replace(config.optimizer, learning_rate=0.002, warmup_steps=20),
        ema=0.99,
        pruning=replace(config.pruning, every=10 if config.pruning.sparsity else None),
    )


def _narrow(model: ModelConfig) -> ModelConfig:
    changes: dict[str, Any] = {}
    if isinstance(model, SampleRNNConfig | RNNConfig):
        changes = {"dim": model.dim // SHRINK, "emb_size": max(1, model.emb_size // SHRINK)}
    elif isinstance(model, WaveRNNConfig | FusedSubscaleConfig):
        changes = {"dim": model.dim // SHRINK}
    elif isinstance(model, SubscaleWaveRNNConfig):
        names = ("dim", "columns", "channels", "residual_channels")
        changes = {name: max(1, getattr(model, name) // SHRINK) for name in names}
        changes["dilations"] = SMALL_DILATIONS
    else:
        changes = {
            "channels": model.channels // 2,
            "skip_channels": model.skip_channels // SHRINK,
        }
        if isinstance(model, HybridConfig):
            changes["dim"] = model.dim // SHRINK
    return replace(model, **changes)
