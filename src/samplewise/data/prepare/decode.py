"""Decoding of a sound file to 16-bit mono samples at the corpus rate, in constant memory."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float32, Int16

from samplewise.audio.files import mono, open_sound
from samplewise.audio.resample import Resampler
from samplewise.errors import AudioError

SHORTEST_S = 0.05
"""Shortest duration of a recording, seconds; shorter ones are left out."""
WINDOW_S = 0.02
"""Length of the windows in which silence is measured, seconds."""
SILENCE_DBFS = -60.0
"""RMS about the mean below which a window is silent, dBFS."""
LARGE_BYTES = 4096
"""Size from which a file that claims no samples has an incomplete header, bytes."""
CANCEL_RATIO = 1e-3
"""Share of the channels' peak below which the peak of their mean counts as cancelled."""


@dataclass(frozen=True)
class Decoded:
    """Properties of a decoded file; see :class:`~samplewise.data.index.SourceFile`."""

    samples: int
    sha256: str
    scale: float
    peak: float
    sum_squares: float
    silent_windows: int
    windows: int
    rate: int
    channels: int
    notes: tuple[str, ...]
    mean: float
    peak_about_mean: float
    sound_end: int


class Meter:
    """A meter of the levels of stored samples, in int16 units unless noted."""

    def __init__(self, sample_rate: int) -> None:
        self._window = max(1, round(WINDOW_S * sample_rate))
        self._threshold = self._window * 10 ** (SILENCE_DBFS / 10) * 32768.0**2
        self._rest = np.zeros(0, np.float32)
        self.sum = 0
        self.lowest, self.highest = 32767, -32768
        self.sum_squares = 0.0
        """Sum of the squared amplitudes."""
        self.silent_windows = self.windows = 0
        self.sound_end = 0
        """End of the last window that is not silent, in samples."""

    def add(self, stored: Int16[np.ndarray, " samples"], scale: float) -> None:
        """Add the next samples."""
        self.sum += int(stored.sum(dtype=np.int64))
        self.lowest = min(self.lowest, int(stored.min()))
        self.highest = max(self.highest, int(stored.max()))
        exact = stored.astype(np.float64)
        self.sum_squares += float(exact @ exact) * (scale / 32768) ** 2
        wave = np.concatenate([self._rest, stored.astype(np.float32) * np.float32(scale)])
        whole = len(wave) // self._window * self._window
        windows = wave[:whole].reshape(-1, self._window)
        energies = np.square(windows - windows.mean(axis=1, keepdims=True)).sum(axis=1)
        sounding = np.flatnonzero(energies >= self._threshold)
        if len(sounding):
            self.sound_end = (self.windows + int(sounding[-1]) + 1) * self._window
        self.windows += len(energies)
        self.silent_windows += len(energies) - len(sounding)
        self._rest = wave[whole:]


def decode_to(
    path: Path, sample_rate: int, output: Path, tick: Callable[[int], None] | None = None
) -> Decoded:
    """Decode ``path`` into ``output`` as raw little-endian int16 at ``sample_rate``.

    A 16-bit file at the corpus rate is stored bit for bit. A file whose amplitude exceeds full
    scale, at its own rate or after resampling, is decoded twice: the second time divided by a
    scale that just makes it fit. Nothing is clipped.

    Args:
        path: The sound file.
        sample_rate: Rate of the corpus, Hz.
        output: File of raw samples; an existing one is replaced. Invalid after an error.
        tick: Called after each block with the number of bytes read so far.

    Raises:
        AudioError: If the file holds no usable sound; the message is the reason.
        OSError: If ``output`` cannot be written.
    """
    first = _Pass(path, sample_rate, tick)
    with output.open("wb") as file:
        first.run(file, scale=1.0)
    length = first.samples
    if not length:
        raise AudioError(_nothing_in(path))
    if length < SHORTEST_S * sample_rate:
        raise AudioError(
            f"too short: {length / sample_rate * 1000:.1f} ms, "
            f"at least {SHORTEST_S * 1000:.0f} ms are needed"
        )
    final = first
    scale = 1.0
    if first.overflows:
        scale = first.peak * 32768 / 32767
        final = _Pass(path, sample_rate, tick)
        with output.open("wb") as file:
            final.run(file, scale)
        if final.overflows or final.samples != length:
            raise AudioError("the file changed while it was read")
    notes = list(final.notes)
    if first.channels > 1 and first.raw_peak > 0 and first.peak <= CANCEL_RATIO * first.raw_peak:
        notes.append("all channels cancel: the mean of the channels is silence")
    meter, unit = final.meter, scale / 32768
    mean = meter.sum / length
    return Decoded(
        samples=length,
        sha256=final.digest.hexdigest(),
        scale=scale,
        peak=max(meter.highest, -meter.lowest) * unit,
        sum_squares=meter.sum_squares,
        silent_windows=meter.silent_windows,
        windows=meter.windows,
        rate=first.rate,
        channels=first.channels,
        notes=tuple(notes),
        mean=mean * unit,
        peak_about_mean=max(meter.highest - mean, mean - meter.lowest) * unit,
        sound_end=meter.sound_end,
    )


class _Pass:
    """One pass over a file: decode, mix, resample, round, write, measure."""

    def __init__(self, path: Path, sample_rate: int, tick: Callable[[int], None] | None) -> None:
        self._path, self._sample_rate, self._tick = path, sample_rate, tick
        self.meter = Meter(sample_rate)
        self.digest = hashlib.sha256()
        self.samples = self.rate = self.channels = 0
        self.peak = self.raw_peak = 0.0
        self.overflows = False
        self.notes: list[str] = []

    def run(self, file: BinaryIO, scale: float) -> None:
        with open_sound(self._path) as sound:
            self.rate, self.channels = sound.info.sample_rate, sound.info.channels
            resampler = Resampler(self.rate, self._sample_rate)
            for block in sound.blocks():
                if self.channels > 1:
                    self.raw_peak = max(self.raw_peak, float(block.max()), -float(block.min()))
                self._store(resampler.push(mono(block)), file, scale)
                if self._tick is not None:
                    self._tick(sound.bytes_read())
            self._store(resampler.push(np.zeros(0, np.float32), last=True), file, scale)
            self.notes = sound.notes

    def _store(self, wave: Float32[np.ndarray, " samples"], file: BinaryIO, scale: float) -> None:
        if not wave.size:
            return
        self.samples += len(wave)
        self.peak = max(self.peak, float(wave.max()), -float(wave.min()))
        values = np.rint(wave.astype(np.float64) * (32768 / scale))
        low, high = float(values.min()), float(values.max())
        if not (low >= -32768 and high <= 32767):
            self.overflows = True  # the rest is only measured
        if self.overflows:
            return
        stored = values.astype("<i2")
        self.meter.add(stored, scale)
        self.digest.update(stored.data)
        file.write(stored.data)


def _nothing_in(path: Path) -> str:
    size = path.stat().st_size if path.exists() else 0
    if size < LARGE_BYTES:
        return "it holds no samples"
    return (
        f"it holds no samples by its header, but {size} bytes: was it written to a pipe? "
        "Convert it to WAV or FLAC with a tool that mends the header"
    )


def temporary_part(output: Path) -> Path:
    """Return a name beside ``output`` that only this process uses."""
    return output.with_name(f".tmp-{output.name}-{os.getpid()}")
