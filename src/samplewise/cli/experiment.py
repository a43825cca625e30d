"""`samplewise experiment`: a table or a figure, trained, scored and drawn."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from samplewise.cli.folder import FolderArg
from samplewise.strict_json import to_text

if TYPE_CHECKING:
    from samplewise.data.corpus import Corpus
    from samplewise.experiments.experiment import Experiment
    from samplewise.experiments.speeds import SpeedExperiment


@dataclass(frozen=True)
class ExperimentArgs:
    """Run an experiment on a corpus: train its rows, score them, make its table.

    Ctrl-C saves; the same command goes on, row by row. Without a name, the experiments are listed;
    without a corpus, the table is made again from the results that are there. Tables of speed
    (wavernn.table2, wavernn.table4) take no corpus: what is not there yet is measured on this
    machine.
    """

    name: tyro.conf.Positional[str | None] = None
    """As listed: samplernn.table1 and others."""
    corpus: Annotated[FolderArg | None, tyro.conf.arg(metavar="PATH|URL")] = None
    """Folder made by samplewise prepare, or its URL."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("results")
    """Folder of results: NAME/CORPUS.json, NAME/table.md, NAME/table.png, runs/."""
    budget: str | None = None
    """Training of each row: a time (90s, 10min, 2h), 5000steps, 8Msamples (million samples, as many
    for each row), or paper; default: 10min. Of the speedrun, one or more; default:
    2min,5min,20min."""
    preset: Literal["small", "small-16bit", "voice-16bit"] = "small"
    """What the speedrun trains. Bits of 8 and of 16 bits can't be compared."""
    only: str | None = None
    """Name of the one row to run, as in the table: "both, 5 min", or both-5-min."""
    size: Literal["auto", "small", "paper"] = "auto"
    """paper: every size as published, or as preset; small: a quarter of the width; auto: paper on a
    GPU and for the speedrun."""
    seed: int = 0
    """Of weights, order and draws."""
    speakers: str | None = None
    """For samplernn.memory: a CSV with the columns file and speaker, or `folders` if each speaker
    has a folder."""
    count: int = 128
    """Clips of samplernn.memory."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    threads: int | None = None
    """CPU threads; default: as many as torch chooses, and every core for tables of speed."""
    json: bool = False
    """Print the results as JSON."""


def main(argv: list[str]) -> int:
    """Run `samplewise experiment` with ``argv`` and return the exit code."""
    args = tyro.cli(ExperimentArgs, args=argv, prog="samplewise experiment")

    from samplewise.experiments.registry import EXPERIMENTS
    from samplewise.experiments.runner import StoppedError
    from samplewise.experiments.speeds import SpeedExperiment
    from samplewise.experiments.tables import read_results, to_markdown, write_rendered
    from samplewise.kinds import refuse_other_kinds

    if args.name is None:
        for experiment in EXPERIMENTS.values():
            print(f"{experiment.name:<20}  {experiment.title} ({experiment.source})")
        return 0
    if args.name not in EXPERIMENTS:
        raise ValueError(f"there is no experiment {args.name!r}; known: {', '.join(EXPERIMENTS)}")
    experiment = EXPERIMENTS[args.name]
    refuse_other_kinds(args.output, None)
    if isinstance(experiment, SpeedExperiment):
        return _speeds(args, experiment)
    if args.corpus is not None:
        try:
            _run(args, experiment)
        except StoppedError as stopped:
            print(stopped, file=sys.stderr)
            return 130
    written = write_rendered(args.output, experiment)
    results = read_results(args.output, experiment)
    _print(args, results, to_markdown(experiment, results), written)
    return 0


def _print(args: ExperimentArgs, results: object, table: str, written: list[Path]) -> None:
    if args.json:
        print(to_text(results, indent=2, ascii_only=True))
    else:
        print(table)
        print("\n".join(f"wrote {path}" for path in written))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _threads(args: ExperimentArgs) -> int | None:
    from samplewise.config.validation import check_threads

    check_threads(args.threads)
    return args.threads


def _speeds(args: ExperimentArgs, experiment: "SpeedExperiment") -> int:
    from samplewise.experiments.speed_tables import (
        read_all_speeds,
        speeds_to_markdown,
        write_speeds,
    )
    from samplewise.experiments.speeds import measure_speeds

    if args.corpus is not None:
        raise ValueError(
            f"corpus = {args.corpus}, but {experiment.name} times this machine and trains nothing; "
            "leave --corpus out"
        )
    measure_speeds(experiment, args.output, _say, _threads(args))
    written = write_speeds(args.output, experiment)
    results = read_all_speeds(args.output, experiment)
    _print(args, results, speeds_to_markdown(experiment, results), written)
    return 0


def _run(args: ExperimentArgs, experiment: "Experiment") -> None:
    import torch

    from samplewise.config.presets import PRESETS
    from samplewise.data.corpus import Corpus
    from samplewise.experiments.experiment import Budget, only_row, parse_budget
    from samplewise.experiments.runner import run_experiment
    from samplewise.experiments.setting import Setting
    from samplewise.experiments.speedrun import BUDGETS, speedrun
    from samplewise.nn.device import choose_device

    assert args.corpus is not None
    if (threads := _threads(args)) is not None:
        torch.set_num_threads(threads)
    corpus, name = Corpus.open(args.corpus), args.corpus.resolve().name
    is_speedrun = experiment.kind == "speedrun"
    if is_speedrun:
        words = args.budget.split(",") if args.budget else ()
        budgets = [parse_budget(word) for word in words] or BUDGETS
        base = replace(PRESETS[args.preset], threads=None)  # those that torch has, by --threads
        experiment, budget = speedrun(budgets, base), Budget()
    else:
        budget = parse_budget(args.budget or "10min")
    if args.only is not None:
        experiment = only_row(experiment, args.only)
    has_gpu = choose_device(args.device).type == "cuda"
    if is_speedrun:
        name += "" if args.preset == "small" else f"-{args.preset}"
        count = torch.get_num_threads()
        name += "-gpu" if has_gpu else f"-{count}-thread{'s' * (count > 1)}"
    auto = "paper" if has_gpu or is_speedrun else "small"
    setting = Setting(
        corpus,
        name,
        args.output,
        budget,
        size=auto if args.size == "auto" else args.size,
        seed=args.seed,
        device=args.device,
        speakers=_speakers(args, corpus),
        count=args.count,
    )
    run_experiment(experiment, setting, _say)


def _speakers(args: ExperimentArgs, corpus: "Corpus") -> dict[str, str] | None:
    from samplewise.evaluate.speakers import read_speakers, speakers_by_folder

    if args.speakers is None:
        return None
    if args.speakers == "folders":
        return speakers_by_folder(corpus)
    return read_speakers(Path(args.speakers), corpus)
