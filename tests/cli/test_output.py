"""Output that is closed, full or of few letters: no traceback, and nothing else is lost."""

import io
import subprocess
import sys

import pytest

from samplewise import __version__
from samplewise.cli import main as program
from samplewise.cli.main import main
from samplewise.cli.output import guarded

PROGRAM = [sys.executable, "-m", "samplewise.cli.main"]


@pytest.mark.parametrize(
    ("arguments", "redirection", "code", "out", "err"),
    [
        ("--version", ">&-", 1, "", "error: cannot write to stdout: it is closed\n"),
        ("--version", ">&- 2>&-", 1, "", ""),
        ("--version", ">/dev/full", 1, "", "error: cannot write to stdout: No space left on dev"),
        ("--version", ">/dev/full 2>/dev/full", 1, "", ""),
        ("--version", "2>&-", 0, f"samplewise {__version__}\n", ""),
        ("report nowhere", "2>&-", 1, "", ""),
        ("report nowhere", "2>/dev/full", 1, "", ""),
        ("report nowhere", ">&-", 1, "", "error: nowhere is no run folder"),
        ("report --help", ">/dev/full", 1, "", "error: cannot write to stdout: No space left on"),
    ],
)
def test_output_that_cannot_be_delivered_is_an_error_and_no_traceback(
    arguments, redirection, code, out, err
):
    line = f'"$@" {arguments} {redirection}'
    done = subprocess.run(["/bin/sh", "-c", line, "sh", *PROGRAM], capture_output=True, timeout=60)
    assert (done.returncode, done.stdout.decode()) == (code, out)
    assert done.stderr.decode().startswith(err)
    assert done.stderr.count(b"\n") == bool(err)


@pytest.mark.parametrize("name", ["ascii", "latin-1", "utf-8"])
def test_what_an_encoding_lacks_is_written_as_numbers(monkeypatch, name):
    stream = io.TextIOWrapper(io.BytesIO(), name)
    monkeypatch.setattr(sys, "stdout", stream)
    with guarded():
        print("\N{EIGHTH NOTE} \udce9")
    assert sys.stdout is stream
    note = "\N{EIGHTH NOTE}" if name == "utf-8" else "\\u266a"
    assert stream.buffer.getvalue().decode(name) == f"{note} \\udce9\n"


class Gone(io.StringIO):
    """A stream whose reader has gone."""

    def flush(self):
        raise BrokenPipeError


def test_a_command_ends_its_work_when_its_reader_has_gone(monkeypatch):
    work = []

    def command(argv):
        for step in range(3):
            print("line", flush=True)
            work.append(step)
        return 0

    monkeypatch.setattr(sys, "stdout", Gone())
    monkeypatch.setattr(program, "_main", command)
    assert main([]) == 0
    assert work == [0, 1, 2]


def test_a_deleted_working_directory_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert main(["report", "x"]) == 1
    assert "error: the working directory was deleted; change to another" in capsys.readouterr().err
