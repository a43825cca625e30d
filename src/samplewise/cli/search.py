"""`samplewise search`: random search over the training configuration."""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from samplewise.strict_json import to_text

if TYPE_CHECKING:
    from samplewise.search.settings import Search

RESULT, PICTURE = "search.json", "search.png"
DEFAULT_MINUTES = 5.0
Changes = tyro.conf.UseAppendAction[tuple[str, ...]]


@dataclass(frozen=True)
class SearchArgs:
    """Try many training configurations, each for the same budget; show the best and what mattered.

    Every trial is an ordinary run in the folder's trials/. Ctrl-C shows what was found so far; the
    same command goes on. Workers that die lose nothing but their last minutes.
    """

    corpus: tyro.conf.Positional[Path | None] = None
    """Folder made by samplewise prepare."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Folder of the search; made if it does not exist, gone on with if it does."""
    trials: int = 50
    """Configurations to try; more of them may be asked for later."""
    preset: str = "small"
    """What everything that is not varied comes from."""
    minutes: float | None = None
    """Minutes for each trial; default: 5, unless --steps is given."""
    steps: int | None = None
    """Steps for each trial, in place of minutes."""
    fix: Changes = ()
    """NAME=VALUE: do not vary this; may be given again for others."""
    range: Changes = ()
    """NAME=LOW:HIGH, or NAME=LOW:HIGH:log: vary between two numbers."""
    choices: Changes = ()
    """NAME=VALUE,VALUE: choose among these; a list is written [2,2,8]."""
    space: bool = False
    """Print what would be varied, and stop."""
    sampler: Literal["random", "tpe"] = "random"
    """random: as the paper did; tpe: near what did well."""
    prune: Literal["median", "halving", "none"] = "median"
    """Give up trials that are worse than half of the others at the same share of the budget, or
    than two thirds (successive halving), or none."""
    seed: int = 0
    """Of the configurations."""
    workers: int = 1
    """Processes on this machine."""
    storage: str | None = None
    """URL of a database that machines share: postgresql://..., or sqlite:///FILE; default: a
    journal in the folder. Machines that search together name their folders alike."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    threads: int | None = None
    """CPU threads of each worker; default: its share of the cores."""
    json: bool = False
    """Print search.json instead of lines."""


def main(argv: list[str]) -> int:
    """Run `samplewise search` with ``argv`` and return the exit code."""
    args = tyro.cli(SearchArgs, args=argv, prog="samplewise search")
    if not args.space and (args.corpus is None or args.output is None):
        missing = "the CORPUS" if args.corpus is None else "-o FOLDER"
        print(f"error: {missing} is missing; samplewise search --help", file=sys.stderr)
        return 2
    search = _search(args)
    if args.space:
        from samplewise.search.space import describe

        print(describe(search.space, search.fixed))
        return 0
    if importlib.util.find_spec("optuna") is None:
        print("error: samplewise search needs: pip install 'samplewise[search]'", file=sys.stderr)
        return 1

    from samplewise.kinds import SEARCH, refuse_other_kinds
    from samplewise.search.workers import storage_errors, work

    refuse_other_kinds(search.folder, SEARCH)

    stopped = False
    try:
        stopped = work(search, args.workers, _say_nothing if args.json else _say)
    finally:
        if (search.folder / "workers").exists():
            with storage_errors():
                _show(search, args.json)
    if stopped:
        _say_error("interrupted; the same command goes on")
    return 130 if stopped else 0


def _search(args: SearchArgs) -> "Search":
    from samplewise.config.presets import PRESETS
    from samplewise.search.changes import changed
    from samplewise.search.families import space_of
    from samplewise.search.settings import Search, base_config

    if args.preset not in PRESETS:
        known = ", ".join(PRESETS)
        raise ValueError(f"there is no preset '{args.preset}'; presets: {known}")
    minutes = DEFAULT_MINUTES if args.minutes is None and args.steps is None else args.minutes
    preset = PRESETS[args.preset]
    base = base_config(preset, minutes, args.steps, args.device, args.threads)
    space, fixed = changed(base, space_of(base), args.fix, args.range, args.choices)
    return Search(
        args.corpus or Path(),
        args.output or Path(),
        base,
        space,
        fixed,
        trials=args.trials,
        seed=args.seed,
        sampler=args.sampler,
        prune=args.prune,
        storage=args.storage,
    )


def _show(search: "Search", as_json: bool) -> None:
    """Write search.json and search.png; print the table and the command."""
    from samplewise.atomic_io import write_bytes, write_json
    from samplewise.data.corpus import Corpus
    from samplewise.search.plot import search_png
    from samplewise.search.storage import open_study
    from samplewise.search.summary import summarise, table

    corpus = Corpus.open(search.corpus)
    study = open_study(search, corpus.digest)
    summary = summarise(study, search, corpus.sample_rate)
    if as_json:
        print(to_text(summary, indent=2, ascii_only=True))
    else:
        print(f"\n{table(summary)}")
        if "command" in summary:
            print(f"\ntrain the best on:\n{summary['command']}")
        print(f"\nall trials: {search.folder / RESULT}; what mattered: {search.folder / PICTURE}")
    write_json(search.folder / RESULT, summary)  # after it was shown: it may fail
    picture = search_png(summary, search.space)
    if picture is not None:
        write_bytes(search.folder / PICTURE, picture)


def _say(line: str) -> None:
    print(line, flush=True)


def _say_nothing(line: str) -> None:
    """With --json only the result is printed."""


def _say_error(line: str) -> None:
    print(line, file=sys.stderr)
