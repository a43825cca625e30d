"""`samplewise listen`: listening tests in a browser."""

import importlib.util
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from samplewise.web.listening.study import Study
    from samplewise.web.listening.votes import VoteStore

USAGE = """usage: samplewise listen ACTION STUDY [OPTIONS]

A listening test in a browser, as in section 3.2 of the SampleRNN paper.

  create   make the folder of a test: clips, design, texts
  serve    let people take it
  report   preferences with intervals, ranking, who was excluded: report.html and report.json

samplewise listen ACTION --help tells more."""
NEEDED = ("fastapi", "uvicorn", "sqlalchemy", "pyloudnorm")


@dataclass(frozen=True)
class CreateArgs:
    """Make a listening test.

    Clips are cut to one length, brought to one sample rate and one loudness (ITU-R BS.1770), and
    get random names. Pairs of systems and sides are balanced over listeners.
    """

    sources: tyro.conf.Positional[tuple[str, ...]]
    """Systems, each a path or NAME=PATH: a run folder, a model file, a bundled model (`samplewise
    models`), a folder of sound files, or a corpus, whose test recordings are the anchor."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder of the test."""
    kind: Literal["ab", "abx", "mos", "cmos"] = "ab"
    """ab: which clip is preferred; abx: whether X is A or B; mos: a score from 1 to 5; cmos: B
    compared with A from -3 to +3."""
    clips: int = 20
    """Clips of each system."""
    seconds: float | None = None
    """Length of every clip; default: that of the shortest, and 10 for generated clips."""
    trials: int = 20
    """Trials of each listener."""
    checks: int = 2
    """Attention checks of each listener: a clip with beeps."""
    repeats: int = 2
    """Trials that each listener answers a second time, with the sides exchanged."""
    anchor: str | None = None
    """Name of the system that is real recordings; a corpus is one anyway."""
    temperature: str | None = None
    """Temperature of generated clips; default: each model's own."""
    loudness: float = -23.0
    """Loudness of every clip, in LUFS; less if a clip would exceed full scale."""
    sample_rate: int | None = None
    """Hertz of every clip; default: the highest of the systems."""
    seed: int = 0
    """Seed of the design and of generated clips."""
    title: str = "Listening test"
    """Title of the page."""
    about: str = ""
    """A sentence or two about the test."""
    question: str = ""
    """Question of each trial; default: that of the kind of test."""
    consent: Path | None = None
    """Text file with what listeners agree to; default: a short text."""
    contact: str = ""
    """Whom listeners can ask."""
    require_headphones: bool = False
    """Exclude listeners who do not pass the headphone check."""


@dataclass(frozen=True)
class ServeArgs:
    """Let people take a listening test.

    The printed link holds a token. Every answer is on disk before the page goes on; after a reload,
    a listener goes on where they were. ?participant=NUMBER in the link is stored with the answers.
    """

    study: tyro.conf.Positional[Path]
    """Folder of the test."""
    host: str = "127.0.0.1"
    """Interface: 127.0.0.1 is this machine alone, 0.0.0.0 every network (needs --token)."""
    port: int = 8765
    """Port; 0: a free one."""
    token: str | None = None
    """Token of the link, at least 16 characters; default: a random one for each start."""
    allow_host: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Name by which browsers reach this server; may be given several times."""
    database: str | None = None
    """SQLAlchemy URL of the votes, such as postgresql://...; default: votes.db in the folder."""


@dataclass(frozen=True)
class ReportArgs:
    """Write the results of a listening test: report.html and report.json in its folder."""

    study: tyro.conf.Positional[Path]
    """Folder of the test."""
    database: str | None = None
    """SQLAlchemy URL of the votes; default: votes.db in the folder."""
    require_all: bool = False
    """Count only listeners who answered every trial."""
    csv: Path | None = None
    """Write every vote to this file."""
    force: bool = False
    """Overwrite an existing CSV file."""
    json: bool = False
    """Print report.json instead of lines."""


ARGS = {"create": CreateArgs, "serve": ServeArgs, "report": ReportArgs}


def main(argv: list[str]) -> int:
    """Run `samplewise listen` with ``argv`` and return the exit code."""
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if argv else 2
    if argv[0] not in ARGS:
        print(f"error: listen {argv[0]}: the actions are {', '.join(ARGS)}", file=sys.stderr)
        return 2
    args = tyro.cli(ARGS[argv[0]], args=argv[1:], prog=f"samplewise listen {argv[0]}")
    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        print("error: samplewise listen needs: pip install 'samplewise[web]'", file=sys.stderr)
        return 1
    if isinstance(args, CreateArgs):
        return _create(args)
    return _serve(args) if isinstance(args, ServeArgs) else _report(args)


