"""`samplewise vocode`: sound for mel spectrograms, whole or as they arrive."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from samplewise.cli.folder import FolderArg
from samplewise.cli.sampling import (
    announce,
    is_wav,
    load_model,
    open_stream,
    print_note,
    write_stream,
)
from samplewise.config.mel_scale import BandsName, MelScale, ScaleName
from samplewise.strict_json import to_text

if TYPE_CHECKING:
    import numpy as np

    from samplewise.generate.mel_input import MelInput
    from samplewise.trained_model import Model

STDIN = Path("-")
FRAMES_FORMAT = "<f4"


@dataclass(frozen=True)
class VocodeArgs:
    """Turn mel spectrograms into sound with a model that was trained with --mel.

    An input is a sound file, of which nothing but its own spectrogram is used, or a .npy file of
    frames x bands (ln of magnitudes, as --save-mels writes them), or -, frames of 32-bit
    little-endian floats on stdin. With --stream the sound of a frame is written as soon as the
    few frames that it depends on are there. With --corpus in place of inputs, recordings that the
    model has not seen are vocoded, and compared with the originals and with Griffin-Lim.
    """

    model: tyro.conf.Positional[Path]
    """Run folder, exported model file, or a name that `samplewise models` lists."""
    inputs: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Sound files, .npy files of spectrograms, or - for frames on stdin."""
    step: int | None = None
    """Weights of the run's checkpoint at this step (train --keep); default: the best ones."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """A .wav file for a single input, else a folder; default: vocoded/ in the run folder,
    FILE-vocoded/ beside a file."""
    stream: str | None = None
    """Write the sound of one input to this file or, with -, to stdout, as it is drawn."""
    stream_format: Literal["auto", "raw", "wav"] = "auto"
    """raw: 16-bit little-endian PCM without a header; auto: wav if the file is named so."""
    corpus: Annotated[FolderArg | None, tyro.conf.arg(metavar="PATH|URL")] = None
    """Compare on recordings of this corpus; writes report.html and scores.json too."""
    split: Literal["test", "valid", "train"] = "test"
    """Which recordings of the corpus."""
    count: int = 8
    """How many of them, evenly spread."""
    seconds: float = 6.0
    """How much of each of them at most, from its start; 0: all."""
    label: str | None = None
    """Class of the sound, for a model trained with --labels."""
    labels: str | None = None
    """With --corpus: class of each recording, a CSV or `folders`; default: as trained."""
    temperature: str = "1"
    """Below 1 plays safe; fixed, or an envelope in seconds: 0:0.8,5:1.1."""
    min_p: float = 0.0
    """Never draw a code that is less than so many times as probable as the most probable one: 0.003
    keeps rare wild samples out; 0 draws from the model as it is."""
    corrections: int = 10
    """How often the sound is brought nearer to the spectrogram; each delays a stream by 3
    frames (48 ms at 16 kHz and a hop of 256). 0: the model alone."""
    seed: int | None = None
    """Decides about all random numbers; a random one is taken, and printed, unless given."""
    mel_scale: ScaleName | None = None
    """What the values of .npy files and of stdin are, of the amplitude or the power in a band; db
    is 20 log10 of an amplitude. Default: ln, refused if the values can hardly be that."""
    mel_factor: float = 1.0
    """Values are multiplied by it first, ..."""
    mel_shift: float = 0.0
    """... then this is added: dB in [0, 1], floor -100, reference 20: factor 100, shift -80."""
    mel_bands: BandsName = "slaney"
    """Formula of the mel scale that the bands are even on."""
    mel_norm: Literal["slaney", "none"] = "slaney"
    """slaney: filters of unit area; none: of unit height (torchaudio's default)."""
    mel_f_min: float | None = None
    """Lower edge of the lowest band, Hz, if it is not the model's."""
    mel_f_max: float | None = None
    """Upper edge of the highest band, Hz, if it is not the model's."""
    mel_layout: Literal["auto", "frames-first", "bands-first"] = "auto"
    """Axes of .npy files; auto: the one as long as the model has bands."""
    force: bool = False
    """Overwrite files that vocode has not made, and take a folder that holds other things."""
    save_mels: bool = False
    """Also write the spectrogram of each sound file, as a .npy file."""
    device: str = "auto"
    """auto (cpu for the native engine), cpu, cuda or cuda:N."""
    backend: Literal["auto", "native", "graphed", "persistent", "reference"] = "auto"
    """What computes: the native engine (CPU), PyTorch in CUDA graphs (for many clips on a GPU), one
    kernel (for one clip of a WaveRNN on a GPU), or PyTorch step by step; auto: native if it can,
    with --device cuda graphed if it can."""
    weights: Literal["int8", "int8x16", "f16", "f32"] = "f16"
    """How the native engine stores weights: f16 is nearly exact, int8 faster and coarser."""
    products: Literal["float32", "tf32"] = "float32"
    """Products of the graphed back end; tf32: operands of 10 bits of mantissa, faster."""
    threads: int | None = None
    """CPU threads; unless given, 1 or all, whichever is faster."""
    max_memory: float = 2.0
    """Most GiB that the model and the clips drawn at once may take; more is refused."""
    json: bool = False
    """Print what was made as JSON."""


def main(argv: list[str]) -> int:
    """Run `samplewise vocode` with ``argv`` and return the exit code."""
    args = tyro.cli(VocodeArgs, args=argv, prog="samplewise vocode")
    if bool(args.inputs) == (args.corpus is not None):
        raise ValueError("name inputs to vocode, or a corpus to compare on with --corpus")
    if args.stream is not None and len(args.inputs) != 1:
        raise ValueError(f"a stream has one input, not {len(args.inputs)}")
    if args.stream is not None and (args.output or args.json or args.save_mels):
        raise ValueError("a stream leaves nothing else: drop --output, --json and --save-mels")
    if args.corpus is not None and args.save_mels:
        raise ValueError("--save-mels is for inputs, not for --corpus")
    if args.label is not None and args.labels is not None:
        raise ValueError("--label is one class for all, --labels names those of a corpus: give one")
    if STDIN in args.inputs and args.stream is None:
        raise ValueError("frames on stdin are vocoded as they arrive: add --stream - or a file")

    from samplewise.generate.uniforms import pick_seed
    from samplewise.generate.vocoder import check_corrections

    model, seed = load_model(args), pick_seed(args.seed)
    check_corrections(model.loaded.model, args.corrections)
    if args.stream is not None:
        return _stream(args, model, seed)
    if args.corpus is not None:
        return _compare(args, model, seed)
    return _vocode_files(args, model, seed)


def _compare(args: VocodeArgs, model: "Model", seed: int) -> int:
    from samplewise.cli.vocode_compare import Comparison, compare

    assert args.corpus is not None
    comparison = Comparison(
        args.corpus,
        output_folder(args),
        split=args.split,
        count=args.count,
        seconds=args.seconds,
        label=args.label,
        labels=args.labels,
        temperature=args.temperature,
        min_p=args.min_p,
        corrections=args.corrections,
        seed=seed,
        force=args.force,
        json=args.json,
    )
    return compare(comparison, model)


def output_folder(args: VocodeArgs) -> Path:
    """Return the folder that was named, or the usual one."""
    if args.output is not None:
        return args.output
    if args.model.is_dir():
        return args.model / ("vocoded" if args.step is None else f"vocoded-step-{args.step}")
    return args.model.with_name(f"{args.model.stem}-vocoded")


def _vocode_files(args: VocodeArgs, model: "Model", seed: int) -> int:
    from samplewise.generate.vocoded import vocoded_folder
    from samplewise.kinds import check_target

    targets = _targets(args)
    files = [*targets, *_mel_targets(args, targets)]
    for target in files:
        check_target(target, True, (args.model, *args.inputs))
    if args.output is not None and targets == [args.output]:
        for target in files:
            check_target(target, args.force)
        args.output.parent.mkdir(parents=True, exist_ok=True)
        return _vocode_to(targets, args, model, seed)
    with vocoded_folder(output_folder(args), args.force) as note:
        note([target.name for target in files])
        return _vocode_to(targets, args, model, seed)


def _vocode_to(targets: list[Path], args: VocodeArgs, model: "Model", seed: int) -> int:
    import time

    from samplewise.audio.write import write_wav
    from samplewise.generate.mel_input import is_sound, read_mel

    rate, mels = model.sample_rate, _mel_input(args, model)
    spectrograms = [read_mel(path, model.loaded, mels, print_note) for path in args.inputs]
    backend = model.backend_for(len(spectrograms), args.min_p, "the number of inputs")
    print_note(f"seed {seed} · {backend.describe(model.loaded.model)}")
    began = time.monotonic()
    clips = model.vocode_all(
        [mel for mel, _ in spectrograms],
        seed=seed,
        temperature=args.temperature,
        min_p=args.min_p,
        labels=[args.label] * len(spectrograms),
        corrections=args.corrections,
    )
    taken = time.monotonic() - began
    made = []
    for path, target, clip, (mel, samples) in zip(
        args.inputs, targets, clips, spectrograms, strict=True
    ):
        sound = clip.samples[:samples]
        write_wav(target, sound, rate)
        if args.save_mels and is_sound(path):
            _save_mel(target.with_suffix(".npy"), mel)
        made.append({"input": str(path), "file": str(target), "seconds": len(sound) / rate})
    seconds = sum(item["seconds"] for item in made)
    if args.json:
        report = {"seed": seed, "real_time_factor": seconds / taken, "made": made}
        print(to_text(report, ascii_only=True))
    else:
        print("\n".join(f"{item['file']}  {item['seconds']:.2f} s" for item in made))
        print_note(f"{seconds:.1f} s of sound, {seconds / taken:.2g} times real time")
    return 0


def _targets(args: VocodeArgs) -> list[Path]:
    if args.output is not None and args.output.suffix.lower() == ".wav":
        if len(args.inputs) > 1:
            raise ValueError(
                f"{args.output} is one file for {len(args.inputs)} inputs; name a folder"
            )
        return [args.output]
    folder = output_folder(args)
    names = [f"{path.stem}.wav" for path in args.inputs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two inputs would be written to {folder / twice}; vocode them apart")
    return [folder / name for name in names]


def _mel_targets(args: VocodeArgs, targets: list[Path]) -> list[Path]:
    """Return the files of the spectrograms that are saved too."""
    from samplewise.generate.mel_input import is_sound

    pairs = zip(args.inputs, targets, strict=True) if args.save_mels else ()
    return [target.with_suffix(".npy") for path, target in pairs if is_sound(path)]


def _mel_input(args: VocodeArgs, model: "Model") -> "MelInput":
    from samplewise.generate.mel_input import MelInput

    scale = MelScale(
        args.mel_scale or "ln",
        args.mel_factor,
        args.mel_shift,
        args.mel_bands,
        args.mel_norm,
        args.mel_f_min,
        args.mel_f_max,
    )
    is_sure = args.mel_scale is not None or scale != MelScale()
    return MelInput(model.loaded, scale, is_sure, args.mel_layout, print_note)


def _save_mel(path: Path, mel: "np.ndarray") -> None:
    import io

    import numpy as np

    from samplewise.atomic_io import write_bytes

    file = io.BytesIO()
    np.save(file, mel)
    write_bytes(path, file.getvalue())


def _stream(args: VocodeArgs, model: "Model", seed: int) -> int:
    """Write the sound of each frame as soon as it can be drawn."""
    from samplewise.generate.mel_input import read_mel
    from samplewise.generate.vocoder import mel_of
    from samplewise.kinds import check_target

    assert args.stream is not None
    [path] = args.inputs
    if args.stream != "-":
        check_target(Path(args.stream), args.force, (args.model, path))
    # The file is opened last: nothing is changed if an argument or the input is refused.
    mels = _mel_input(args, model)
    if path == STDIN:
        frames = mels.stream(_frames_on_stdin(mel_of(model.loaded.model).n_mels))
    else:
        frames = iter(read_mel(path, model.loaded, mels, print_note)[0])
    as_wav = is_wav(args.stream, args.stream_format)
    chunks = model.vocode_stream(
        frames,
        seed=seed,
        temperature=args.temperature,
        min_p=args.min_p,
        label=args.label,
        corrections=args.corrections,
    )
    try:
        with open_stream(args.stream) as file:
            announce(model, seed, as_wav)
            write_stream(chunks, file, model.sample_rate, as_wav)
    except (BrokenPipeError, KeyboardInterrupt):
        pass  # the usual ends of a stream
    return 0


def _frames_on_stdin(n_mels: int) -> "Iterator[Any]":
    """Yield frames as they come.

    Raises:
        ValueError: If the input ends in the middle of a frame.
    """
    import numpy as np

    size = n_mels * np.dtype(FRAMES_FORMAT).itemsize
    if sys.stdin is None:
        raise ValueError("stdin is closed: there are no frames to read")
    while data := sys.stdin.buffer.read(size):
        if len(data) < size:
            raise ValueError(
                f"stdin ended within a frame: {len(data)} of {size} bytes ({n_mels} bands of "
                "32-bit floats)"
            )
        yield np.frombuffer(data, FRAMES_FORMAT).astype(np.float32)
