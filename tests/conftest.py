"""Fixtures and settings that every test shares."""

import os
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
