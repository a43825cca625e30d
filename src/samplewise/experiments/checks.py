"""Checks of an experiment before its first row is trained."""

from samplewise.config.codec import differences, from_json
from samplewise.config.training import RESUMABLE, TrainConfig
from samplewise.errors import SamplewiseError
from samplewise.evaluate.memory import MemoryPlan
from samplewise.evaluate.speakers import SpeakerClassifier, measure_speakers
from samplewise.experiments.experiment import Experiment, Row
from samplewise.experiments.setting import Setting
from samplewise.training.run import CONFIG, read_config

BUDGET_FIELDS = ("minutes", "steps", "epochs")
MEASURED = "model.moments"


def check_setting(experiment: Experiment, setting: Setting) -> SpeakerClassifier | None:
    """Refuse what would fail, or mislead, only after training.

    Returns:
        What tells the two speakers of a memory experiment apart; None for others.

    Raises:
        SamplewiseError: If a split is empty, labels are missing, or a row's run was made with
            other settings or another budget.
    """
    needed = ["train", "valid"]
    needed += experiment.splits if experiment.kind in ("table", "speedrun") else ["test"]
    empty = [split for split in dict.fromkeys(needed) if not setting.corpus.split(split)]
    if empty:
        raise SamplewiseError(
            f"{experiment.name} needs recordings in every split, but {setting.corpus.folder} has "
            f"none in {' and '.join(empty)}; prepare it again"
        )
    classifier = None
    if experiment.kind == "memory":
        if setting.speakers is None:
            raise SamplewiseError(
                f"{experiment.name} needs to know who speaks: name a CSV with the columns file and "
                "speaker with --speakers, or keep each speaker in a folder and give --speakers "
                "folders"
            )
        MemoryPlan(count=setting.count, seed=setting.seed)
        classifier = measure_speakers(setting.corpus, setting.speakers)
    for row in experiment.rows:
        _check_run(row, setting)
    return classifier


def _check_run(row: Row, setting: Setting) -> None:
    """Refuse a run of this row that is not the one that would be trained."""
    path = setting.run_folder(row) / CONFIG
    if not path.exists():
        return
    there = read_config(path)
    old, new = from_json(TrainConfig, there["train"], str(path)), setting.config_of(row)
    changed = {
        name: pair
        for name, pair in differences(old, new).items()
        if (name not in RESUMABLE or name in BUDGET_FIELDS) and name != MEASURED
    }
    if changed:
        changes = "; ".join(f"{name} was {a}, now {b}" for name, (a, b) in changed.items())
        raise SamplewiseError(
            f"{path.parent} was trained with other settings ({changes}); choose another -o, or "
            "remove it"
        )
