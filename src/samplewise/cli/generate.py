"""`samplewise generate`: new clips from a trained model, or a stream of sound."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from samplewise.strict_json import to_text

if TYPE_CHECKING:
    from samplewise.cli.vocode import VocodeArgs
    from samplewise.generate.backend import Backend
    from samplewise.generate.clip_folder import ClipFolder
    from samplewise.generate.prompts import Prompt
    from samplewise.models.io import LoadedModel

DEFAULT_SECONDS, DEFAULT_COUNT = 10.0, 16
HEARING = "hearing the prompt (samples)"


@dataclass(frozen=True)
class GenerateArgs:
    """Generate clips, ranked by likelihood, or stream without end.

    Writes clip-0000.wav, ... at the model's own rate (16 bit, level of the corpus) and
    generation.json. Clip i of a seed is the same alone or among others.
    """

    model: tyro.conf.Positional[Path]
    """Run folder, or an exported model file."""
    step: int | None = None
    """Weights of the run's checkpoint at this step (train --keep); default: the best ones."""
    count: int | None = None
    """How many clips; default 16, but 1 with --index."""
    seconds: float | None = None
    """Length of what is drawn; 10 for clips, without end for a stream."""
    temperature: str = "1"
    """Below 1 plays safe, above 1 strays; fixed, or an envelope in seconds: 0:0.8,5:1.1,10:0.9."""
    min_p: float = 0.0
    """Never draw a code that is less than so many times as probable as the most probable one: 0.003
    keeps rare wild samples out; 0 draws from the model as it is."""
    seed: int | None = None
    """Decides about all clips; a random one is taken, and printed, unless given."""
    index: int | None = None
    """Number of the first clip; clips of the same seed and settings that are there are kept."""
    prompt: Path | None = None
    """Sound file that every clip continues; any length, any rate."""
    cut_prompt: bool = False
    """Leave the prompt out of the result."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Folder of the clips; default: generated/ in the run folder (generated-step-N/ with --step),
    FILE-clips/ beside a file. An earlier generation in it is replaced."""
    label: str | None = None
    """Class of every clip, for a model trained with --labels; default: each class in turn."""
    batch: int = 64
    """Most clips drawn at once: more is faster per clip and takes more memory."""
    stream: str | None = None
    """Write one clip to this file or, with -, to stdout, as it is drawn."""
    stream_format: Literal["auto", "raw", "wav"] = "auto"
    """raw: 16-bit little-endian PCM without a header; auto: wav if the file is named so."""
    force: bool = False
    """Overwrite a file that is there with --stream."""
    chunk: float = 0.1
    """Seconds of sound per write of a stream."""
    device: str = "auto"
    """auto (cpu for the native engine), cpu, cuda or cuda:N."""
    backend: Literal["auto", "native", "reference"] = "auto"
    """What computes: the native engine (CPU), or PyTorch step by step; auto: native if it can."""
    weights: Literal["int8", "int8x16", "f16", "f32"] = "int8"
    """How the native engine stores weights: int8 is fastest, f16 nearly exact."""
    threads: int | None = None
    """CPU threads; unless given, 1 or all, whichever is faster."""
    max_memory: float = 2.0
    """Most GiB that the model may take; a file that asks for more is refused."""
    json: bool = False
    """Print what was made as JSON."""


def main(argv: list[str]) -> int:
    """Run `samplewise generate` with ``argv`` and return the exit code."""
    args = tyro.cli(GenerateArgs, args=argv, prog="samplewise generate")
    if args.stream is not None:
        from samplewise.cli.streaming import run_stream

        return run_stream(args)
    return _make_clips(args, argv)


def say(text: str) -> None:
    """Print for the person, not for the pipe."""
    print(text, file=sys.stderr, flush=True)


def prepare_model(args: "GenerateArgs | VocodeArgs", clips: int) -> "tuple[LoadedModel, Backend]":
    """Load the model, choose what computes, and set the threads."""
    import torch

    from samplewise.config.validation import check_threads
    from samplewise.engine.native import has_native
    from samplewise.generate.backend import Backend
    from samplewise.generate.batch_invariance import pick_threads
    from samplewise.nn.device import choose_device
    from samplewise.training.steps import load_at

    device, threads = args.device, args.threads
    check_threads(threads)
    if device == "auto" and args.backend != "reference" and has_native():
        device = "cpu"  # where one clip is faster than step by step on a GPU
    backend = Backend(args.backend, args.weights, threads, args.min_p)
    loaded = load_at(
        args.model, args.step, choose_device(device), max_memory=args.max_memory * 2**30
    )
    chosen = backend.resolve(loaded.model)
    if chosen.name == "reference":
        if threads is not None:
            torch.set_num_threads(threads)
        else:
            torch.set_num_threads(pick_threads(loaded.model, clips))
    return loaded, chosen


