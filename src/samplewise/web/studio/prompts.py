"""Prompts that a page uploads: bounded in bytes, in length and in number."""

import os
import secrets
import tempfile
import threading
from collections import OrderedDict
from collections.abc import AsyncIterable
from pathlib import Path

import numpy as np

from samplewise.audio.files import mono, open_sound
from samplewise.audio.write import write_wav
from samplewise.errors import AudioError

MAX_UPLOAD = 50 * 2**20
"""Bytes of an upload."""
MAX_SECONDS = 60.0
"""Seconds of a prompt; the rest of a longer file is left out."""
MOST_PROMPTS = 32


class Prompts:
    """The uploaded prompts, the oldest of which are forgotten."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="samplewise-prompts-")
        self._kept: OrderedDict[str, Path] = OrderedDict()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Delete them all."""
        self._folder.cleanup()

    def find(self, id: str) -> Path | None:
        """Return the file of a prompt."""
        return self._kept.get(id)

    async def receive(self, parts: AsyncIterable[bytes]) -> Path:
        """Write an upload to a file; the guard bounds its size."""
        descriptor, name = tempfile.mkstemp(dir=self._folder.name)
        path = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                async for part in parts:
                    file.write(part)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def decode(self, path: Path) -> dict[str, object]:
        """Turn an upload into a prompt; return its id, length and what was noticed.

        Raises:
            AudioError: If it cannot be used.
        """
        try:
            wave, rate, notes = _read(path)
        finally:
            path.unlink(missing_ok=True)
        id = secrets.token_hex(8)
        kept = Path(self._folder.name) / f"{id}.wav"
        write_wav(kept, wave, rate)
        with self._lock:
            self._kept[id] = kept
            while len(self._kept) > MOST_PROMPTS:
                self._kept.popitem(last=False)[1].unlink(missing_ok=True)
        return {"id": id, "seconds": len(wave) / rate, "notes": notes}


def _read(path: Path) -> tuple[np.ndarray, int, list[str]]:
    """Return the beginning of a sound file as mono, at most at full scale."""
    parts, done, notes = [], 0, []
    with open_sound(path) as sound:
        rate = sound.info.sample_rate
        limit = round(MAX_SECONDS * rate)
        for block in sound.blocks():
            parts.append(mono(block)[: limit - done])
            done += len(parts[-1])
            if done >= limit:
                notes.append(f"only the first {MAX_SECONDS:g} s are used")
                break
        notes += sound.notes
    if not done:
        raise AudioError("it holds no samples")
    wave = np.concatenate(parts)
    peak = float(np.abs(wave).max())
    if peak > 1:
        notes.append(f"{20 * np.log10(peak):.1f} dB softer, because it exceeds full scale")
        wave = wave / np.float32(peak * 1.0001)
    return wave.astype(np.float32), rate, notes
