"""Reading and writing of sound files, in blocks of at most 65,536 frames.

The claims of a header are checked against the file.
"""

import contextlib
import math
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32

from samplewise.audio.resample import Resampler
from samplewise.audio.stderr import silence_stderr
from samplewise.audio.write import MAX_FRAMES
from samplewise.audio.write import wav_bytes as wav_bytes
from samplewise.audio.write import wav_header as wav_header
from samplewise.audio.write import write_audio as write_audio
from samplewise.audio.write import write_blocks as write_blocks
from samplewise.audio.write import write_wav as write_wav
from samplewise.errors import AudioError

if TYPE_CHECKING:
    import soundfile

MAX_BLOCK_VALUES = 2**20
"""Maximum of frames times channels in one call."""
LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000
"""Range of sample rates, Hz; a header with another rate counts as damaged."""
LARGEST_AMPLITUDE = 16.0
"""Largest amplitude, 24 dB over full scale; a float file above it counts as damaged."""
_UNKNOWN_FRAMES = 2**62
_CONVERT = "convert it to WAV or FLAC"


@dataclass(frozen=True)
class SoundInfo:
    """What a header says about a sound file."""

    sample_rate: int
    """Hz."""
    channels: int
    """Number of channels."""
    frames: int | None
    """Length in frames as the header claims it, possibly wrong; None if it has no length."""
    format: str
    """Name of the container in libsndfile."""
    subtype: str
    """Name of the encoding in libsndfile."""


