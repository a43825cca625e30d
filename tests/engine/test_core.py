"""The C++ tests of the core, built with sanitizers; needs cmake and a compiler."""

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[2] / "native"
BUILDS = NATIVE.parent / "build"
"""Kept: only what has changed is compiled again."""


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("sanitizers", "tests"), [("address,undefined", "test_"), ("thread", "test_engine")]
)
def test_the_core_is_clean_under_sanitizers(sanitizers, tests):
    if not (shutil.which("cmake") and shutil.which("c++")):
        pytest.skip("there is no cmake or no C++ compiler")
    options = [
        f"-DSAMPLEWISE_SANITIZE={sanitizers}",
        "-DSAMPLEWISE_TESTS=ON",
        "-DCMAKE_BUILD_TYPE=None",
        "-DCMAKE_CXX_FLAGS=-O1",
    ]
    folder = BUILDS / sanitizers.replace(",", "-")
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(path.stem for path in (NATIVE / "tests").glob(f"{tests}*.cc"))
    with (folder / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # another pytest may build there
        run("cmake", "-S", NATIVE, "-B", folder, *options)
        run("cmake", "--build", folder, "-j", "2", "--target", *names)
        for name in names:
            run(folder / "tests" / name)


def run(*arguments):
    done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
