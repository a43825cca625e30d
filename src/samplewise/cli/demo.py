"""`samplewise demo`: every stage once, on the bundled recordings, in two to six minutes."""

import json
import shlex
import shutil
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import tyro

from samplewise.cli import train
from samplewise.config.presets import PRESET_STEPS
from samplewise.errors import SamplewiseError

PRESET = "tiny"
MOST_PARTS = 3
"""Training goes on until linear prediction is beaten, for so many times --minutes at most."""
LINEAR = {"linear_prediction", "predictor_alone"}
"""A straight line through two codes, and the model's own filter without its network."""
INITIAL_BASELINES = {"uniform", "unigram"}
"""What an untrained model scores about as well as."""

PEAK = 0.5
"""Of full scale: what is drawn needs room above."""


@dataclass(frozen=True)
class DemoArgs:
    """Prepare, train, evaluate, generate and report on the bundled recordings.

    Leaves a corpus, a run, generated clips, pictures and report.html. Given again, it goes on from
    what is there. Ends with exit code 1 if the model learned nothing or every clip is flagged.
    """

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("demo")
    """Folder for everything that the demo makes."""
    minutes: float = 2.0
    """Minutes of training: as many more, twice at most, if it has not beaten linear prediction."""
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
    from samplewise.training.loop import INTERRUPTED

    corpus, run = args.output / "corpus", args.output / "run"
    args.output.mkdir(parents=True, exist_ok=True)
    evaluation: dict[str, Any] = {}
    _prepare(bundled_recordings(), corpus)
    for part in range(1, MOST_PARTS + 1):
        minutes = part * args.minutes
        words = _announce("train", corpus, "--preset", PRESET, "--minutes", minutes, "-o", run)
        if train.train(words, with_report=False) == INTERRUPTED:
            return 130
        _do("evaluate", run)
        evaluation = json.loads((run / "evaluation.json").read_text())
        if LINEAR & evaluation["baselines"].keys() <= set(beaten(evaluation)):
            break
    _do("generate", run, "--count", args.count, "--seconds", args.seconds, "--seed", 0)
    _do("report", run)
    for name, path in _results(run).items():
        shutil.copyfile(path, args.output / name)
    clips = json.loads((run / "generated" / "generation.json").read_text())["clips"]
    trained = _last_interval(run)
    print(
        f"\ntraining: {trained['seconds'] / 60:.1f} minutes, {trained['step']:,} steps, "
        f"{trained['samples_per_s']:,.0f} samples/s"
    )
    print(verdict(evaluation))
    flagged = sum(bool(clip["flags"]) for clip in clips)
    print(f"clips: {len(clips)}, of which {flagged} are flagged as silence, noise, hiss or stuck")
    print(f"open {args.output / 'report.html'}", flush=True)
    if faults := find_faults(evaluation, clips):
        raise SamplewiseError(f"the demo failed: {'; '.join(faults)}. {explain_speed(trained)}")
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


def beaten(evaluation: dict[str, Any]) -> list[str]:
    """Return the baselines whose bits per sample are above the model's."""
    bits = evaluation["bits_per_sample"]
    return [name for name, value in evaluation["baselines"].items() if bits < value]


def verdict(evaluation: dict[str, Any]) -> str:
    """Return one line: the model's score, and which baselines it beats."""
    baselines, names = evaluation["baselines"], beaten(evaluation)
    scores = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in baselines.items())
    score = "all" if len(names) == len(baselines) else f"{len(names)} of {len(baselines)}"
    bits = evaluation["bits_per_sample"]
    return f"test: {bits:.3f} bits per sample; beats {score} of the baselines ({scores})"


def find_faults(evaluation: dict[str, Any], clips: list[dict[str, Any]]) -> list[str]:
    """Return why a demo failed, in words; empty if it did not.

    Chosen: uniform and unigram do not count. Training begins at the unigram distribution, so a
    model that learned nothing would beat them.
    """
    faults = []
    if not set(beaten(evaluation)) - INITIAL_BASELINES:
        faults.append(
            "the model beats no baseline that looks at earlier samples, so it has learned next "
            "to nothing"
        )
    if all(set(clip["flags"]) - {"hiss"} for clip in clips):  # after two minutes, models hiss
        flags = sorted({flag for clip in clips for flag in clip["flags"]})
        faults.append(f"every clip is flagged ({', '.join(flags)})")
    return faults


def explain_speed(trained: dict[str, Any]) -> str:
    """Say whether training was too slow, from its last line of metrics.jsonl."""
    steps, made_for = trained["step"], PRESET_STEPS[PRESET]
    summary = (
        f"{steps:,} steps were made at {trained['samples_per_s']:,.0f} samples/s; the preset "
        f"{PRESET} was made for about {made_for:,} steps"
    )
    if steps < made_for / 3:
        return (
            f"{summary}: training was too slow. End other programs that use the processor and give "
            "the same command with more --minutes"
        )
    return f"{summary}: speed is not the cause. Please report it, with what was printed"


def _prepare(recordings: Path, corpus: Path) -> None:
    """Prepare the bundled recordings.

    Warnings are left out: that they are few is on purpose, and the files beside them are texts.
    """
    from samplewise.cli.corpus_summary import format_summary
    from samplewise.cli.prepare import PrepareArgs, make_corpus

    _announce("prepare", recordings, "-o", corpus, "--peak", PEAK)
    prepared = make_corpus(PrepareArgs(recordings, peak=PEAK), corpus)
    index = replace(prepared.index, skipped=(), warnings=())
    print(format_summary(replace(prepared, index=index)), flush=True)


def _last_interval(run: Path) -> dict[str, Any]:
    """Return the last line of metrics.jsonl about training, with the speed of the whole run."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    last = [line for line in lines if line["event"] == "train"][-1]
    return last | {"samples_per_s": last["samples_seen"] / last["seconds"]}


def _announce(command: str, *arguments: object) -> list[str]:
    words = [str(argument) for argument in arguments]
    print(f"\n$ samplewise {command} {shlex.join(words)}", flush=True)
    return words


def _do(command: str, *arguments: object) -> None:
    import_module(f"samplewise.cli.{command}").main(_announce(command, *arguments))


def _results(run: Path) -> dict[str, Path]:
    """Return what a visitor looks at first, by the name it gets in the demo's folder."""
    clips = sorted((run / "generated").glob("clip-*.wav"))
    pictures = {"loss.png": run / "pictures" / "curves.png"}
    pictures["spectrogram.png"] = run / "pictures" / "clips.png"
    found = {clip.name: clip for clip in clips} | {"report.html": run / "report.html"}
    return found | {name: path for name, path in pictures.items() if path.exists()}
