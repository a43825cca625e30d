"""Commit of the code that a result comes from."""

import subprocess
from pathlib import Path


def commit() -> str | None:
    """Return the commit of the working tree that this package is run from, if it is one."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
