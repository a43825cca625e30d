"""`samplewise report`: a self-contained page about a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class ReportCommand:
    """Write report.html of a run: clips to play, curves, figures, how to reproduce them."""

    run: Annotated[Path, tyro.conf.Positional]
    """The run folder; report.html is written into it."""


def main(argv: list[str]) -> int:
    """Parse the command line, write the page, print its path.

    Returns:
        The exit code.
    """
    command = tyro.cli(ReportCommand, args=argv, prog="samplewise report")
    from samplewise.cli.progress import progress_bar
    from samplewise.report.page import write_report

    with progress_bar("drawing", None) as progress:
        path = write_report(command.run, progress)
    print(path)
    return 0
