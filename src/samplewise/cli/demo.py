"""`samplewise demo`: every stage once, on the bundled recordings, in about two minutes."""

import json
import shlex
import shutil
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated

import tyro

from samplewise.errors import SamplewiseError

TAKES = ("--temperature", 0.9, "--seed", 0)
"""After two minutes of training, hiss drowns what was learnt unless draws are a little tamer."""


@dataclass(frozen=True)
class DemoArgs:
    """Prepare, train, evaluate, generate and report on the bundled recordings.

    Leaves a corpus, a run, generated clips, pictures and report.html. Given again, it goes on from
    what is there.
    """

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("demo")
    """Folder for everything that the demo makes."""
    minutes: float = 2.0
    """Minutes of training."""
    count: int = 6
    """Clips to generate."""
    seconds: float = 4.0
    """Length of each clip, in seconds."""


def main(argv: list[str]) -> int:
    """Run `samplewise demo` with ``argv`` and return the exit code."""
    args = tyro.cli(DemoArgs, args=argv, prog="samplewise demo")
    for name in ("minutes", "count", "seconds"):
        if not getattr(args, name) > 0:
            raise ValueError(f"{name} = {getattr(args, name)} must be positive")
    corpus, run = args.output / "corpus", args.output / "run"
    args.output.mkdir(parents=True, exist_ok=True)
    _do("prepare", bundled_recordings(), "-o", corpus)
    _do("train", corpus, "--preset", "tiny", "--minutes", args.minutes, "-o", run)
    _do("evaluate", run)
    _do("generate", run, "--count", args.count, "--seconds", args.seconds, *TAKES)
    _do("report", run)
    for name, path in _results(run).items():
        shutil.copyfile(path, args.output / name)
    print(f"\n{verdict(json.loads((run / 'evaluation.json').read_text()))}")
    print(f"open {args.output / 'report.html'}")
    return 0


def bundled_recordings() -> Path:
    """Return the folder of recordings that comes with the project.

    Raises:
        SamplewiseError: If it was left out of this installation.
    """
    package = Path(__file__).parent.parent
    for folder in (package / "smoke", package.parent.parent / "examples" / "smoke"):
        if folder.is_dir():
            return folder
    raise SamplewiseError("the bundled recordings are not installed; use samplewise prepare")


def verdict(evaluation: dict) -> str:
    """Say in one line what the model scored against the trivial baselines."""
    bits, baselines = evaluation["bits_per_sample"], evaluation["baselines"]
    beaten = [name for name, value in baselines.items() if bits < value]
    facts = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in baselines.items())
    score = "all" if len(beaten) == len(baselines) else f"{len(beaten)} of {len(baselines)}"
    return f"test: {bits:.3f} bits per sample; beats {score} of the baselines ({facts})"


def _do(command: str, *arguments: object) -> None:
    words = [str(argument) for argument in arguments]
    print(f"\n$ samplewise {command} {shlex.join(words)}", flush=True)
    import_module(f"samplewise.cli.{command}").main(words)


def _results(run: Path) -> dict[str, Path]:
    """Return what a visitor looks at first, by the name it gets in the demo's folder."""
    clips = sorted((run / "generated").glob("clip-*.wav"))
    pictures = {"loss.png": run / "pictures" / "curves.png"}
    pictures["spectrogram.png"] = run / "pictures" / "clips.png"
    found = {clip.name: clip for clip in clips} | {"report.html": run / "report.html"}
    return found | {name: path for name, path in pictures.items() if path.exists()}
