"""Writing of sound files, atomically and at most 65,536 frames per call."""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float32, Int16

from samplewise.atomic_io import atomic_writer

MAX_FRAMES = 65_536
"""Maximum of frames per call to libsndfile; libvorbis overflows the stack on longer writes."""
LARGEST_WAV_BYTES = 2**32 - 1
"""Largest size that fits into a RIFF header; longer files are RF64."""
FORMATS = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")}


def pcm16(wave: Float32[np.ndarray, "*shape"]) -> Int16[np.ndarray, "*shape"]:
    """Round amplitude to 16 bit, int16 = round(32768 x); +1 becomes 32767.

    Halves are rounded down: a 16-bit code decodes to the middle between two values and so becomes
    the value that it was encoded from.

    Raises:
        ValueError: If a sample is outside [-1, 1] or not finite.
    """
    peak = float(np.abs(wave).max()) if wave.size else 0.0
    if not peak <= 1.0:  # also true for NaN
        raise ValueError(f"wave must lie in [-1, 1], but its peak is {peak:.4g}; normalise it")
    return np.minimum(np.ceil(wave * np.float32(32768) - np.float32(0.5)), 32767).astype("<i2")


def wav_header(
    frames: int | None, sample_rate: int, channels: int = 1, is_padded: bool = False
) -> bytes:
    """Return the header of a 16-bit WAV file; RF64 when it exceeds 4 GB.

    Args:
        frames: Length; None for a stream whose end is not known.
        sample_rate: Hz.
        channels: Interleaved channels.
        is_padded: Use 80 bytes in place of 44, so that the header can be written before the length
            is known and overwritten afterwards.

    Raises:
        ValueError: If a number is negative or zero where it cannot be.
    """
    if sample_rate < 1 or channels < 1 or (frames is not None and frames < 0):
        raise ValueError(
            f"frames, sample_rate, channels = {frames}, {sample_rate}, {channels} make no WAV file"
        )
    width = 2 * channels
    data = LARGEST_WAV_BYTES if frames is None else frames * width
    form = struct.pack(
        "<4sIHHIIHH", b"fmt ", 16, 1, channels, sample_rate, sample_rate * width, width, 16
    )
    junk = struct.pack("<4sI28x", b"JUNK", 28) if is_padded else b""
    tail = junk + form + struct.pack("<4sI", b"data", min(data, LARGEST_WAV_BYTES))
    size = 4 + len(tail) + data
    if frames is None or size <= LARGEST_WAV_BYTES:
        return struct.pack("<4sI4s", b"RIFF", min(size, LARGEST_WAV_BYTES), b"WAVE") + tail
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, 72 + data, data, frames, 0)
    head = struct.pack("<4sI4s", b"RF64", LARGEST_WAV_BYTES, b"WAVE")
    return head + sizes + form + struct.pack("<4sI", b"data", LARGEST_WAV_BYTES)


def wav_bytes(wave: Float32[np.ndarray, " samples"], sample_rate: int) -> bytes:
    """Return ``wave`` as a 16-bit mono WAV file.

    Raises:
        ValueError: If a sample is outside [-1, 1] or not finite.
    """
    return wav_header(len(wave), sample_rate) + pcm16(wave).tobytes()


def write_wav(path: Path, wave: Float32[np.ndarray, " samples"], sample_rate: int) -> None:
    """Write a 16-bit mono WAV file, whole or not at all; RF64 when it exceeds 4 GB.

    Args:
        path: The file; an existing one is replaced.
        wave: Amplitude, full scale ±1.
        sample_rate: Hz.

    Raises:
        ValueError: If a sample is outside [-1, 1] or not finite.
        OSError: If it cannot be written; ``path`` is then as it was before.
    """
    samples = pcm16(wave)
    header = wav_header(len(samples), sample_rate)
    with atomic_writer(path, len(header) + samples.nbytes) as file:
        file.write(header)
        for start in range(0, len(samples), MAX_FRAMES):
            file.write(samples[start : start + MAX_FRAMES].tobytes())


def write_audio(path: Path, wave: Float32[np.ndarray, "samples ..."], sample_rate: int) -> None:
    """Write WAV, FLAC (both 16 bit) or OGG Vorbis by the ending of the name.

    Raises:
        ValueError: If the ending is another, or a sample is outside [-1, 1] or not finite.
        OSError: If it cannot be written; ``path`` is then as it was before.
    """
    channels = 1 if wave.ndim == 1 else wave.shape[1]
    write_blocks(path, [wave], sample_rate, channels)


def write_blocks(
    path: Path,
    blocks: Iterable[Float32[np.ndarray, "samples ..."]],
    sample_rate: int,
    channels: int = 1,
) -> None:
    """Write a sound file atomically from blocks of any length.

    Args:
        path: Ends in .wav, .flac or .ogg.
        blocks: Amplitude, full scale ±1; mono (samples,) or (samples, channels).
        sample_rate: Hz.
        channels: Channels of every block.

    Raises:
        ValueError: If the ending is another, or a sample is outside [-1, 1] or not finite.
        OSError: If it cannot be written; ``path`` is then as it was before.
    """
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise ValueError(f"{path.name} must end in one of {', '.join(FORMATS)}")
    with atomic_writer(path) as file:
        if ending == ".wav":
            _write_wav_blocks(file, blocks, sample_rate, channels)
            return
        import soundfile

        container, subtype = FORMATS[ending]
        with soundfile.SoundFile(
            file, "w", sample_rate, channels, subtype, format=container
        ) as sound:
            for piece in _pieces(blocks):
                sound.write(pcm16(piece) if subtype == "PCM_16" else piece)


def _write_wav_blocks(
    file: BinaryIO,
    blocks: Iterable[Float32[np.ndarray, "samples ..."]],
    sample_rate: int,
    channels: int,
) -> None:
    frames = 0
    file.write(wav_header(0, sample_rate, channels, is_padded=True))
    for piece in _pieces(blocks):
        file.write(pcm16(piece).tobytes())
        frames += len(piece)
    file.seek(0)
    file.write(wav_header(frames, sample_rate, channels, is_padded=True))


def _pieces(
    blocks: Iterable[Float32[np.ndarray, "samples ..."]],
) -> Iterator[Float32[np.ndarray, "samples ..."]]:
    for block in blocks:
        for start in range(0, len(block), MAX_FRAMES):
            piece = block[start : start + MAX_FRAMES]
            pcm16(piece)  # the same checks for Vorbis as for WAV
            yield piece