def _create(args: CreateArgs) -> int:
    from samplewise.cli.sampling import late_bar
    from samplewise.kinds import LISTENING, refuse_other_kinds
    from samplewise.web.listening.study import Making, Rules, Texts, create_study

    texts = Texts(args.title, args.question, args.about, contact=args.contact)
    if args.consent is not None:
        texts = replace(texts, consent=args.consent.read_text(encoding="utf-8").strip())
    making = Making(
        args.kind,
        args.clips,
        args.seconds,
        args.trials,
        args.checks,
        args.repeats,
        args.seed,
        args.temperature,
        args.anchor,
        args.loudness,
        args.sample_rate,
        texts,
        Rules(headphones=args.require_headphones),
    )

    refuse_other_kinds(args.output, LISTENING)
    with ExitStack() as bars:
        study = create_study(
            args.output, args.sources, making, lambda name: bars.enter_context(late_bar(name))
        )
    _print_study(study)
    print(f"\nlet people take it: samplewise listen serve {args.output}")
    return 0


def _print_study(study: "Study") -> None:
    print(
        f"{study.seconds:.2f} s at {study.sample_rate} Hz, {study.loudness_lufs:.1f} LUFS, "
        f"{study.plan.trials} trials a listener"
    )
    for system in study.systems:
        kind = ", recordings" if system.is_recordings else ""
        print(f"{system.name:<20} {system.clips:>4} clips{kind}  {system.path}")
        for fault in system.left_out:
            print(f"  left out: {fault}")


def _store(study: "Study", database: str | None) -> "VoteStore":
    from samplewise.web.listening.votes import VoteStore, database_url

    return VoteStore(study.id, database or database_url(study.folder))


def _serve(args: ServeArgs) -> int:
    from samplewise.cli.sampling import print_note
    from samplewise.web.guard import Access
    from samplewise.web.listening.routes import create_listening
    from samplewise.web.listening.study import open_study
    from samplewise.web.serve import Address, choose_token, is_loopback, run_server

    names = tuple(name.lower() for name in args.allow_host)
    address = Address(args.host, args.port, args.token, names)
    access = Access(choose_token(address), names)
    study = open_study(args.study)
    store = _store(study, args.database)
    if not is_loopback(args.host):
        print_note(
            "warning: other machines can reach this server, and plain HTTP can be read on the way; "
            "put a server that speaks HTTPS in front of it"
        )
    guard = create_listening(study, store, access)
    run_server(guard, address, lambda url: print(f"{study.texts.title}: {url}", flush=True))
    store.close()
    return 0


def _report(args: ReportArgs) -> int:
    from samplewise.atomic_io import write_json, write_text
    from samplewise.kinds import check_target
    from samplewise.strict_json import to_text
    from samplewise.web.listening.page import report_page
    from samplewise.web.listening.results import analyse, votes_csv
    from samplewise.web.listening.study import VOTES, open_study

    study = open_study(args.study)
    if args.database is None and not (args.study / VOTES).exists():
        raise ValueError(f"{args.study} holds no votes; `samplewise listen serve {args.study}`")
    if args.csv is not None:
        check_target(args.csv, args.force)
    store = _store(study, args.database)
    votes = store.votes()
    results = analyse(study, store.listeners(), votes, args.require_all)
    store.close()
    page = args.study / "report.html"
    write_text(page, report_page(results))
    write_json(args.study / "report.json", results.to_json())
    if args.csv is not None:
        write_text(args.csv, votes_csv(study, results, votes))
    if args.json:
        print(to_text(results.to_json(), indent=2, ascii_only=True))
    else:
        print(format_results(results.to_json()))
        print(page)
    return 0


def format_results(results: dict) -> str:
    """Return the figures as lines."""
    excluded = sum(bool(one["reasons"]) for one in results["listeners"])
    kept = len(results["listeners"]) - excluded
    lines = [f"{results['votes']['counted']} votes, {kept} listeners, {excluded} excluded"]
    for pair in results["pairs"]:
        name = f"{pair['first']} · {pair['second']}"
        if "shares" in pair:
            first, neither, second = (pair["shares"][k] for k in ("first", "neither", "second"))
            lines.append(
                f"{name:<32} {first:6.1%} {second:6.1%}  no preference {neither:.1%}  "
                f"p {pair['p']:.4f}"
            )
        elif "share" in pair:
            lines.append(f"{name:<32} {pair['share']:6.1%} right  p {pair['p']:.4f}")
        else:
            low, high = pair["interval"]
            lines.append(f"{name:<32} {pair['mean']:+.2f} ({low:+.2f} to {high:+.2f})")
    for row in results["scores"]:
        low, high = row["interval"]
        value = row.get("mean", row.get("strength"))
        lines.append(f"{row['name']:<32} {value:.2f} ({low:.2f} to {high:.2f})")
    return "\n".join(lines)
