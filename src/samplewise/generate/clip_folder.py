"""A folder of generated clips: never two generations mixed, every file whole or absent."""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samplewise.atomic_io import contents, refuse_others, write_json
from samplewise.audio.loops import Loop
from samplewise.audio.write import write_wav
from samplewise.errors import SamplewiseError
from samplewise.generate.clips import Clip
from samplewise.models.io import WEIGHTS, LoadedModel
from samplewise.strict_json import read_object

INDEX = "generation.json"
KIND = "a folder of generated clips"
FEW, SHARE = 100, 0.01
"""Up to so many clips generation.json is written after each, then when so large a share is new:
written after each of ten thousand it would take most of the time."""
CLIP_NAME = re.compile(r"clip-\d{4,20}\.wav")


def clip_name(index: int) -> str:
    """Return the file name of a clip: ``clip-0003.wav``."""
    return f"clip-{index:04d}.wav"


def default_folder(model: Path, step: int | None = None) -> Path:
    """Return ``RUN/generated``, with the step of a checkpoint; or ``FILE-clips`` beside a file."""
    if not model.is_dir():
        return model.with_name(f"{model.stem}-clips")
    return model / ("generated" if step is None else f"generated-step-{step}")


def recorded_seed(path: Path) -> int | None:
    """Return the seed of the clips in a folder; None if there are none."""
    seed = _read(path / INDEX).get("seed")
    return seed if isinstance(seed, int) else None


def weights_digest(loaded: LoadedModel) -> str:
    """Return the SHA-256 of the file that the model was loaded from."""
    return file_digest(loaded.path / WEIGHTS if loaded.path.is_dir() else loaded.path)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass
class ClipFolder:
    """The clips of one generation, and generation.json, which names and ranks them."""

    path: Path
    settings: dict[str, Any]
    """Everything that decides about a clip but its index and length."""
    entries: dict[int, dict[str, Any]] = field(default_factory=dict)
    """What generation.json says about each clip, by index."""
    command: tuple[str, ...] = ()
    """The command that made the folder, with its seed."""
    stale: tuple[str, ...] = ()
    """Clips of another generation, which go when the first clip of this one comes."""
    unwritten: int = 0
    """Clips that generation.json does not name yet."""

    @classmethod
    def open(
        cls,
        path: Path,
        settings: dict[str, Any],
        command: tuple[str, ...] = (),
        add: bool = False,
        resume: bool = False,
    ) -> "ClipFolder":
        """Look whether clips may go to ``path``; nothing is changed before the first one comes.

        Args:
            path: An existing folder.
            settings: Go into generation.json.
            command: Goes there too.
            add: Keep the clips that are there if they were made with the same settings.
            resume: Refuse clips that were made with others.

        Raises:
            SamplewiseError: If the folder holds files, but no generation.
        """
        refuse_others(path, INDEX, KIND)
        names = contents(path)
        folder = cls(path, settings, command=command)
        before = _read(path / INDEX) if names else {}
        if add and all(before.get(key) == value for key, value in settings.items()):
            folder.entries = {entry["index"]: entry for entry in before["clips"]}
            folder.command = tuple(before.get("command", ()))
        elif resume and before:
            changed = [
                f"{name} was {before.get(name)}, now {value}"
                for name, value in settings.items()
                if before.get(name) != value
            ]
            raise SamplewiseError(
                f"{path} holds clips with other settings ({'; '.join(changed)}). Give the command "
                "that was interrupted, another -o, or leave --resume out to replace them"
            )
        else:
            folder.stale = tuple(filter(CLIP_NAME.fullmatch, names))
        return folder

    def add(self, clip: Clip) -> None:
        """Write a clip as a 16-bit WAV file, and generation.json with it."""
        if not self.entries:
            self._write_index()  # from now on nothing in here belongs to the old generation
            for name in self.stale:
                (self.path / name).unlink(missing_ok=True)
        rate = self.settings["sample_rate"]
        write_wav(self.path / clip_name(clip.index), clip.samples, rate)
        self.entries[clip.index] = {
            "file": clip_name(clip.index),
            "index": clip.index,
            "seconds": len(clip.codes if clip.loop is None else clip.samples) / rate,
            "bits_per_sample": clip.bits_per_sample,
            "flags": list(clip.flags),
            **({"seed": clip.seed, "retries": clip.retries} if clip.retries else {}),
            **({} if clip.loop is None else {"loop": _loop(clip.loop, rate)}),
            **({} if clip.loop is None else {"drawn_seconds": len(clip.codes) / rate}),
            **({"flag_reasons": list(clip.flag_reasons)} if clip.flags else {}),
        } | ({} if clip.label is None else {"label": clip.label})
        self.unwritten += 1
        if len(self.entries) <= FEW or self.unwritten >= SHARE * len(self.entries):
            self._write_index()

    def close(self) -> None:
        """Bring generation.json up to date."""
        if self.unwritten:
            self._write_index()

    def missing(self, indices: range, seconds: float) -> list[range]:
        """Return which of ``indices`` have no clip of that length yet, as runs of neighbours."""
        runs: list[range] = []
        for index in indices:
            entry = self.entries.get(index)
            drawn = None if entry is None else entry.get("drawn_seconds", entry["seconds"])
            if drawn == seconds and (self.path / clip_name(index)).is_file():
                continue
            if runs and runs[-1].stop == index:
                runs[-1] = range(runs[-1].start, index + 1)
            else:
                runs.append(range(index, index + 1))
        return runs

    def ranked(self, by_index: bool = False) -> list[dict[str, Any]]:
        """Return the entries with their rank, likeliest first; flagged ones come last."""
        order = sorted(
            self.entries.values(),
            key=lambda entry: (bool(entry["flags"]), entry["bits_per_sample"], entry["index"]),
        )
        ranked = [{**entry, "rank": rank} for rank, entry in enumerate(order, 1)]
        return sorted(ranked, key=lambda entry: entry["index"]) if by_index else ranked

    def _write_index(self) -> None:
        """Write settings, and the clips in order of index with their ranks."""
        contents = {"command": list(self.command)} if self.command else {}
        contents |= {**self.settings, "clips": self.ranked(by_index=True)}
        write_json(self.path / INDEX, contents)
        self.unwritten = 0


def _loop(loop: Loop, rate: int) -> dict[str, float]:
    return {"start": loop.start / rate, "similarity": loop.similarity}


def _read(path: Path) -> dict[str, Any]:
    """Return an earlier generation.json; nothing if it cannot be used."""
    try:
        found = read_object(path)
        clips = [entry for entry in found["clips"] if _is_whole(entry)]
    except (ValueError, KeyError, TypeError):
        return {}
    return {**found, "clips": clips} if len(clips) == len(found["clips"]) else {}


def _is_whole(entry: Any) -> bool:
    wanted = {"index": int, "bits_per_sample": float, "seconds": float, "flags": list}
    return isinstance(entry, dict) and all(
        isinstance(entry.get(name), kind) for name, kind in wanted.items()
    )
