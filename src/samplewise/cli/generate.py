"""`samplewise generate`: new clips from a trained model, or a stream of sound."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from samplewise.cli.sampling import (
    MAX_CHUNK_S,
    announce,
    is_wav,
    late_bar,
    load_model,
    load_prompt,
    open_stream,
    print_note,
    write_stream,
)
from samplewise.strict_json import to_text

if TYPE_CHECKING:
    from samplewise.generate.clip_folder import ClipFolder
    from samplewise.generate.temperature import Envelope
    from samplewise.trained_model import Model

DEFAULT_SECONDS, DEFAULT_COUNT = 10.0, 16
PROMPT_BAR = "prefilling the prompt (samples)"


@dataclass(frozen=True)
class GenerateArgs:
    """Generate clips, ranked by likelihood, or stream without end.

    Writes clip-0000.wav, ... at the model's own rate (16 bit, level of the corpus) and
    generation.json. Clip i of a seed is the same alone or among others.
    """

    model: tyro.conf.Positional[Path]
    """Run folder, exported model file, or a name that `samplewise models` lists."""
    step: int | None = None
    """Weights of the run's checkpoint at this step (train --keep); default: the best ones."""
    count: int | None = None
    """How many clips; default 16, but 1 with --index."""
    seconds: float | None = None
    """Length of what is drawn; 10 for clips, without end for a stream."""
    temperature: str = "auto"
    """Below 1 plays safe, above 1 strays; fixed, or an envelope in seconds: 0:0.8,5:1.1,10:0.9;
    auto: the model's own, which is 1 unless train or export was given another."""
    min_p: float = 0.0
    """Never draw a code that is less than so many times as probable as the most probable one: 0.003
    keeps rare wild samples out; 0 draws from the model as it is."""
    seed: int | None = None
    """Decides about all clips; a random one is taken, and printed, unless given."""
    index: int | None = None
    """Number of the first clip; clips of the same seed and settings that are there are kept."""
    resume: bool = False
    """Go on where a command was interrupted: clips that are there are not drawn again. The seed is
    theirs unless given."""
    prompt: Path | None = None
    """Sound file that every clip continues; any length, any rate."""
    cut_prompt: bool = False
    """Leave the prompt out of the result."""
    start: Literal["corpus", "silence"] = "corpus"
    """What a clip without a prompt follows: corpus, a quarter of a second of the training split, if
    the model file has any, which is not part of the clip; or silence."""
    target_bits: str = "auto"
    """Bits per sample near which small changes of the temperature keep each clip, so that it does
    not fade or turn into noise; auto: if the model has a linear predictor its validation bits, or,
    with a mixture, the level of its training recordings; off: neither."""
    retry_flagged: int = 0
    """How often a clip with a flag (silence, noise, hiss, stuck) is drawn again at most, with seeds
    that follow from the first."""
    loop: bool = False
    """Close each clip to a loop: its ends are cut, by a quarter at most, where they are most alike,
    and crossfaded."""
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
    backend: Literal["auto", "native", "graphed", "persistent", "reference"] = "auto"
    """What computes: the native engine (CPU), PyTorch in CUDA graphs (for many clips on a GPU), one
    kernel (for one clip of a WaveRNN on a GPU), or PyTorch step by step; auto: native if it can,
    with --device cuda graphed if it can."""
    weights: Literal["int8", "int8x16", "f16", "f32"] = "int8"
    """How the native engine stores weights: int8 is fastest, f16 nearly exact."""
    products: Literal["float32", "tf32"] = "float32"
    """Products of the graphed back end; tf32: operands of 10 bits of mantissa, faster."""
    threads: int | None = None
    """CPU threads; unless given, 1 or all, whichever is faster."""
    max_memory: float = 2.0
    """Most GiB that the model and the clips drawn at once may take; more is refused."""
    json: bool = False
    """Print what was made as JSON."""


def main(argv: list[str]) -> int:
    """Run `samplewise generate` with ``argv`` and return the exit code."""
    args = tyro.cli(GenerateArgs, args=argv, prog="samplewise generate")
    return _make_clips(args, argv) if args.stream is None else _stream(args)


