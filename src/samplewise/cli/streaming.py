"""`samplewise generate --stream`: sound to a pipe or a growing file, chunk by chunk."""

import contextlib
import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from samplewise.atomic_io import named_failures
from samplewise.cli.generate import (
    HEARING,
    GenerateArgs,
    late_bar,
    pick_seed,
    prepare_model,
    prepare_prompt,
    say,
)

if TYPE_CHECKING:
    from samplewise.generate.backend import Backend
    from samplewise.models.io import LoadedModel

MAX_CHUNK_S = 60.0
TRIAL_S = 1.0
"""Seconds of sound after which the speed is told."""


def run_stream(args: GenerateArgs) -> int:
    """Write until the end, a closed pipe or Ctrl-C; return the exit code.

    Raises:
        ValueError: If stdout is a terminal, or an option makes no sense for a stream.
    """
    from samplewise.generate.class_conditioning import class_conditioning
    from samplewise.generate.clips import samples_of
    from samplewise.generate.stream import stream_chunks
    from samplewise.generate.temperature import parse_envelope
    from samplewise.generate.uniforms import check_numbers
    from samplewise.kinds import check_target

    if args.count is not None or args.output is not None or args.json:
        raise ValueError("a stream is one clip: leave out --count, --output and --json")
    envelope, seed = parse_envelope(args.temperature), pick_seed(args.seed)
    check_numbers(seed, [args.index or 0])
    as_wav = is_wav(str(args.stream), args.stream_format)
    if not 0 < args.chunk <= MAX_CHUNK_S:
        raise ValueError(f"chunk = {args.chunk:g} must lie in (0, {MAX_CHUNK_S:g}] seconds")
    if args.stream != "-":
        inputs = [args.model, *([] if args.prompt is None else [args.prompt])]
        check_target(Path(str(args.stream)), args.force, inputs)
    try:
        # The file is not touched before everything is known to be in order.
        loaded, backend = prepare_model(args, 1)
        prompt, rate = prepare_prompt(args, loaded), loaded.audio.sample_rate
        class_conditioning(loaded.model, args.label, [args.index or 0])
        samples = None if args.seconds is None else samples_of(args.seconds, rate)
        with sink(str(args.stream)) as file, late_bar(HEARING) as on_prompt:
            announce(loaded, backend, seed, as_wav)
            chunks = stream_chunks(
                loaded,
                seed,
                samples=samples,
                index=args.index or 0,
                temperature=envelope,
                prompt=None if prompt is None else prompt.wave,
                keep_prompt=not args.cut_prompt,
                chunk_s=args.chunk,
                on_prompt=on_prompt,
                backend=backend,
                label=args.label,
            )
            pour(chunks, file, rate, as_wav)
    except (BrokenPipeError, KeyboardInterrupt):
        pass  # the usual ends of a stream
    return 0


def is_wav(stream: str, stream_format: str) -> bool:
    """Return whether a stream is a WAV file rather than raw samples."""
    return stream_format == "wav" or (stream_format == "auto" and stream.lower().endswith(".wav"))


@contextlib.contextmanager
def sink(name: str) -> Iterator[BinaryIO]:
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


def announce(loaded: "LoadedModel", backend: "Backend", seed: int, as_wav: bool) -> None:
    """Say what comes, and what computes it."""
    kind = "WAV" if as_wav else "raw 16-bit little-endian PCM"
    say(
        f"seed {seed} · {kind}, mono, {loaded.audio.sample_rate} Hz · "
        f"{backend.describe(loaded.model)}"
    )


def pour(chunks: Iterator, file: BinaryIO, rate: int, as_wav: bool) -> None:
    """Write chunks as they come; a WAV file is told its length at the end, however that comes."""
    from samplewise.audio.write import pcm16, wav_header

    frames, first, begin, is_told = 0, 0, 0.0, False
    try:
        if as_wav:
            _write(file, wav_header(None, rate))
        for chunk in chunks:
            _write(file, pcm16(chunk).tobytes())
            frames += len(chunk)
            if not first:  # a prompt was heard before it
                first, begin = frames, time.monotonic()
            elif not is_told and frames - first >= TRIAL_S * rate:
                is_told = True
                seconds = (frames - first) / rate
                factor = seconds / (time.monotonic() - begin)
                say(f"{seconds:.1f} s at {factor:.2g} times real time")
    finally:
        if as_wav and stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            header = wav_header(frames, rate)
            if len(header) == len(wav_header(None, rate)):  # RF64 is longer: length stays unknown
                os.pwrite(file.fileno(), header, 0)


def _write(sink: BinaryIO, data: bytes) -> None:
    """Write everything: an unbuffered pipe may take a part."""
    view = memoryview(data)
    while view:
        view = view[sink.write(view) :]