class Sound:
    """An open sound file, from :func:`open_sound`. Its errors do not contain the file's name."""

    def __init__(self, file: "soundfile.SoundFile", descriptor: int) -> None:
        self._file, self._descriptor = file, descriptor
        claimed = file.frames
        self.info = SoundInfo(
            file.samplerate,
            file.channels,
            claimed if 0 <= claimed < _UNKNOWN_FRAMES else None,
            file.format,
            file.subtype,
        )
        self.notes: list[str] = []
        _check_info(self.info)

    def bytes_read(self) -> int:
        """Return the number of bytes read so far, for progress."""
        return os.lseek(self._descriptor, 0, os.SEEK_CUR)

    def blocks(self) -> Iterator[Float32[np.ndarray, "frames channels"]]:
        """Yield the blocks of the file once; each block overwrites the one before it.

        A truncated file is read up to its end, and :attr:`notes` says so.

        Raises:
            AudioError: At NaN, infinity or an amplitude above 16, with its position.
        """
        info, done = self.info, 0
        frames = max(1, min(MAX_FRAMES, MAX_BLOCK_VALUES // info.channels))
        buffer = np.empty((frames, info.channels), np.float32)
        while True:
            block, failure = self._read(buffer)
            if len(block):
                _check_block(block, done, info.sample_rate)
                done += len(block)
                yield block
            if failure:
                self.notes.append(
                    f"damaged at {done / info.sample_rate:.2f} s ({failure}): the rest is left out"
                )
                return
            if not len(block):
                break
        self._note_missing(done)

    def _read(
        self, buffer: Float32[np.ndarray, "frames channels"]
    ) -> tuple[Float32[np.ndarray, "read channels"], str]:
        """Fill ``buffer``; after an error, return the part that was decoded before it."""
        import soundfile

        buffer.fill(np.nan)  # after an error, the part that was not decoded is still NaN
        try:
            with silence_stderr():
                return self._file.read(len(buffer), out=buffer), ""
        except soundfile.LibsndfileError as error:
            untouched = np.isnan(buffer).all(axis=1)
            decoded = int(untouched.argmax()) if untouched.any() else len(buffer)
            return buffer[:decoded], _one_line(error.error_string) or "the decoder failed"

    def _note_missing(self, done: int) -> None:
        claimed, rate = self.info.frames, self.info.sample_rate
        if claimed is not None and claimed - done > max(0.01 * claimed, 0.05 * rate):
            self.notes.append(
                f"cut short: the header claims {claimed / rate:.2f} s, "
                f"the file holds {done / rate:.2f} s"
            )
            return
        log = re.search(r"^data : (\d+) \(should be (\d+)\)", self._file.extra_info, re.MULTILINE)
        if log and int(log[1]) > int(log[2]):
            self.notes.append(
                f"cut short: the header claims {log[1]} bytes of sound, the file holds {log[2]}"
            )


@contextlib.contextmanager
def open_sound(path: Path) -> Iterator[Sound]:
    """Open a regular file as sound, whatever its name ends in; FIFOs and devices are refused.

    Raises:
        AudioError: If libsndfile cannot read the file. The message is the reason, without the
            path.
    """
    descriptor = _open_regular(path)
    try:
        with silence_stderr():
            file = _open_soundfile(descriptor)
        with file:
            yield Sound(file, descriptor)
    finally:
        os.close(descriptor)


def probe(path: Path) -> SoundInfo:
    """Return the information in the header of a sound file.

    Raises:
        AudioError: If the file cannot be read as sound.
    """
    with _named(path), open_sound(path) as sound:
        return sound.info


def blocks(path: Path) -> Iterator[Float32[np.ndarray, "frames channels"]]:
    """Yield a sound file in blocks of at most 65,536 frames at its own rate, full scale ±1.

    Raises:
        AudioError: If the file cannot be read as sound, or holds NaN, infinity or an amplitude
            above 16.
    """
    with _named(path), open_sound(path) as sound:
        for block in sound.blocks():
            yield block.copy()


def read_audio(
    path: Path, sample_rate: int | None, notes: list[str] | None = None
) -> tuple[Float32[np.ndarray, " samples"], int]:
    """Read a whole file as mono (the mean of its channels).

    Args:
        path: The file.
        sample_rate: Rate to convert to, Hz; None keeps the file's own.
        notes: A list to which notes about damaged or missing parts are appended.

    Returns:
        Amplitude (full scale ±1, float files may exceed it) and its sample rate in Hz.

    Raises:
        AudioError: If the file cannot be read as sound or holds no samples.
    """
    with _named(path), open_sound(path) as sound:
        rate = sound.info.sample_rate
        resampler = Resampler(rate, sample_rate or rate)
        parts = [resampler.push(mono(block)) for block in sound.blocks()]
        parts.append(resampler.push(np.zeros(0, np.float32), last=True))
        wave = np.concatenate(parts)
        if not len(wave):
            raise AudioError("; ".join(["it holds no samples", *sound.notes]))
        if notes is not None:
            notes.extend(sound.notes)
    return wave, sample_rate or rate


def mono(block: Float32[np.ndarray, "frames channels"]) -> Float32[np.ndarray, " frames"]:
    """Return the mean of the channels, always as a new array."""
    return block[:, 0].copy() if block.shape[1] == 1 else block.mean(axis=1)


def _open_regular(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise AudioError(error.strerror or str(error)) from None
    status = os.fstat(descriptor)
    fault = ""
    if not stat.S_ISREG(status.st_mode):
        fault = "not a regular file"
    elif status.st_size == 0:
        fault = "empty file (0 bytes)"
    if fault:
        os.close(descriptor)
        raise AudioError(fault)
    return descriptor


def _open_soundfile(descriptor: int) -> "soundfile.SoundFile":
    import soundfile

    class Sequential(soundfile.SoundFile):
        """A sound file that is not seekable: soundfile would otherwise seek after every block."""

        def seekable(self) -> bool:
            return False

    try:
        # By descriptor, because the name may be of any bytes and its ending is ignored.
        return Sequential(descriptor, closefd=False)
    except soundfile.LibsndfileError as error:
        reason = _unsupported(descriptor) or _one_line(error.error_string)
        if "SF_INFO" in reason:
            reason = "its header is damaged: it has no channels or no sample rate"
        raise AudioError(reason or "not a sound file") from None
    except (RuntimeError, TypeError, ValueError, MemoryError) as error:
        raise AudioError(_one_line(str(error)) or "not a sound file") from None


def _unsupported(descriptor: int) -> str:
    """Return a message for common containers that libsndfile does not read, else nothing."""
    try:
        magic = os.pread(descriptor, 12, 0)
    except OSError as error:
        return _one_line(str(error.strerror))
    if magic[4:8] == b"ftyp":
        return f"MP4/M4A is not supported; {_CONVERT}"
    if magic[:4] == b"\x1a\x45\xdf\xa3":
        return f"WebM/Matroska is not supported; {_CONVERT}"
    if magic[:4] == b"\x30\x26\xb2\x75":
        return f"WMA is not supported; {_CONVERT}"
    return ""


def _check_info(info: SoundInfo) -> None:
    if info.channels < 1:
        raise AudioError(f"channels = {info.channels} must be at least 1")
    if not LOWEST_RATE <= info.sample_rate <= HIGHEST_RATE:
        raise AudioError(
            f"sample rate {info.sample_rate} Hz is outside {LOWEST_RATE} to {HIGHEST_RATE} Hz"
        )


def _check_block(block: Float32[np.ndarray, "frames channels"], done: int, rate: int) -> None:
    """Refuse NaN, infinity and amplitudes above 16; ``done`` frames came before."""
    peak = max(float(block.max()), -float(block.min()))
    if peak <= LARGEST_AMPLITUDE:  # false for NaN
        return
    with np.errstate(invalid="ignore"):
        bad = ~(np.abs(block) <= LARGEST_AMPLITUDE)
    frame, channel = (int(index) for index in np.unravel_index(int(bad.argmax()), bad.shape))
    value = float(block[frame, channel])
    where = f"at {(done + frame) / rate:.4f} s in channel {channel + 1}"
    if not math.isfinite(value):
        raise AudioError(f"{'NaN' if math.isnan(value) else 'infinity'} {where}")
    raise AudioError(
        f"amplitude {value:.3g} {where}: more than 24 dB over full scale; is it integers as floats?"
    )


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Add the path to the message of an :class:`AudioError`."""
    try:
        yield
    except AudioError as error:
        raise AudioError(f"cannot read {shown(os.fspath(path))}: {error}") from None


def shown(name: str) -> str:
    """Return a file name in a printable form: one line, control and undecodable bytes escaped."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in name
    )
