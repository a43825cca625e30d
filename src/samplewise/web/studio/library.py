"""Models that the studio offers: those of the package, and those below folders of runs."""

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samplewise.errors import SamplewiseError
from samplewise.generate.clips import temperature_of
from samplewise.models.io import read_description
from samplewise.models.pretrained import model_card, pretrained_file, pretrained_names
from samplewise.strict_json import read_lines

if TYPE_CHECKING:
    from samplewise.trained_model import Model

MOST_LOADED = 2
DEPTH = 3
"""Folders within each other in which runs are looked for."""
MOST_MODELS = 200
CURVE_POINTS = 120
MOST_PREVIEWS = 8
STEP = re.compile(r"step-(\d{8})")


@dataclass(frozen=True)
class Entry:
    """A model that can be chosen."""

    id: str
    name: str
    path: Path
    about: str


class Library:
    """Finds models, loads them, and keeps the last ones in memory.

    Args:
        folders: Run folders, folders of runs, or model files.
        threads: CPU threads of generation; None: all.
    """

    def __init__(self, folders: Sequence[Path], threads: int | None = None):
        self._folders, self._threads = folders, threads
        self._loaded: OrderedDict[str, Model] = OrderedDict()
        self._lock = threading.Lock()

    def entries(self) -> list[Entry]:
        """Return the models, the package's first."""
        found = []
        for name in pretrained_names():
            file = pretrained_file(name)
            assert file is not None
            about = model_card(name).split("\n")[2]
            found.append(Entry(_id(file), name, file, about))
        for folder in self._folders:
            found += [Entry(_id(p), _name(p, folder), p, str(p)) for p in _models(folder, DEPTH)]
        return found[:MOST_MODELS]

    def find(self, id: str) -> Entry | None:
        """Return a model by its id; a path never comes from a request."""
        return next((entry for entry in self.entries() if entry.id == id), None)

    def describe(self, entry: Entry) -> dict[str, Any]:
        """Return what is known of a model without loading it."""
        try:
            stored = read_description(
                entry.path / "weights.safetensors" if entry.path.is_dir() else entry.path
            )
        except (SamplewiseError, ValueError, OSError) as error:
            about = f"{entry.path} cannot be used: {error}"
            return {"id": entry.id, "name": entry.name, "about": about, "usable": False}
        conditioning = getattr(stored.config, "conditioning", None)
        return {
            "id": entry.id,
            "name": entry.name,
            "about": entry.about,
            "family": stored.config.family,
            "sample_rate": stored.audio.sample_rate,
            "bits": stored.provenance.get("valid_bits"),
            "step": stored.provenance.get("step"),
            "temperature": temperature_of(stored.provenance).values[0],
            "labels": list(conditioning.classes) if conditioning else [],
            "usable": not (conditioning and conditioning.mel),
            "curve": curve(entry.path),
            "previews": preview_steps(entry.path),
        }

    def load(self, entry: Entry) -> "Model":
        """Return a model ready to draw."""
        from samplewise.api import load

        with self._lock:
            if entry.id not in self._loaded:
                self._loaded[entry.id] = load(entry.path, threads=self._threads)
                while len(self._loaded) > MOST_LOADED:
                    self._loaded.popitem(last=False)
            self._loaded.move_to_end(entry.id)
            return self._loaded[entry.id]


def curve(path: Path) -> list[tuple[int, float]]:
    """Return steps and validation bits of a run, thinned; empty for other models."""
    metrics = path / "metrics.jsonl"
    if not metrics.is_file():
        return []
    points = []
    for line in read_lines(metrics):
        bits, step = line.get("bits"), line.get("step")
        if line.get("event") == "valid" and isinstance(bits, float) and isinstance(step, int):
            points.append((step, bits))
    stride = max(1, -(-len(points) // CURVE_POINTS))
    return points[::-1][::stride][::-1]


def preview_steps(path: Path) -> list[int]:
    """Return the last steps at which a run drew previews, in order."""
    names = [one.name for one in (path / "previews").glob("step-*") if one.is_dir()]
    return sorted(int(match[1]) for match in map(STEP.fullmatch, names) if match)[-MOST_PREVIEWS:]


def read_preview(path: Path, step: int) -> bytes | None:
    """Return the first clip of a preview as a WAV file; None if there is none."""
    file = path / "previews" / f"step-{step:08d}" / "clip-0.wav"
    return file.read_bytes() if file.is_file() else None


def _models(folder: Path, depth: int) -> list[Path]:
    if folder.is_file() or (folder / "weights.safetensors").is_file():
        return [folder]
    if depth == 0 or not folder.is_dir():
        return []
    found = []
    for path in sorted(folder.iterdir())[:MOST_MODELS]:
        if path.is_dir() and not path.is_symlink():
            found += _models(path, depth - 1)
        elif path.suffix == ".safetensors":
            found.append(path)
    return found


def _name(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path != folder else path.name


def _id(path: Path) -> str:
    return hashlib.sha256(str(path.resolve()).encode("utf-8", "replace")).hexdigest()[:16]
