"""The documentation names things that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


PLACES = {4: "samplernn", 5: "samplernn", 6: "samplernn"} | dict.fromkeys((7, 8, 9), "sample_level")


@pytest.mark.parametrize("number", PLACES)
def test_every_equation_of_the_paper_is_marked_where_it_is_computed(number):
    source = (ROOT / f"src/samplewise/models/{PLACES[number]}.py").read_text()
    assert re.search(rf"Eqs?\. (\d-)?{number}\b", source)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_local_link_leads_somewhere(document):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_source_file_that_is_named_exists(document):
    for name in re.findall(r"(?<![\w/.])\w+(?:/\w+)+\.(?:py|cc|h)\b", document.read_text()):
        places = [ROOT / name, ROOT / "src/samplewise" / name]
        assert any(place.exists() for place in places), name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_no_line_is_longer_than_200_characters(document):
    longest = max(document.read_text().splitlines(), key=len)
    assert len(longest) <= 200, longest


def test_the_folders_of_the_readme_are_those_of_the_package():
    text = (ROOT / "README.md").read_text()
    tree = text[text.index("src/samplewise/\n") :].partition("```")[0]
    named = set(re.findall(r"^  (\w+)/", tree, re.MULTILINE))
    assert named == {path.parent.name for path in (ROOT / "src/samplewise").glob("*/__init__.py")}
