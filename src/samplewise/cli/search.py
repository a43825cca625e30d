"""`samplewise search`: random search over the training configuration."""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from samplewise.cli.folder import FolderArg
from samplewise.strict_json import to_text

if TYPE_CHECKING:
    from samplewise.search.settings import Search

RESULT, PICTURE = "search.json", "search.png"
DEFAULT_MINUTES = 5.0
Changes = tyro.conf.UseAppendAction[tuple[str, ...]]


@dataclass(frozen=True)
class SearchArgs:
    """Try many training configurations, each for the same budget; show the best and what mattered.

    Every trial is an ordinary run in the folder's trials/. Ctrl-C shows the results so far, and the
    same command goes on. A trial whose worker dies continues from its last checkpoint.
    """

    corpus: tyro.conf.Positional[FolderArg | None] = None
    """Folder made by samplewise prepare, or its URL."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Folder of the search; made if it does not exist, continued if it does."""
    trials: int = 50
    """Number of configurations to try; may be raised later."""
    preset: str = "small"
    """Preset that gives the values of all parameters that are not varied."""
    minutes: float | None = None
    """Minutes for each trial; default: 5, unless --steps is given."""
    steps: int | None = None
    """Steps for each trial, in place of minutes."""
    fix: Changes = ()
    """NAME=VALUE: use this value in every trial; may be given several times."""
    range: Changes = ()
    """NAME=LOW:HIGH, or NAME=LOW:HIGH:log: vary between two numbers."""
    choices: Changes = ()
    """NAME=VALUE,VALUE: choose among these; a list is written [2,2,8]."""
    space: bool = False
    """Print the parameters that would be varied, and stop."""
    sampler: Literal["random", "tpe"] = "random"
    """random: independent draws, as in the paper; tpe: draws near the best trials so far."""
    prune: Literal["median", "halving", "none"] = "median"
    """Stop a trial early if it is worse than half of the others at the same share of the budget
    (median), or than two thirds of them (halving), or never (none)."""
    seed: int = 0
    """Seed of the configurations."""
    workers: int = 1
    """Processes on this machine."""
    storage: str | None = None
    """URL of a database that machines share: postgresql://..., or sqlite:///FILE; default: a
    journal in the folder. Machines that share a database give their folders the same name."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    threads: int | None = None
    """CPU threads of each worker; default: those of the preset, else its share of the cores."""
    json: bool = False
    """Print search.json instead of lines."""


def main(argv: list[str]) -> int:
    """Run `samplewise search` with ``argv`` and return the exit code."""
    args = tyro.cli(SearchArgs, args=argv, prog="samplewise search")
    if not args.space and (args.corpus is None or args.output is None):
        missing = "the CORPUS" if args.corpus is None else "-o FOLDER"
        print(f"error: {missing} is missing; samplewise search --help", file=sys.stderr)
        return 2
    search = _settings(args)
    if args.space:
        from samplewise.search.space import format_space

        print(format_space(search.space, search.fixed))
        return 0
    if importlib.util.find_spec("optuna") is None:
        print("error: samplewise search needs: pip install 'samplewise[search]'", file=sys.stderr)
        return 1

    from samplewise.kinds import SEARCH, refuse_other_kinds
    from samplewise.search.liveness import WORKERS
    from samplewise.search.workers import run_search, storage_errors

    refuse_other_kinds(search.folder, SEARCH)
    stopped = False
    try:
        stopped = run_search(search, args.workers, _print_nothing if args.json else _print_line)
    finally:
        if (search.folder / WORKERS).exists():
            with storage_errors():
                _show(search, args.json)
    if stopped:
        print("interrupted; the same command goes on", file=sys.stderr)
    return 130 if stopped else 0


def _settings(args: SearchArgs) -> "Search":
    from samplewise.config.presets import PRESETS
    from samplewise.search.settings import Search, base_config
    from samplewise.search.space import change_space, default_space

    if args.preset not in PRESETS:
        known = ", ".join(PRESETS)
        raise ValueError(f"there is no preset '{args.preset}'; presets: {known}")
    minutes = DEFAULT_MINUTES if args.minutes is None and args.steps is None else args.minutes
    base = base_config(PRESETS[args.preset], minutes, args.steps, args.device, args.threads)
    space, fixed = change_space(base, default_space(base), args.fix, args.range, args.choices)
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
    """Print the table and the command; write search.json and search.png."""
    from samplewise.atomic_io import write_bytes, write_json
    from samplewise.data.corpus import Corpus
    from samplewise.search.storage import open_study
    from samplewise.search.summary import search_png, summarise, table

    corpus = Corpus.open(search.corpus)
    summary = summarise(open_study(search, corpus.digest), search, corpus.sample_rate)
    if as_json:
        print(to_text(summary, indent=2, ascii_only=True))
    else:
        print(f"\n{table(summary)}")
        if "command" in summary:
            print(f"\ntrain the best on:\n{summary['command']}")
        print(f"\nall trials: {search.folder / RESULT}; what mattered: {search.folder / PICTURE}")
    write_json(search.folder / RESULT, summary)  # printed first, because a write may fail
    picture = search_png(summary, search.space)
    if picture is not None:
        write_bytes(search.folder / PICTURE, picture)


def _print_line(line: str) -> None:
    print(line, flush=True)


def _print_nothing(line: str) -> None:
    """Print nothing: with --json only the result is printed."""