def _make_clips(args: GenerateArgs, argv: list[str]) -> int:
    import time
    from contextlib import closing

    from samplewise.atomic_io import claim
    from samplewise.config.validation import check_at_least
    from samplewise.generate.clip_folder import (
        INDEX,
        KIND,
        ClipFolder,
        default_folder,
        recorded_seed,
    )
    from samplewise.generate.clips import level_of, samples_of, target_of, temperature_of
    from samplewise.generate.uniforms import check_numbers, pick_seed

    seconds = DEFAULT_SECONDS if args.seconds is None else args.seconds
    path = args.output or default_folder(args.model, args.step)
    found = recorded_seed(path) if args.resume and args.seed is None else args.seed
    envelope, seed = _temperature(args), pick_seed(found)
    first, count = args.index or 0, args.count
    if count is None:
        count = DEFAULT_COUNT if args.index is None else 1
    check_at_least("count", count, 1)
    check_at_least("batch", args.batch, 1)
    check_numbers(seed, [first, first + count - 1])
    model = load_model(args)
    envelope = envelope or temperature_of(model.loaded.provenance)
    rate, prompt = model.sample_rate, load_prompt(args.prompt, model)
    computed_by = model.backend_for(min(count, args.batch), args.min_p).describe(model.loaded.model)
    length, drawn, finished = samples_of(seconds, rate), 0, 0
    target_bits = _target(args)
    control = _control(args, target_of(model.loaded, target_bits))
    if (level := level_of(model.loaded, target_bits)) is not None:
        control["level_db"] = [level.low_db, level.high_db]
    settings = _settings(args, model, seed, str(envelope)) | control
    with (
        claim(path, "generate", INDEX, KIND),
        late_bar(PROMPT_BAR) as prompt_progress,
        late_bar("drawing (seconds of sound)") as bar,
    ):
        folder = ClipFolder.open(
            path,
            settings,
            command=_command(argv, seed),
            add=args.index is not None or args.resume,
            resume=args.resume,
        )
        if folder.stale:
            print_note(
                f"{path}: {len(folder.stale)} clips of an earlier generation will be replaced"
            )
        runs = [range(first, first + count)]
        if args.resume:
            runs = folder.missing(runs[0], length / rate)
        total = sum(map(len, runs))
        kept = "" if total == count else f" · {count - total} of {count} clips are there"
        print_note(f"seed {seed} · {computed_by}{kept}")
        begin = time.monotonic()
        with closing(folder):
            for run in runs:
                for clip in model.iterate(
                    len(run),
                    seconds,
                    seed=seed,
                    temperature=envelope,
                    min_p=args.min_p,
                    prompt=prompt,
                    keep_prompt=not args.cut_prompt,
                    start=args.start,
                    target_bits=target_bits,
                    label=args.label,
                    batch=args.batch,
                    first_index=run.start,
                    retry_flagged=args.retry_flagged,
                    progress=lambda done, _, before=finished: bar(
                        (before + done) // rate, total * length // rate
                    ),
                    prompt_progress=prompt_progress,
                ):
                    folder.add(clip.looped() if args.loop else clip)
                    drawn += length * (1 + clip.retries)
                finished += length * len(run)
    speed = drawn / (time.monotonic() - begin)
    made = [entry for entry in folder.ranked() if first <= entry["index"] < first + count]
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
        print_note(
            f"{computed_by}: {speed:,.0f} samples/s"
            f", {speed / rate:.2g} times real time, all clips together"
        )
    return 0


