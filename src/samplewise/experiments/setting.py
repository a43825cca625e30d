"""Settings of an experiment: corpus, budget and size."""

from dataclasses import dataclass, replace
from pathlib import Path

from samplewise.config.training import TrainConfig
from samplewise.data.corpus import Corpus
from samplewise.experiments.experiment import Budget, Row, Size, shrink


@dataclass(frozen=True)
class Setting:
    """Where, on what and for how long an experiment is run."""

    corpus: Corpus
    """To train on and to score."""
    name: str
    """Name of the corpus in tables and folders."""
    folder: Path
    """Root of the results: ``EXPERIMENT/CORPUS.json`` and ``runs/CORPUS/ROW/``; another seed
    than 0 is part of the corpus's name there."""
    budget: Budget
    size: Size = "small"
    seed: int = 0
    device: str = "auto"
    speakers: dict[str, str] | None = None
    """Speaker of each recording, for the memory experiment."""
    count: int = 128
    """Clips of the memory experiment."""

    def config_of(self, row: Row) -> TrainConfig:
        """Return what to train for a row."""
        config = row.config if self.size == "paper" else shrink(row.config)
        preview = replace(config.preview, minutes=0.0)
        config = replace(
            config, seed=self.seed, device=self.device, preview=preview, valid_seconds=30.0
        )
        return (row.budget or self.budget).apply(config, row)

    def run_folder(self, row: Row) -> Path:
        """Return where a row is trained: experiments that share a row share the run."""
        return self.folder / "runs" / with_seed(self.name, self.seed) / row.slug


def with_seed(corpus: str, seed: int) -> str:
    """Return the name of a corpus in files and folders; seed 0 goes without saying."""
    return f"{corpus}-seed-{seed}" if seed else corpus
