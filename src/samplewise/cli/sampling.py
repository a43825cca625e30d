"""What the commands that draw share: loading, prompts, bars, and streams to a pipe or a file."""

import contextlib
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol, runtime_checkable

from samplewise.atomic_io import named_failures

if TYPE_CHECKING:
    from samplewise.generate.prompts import Prompt
    from samplewise.trained_model import Model

MAX_CHUNK_S = 60.0
TRIAL_S = 1.0
"""Seconds of sound after which the speed is printed."""


@runtime_checkable
class SamplingArgs(Protocol):
    """Options of every command that draws."""

    @property
    def model(self) -> Path: ...  # noqa: D102
    @property
    def step(self) -> int | None: ...  # noqa: D102
    @property
    def device(self) -> str: ...  # noqa: D102
    @property
    def backend(self) -> Literal["auto", "native", "graphed", "persistent", "reference"]: ...  # noqa: D102
    @property
    def weights(self) -> Literal["int8", "int8x16", "f16", "f32"]: ...  # noqa: D102
    @property
    def products(self) -> Literal["float32", "tf32"]: ...  # noqa: D102
    @property
    def threads(self) -> int | None: ...  # noqa: D102
    @property
    def max_memory(self) -> float: ...  # noqa: D102


def load_model(args: SamplingArgs) -> "Model":
    """Load the model that the options name."""
    from samplewise.api import load

    return load(
        args.model,
        step=args.step,
        device=args.device,
        backend=args.backend,
        weights=args.weights,
        products=args.products,
        threads=args.threads,
        max_memory=args.max_memory,
    )


def load_prompt(path: Path | None, model: "Model") -> "Prompt | None":
    """Read a prompt, and print what was changed about it."""
    from samplewise.generate.prompts import read_prompt

    if path is None:
        return None
    prompt = read_prompt(path, model.loaded.audio)
    for notice in prompt.notices:
        print_note(f"{path}: {notice}")
    return prompt


def print_note(text: str) -> None:
    """Print to stderr; stdout is for results."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def late_bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """Give ``progress(done, total)`` that shows a bar from its first call to its last."""
    from samplewise.cli.progress import progress_bar

    with contextlib.ExitStack() as stack:
        bars = []

        def progress(done: int, total: int) -> None:
            if not bars:
                bars.append(stack.enter_context(progress_bar(description, total)))
            bars[0](done, total)
            if done == total:
                stack.close()

        yield progress


def is_wav(stream: str, stream_format: str) -> bool:
    """Return whether a stream is a WAV file rather than raw samples."""
    return stream_format == "wav" or (stream_format == "auto" and stream.lower().endswith(".wav"))


@contextlib.contextmanager
def open_stream(name: str) -> Iterator[BinaryIO]:
    """Open a file, or with - stdout, for sound.

    Raises:
        ValueError: If stdout is a terminal.
    """
    if name == "-":
        if sys.stdout.isatty():
            raise ValueError(
                "--stream - writes sound to stdout, which is a terminal; pipe it into a player, as "
                "in | ffplay -f s16le -ar 16000 -, or name a file"
            )
        file = open(sys.stdout.fileno(), "wb", buffering=0, closefd=False)  # noqa: SIM115
    else:
        file = open(name, "wb", buffering=0)  # noqa: PTH123, SIM115
    with file, named_failures(None if name == "-" else Path(name)):
        yield file


def announce(model: "Model", seed: int, as_wav: bool) -> None:
    """Print the format of the stream, and what computes it."""
    kind = "WAV" if as_wav else "raw 16-bit little-endian PCM"
    print_note(
        f"seed {seed} · {kind}, mono, {model.sample_rate} Hz · "
        f"{model.backend_for(1).describe(model.loaded.model)}"
    )


def write_stream(chunks: Iterator, file: BinaryIO, rate: int, as_wav: bool) -> None:
    """Write chunks as they come; the length of a WAV file is written at the end, or on an error."""
    from samplewise.audio.write import pcm16, wav_header

    frames, first, begin, is_reported = 0, 0, 0.0, False
    try:
        if as_wav:
            _write_all(file, wav_header(None, rate))
        for chunk in chunks:
            _write_all(file, pcm16(chunk).tobytes())
            frames += len(chunk)
            if not first:  # after the prompt
                first, begin = frames, time.monotonic()
            elif not is_reported and frames - first >= TRIAL_S * rate:
                is_reported = True
                seconds = (frames - first) / rate
                factor = seconds / (time.monotonic() - begin)
                print_note(f"{seconds:.1f} s at {factor:.2g} times real time")
    finally:
        if as_wav and stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            header = wav_header(frames, rate)
            if len(header) == len(wav_header(None, rate)):  # RF64 is longer: length stays unknown
                os.pwrite(file.fileno(), header, 0)


def _write_all(file: BinaryIO, data: bytes) -> None:
    """Write everything: an unbuffered pipe may take a part."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
