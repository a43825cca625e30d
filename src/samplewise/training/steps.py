"""A run as it was at one of its checkpoints: people choose among them by ear."""

from pathlib import Path
from typing import Any

import torch

from samplewise.config.codec import from_json
from samplewise.config.training import TrainConfig
from samplewise.errors import CheckpointError, reason
from samplewise.models.build import build_model
from samplewise.models.io import (
    AudioFormat,
    LoadedModel,
    fill_model,
    for_inference,
    load_model,
)
from samplewise.models.memory import MAX_MEMORY, check_memory
from samplewise.models.pruning import apply_masks
from samplewise.training.checkpoint import TENSORS, checkpoint_path, read_checkpoint, saved_steps
from samplewise.training.run import CONFIG, MEASURED, STATE, Progress, provenance, read_config


def load_at(
    path: Path,
    step: int | None,
    device: torch.device | str = "cpu",
    max_memory: float = MAX_MEMORY,
) -> LoadedModel:
    """Load a model, or with ``step`` the weights that a run had at a checkpoint.

    These are the averaged weights, if the run averages, as in the run's model itself.

    Args:
        path: A run folder; without ``step`` also an exported file.
        step: Steps made when the checkpoint was saved; None for the best weights.
        device: Where the weights go.
        max_memory: Bytes that the model may take.

    Raises:
        CheckpointError: If there is no such model, or it is damaged.
    """
    if step is None:
        return load_model(path, device=device, max_memory=max_memory)
    folder = checkpoint_path(path / STATE, step)
    if not folder.is_dir():
        steps = ", ".join(map(str, saved_steps(path / STATE))) or "none"
        raise CheckpointError(
            f"{path} has no checkpoint of step {step}; it has: {steps} (--step). Train with a "
            "larger --keep to have more"
        )
    try:
        tensors, values = read_checkpoint(folder)
        there = read_config(path / CONFIG)
        config = from_json(TrainConfig, there["train"], "train")
        progress = from_json(Progress, values["progress"], "progress")
        prefix = "averaged." if config.ema else "model."
        check_memory(config.model, max_memory)
        model = build_model(config.model, seed=None)
        fill_model(model, _part(tensors, prefix))
        apply_masks(model, _part(tensors, "mask."))
        audio = AudioFormat(there["audio"]["sample_rate"], there["audio"]["gain"], config.level)
        measured = {name: there.get(name) for name in MEASURED}
        origin = provenance(path.name, config, progress, there["corpus"], model, measured)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{folder} cannot be used as a model: {reason(error)}") from error
    model = for_inference(model, device, True, folder)
    return LoadedModel(model, audio, origin, folder / TENSORS)


def _part(tensors: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Return the tensors whose names begin with ``prefix``, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
