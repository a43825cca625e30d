import json
import os

import numpy as np
import pytest

from samplewise.data.corpus import Corpus
from samplewise.errors import CorpusError


@pytest.fixture(scope="module")
def pristine(tmp_path_factory, smoke_folder):
    from samplewise.data.index import Settings
    from samplewise.data.prepare.prepare import prepare

    place = tmp_path_factory.mktemp("smoke")
    prepare(smoke_folder, place, Settings(16000, 0.06, 0.06, 0, "auto"), 1)
    return place


@pytest.fixture
def corpus_folder(pristine, tmp_path):
    for name in ("corpus.json", "samples.npy"):
        (tmp_path / name).write_bytes((pristine / name).read_bytes())
    return tmp_path


def test_the_bundled_recordings_open_as_three_splits(corpus_folder):
    corpus = Corpus.open(corpus_folder)
    assert (corpus.sample_rate, corpus.channels, corpus.split_rule) == (16000, 1, "by folder")
    assert [len(corpus.split(name)) for name in ("train", "valid", "test")] == [7, 2, 2]
    assert {r.source.split("/")[0] for r in corpus.split("valid")} == {"valid"}


def test_the_loudest_recording_peaks_at_0_99(corpus_folder):
    corpus = Corpus.open(corpus_folder)
    peaks = [float(np.abs(corpus.amplitude(r)).max()) for r in corpus.recordings]
    assert max(peaks) == pytest.approx(0.99, abs=1e-6)
    assert max(r.peak for r in corpus.recordings) * corpus.gain == pytest.approx(0.99)


def test_a_part_of_a_recording_is_the_part_of_the_whole(corpus_folder):
    corpus = Corpus.open(corpus_folder)
    recording = corpus.recordings[3]
    whole = corpus.amplitude(recording)
    assert len(whole) == recording.samples
    assert np.array_equal(corpus.amplitude(recording, 100, 250), whole[100:250])
    assert np.array_equal(corpus.amplitude(recording, 100), whole[100:])


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (5, 4), (0, 10**9)])
def test_reading_beyond_a_recording_is_refused(corpus_folder, start, stop):
    corpus = Corpus.open(corpus_folder)
    with pytest.raises(ValueError, match="must lie in order within"):
        corpus.amplitude(corpus.recordings[0], start, stop)


def test_a_split_of_another_name_is_refused(corpus_folder):
    with pytest.raises(ValueError, match="split = 'dev' must be one of train, valid, test"):
        Corpus.open(corpus_folder).split("dev")


def test_no_corpus_says_how_to_make_one(tmp_path):
    with pytest.raises(CorpusError, match=r"holds no corpus.*samplewise prepare FOLDER -o"):
        Corpus.open(tmp_path / "none")


def edit(folder, change):
    index = json.loads((folder / "corpus.json").read_text())
    change(index)
    (folder / "corpus.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda i: i.update(format=3), "has format 3, this version reads 1 and 2"),
        (lambda i: i.pop("format"), "is not the index of a corpus"),
        (lambda i: i.pop("gain"), "gain: Field required"),
        (lambda i: i.update(gain="1"), "gain: Input should be a valid number"),
        (lambda i: i.update(gain=-1.0), r"gain = -1\.0 must be positive"),
        (lambda i: i.update(gain=1e300), r"gain = 1e\+300 must be positive and at most 65536"),
        (lambda i: i.update(checksums="0" * 7), "checksums has 7 digits, 40 are needed"),
        (lambda i: i["recordings"][0].update(scale=1e300), r"scale = 1e\+300 must be at least 1"),
        (lambda i: i["recordings"][0].update(dc=1e300), r"dc = 1e\+300 is no mean"),
        (lambda i: i.update(channels=2), "channels = 2 must be 1"),
        (lambda i: i.update(recordings=[]), "there are no recordings"),
        (lambda i: i["recordings"][0].update(split="dev"), "split = 'dev'"),
        (lambda i: i["recordings"][0].update(start=-5), "start or samples"),
        (lambda i: i["recordings"][0].update(scale=0.5), "scale = 0.5 must be at least 1"),
        (lambda i: i["recordings"][0].update(split="train"), "digest does not match"),
        (lambda i: i["recordings"][-1].update(samples=10**9), r"but the corpus holds"),
    ],
)
def test_a_damaged_index_is_refused_with_the_place_of_the_damage(corpus_folder, change, complaint):
    edit(corpus_folder, change)
    with pytest.raises(CorpusError, match=complaint):
        Corpus.open(corpus_folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 100_000])
def test_what_is_no_index_is_refused(corpus_folder, text):
    (corpus_folder / "corpus.json").write_text(text)
    with pytest.raises(CorpusError, match="is not the index of a corpus"):
        Corpus.open(corpus_folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"not an array" * 100,
        lambda data: data[:40],
    ],
)
def test_damaged_samples_are_refused(corpus_folder, damage):
    path = corpus_folder / "samples.npy"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CorpusError, match=r"samples\.npy is damaged .*prepare the corpus again"):
        Corpus.open(corpus_folder)


@pytest.mark.parametrize(
    "array",
    [np.zeros(5, np.float32), np.zeros((5, 2), np.int16), np.zeros(5, ">i2")],
)
def test_samples_of_another_kind_are_refused(corpus_folder, array):
    np.save(corpus_folder / "samples.npy", array)
    with pytest.raises(CorpusError, match="one flat array of 16-bit samples"):
        Corpus.open(corpus_folder)


def test_samples_that_are_cut_short_while_they_are_used_end_with_a_message(corpus_folder):
    corpus = Corpus.open(corpus_folder)
    last = corpus.recordings[-1]
    os.truncate(corpus_folder / "samples.npy", 1000)
    with pytest.raises(
        CorpusError, match=r"samples\.npy was cut short after it was opened; .*--ver"
    ):
        corpus.amplitude(last)


def test_missing_samples_are_refused(corpus_folder):
    (corpus_folder / "samples.npy").unlink()
    with pytest.raises(CorpusError, match=r"samples\.npy is missing"):
        Corpus.open(corpus_folder)
