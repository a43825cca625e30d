"""One term for each thing: words that this project once made up are not used again."""

import io
import re
import tokenize
from pathlib import Path

import pytest

from samplewise.cli.main import COMMANDS, main

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src/samplewise").rglob("*.py"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
OLD_WORDS = {
    "told": "conditioning",
    "telling": "conditioning",
    "cue": "conditioning",
    "cues": "conditioning",
    "hear": "prefill",
    "heard": "prefill",
    "voices": "SamplerState",
    "heat": "temperature",
    "durable": "atomic_io",
    "attempt": "trial",
    "presence": "liveness",
    "beats": "Heartbeat",
    "ledger": "trial_queue",
    "facts": "what the values are",
    "governor": "ThreadScaler",
}
"""Parts of names that are not used -> the term to use."""
OLD_MODULES = {
    *("durable", "quiet", "pool", "worker", "measured", "attempt", "presence", "ledger", "facts"),
    *("words", "pictures", "limits", "blocks", "convolutional", "telling", "screen", "rows"),
}
PROSE = ("told", "telling", "cues", "heat", "ledger", "facts")
"""Old words that have no other use in documents and in help texts."""


def parts(name: str) -> set[str]:
    """The words of a name in snake case or in camel case."""
    return {part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)}


def names(source: Path) -> set[str]:
    tokens = tokenize.generate_tokens(io.StringIO(source.read_text()).readline)
    return {token.string for token in tokens if token.type == tokenize.NAME}


def test_a_name_is_taken_apart():
    assert parts("heard_by") == {"heard", "by"}
    assert parts("TellingConfig") == {"telling", "config"}
    assert parts("MAX_HEAT") == {"max", "heat"}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_name_has_an_old_word(source):
    assert not {name for name in names(source) if parts(name) & OLD_WORDS.keys()}


def test_no_module_has_an_old_name():
    assert not {path.stem for path in SOURCES} & OLD_MODULES


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_no_document_has_an_old_word(document):
    assert not re.findall(rf"\b(?:{'|'.join(PROSE)})\b", document.read_text(), re.IGNORECASE)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_help_text_has_an_old_word(command, capsys):
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert not re.findall(rf"\b(?:{'|'.join(PROSE)})\b", text, re.IGNORECASE)
