"""The C++ tests of the core, built with sanitizers; needs cmake and a compiler."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from samplewise.native import has_native, native_module

ISAS = native_module().isas() if has_native() else ["baseline", "avx2", "avx512"]
NATIVE = Path(__file__).parents[2] / "native"
BUILDS = NATIVE.parent / "build"
"""Kept: only what has changed is compiled again."""
UNITY = ["-DCMAKE_UNITY_BUILD=ON", "-DCMAKE_UNITY_BUILD_BATCH_SIZE=0"]
"""One unit a target: most of the time of a build goes into headers."""


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("sanitizers", "tests", "isas", "words"),
    [
        ("address,undefined", "test_", ISAS, []),
        # Threads meet in the same places in each instruction set and each format.
        ("thread", "test_engine", ["baseline"], ["short"]),
    ],
)
def test_the_core_is_clean_under_sanitizers(sanitizers, tests, isas, words):
    if not (shutil.which("cmake") and shutil.which("c++")):
        pytest.skip("there is no cmake or no C++ compiler")
    options = [
        f"-DSAMPLEWISE_SANITIZE={sanitizers}",
        "-DSAMPLEWISE_TESTS=ON",
        "-DCMAKE_BUILD_TYPE=None",
        "-DCMAKE_CXX_FLAGS=-Og",  # compiles in half of the time of -O1
        *UNITY,
        f"-DSAMPLEWISE_UNSANITIZED={';'.join({'avx2', 'avx512'} - set(isas))}",
    ]
    folder = BUILDS / sanitizers.replace(",", "-")
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(path.stem for path in (NATIVE / "tests").glob(f"{tests}*.cc"))
    with (folder / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # another pytest may build there
        run("cmake", "-S", NATIVE, "-B", folder, *options)
        run("cmake", "--build", folder, "-j", "2", "--target", *names)
        for name in names:
            run(
                folder / "tests" / name,
                *words,
                **({} if isas is ISAS else {"SAMPLEWISE_ISA": isas[0]}),
            )


def run(*arguments, **variables):
    done = subprocess.run(
        list(map(str, arguments)), capture_output=True, text=True, env=os.environ | variables
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
