"""`samplewise studio`: models, live generation and takes in a browser."""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

NEEDED = ("fastapi", "uvicorn")


@dataclass(frozen=True)
class StudioArgs:
    """Play with models in a browser: generate live, turn the temperature, keep takes.

    The printed link holds a token. Without --host only this machine can reach the server.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Run folders, model files, corpora, or folders that hold them; the package's own models are
    there anyway."""
    takes: Path = Path("takes")
    """Folder of the takes."""
    training: Path = Path("runs")
    """Folder of the runs that are started from the page."""
    threads: int | None = None
    """CPU threads of generation; default: all."""
    host: str = "127.0.0.1"
    """Interface: 127.0.0.1 is this machine alone, 0.0.0.0 every network (needs --token)."""
    port: int = 8766
    """Port; 0: a free one."""
    token: str | None = None
    """Token of the link, at least 16 characters; default: a random one for each start."""
    allow_host: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Name by which browsers reach this server; may be given several times."""


def main(argv: list[str]) -> int:
    """Run `samplewise studio` with ``argv`` and return the exit code."""
    args = tyro.cli(StudioArgs, args=argv, prog="samplewise studio")
    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        print("error: samplewise studio needs: pip install 'samplewise[web]'", file=sys.stderr)
        return 1
    from samplewise.config.validation import check_threads
    from samplewise.kinds import refuse_other_kinds
    from samplewise.web.serve import Address, choose_token, run_server
    from samplewise.web.studio.library import Library
    from samplewise.web.studio.routes import Studio, create_studio
    from samplewise.web.studio.takes import Takes
    from samplewise.web.studio.training import Trainer

    check_threads(args.threads)
    for folder in args.runs:
        if not folder.exists():
            raise ValueError(f"{folder} does not exist; name run folders or model files")
    refuse_other_kinds(args.takes, None)
    names = tuple(name.lower() for name in args.allow_host)
    address = Address(args.host, args.port, args.token, names)
    token = choose_token(address)
    runs = [*args.runs, *([] if args.training in args.runs else [args.training])]
    library, trainer = Library(runs, args.threads), Trainer(args.runs, args.training)
    studio = Studio(library, Takes(args.takes), trainer)
    run_server(
        create_studio(studio, token, names),
        address,
        lambda url: print(f"studio: {url}", flush=True),
    )
    studio.close()
    return 0
