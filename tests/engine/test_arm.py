"""The C++ tests of the core under an emulator of ARM; needs a cross compiler and qemu-user."""

import fcntl
import shutil

import pytest
from tests.engine.test_core import BUILDS, NATIVE, UNITY, run

COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
NAMES = ["test_matrix", "test_products", "test_elementwise", "test_recurrence", "test_engine"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_core_is_right_on_arm():
    """The integer products of sdot and usdot have the baseline's bits."""
    if not (shutil.which("cmake") and shutil.which(COMPILER) and shutil.which(EMULATOR)):
        pytest.skip(f"there is no cmake, no {COMPILER} or no {EMULATOR}")
    options = [
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        f"-DCMAKE_CXX_COMPILER={COMPILER}",
        "-DCMAKE_EXE_LINKER_FLAGS=-static",
        "-DSAMPLEWISE_TESTS=ON",
        "-DCMAKE_BUILD_TYPE=None",
        "-DCMAKE_CXX_FLAGS=-O1",
        *UNITY,
    ]
    folder = BUILDS / "arm"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # another pytest may build there
        run("cmake", "-S", NATIVE, "-B", folder, *options)
        run("cmake", "--build", folder, "-j", "2", "--target", *NAMES)
        for name in NAMES:
            run(EMULATOR, "-cpu", "max", folder / "tests" / name, "short")
