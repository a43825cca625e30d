"""Checkpoints: folders that appear whole, are verified when read, and fall back to the one before.

``state/step-00000200/`` holds ``tensors.safetensors`` (weights, Adam's moments, averaged weights,
the lanes' recurrent state), ``state.json`` (cursor, step, clocks, best score) and ``manifest.json``
with the SHA-256 of both. All of it is data; nothing is unpickled.
"""

import hashlib
import logging
import shutil
from pathlib import Path
from typing import Any

from torch import Tensor

from samplewise.atomic_io import (
    TEMPORARY_PREFIX,
    explain_failed_write,
    fsync_folder,
    sweep_temporaries,
    write_bytes,
    write_json,
)
from samplewise.errors import CheckpointError, reason
from samplewise.strict_json import read_object, to_text

KEPT = 2
TENSORS, VALUES, MANIFEST = "tensors.safetensors", "state.json", "manifest.json"
logger = logging.getLogger(__name__)


def save_checkpoint(
    folder: Path,
    step: int,
    tensors: dict[str, Tensor],
    values: dict[str, Any],
    keep: int = KEPT,
) -> Path:
    """Write the checkpoint of ``step`` and drop all but the last ``keep``.

    Raises:
        OSError: If it could not be written; the older checkpoints are untouched.
    """
    from safetensors.torch import save

    final = checkpoint_path(folder, step)
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    if final.exists():
        return final
    temporary = folder / f"{TEMPORARY_PREFIX}{final.name}"
    contents = {
        TENSORS: save(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        ),
        VALUES: to_text(values, indent=1).encode(),
    }
    try:
        temporary.mkdir()
        for name, data in contents.items():
            write_bytes(temporary / name, data)
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
        write_json(temporary / MANIFEST, {"format": 1, "sha256": digests})
        temporary.rename(final)
        fsync_folder(folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        needed = sum(map(len, contents.values()))
        raise explain_failed_write(error, final, needed) from error
    for old in _paths(folder)[:-keep]:
        doomed = folder / f"{TEMPORARY_PREFIX}{old.name}"
        old.rename(doomed)  # so that a half-deleted checkpoint never looks like one
        shutil.rmtree(doomed)
    return final


def load_latest(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return the tensors and values of the newest sound checkpoint; None if there is none at all.

    Raises:
        CheckpointError: If there are checkpoints, and all of them are damaged.
    """
    _sweep(folder)
    faults = []
    for path in reversed(_paths(folder)):
        try:
            return read_checkpoint(path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            faults.append(f"{path}: {reason(error)}")
            logger.warning(
                "checkpoint %s is damaged (%s); trying the one before it", path, reason(error)
            )
    if faults:
        raise CheckpointError(
            f"no checkpoint can be read: {'; '.join(faults)}. "
            f"Restore {folder} from a copy, or start again with --fresh"
        )
    return None


def _sweep(folder: Path) -> None:
    """Remove what killed processes left; only one process at a time saves checkpoints."""
    for unfinished in folder.glob(f"{TEMPORARY_PREFIX}step-*"):
        shutil.rmtree(unfinished)
    sweep_temporaries(folder)


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and values of one checkpoint.

    Raises:
        ValueError: If it is damaged; also KeyError, TypeError and OSError.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    manifest = read_object(path / MANIFEST)
    for name in (TENSORS, VALUES):  # before either is in memory
        with (path / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != manifest["sha256"][name]:
                raise ValueError(f"SHA-256 of {name} does not match")
    values = read_object(path / VALUES)
    try:
        return load((path / TENSORS).read_bytes()), values
    except SafetensorError as error:
        raise ValueError(f"{TENSORS} cannot be read ({error})") from error


def checkpoint_path(folder: Path, step: int) -> Path:
    """Return the folder of the checkpoint of ``step``."""
    return folder / f"step-{step:08d}"


def saved_steps(folder: Path) -> list[int]:
    """Return the steps that have a checkpoint."""
    names = (path.name.removeprefix("step-") for path in _paths(folder))
    return [int(name) for name in names if name.isdecimal()]


def _paths(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*") if path.is_dir())
