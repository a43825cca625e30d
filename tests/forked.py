"""Commands in processes of their own, forked from one that has imported torch and the commands.

Importing them takes most of the time of a short command.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any, TextIO

from torch.multiprocessing.spawn import start_processes

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(
    ["samplewise.cli.main", "samplewise.training.session", "samplewise.search.workers", __name__]
)


def start_command(argv: list[str]) -> tuple[ForkServerProcess, TextIO]:
    """Start ``samplewise ARGV``; return the process, and its output and errors in one stream."""
    return start_process(_run_command, argv)


def run_command(argv: list[str]) -> int:
    """Run ``samplewise ARGV`` and return its exit code."""
    process, output = start_command(argv)
    with output:
        output.read()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def start_process(
    function: Callable[..., object], *arguments: Any
) -> tuple[ForkServerProcess, TextIO]:
    """Start ``function(*arguments)``; return the process, and its output and errors in one."""
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_enter, args=(writer, function, arguments))
    process.start()
    writer.close()
    with reader:
        output = os.fdopen(os.dup(reader.fileno()))
    return process, output


def start_ranks(function: Callable[..., object], arguments: tuple[Any, ...], nprocs: int) -> None:
    """Do what ``torch.multiprocessing.spawn`` does."""
    start_processes(function, arguments, nprocs, start_method="forkserver")


def _run_command(argv: list[str]) -> None:
    from samplewise.cli.main import main

    sys.exit(main(argv))


def _enter(output: Connection, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)
    output.close()
    sys.stdout, sys.stderr = (os.fdopen(n, "w", closefd=False) for n in (1, 2))
    # A shell that runs the tests in the background lets its children ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    function(*arguments)
