"""The README's commands, at a size that takes moments, in the order in which they stand."""

import re
import shlex
from pathlib import Path

import pytest

from samplewise.cli.main import main

ROOT = Path(__file__).parent.parent
SMALLER = {
    "train": "--model.dim 8 --lanes 2 --seq-len 512 --minutes None --steps 3 "
    "--preview-minutes 0 --valid-seconds 1 --threads 1",
    "generate": "--seconds 0.02 --threads 1",
    "evaluate": "--count 2 --seconds 1.1",
}


def commands():
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def test_every_target_of_make_that_is_named_exists():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = [line.split()[1] for line in commands() if line.startswith("make ")]
    assert {"demo", "test"} <= set(named) <= targets


def test_the_commands_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    ours = [shlex.split(line)[1:] for line in commands() if line.startswith("samplewise ")]
    assert {words[0] for words in ours} >= {"prepare", "train", "generate", "evaluate", "export"}
    for words in ours:
        if words[0] in ("bench", "demo"):
            continue  # they have tests of their own
        smaller = SMALLER.get(words[0], "") + " --model.lp-order 4" * ("small-16bit" in words)
        assert main([*words, *shlex.split(smaller)]) == 0, words
    assert (tmp_path / "runs" / "mine" / "report.html").exists()


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("file", PAGES, ids=[page.name for page in PAGES])
def test_what_a_page_links_to_is_there(file):
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", file.read_text())
    local = [link for link in links if "://" not in link]
    assert local or file.name != "README.md"
    for link in local:
        assert (file.parent / link).exists(), link
