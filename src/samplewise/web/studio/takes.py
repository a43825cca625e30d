"""Takes: a folder of sound files, each with a record of how it was made, its name and its star."""

import re
import threading
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from samplewise.atomic_io import write_json
from samplewise.audio.files import read_audio
from samplewise.audio.loops import close_loop
from samplewise.audio.write import write_wav
from samplewise.config.codec import from_json
from samplewise.errors import AudioError
from samplewise.strict_json import read_object
from samplewise.web.studio.map import LEAST_SAMPLES, describe_spectrum, places

ID = re.compile(r"[0-9a-f]{16}")
MOST_TAKES = 2000


@dataclass(frozen=True)
class Take:
    """The record of one take."""

    id: str
    name: str
    model: str
    """Name of the model."""
    sample_rate: int
    """Hertz."""
    samples: int
    made: float
    """Seconds since 1970."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Seed, temperature and what else makes the take again."""
    star: bool = False
    bits_per_sample: float | None = None
    """Bits of what was drawn, at temperature 1; lower is likelier."""
    flags: dict[str, str] = field(default_factory=dict)
    """What is wrong with it, with the reasons."""
    spectrum: tuple[float, ...] = ()
    """Description for the map; empty before it is made."""

    def public(self) -> dict[str, Any]:
        """Return what a page shows."""
        return {name: value for name, value in vars(self).items() if name != "spectrum"}


class Takes:
    """The takes in a folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()

    def all(self) -> list[Take]:
        """Return the takes, newest first; files that are none are left out."""
        found = []
        for path in self.folder.glob("*.json"):
            if ID.fullmatch(path.stem) and (take := self._read(path)) is not None:
                found.append(take)
        return sorted(found, key=lambda take: -take.made)[:MOST_TAKES]

    def find(self, id: str) -> Take | None:
        """Return a take."""
        return self._read(self.folder / f"{id}.json") if ID.fullmatch(id) else None

    def add(self, take: Take, wave: Float32[np.ndarray, " samples"]) -> None:
        """Write a take, its sound first."""
        write_wav(self.sound(take), wave, take.sample_rate)
        write_json(self.folder / f"{take.id}.json", asdict(take))

    def change(self, take: Take, **changes: Any) -> Take:
        """Write a record with other values."""
        with self._lock:
            changed = replace(self.find(take.id) or take, **changes)
            write_json(self.folder / f"{take.id}.json", asdict(changed))
        return changed

    def map(self) -> list[tuple[str, float, float]]:
        """Return ids and places of the takes that are long enough to have one."""
        found = [self._described(take) for take in self.all()]
        found = [take for take in found if take.spectrum]
        points = places([take.spectrum for take in found])
        return [(take.id, x, y) for take, (x, y) in zip(found, points.tolist(), strict=True)]

    def _described(self, take: Take) -> Take:
        """Return a take with its description, which is kept."""
        if take.spectrum or take.samples < LEAST_SAMPLES:
            return take
        try:
            wave, rate = read_audio(self.sound(take), None)
        except (AudioError, OSError):
            return take
        return self.change(take, spectrum=describe_spectrum(wave, rate))

    def remove(self, take: Take) -> None:
        """Delete a take."""
        (self.folder / f"{take.id}.json").unlink(missing_ok=True)
        self.sound(take).unlink(missing_ok=True)

    def sound(self, take: Take) -> Path:
        """Return the file of a take."""
        return self.folder / f"{take.id}.wav"

    def loop(self, take: Take, wave: Float32[np.ndarray, " samples"], id: str, made: float) -> Take:
        """Make a take whose end joins its beginning.

        Raises:
            ValueError: If it is too short.
        """
        looped = close_loop(wave, take.sample_rate)
        settings = take.settings | {"loop_of": take.id, "loop_start": looped.start}
        found = replace(
            take,
            id=id,
            name=f"{take.name} (loop)",
            samples=len(looped.wave),
            made=made,
            settings=settings,
            star=False,
            spectrum=(),
        )
        self.add(found, looped.wave)
        return found

    def _read(self, path: Path) -> Take | None:
        try:
            take = from_json(Take, read_object(path), path.name)
        except (OSError, ValueError):
            return None
        return take if take.id == path.stem and self.sound(take).is_file() else None
