"""Triton's interpreter, which must be chosen before Triton is imported: in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run_interpreted(script, *arguments):
    """Run a script with the interpreter; skip the test on a machine without Triton."""
    pytest.importorskip("triton")
    path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": path}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    subprocess.run(command, env=environment, check=True)
