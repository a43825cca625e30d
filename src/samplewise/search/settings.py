"""Settings of a search; two searches with different settings are different searches."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from samplewise.config.codec import flat_fields, with_fields
from samplewise.config.training import BudgetConfig, TrainConfig
from samplewise.data.remote import Folder
from samplewise.search.space import Space, format_value

RUNGS = 10
"""Equal parts of a trial's budget; trials are compared with each other at the end of each part."""
TRAINED_PER_SCORED = 4
"""Samples trained between two validations of a budget in minutes, for each sample scored."""


@dataclass(frozen=True)
class Search:
    """Settings of a search; can be sent to another process."""

    corpus: Folder
    """Folder of the corpus."""
    folder: Path
    """Folder of the search: trials, results, and the study unless ``storage`` is given."""
    base: TrainConfig
    """The preset with the budget of one trial."""
    space: Space
    """Parameters that are varied."""
    fixed: dict[str, Any]
    """Flag -> its value in every trial."""
    trials: int = 50
    """Number of configurations to try."""
    seed: int = 0
    """Seed of the configurations."""
    sampler: Literal["random", "tpe"] = "random"
    """random: independent draws (Bergstra & Bengio 2012); tpe: near the best trials so far."""
    prune: Literal["median", "halving", "none"] = "median"
    """Rule that stops trials before their budget is used."""
    storage: str | None = None
    """URL of a database; None: a journal in the folder."""

    def __post_init__(self) -> None:
        """Check what needs neither the corpus nor the study."""
        if self.trials < 1:
            raise ValueError(f"trials = {self.trials} must be at least 1")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed = {self.seed} must lie in [0, 2**63)")

    @property
    def name(self) -> str:
        """Name of the study; machines that share a database give their folders the same name."""
        return self.folder.resolve().name

    def config_of(self, values: dict[str, Any], sample_rate: int) -> TrainConfig:
        """Return the configuration of one trial.

        Args:
            values: Flag -> drawn value.
            sample_rate: Sample rate of the corpus, in Hz.

        Raises:
            ValueError: If the values do not fit each other.
        """
        config = with_fields(self.base, **(self.fixed | values))
        steps = config.budget.steps
        if steps is not None:
            return replace(config, valid_every=max(1, steps // RUNGS))
        scored = TRAINED_PER_SCORED * config.valid_seconds * sample_rate
        steps = math.ceil(scored / config.lanes / config.seq_len)
        return replace(config, valid_every=max(1, steps))

    def identity(self, digest: str) -> dict[str, str]:
        """Return the settings that all workers of one study must share, as text.

        Args:
            digest: Digest of the corpus.
        """
        identity = {
            "corpus": digest,
            "seed of the search": str(self.seed),
            "sampler": self.sampler,
            **{f"space of {name}": str(entry) for name, entry in self.space.items()},
            **{f"fixed {name}": format_value(value) for name, value in self.fixed.items()},
            **_as_text(replace(self.base, device="auto", threads=None)),
        }
        if any("mulaw" in value for value in identity.values()):
            identity["definition of mulaw"] = "torchaudio's"  # older studies lack this entry
        return identity

    def defaults(self) -> dict[str, str]:
        """Return the default of each field, which an older study without the field stands for."""
        return _as_text(TrainConfig(model=type(self.base.model)()))


def base_config(
    preset: TrainConfig,
    minutes: float | None,
    steps: int | None,
    device: str = "auto",
    threads: int | None = None,
) -> TrainConfig:
    """Return a preset with the budget of one trial, without previews.

    Raises:
        ValueError: If not exactly one budget is given, or the budget is invalid.
    """
    if (minutes is None) == (steps is None):
        raise ValueError(
            f"minutes = {minutes} and steps = {steps}: a trial has one budget; give one of the two"
        )
    return replace(
        preset,
        budget=BudgetConfig(steps=steps, minutes=minutes),
        preview=replace(preset.preview, minutes=0.0),
        ranks=1,
        device=device,
        threads=preset.threads if threads is None else threads,
    )


def _as_text(config: TrainConfig) -> dict[str, str]:
    return {
        name: str(list(value) if isinstance(value, tuple) else value)
        for name, (_, value) in flat_fields(config).items()
    }
