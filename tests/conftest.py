"""Fixtures and settings that every test shares."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does

import pytest
import torch
from hypothesis import settings
from tests import checked_calls

checked_calls.install()
torch.set_num_threads(1)  # tiny tensors: threads only add noise and time
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci")

SMOKE = Path(__file__).parent.parent / "examples" / "smoke"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let the checks of each test begin anew."""
    checked_calls.calls.clear()


def pytest_runtest_call(item: pytest.Item) -> None:
    """Let the checks begin anew after the fixtures."""
    checked_calls.calls.clear()


@pytest.fixture(scope="session")
def smoke_folder() -> Path:
    """The bundled recordings."""
    return SMOKE


@pytest.fixture(scope="session")
def packs() -> Path:
    """The folder of larger packs, named by SAMPLEWISE_DATA."""
    folder = os.environ.get("SAMPLEWISE_DATA")
    if not folder:
        pytest.skip("SAMPLEWISE_DATA is not set")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def gpu() -> torch.device:
    """The device of tests marked gpu; ``SAMPLEWISE_GPU=cpu`` tries these tests out without one."""
    from samplewise.nn.device import use_device

    name = os.environ.get("SAMPLEWISE_GPU", "cuda")
    if name != "cpu" and not torch.cuda.is_available():
        pytest.skip("torch sees no GPU here")
    return use_device(name)


@pytest.fixture(scope="session")
def postgres():
    """URL of a real PostgreSQL, started for the tests and stopped after them."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    search_path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, places)])
    initdb, pg_ctl = (shutil.which(name, path=search_path) for name in ("initdb", "pg_ctl"))
    if not (initdb and pg_ctl):
        pytest.skip("no PostgreSQL on this machine")
    # Not below pytest's own folder, which every other pytest closes to all users but ours.
    folder = Path(tempfile.mkdtemp(prefix="samplewise-postgres-"))
    options = {"capture_output": True, "check": True, "cwd": "/"}
    if os.getuid() == 0:  # it refuses to run as root
        shutil.chown(folder, "nobody")
        options |= {"user": "nobody"}
    data, socket = folder / "data", folder
    subprocess.run([initdb, "-D", data, "-U", "me", "-A", "trust", "--no-sync"], **options)
    settings = f"-k {socket} -c listen_addresses='' -c fsync=off"
    log = folder / "log"
    subprocess.run([pg_ctl, "-D", data, "-w", "-l", log, "-o", settings, "start"], **options)
    yield f"postgresql://me@/postgres?host={socket}"
    subprocess.run([pg_ctl, "-D", data, "-m", "fast", "stop"], **options)
    shutil.rmtree(folder)
