"""The program itself: start-up, help, errors, exit codes."""

import os
import subprocess
import sys

import pytest

import samplewise
from samplewise.cli import main as program
from samplewise.cli.main import COMMANDS, main

LIGHT = """
import sys
from samplewise.cli.main import COMMANDS, main
for arguments in [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)]:
    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code
    assert code == 0, arguments
    heavy = {"torch", "numpy", "matplotlib", "soundfile"} & set(sys.modules)
    assert not heavy, (arguments, heavy)
"""

OFFLINE = """
import importlib, pkgutil, socket, sys
def refuse(*_, **__):
    raise AssertionError("something reached for the network")
for name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, name, refuse)
socket.getaddrinfo = socket.create_connection = refuse
import samplewise
for module in pkgutil.walk_packages(samplewise.__path__, "samplewise."):
    importlib.import_module(module.name)
from samplewise.models.build import build_model
from samplewise.config.presets import PRESETS
for preset in PRESETS.values():
    build_model(preset.model, seed=None)
assert "torch._dynamo" not in sys.modules
"""


def test_help_loads_nothing_heavy():
    subprocess.run([sys.executable, "-c", LIGHT], check=True, capture_output=True, timeout=60)


def test_every_module_can_be_imported_without_a_network_and_models_made_without_a_compiler():
    subprocess.run([sys.executable, "-c", OFFLINE], check=True, capture_output=True, timeout=120)


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in COMMANDS)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"samplewise {samplewise.__version__}\n"


@pytest.fixture
def command(monkeypatch):
    """Replace what `samplewise report` does."""

    def become(behaviour):
        module = type(sys)("samplewise.cli.report")
        module.main = behaviour
        monkeypatch.setattr(program.importlib, "import_module", lambda name: module)

    return become


def raising(error):
    def behaviour(argv):
        raise error

    return behaviour


def test_an_unforeseen_error_keeps_its_traceback_and_ctrl_c_is_one_word(command, capsys):
    command(raising(KeyboardInterrupt()))
    assert main(["report"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    command(raising(ZeroDivisionError("a defect of ours")))
    with pytest.raises(ZeroDivisionError):
        main(["report"])


def test_a_traceback_can_be_asked_for(command, monkeypatch):
    command(raising(ValueError("lanes = 0 must be at least 1")))
    assert main(["report"]) == 1
    monkeypatch.setenv("SAMPLEWISE_DEBUG", "1")
    with pytest.raises(ValueError, match="lanes = 0"):
        main(["report"])


@pytest.mark.parametrize("buffering", ["", "1"])
def test_a_reader_that_leaves_is_no_error(buffering):
    process = subprocess.Popen(
        [sys.executable, "-m", "samplewise.cli.main", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": buffering},
    )
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=60), error) == (0, b"")


def test_too_little_memory_is_explained(command, capsys):
    command(raising(MemoryError()))
    assert main(["report"]) == 1
    assert capsys.readouterr().err.startswith("error: out of memory; ask for less at once")
