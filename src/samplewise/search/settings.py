"""Everything that decides a search; two searches with other settings are not the same search."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from samplewise.config.codec import to_json
from samplewise.config.training import TrainConfig
from samplewise.search.space import Space, text, with_values

RUNGS = 10
"""Equal parts of a trial's budget; trials are compared with each other at the end of each."""
TRAINED_PER_SCORED = 4
"""Samples trained between two validations of a budget in minutes, for each sample scored."""


@dataclass(frozen=True)
class Search:
    """What is searched, where, and how; can be sent to another process."""

    corpus: Path
    """Folder of the corpus."""
    folder: Path
    """Folder of the search: trials, results, and the study unless it has a URL."""
    base: TrainConfig
    """The preset with the budget of one trial."""
    space: Space
    """What is varied."""
    fixed: dict[str, Any]
    """Dotted field -> the value that it has in every trial."""
    trials: int = 50
    """Configurations to try."""
    seed: int = 0
    """Of the configurations: trial for trial the same."""
    sampler: Literal["random", "tpe"] = "random"
    """random: each draw on its own (Bergstra & Bengio 2012); tpe: after what did well."""
    prune: Literal["median", "halving", "none"] = "median"
    """Which trials are given up before their budget is used."""
    storage: str | None = None
    """URL of a database; None: a journal in the folder."""

    def __post_init__(self) -> None:
        """Check what needs neither corpus nor study."""
        if self.trials < 1:
            raise ValueError(f"trials = {self.trials} must be at least 1")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed = {self.seed} must lie in [0, 2**63)")

    @property
    def name(self) -> str:
        """Of the study: machines that search together name their folders alike."""
        return self.folder.resolve().name

    def config_of(self, values: dict[str, Any], sample_rate: int) -> TrainConfig:
        """Return the configuration of one trial.

        Args:
            values: Dotted field -> value drawn.
            sample_rate: Of the corpus, in Hz.

        Raises:
            ValueError: If the values do not fit each other.
        """
        config = with_values(self.base, {**self.fixed, **values})
        if config.steps is not None:
            return replace(config, valid_every=max(1, config.steps // RUNGS))
        scored = TRAINED_PER_SCORED * config.valid_seconds * sample_rate
        return replace(
            config, valid_every=max(1, math.ceil(scored / config.lanes / config.seq_len))
        )

    def identity(self, digest: str) -> dict[str, str]:
        """Return what all workers on one study must agree on, as words.

        Args:
            digest: Of the corpus.
        """
        base = to_json(replace(self.base, device="auto", threads=None))
        facts = {
            "corpus": digest,
            "seed of the search": str(self.seed),
            "sampler": self.sampler,
            **{f"space of {name}": str(entry) for name, entry in self.space.items()},
            **{f"fixed {name}": text(value) for name, value in self.fixed.items()},
            **_flat(base),
        }
        if any("mulaw" in fact for fact in facts.values()):
            facts["definition of mulaw"] = "torchaudio's"  # absent from older searches
        return facts


def base_config(
    preset: TrainConfig,
    minutes: float | None,
    steps: int | None,
    device: str = "auto",
    threads: int | None = None,
) -> TrainConfig:
    """Return a preset with the budget of one trial, without previews.

    Raises:
        ValueError: If both budgets are given, or one is impossible.
    """
    if (minutes is None) == (steps is None):
        raise ValueError(
            f"minutes = {minutes} and steps = {steps}: a trial has one budget; give one of the two"
        )
    return replace(
        preset,
        minutes=minutes,
        steps=steps,
        epochs=None,
        patience=0,
        preview_minutes=0.0,
        ranks=1,
        device=device,
        threads=threads,
    )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = str(value)
    return found
