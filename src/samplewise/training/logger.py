"""Logging of a run: metrics.jsonl, TensorBoard if it is installed, lines of progress."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from samplewise.atomic_io import named_failures, write_bytes
from samplewise.strict_json import parse_object, to_text

METRICS = "metrics.jsonl"


class RunLogger:
    """Writer of events: one line of JSON each, with full precision."""

    def __init__(self, folder: Path, step: int, say: Callable[[str], None]):
        """Open the log after ``step``; events that a killed run wrote after its checkpoint go."""
        path = folder / METRICS
        self.say = say
        if path.exists():
            lines = path.read_bytes().splitlines(keepends=True)
            kept = [line for line in lines if _step_of(line) <= step]
            if kept != lines:
                write_bytes(path, b"".join(kept))
        self._file = path.open("ab", buffering=0)
        self._board = _tensorboard(folder / "tensorboard", step)

    def event(self, kind: str, step: int, **values: float | int | str) -> None:
        """Record one event."""
        line = to_text({"event": kind, "step": step, **values}, ascii_only=True)
        with named_failures(Path(self._file.name)):
            self._file.write(line.encode() + b"\n")
        if self._board is not None:
            for name, value in values.items():
                if not isinstance(value, str):
                    self._board.add_scalar(f"{kind}/{name}", value, step)

    def sound(self, name: str, wave: Float32[np.ndarray, " samples"], rate: int, step: int) -> None:
        """Send a preview to TensorBoard."""
        if self._board is not None:
            self._board.add_audio(name, wave[None], step, sample_rate=rate)

    def picture(self, name: str, png: bytes, step: int) -> None:
        """Send a picture to TensorBoard."""
        if self._board is not None:
            import io

            from PIL import Image

            with Image.open(io.BytesIO(png)) as image:
                pixels = np.asarray(image.convert("RGB"))
            self._board.add_image(name, pixels, step, dataformats="HWC")

    def close(self) -> None:
        """Flush everything to disk."""
        os.fsync(self._file.fileno())
        self._file.close()
        if self._board is not None:
            self._board.close()


def _step_of(line: bytes) -> float:
    try:
        return float(parse_object(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # torn by a kill


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)
