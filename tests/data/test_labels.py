"""Tables of speakers, as programs and people write them."""

import dataclasses
import unicodedata

import pytest
from tests.evaluate.small import make_corpus

from samplewise.data.corpus import Recording
from samplewise.data.labels import read_labels
from samplewise.errors import CorpusError


def of(*sources):
    """A corpus of recordings with these names."""
    recordings = tuple(
        Recording(source, 50 * i, 50, "train", "0" * 64, 1.0, 0.5)
        for i, source in enumerate(sources)
    )
    corpus = make_corpus()
    return dataclasses.replace(
        corpus, index=dataclasses.replace(corpus.index, recordings=recordings)
    )


DECOMPOSED = unicodedata.normalize("NFD", "été.wav")


@pytest.mark.parametrize("sources", [("été.wav", "x/b.wav"), (DECOMPOSED, "x/b.wav")])
@pytest.mark.parametrize(
    "text",
    [
        "file,speaker\nété.wav,anna\nx/b.wav,ben\n",
        f"file,speaker\n{DECOMPOSED},anna\n./x//b.wav,ben\n",
        "file,speaker\r\nété.wav,anna\r\nx\\b.wav,ben\r\n",
        "file,speaker\n/home/me/in/été.wav,anna\nC:\\in\\x\\b.wav,ben\n",
        "file,speaker\n../in/été.wav,anna\nb.wav,ben\n",
        "\n File , Speaker \nété.wav , anna\nx/b.wav\t, ben  \n\n",
        "\ufeffn;FILE;SPEAKER\n1;été.wav;anna\n2;x/b.wav;ben",
        "sep=;\nfile;speaker\nété.wav;anna\nx/b.wav;ben\n",
        "speaker\tfile\nanna\tété.wav\nben\tx/b.wav\n",
        'file, speaker\n"été.wav", "anna"\nX/B.WAV, ben\n',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_what_is_plain_is_understood(tmp_path, sources, text, encoding):
    (tmp_path / "who.csv").write_bytes(text.encode(encoding))
    labels = read_labels(str(tmp_path / "who.csv"), of(*sources))
    assert labels == dict(zip(sources, ("anna", "ben"), strict=True))


def test_a_name_that_is_written_as_it_is_goes_before_similar_ones(tmp_path):
    sources = ("a.wav", "A.wav", "x/a.wav", "latin1_\\xe9.wav", "y/x/a.wav")
    lines = [f"{source},{i}" for i, source in enumerate(sources)]
    (tmp_path / "who.csv").write_text("\n".join(["file,speaker", *lines, "/else/x/a.wav,9"]))
    labels = read_labels(str(tmp_path / "who.csv"), of(*sources))
    assert labels == {source: str(i) for i, source in enumerate(sources)}


def test_lines_that_help_nobody_are_named_if_something_is_missing(tmp_path):
    (tmp_path / "who.csv").write_text(
        "file,speaker\nc.wav,ben\nz.wav,anna\na.wav,anna\nb.wav,\nb.wav;ben\n"
    )
    corpus = of("x/a.wav", "y/a.wav", "b.wav", "c.wav")
    expected = (
        r"3 recordings of .* have no speaker: b\.wav, x/a\.wav, y/a\.wav; add them to .*who\.csv\. "
        r"4 lines of it could not be used: line 3: z\.wav \(not in the corpus\), "
        r"line 4: a\.wav \(2 recordings\), line 5: b\.wav \(no speaker\), line 6: b\.wav;ben"
    )
    with pytest.raises(CorpusError, match=expected):
        read_labels(str(tmp_path / "who.csv"), corpus)
    (tmp_path / "who.csv").write_text("file,speaker\nc.wav,ben\nz.wav,anna\n")
    assert read_labels(str(tmp_path / "who.csv"), of("c.wav")) == {"c.wav": "ben"}


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (
            "file,speaker\né.wav,anna\n".encode("latin-1"),
            r"not UTF-8 \(byte 0xe9 in line 2\); save",
        ),
        (
            "file,speaker\na.wav,anna\n".encode("utf-16-le"),
            r"not UTF-8 \(it holds bytes 0x00\); save",
        ),
        (
            b"file,speaker\na.wav,anna\n./a.wav,ben\na.wav,ben\n",
            "'anna' in line 2 .*'ben' in line 4",
        ),
        (b"name|who\na.wav|anna\n", r"no columns file and speaker: it begins with 'name\|who'"),
        (b"file,speaker\n" + b"a" * 140_000 + b",b\n", "line 2: field larger than"),
    ],
)
def test_what_is_not_plain_is_refused(tmp_path, data, complaint):
    (tmp_path / "who.csv").write_bytes(data)
    with pytest.raises(CorpusError, match=rf"who\.csv.*{complaint}"):
        read_labels(str(tmp_path / "who.csv"), of("a.wav"))
