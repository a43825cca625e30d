"""Freed memory is kept, where glibc can be told to."""

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
from samplewise.training.allocator import keep_freed_memory
print(keep_freed_memory())
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = b"x" * 2**26
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not glibc")
@pytest.mark.parametrize(
    ("variables", "keeps"), [({}, "True"), ({"MALLOC_TOP_PAD_": "0"}, "False")]
)
def test_a_block_of_the_size_of_a_freed_one_needs_no_page_faults(variables, keeps):
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", FAULTS]
    run = subprocess.run(command, env=plain | variables, capture_output=True, text=True, check=True)
    kept, faults = run.stdout.split()
    assert kept == keeps
    assert (int(faults) < 20) == (keeps == "True")