def prepare_prompt(args: GenerateArgs, loaded: "LoadedModel") -> "Prompt | None":
    """Read the prompt and say what was changed about it."""
    from samplewise.generate.prompts import read_prompt

    if args.prompt is None:
        return None
    prompt = read_prompt(args.prompt, loaded.audio)
    for notice in prompt.notices:
        say(f"{args.prompt}: {notice}")
    return prompt


def pick_seed(seed: int | None) -> int:
    """Return the seed that was given, or a random one."""
    import secrets

    return secrets.randbelow(2**32) if seed is None else seed


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


def _make_clips(args: GenerateArgs, argv: list[str]) -> int:
    import time

    from samplewise.atomic_io import claim
    from samplewise.generate.clip_folder import INDEX, KIND, ClipFolder, default_folder
    from samplewise.generate.clips import iterate_clips, samples_of
    from samplewise.generate.temperature import parse_envelope
    from samplewise.generate.uniforms import check_numbers

    seconds = DEFAULT_SECONDS if args.seconds is None else args.seconds
    envelope, seed = parse_envelope(args.temperature), pick_seed(args.seed)
    first, count = args.index or 0, args.count
    if count is None:
        count = DEFAULT_COUNT if args.index is None else 1
    for name, value in (("count", count), ("batch", args.batch)):
        if value < 1:
            raise ValueError(f"{name} = {value} must be at least 1")
    indices = range(first, first + count)
    check_numbers(seed, [indices[0], indices[-1]])
    loaded, backend = prepare_model(args, min(count, args.batch))
    rate, prompt = loaded.audio.sample_rate, prepare_prompt(args, loaded)
    total = samples_of(seconds, rate) * count
    settings = _settings(args, loaded, backend, seed, str(envelope))
    path = args.output or default_folder(args.model, args.step)
    with (
        claim(path, "generate", INDEX, KIND),
        late_bar(HEARING) as on_prompt,
        late_bar("drawing (seconds of sound)") as bar,
    ):
        folder = ClipFolder.open(
            path, settings, command=_command(argv, seed), add=args.index is not None
        )
        if folder.stale:
            say(f"{path}: {len(folder.stale)} clips of an earlier generation will be replaced")
        say(f"seed {seed} · {backend.describe(loaded.model)}")
        begin = time.monotonic()
        for clip in iterate_clips(
            loaded,
            indices,
            seconds,
            seed,
            temperature=envelope,
            prompt=None if prompt is None else prompt.wave,
            keep_prompt=not args.cut_prompt,
            batch=args.batch,
            progress=lambda done, total: bar(done // rate, total // rate),
            on_prompt=on_prompt,
            backend=backend,
            label=args.label,
        ):
            folder.add(clip)
    speed = total / (time.monotonic() - begin)
    made = [entry for entry in folder.ranked() if entry["index"] in indices]
    if args.json:
        report = {
            **settings,
            "folder": str(folder.path),
            "samples_per_s": speed,
            "real_time_factor": speed / rate,
            "clips": made,
        }
        print(to_text(report, indent=2, ascii_only=True))
    else:
        print(_table(made, folder))
        say(
            f"{backend.describe(loaded.model)}: {speed:,.0f} samples/s"
            f", {speed / rate:.2g} times real time, all clips together"
        )
    return 0


def _command(argv: list[str], seed: int) -> tuple[str, ...]:
    given = any(word == "--seed" or word.startswith("--seed=") for word in argv)
    return ("samplewise", "generate", *argv, *(() if given else ("--seed", str(seed))))


def _settings(
    args: GenerateArgs, loaded: "LoadedModel", backend: "Backend", seed: int, temperature: str
) -> dict[str, Any]:
    from samplewise.generate.clip_folder import file_digest, weights_digest

    return {
        "format": 1,
        "seed": seed,
        "backend": backend.name,
        "weights": backend.weights if backend.name == "native" else "f32",
        "temperature": temperature,
        **({"min_p": args.min_p} if args.min_p else {}),
        **({} if args.step is None else {"step": args.step}),
        **({} if args.label is None else {"label": args.label}),
        "sample_rate": loaded.audio.sample_rate,
        "prompt": None if args.prompt is None else str(args.prompt),
        "prompt_sha256": None if args.prompt is None else file_digest(args.prompt),
        "cut_prompt": args.cut_prompt,
        "weights_sha256": weights_digest(loaded),
    }


def _table(made: list[dict[str, Any]], folder: "ClipFolder") -> str:
    width = max(len(entry["file"]) for entry in made)
    lines = [f"{'rank':>4}  {'file':<{width}}  {'seconds':>7}  {'bits/sample':>11}  flags"]
    lines += [
        f"{entry['rank']:>4}  {entry['file']:<{width}}  {entry['seconds']:7.2f}  "
        f"{entry['bits_per_sample']:11.3f}  {', '.join(entry['flags'])}".rstrip()
        for entry in made
    ]
    return "\n".join([*lines, f"in {folder.path}, seed {folder.settings['seed']}"])
