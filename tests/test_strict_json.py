import os

import pytest

from samplewise import strict_json
from samplewise.data.index import read_index
from samplewise.errors import CheckpointError, CorpusError
from samplewise.generate.clip_folder import ClipFolder
from samplewise.report import reading
from samplewise.training.checkpoint import load_latest
from samplewise.training.run import read_config

HOSTILE = {
    "deep lists": (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    "deep objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
    "a level too many": (b"[" * 65 + b"]" * 65, r"nested too deeply \(more than 64 levels\)"),
    "NaN": (b'{"format": NaN}', "it holds NaN, which JSON does not have"),
    "-Infinity": (b'{"format": -Infinity}', "it holds -Infinity"),
    "beyond doubles": (b'{"format": 1e999}', "1e999, which is beyond double precision"),
    "a long integer": (b'{"format": 1' + b"0" * 5000 + b"}", "an integer of 5001 digits"),
    "a key twice": (b'{"format": 1, "format": 2}', "it names 'format' twice"),
    "UTF-16": ('{"format": 1}'.encode("utf-16"), "it is not UTF-8 text"),
    "bytes": (b"\xff\xfe\x00", "it is not UTF-8 text"),
    "nothing": (b"", "it is not JSON"),
    "a list": (b"[]", "it holds no JSON object"),
}


@pytest.fixture(params=HOSTILE)
def hostile(request):
    return HOSTILE[request.param]


def test_what_is_hostile_is_refused_in_plain_words(hostile):
    data, message = hostile
    with pytest.raises(ValueError, match=message):
        strict_json.parse_object(data)


def test_what_is_sound_is_read_as_it_was_written():
    value = {"seed": 2**64 - 1, "loss": -1.5e-300, "name": "é\udcff", "deep": [[[None, True]]]}
    assert strict_json.parse(strict_json.to_text(value, ascii_only=True)) == value
    assert strict_json.parse(b'\xef\xbb\xbf{"a": "\xc3\xa9"}') == {"a": "é"}
    at_most = "[" * 64 + "]" * 64
    assert strict_json.to_text(strict_json.parse(at_most)) == at_most
    bad = {"bits": float("nan"), "rows": [{"seconds": 1.0}, {"seconds": float("inf")}]}
    with pytest.raises(ValueError, match=r"is not finite: bits = nan, rows\.1\.seconds = inf$"):
        strict_json.to_text(bad)
    with pytest.raises(ValueError, match="a number is not finite: nan"):
        strict_json.to_text(float("nan"))


def test_a_file_that_is_too_large_or_no_file_is_not_read(tmp_path):
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse
    with pytest.raises(ValueError, match=r"large.json cannot be used: it is larger than 64 MiB"):
        strict_json.read_object(path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="it is not a regular file"):
        strict_json.read_object(tmp_path / "pipe")


def test_every_file_from_outside_is_read_so(hostile, tmp_path):
    data, message = hostile
    (tmp_path / "state/step-00000001").mkdir(parents=True)
    clips = tmp_path / "clips"
    clips.mkdir()
    files = ("config.json", "corpus.json", "state/step-00000001/manifest.json")
    for name in (*files, "metrics.jsonl", "clips/generation.json"):
        (tmp_path / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=message):
        read_config(tmp_path / "config.json")
    with pytest.raises(CorpusError, match=message):
        read_index(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        load_latest(tmp_path / "state")
    assert list(reading.metrics(tmp_path / "metrics.jsonl")) == []
    assert ClipFolder.open(clips, {"seed": 1}, add=True).entries == {}
    notes = []
    assert reading.read_json(tmp_path / "config.json", notes) is None
    assert notes