def _stream(args: GenerateArgs) -> int:
    """Write until the end, a closed pipe or Ctrl-C; return the exit code.

    Raises:
        ValueError: If stdout is a terminal, or an option makes no sense for a stream.
    """
    from samplewise.generate.uniforms import check_numbers, pick_seed
    from samplewise.kinds import check_target

    if args.count is not None or args.output is not None or args.json:
        raise ValueError("a stream is one clip: leave out --count, --output and --json")
    if args.retry_flagged or args.loop:
        raise ValueError("a stream is heard as it is drawn: leave out --retry-flagged and --loop")
    envelope, seed = _temperature(args), pick_seed(args.seed)
    check_numbers(seed, [args.index or 0])
    as_wav = is_wav(str(args.stream), args.stream_format)
    if not 0 < args.chunk <= MAX_CHUNK_S:
        raise ValueError(f"chunk = {args.chunk:g} must lie in (0, {MAX_CHUNK_S:g}] seconds")
    if args.stream != "-":
        inputs = [args.model, *([] if args.prompt is None else [args.prompt])]
        check_target(Path(str(args.stream)), args.force, inputs)
    try:
        # The file is opened last: nothing is changed if an argument or the model is refused.
        model = load_model(args)
        with late_bar(PROMPT_BAR) as prompt_progress:
            chunks = model.stream(
                args.seconds,
                seed=seed,
                temperature=envelope,
                min_p=args.min_p,
                prompt=load_prompt(args.prompt, model),
                keep_prompt=not args.cut_prompt,
                start=args.start,
                target_bits=_target(args),
                label=args.label,
                index=args.index or 0,
                chunk_seconds=args.chunk,
                prompt_progress=prompt_progress,
            )
            with open_stream(str(args.stream)) as file:
                announce(model, seed, as_wav)
                write_stream(chunks, file, model.sample_rate, as_wav)
    except (BrokenPipeError, KeyboardInterrupt):
        pass  # the usual ends of a stream
    return 0


def _command(argv: list[str], seed: int) -> tuple[str, ...]:
    given = any(word == "--seed" or word.startswith("--seed=") for word in argv)
    return ("samplewise", "generate", *argv, *(() if given else ("--seed", str(seed))))


def _temperature(args: GenerateArgs) -> "Envelope | None":
    from samplewise.generate.temperature import parse_envelope

    return None if args.temperature == "auto" else parse_envelope(args.temperature)


def _target(args: GenerateArgs) -> float | Literal["auto"] | None:
    if args.target_bits in ("auto", "off"):
        return "auto" if args.target_bits == "auto" else None
    try:
        return float(args.target_bits)
    except ValueError:
        raise ValueError(
            f"target_bits = {args.target_bits!r} must be auto, off or a number of bits per sample"
        ) from None


def _control(args: GenerateArgs, target_bits: float | None) -> dict[str, Any]:
    """Return the settings that only some generations have."""
    start = {} if args.start == "corpus" else {"start": args.start}
    return start | ({} if target_bits is None else {"target_bits": target_bits})


def _settings(args: GenerateArgs, model: "Model", seed: int, temperature: str) -> dict[str, Any]:
    from samplewise.generate.clip_folder import file_digest, weights_digest

    return {
        "format": 1,
        "seed": seed,
        "backend": model.backend.name,
        "weights": model.backend.weights if model.backend.name == "native" else "f32",
        **({} if args.products == "float32" else {"products": args.products}),
        "temperature": temperature,
        **({"min_p": args.min_p} if args.min_p else {}),
        **({} if args.step is None else {"step": args.step}),
        **({"retry_flagged": args.retry_flagged} if args.retry_flagged else {}),
        **({"loop": True} if args.loop else {}),
        **({} if args.label is None else {"label": args.label}),
        "sample_rate": model.sample_rate,
        "prompt": None if args.prompt is None else str(args.prompt),
        "prompt_sha256": None if args.prompt is None else file_digest(args.prompt),
        "cut_prompt": args.cut_prompt,
        "weights_sha256": weights_digest(model.loaded),
    }


def _table(made: list[dict[str, Any]], folder: "ClipFolder") -> str:
    width = max(len(entry["file"]) for entry in made)
    lines = [f"{'rank':>4}  {'file':<{width}}  {'seconds':>7}  {'bits/sample':>11}  flags"]
    lines += [
        f"{entry['rank']:>4}  {entry['file']:<{width}}  {entry['seconds']:7.2f}  "
        f"{entry['bits_per_sample']:11.3f}  {', '.join(entry['flags'])}".rstrip()
        for entry in made
    ]
    lines += [
        f"{entry['file']}: retries {entry['retries']}, seed {entry['seed']}"
        for entry in made
        if entry.get("retries")
    ]
    lines += [
        f"{entry['file']}: {flag}: {reason}"
        for entry in made
        for flag, reason in zip(entry["flags"], entry.get("flag_reasons", []), strict=False)
    ]
    return "\n".join([*lines, f"in {folder.path}, seed {folder.settings['seed']}"])
