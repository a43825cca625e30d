"""Samples in shards and on object stores are those of one file."""

import hashlib
import json
import os
from pathlib import Path

import fsspec
import numpy as np
import pytest
import soundfile as sf
import torch
import tyro
from tests.data.sounds import noise
from tests.training.test_resume import assert_same_bits, train

from samplewise.cli.evaluate import EvaluateArgs
from samplewise.cli.main import main
from samplewise.cli.prepare import PrepareArgs
from samplewise.cli.train import TrainArgs
from samplewise.config.models import SampleRNNConfig
from samplewise.config.training import BudgetConfig, PreviewConfig, TrainConfig
from samplewise.data import remote
from samplewise.data.block_cache import BlockCache
from samplewise.data.corpus import Corpus
from samplewise.data.parts import RemotePart
from samplewise.data.prepare import publish
from samplewise.data.prepare.assemble import MAX_SHARDS, shard_length
from samplewise.data.prepare.prepare import verify_corpus
from samplewise.data.remote import RemoteFolder, as_folder
from samplewise.errors import CorpusError
from samplewise.training.ranks import Ranks

BLOCK = 4096
SHARD = 40_000
"""Size that is asked for: ten blocks of samples."""


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch, tmp_path):
    for module in ("corpus", "parts", "stored", "prepare.assemble"):
        monkeypatch.setattr(f"samplewise.data.{module}.BLOCK_BYTES", BLOCK)
    monkeypatch.setenv("SAMPLEWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "PAUSE_S", 0.0)
    yield
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def one(folder, prepared):
    """The corpus in one file."""
    return prepared(folder).folder


@pytest.fixture
def shards(folder, prepared, tmp_path):
    """The same corpus in shards."""
    return prepared(folder, tmp_path / "shards", shard_bytes=SHARD).folder


@pytest.fixture
def stored(folder, prepared):
    """The same corpus on an object store."""
    return prepared(folder, as_folder("memory://bucket/corpus"), shard_bytes=SHARD).folder


def amplitudes(place):
    corpus = Corpus.open(place)
    return [corpus.amplitude(recording) for recording in corpus.recordings]


def assert_same_corpus(left, right):
    assert Corpus.open(left).digest == Corpus.open(right).digest
    for a, b in zip(amplitudes(left), amplitudes(right), strict=True):
        assert np.array_equal(a, b)


def test_a_corpus_in_shards_is_that_of_one_file(one, shards):
    index = Corpus.open(shards).index
    assert {path.name for path in shards.iterdir()} - {".lock", "corpus.json"} == {
        shard.file for shard in index.shards
    }
    parts = [np.load(shards / shard.file) for shard in index.shards]
    assert [len(part) for part in parts] == [shard.samples for shard in index.shards]
    assert len(parts) == 9
    assert np.array_equal(np.concatenate(parts), np.load(one / "samples.npy"))
    assert index.checksums == Corpus.open(one).index.checksums
    for shard in index.shards:
        assert hashlib.sha256((shards / shard.file).read_bytes()).hexdigest() == shard.sha256
    assert_same_corpus(one, shards)


def test_training_is_the_same_bit_for_bit(one, stored, tmp_path):
    config = TrainConfig(
        preset="test",
        model=SampleRNNConfig(frame_sizes=(2, 2, 8), dim=8, emb_size=4, q_levels=32),
        clip_seconds=0.1,
        lanes=4,
        seq_len=64,
        budget=BudgetConfig(steps=4),
        valid_seconds=0.5,
        preview=PreviewConfig(minutes=0.0),
        device="cpu",
        matmul="onednn",
    )
    alone = Ranks(0, 1, torch.device("cpu"))
    for name, place in {"local": one, "remote": stored}.items():
        train(config, Corpus.open(place), tmp_path / "run" / name, alone)
    assert_same_bits(tmp_path / "run" / "local", tmp_path / "run" / "remote")
    described = json.loads((tmp_path / "run" / "remote" / "config.json").read_text())
    assert described["corpus"]["folder"] == "memory://bucket/corpus"


def test_another_size_of_shards_decodes_nothing_again(folder, prepared, one, shards):
    assert prepared(folder, shards).is_unchanged
    other = prepared(folder, shards, shard_bytes=2 * SHARD)
    assert (other.decoded, other.taken_over) == (0, 8)
    assert len([path for path in shards.iterdir() if path.suffix == ".npy"]) == 5
    assert_same_corpus(one, shards)
    prepared(folder, shards, shard_bytes=10**6)
    assert (shards / "samples.npy").read_bytes() == (one / "samples.npy").read_bytes()
    assert [path.name for path in shards.iterdir() if path.suffix == ".npy"] == ["samples.npy"]


def test_the_default_size_is_one_file_below_1_gb_and_few_shards_above():
    assert shard_length(499_999_999, None) == 0
    assert shard_length(500_000_001, None) == -(-500_000_000 // (BLOCK // 2)) * (BLOCK // 2)
    huge = 10**12
    assert -(-huge // shard_length(huge, None)) == MAX_SHARDS
    with pytest.raises(ValueError, match=r"shard_size = 1 MB gives more than 200 shards; it must"):
        shard_length(huge, 10**6)


@pytest.mark.parametrize("size", [None, 100])
def test_a_shard_that_is_gone_or_cut_short_is_named_and_decoded_again(
    folder, prepared, one, shards, size
):
    path = shards / Corpus.open(shards).index.shards[3].file
    if size is None:
        path.unlink()
    else:
        os.truncate(path, size)
    what = "is missing" if size is None else f"has {size} bytes, not 41,088"
    with pytest.raises(CorpusError, match=rf"{path.name} {what} \(file 4 of 9\); .* --verify"):
        Corpus.open(shards)
    mended = prepared(folder, shards, verify=True)
    assert 1 <= mended.decoded <= 3
    assert_same_corpus(one, shards)


def test_a_damaged_shard_is_named_with_its_recordings(folder, prepared, one, shards):
    index = Corpus.open(shards).index
    file = next(file for file in index.files if file.start > 3 * index.shards[0].samples)
    number, within = divmod(file.start + 100, index.shards[0].samples)
    path = shards / index.shards[number].file
    data = bytearray(path.read_bytes())
    data[128 + 2 * within] ^= 1
    path.write_bytes(data)
    message = rf"{path.name} is damaged: .* prepared from {file.source}; .* --verify"
    corpus = Corpus.open(shards)
    (recording,) = [r for r in corpus.recordings if r.source == file.source]
    with pytest.raises(CorpusError, match=message):
        corpus.amplitude(recording)
    with pytest.raises(CorpusError, match=f"prepared from {file.source}"):
        verify_corpus(shards)
    assert prepared(folder, shards, verify=True).decoded == 1
    assert_same_corpus(one, shards)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"file": "../samples-000-00000000.npy"}, r"'../samples-000-00000000.npy' .* no shard"),
        ({"samples": -5}, "of -5 samples is no shard"),
        ({"samples": BLOCK // 2 + 1}, "does not end where a block ends"),
    ],
)
def test_shards_that_cannot_be_are_refused(shards, change, complaint):
    facts = json.loads((shards / "corpus.json").read_text())
    facts["shards"][0] |= change
    (shards / "corpus.json").write_text(json.dumps(facts))
    with pytest.raises(CorpusError, match=complaint):
        Corpus.open(shards)


@pytest.fixture
def fetched(monkeypatch):
    """Ranges of bytes that were read from shards on the store."""
    ranges = []
    fetch = RemotePart.fetch

    def counted(part, first, last):
        ranges.append((part.name, first, last))
        return fetch(part, first, last)

    monkeypatch.setattr(RemotePart, "fetch", counted)
    return ranges


def test_a_stored_corpus_is_read_in_blocks_and_once(one, stored, fetched):
    assert stored == RemoteFolder("memory://bucket/corpus")
    corpus, local = Corpus.open(stored), Corpus.open(one)
    assert not fetched
    recording = corpus.recordings[3]
    part = corpus.amplitude(recording, 5000, 5100)
    assert np.array_equal(part, local.amplitude(recording, 5000, 5100))
    assert [last - first for _, first, last in fetched] == [BLOCK]
    assert np.array_equal(corpus.amplitude(recording), local.amplitude(recording))
    assert len(fetched) <= 4  # neighbours come in one request
    before = list(fetched)
    assert np.array_equal(Corpus.open(stored).amplitude(recording), corpus.amplitude(recording))
    assert fetched == before  # from the cache
    assert_same_corpus(one, stored)


def test_a_copy_that_is_damaged_is_fetched_again(one, stored, fetched, tmp_path):
    amplitudes(stored)
    count = len(fetched)
    (copy,) = (tmp_path / "cache" / "blocks").glob("*/0/7")
    copy.write_bytes(bytes(BLOCK))
    assert_same_corpus(one, stored)
    assert [last - first for _, first, last in set(fetched[count:])] == [BLOCK]


def test_the_cache_keeps_the_blocks_that_were_used_last_within_its_bound(tmp_path):
    bound = 100 * BLOCK
    first, second = (BlockCache(tmp_path, digest, bound) for digest in "ab")
    for block in range(300):
        (first if block % 2 else second).put(block, bytes(BLOCK))
        os.utime(tmp_path / "ba"[block % 2] / str(block // 256) / str(block), ns=(0, block))
        if block % 10 == 0:
            assert sum(path.stat().st_size for path in tmp_path.glob("*/*/*")) <= bound
    assert first.get(299) == bytes(BLOCK)
    assert first.get(1) is None
    nothing = BlockCache(tmp_path / "none", "a", 0)
    nothing.put(1, b"x")
    assert not (tmp_path / "none").exists()


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(one, stored, tmp_path):
    (tmp_path / "cache").rename(tmp_path / "old")
    (tmp_path / "cache").write_text("")
    assert_same_corpus(one, stored)


@pytest.mark.parametrize("text", ["much", "-1", "nan"])
def test_a_bound_that_is_no_size_is_refused(stored, monkeypatch, text):
    monkeypatch.setenv("SAMPLEWISE_CACHE_GB", text)
    with pytest.raises(ValueError, match=r"SAMPLEWISE_CACHE_GB = .* must be a number of gigabytes"):
        Corpus.open(stored)


def test_faults_of_a_store_name_the_url(stored, tmp_path):
    files = fsspec.filesystem("memory")
    index = Corpus.open(stored).index
    open_before = Corpus.open(stored)
    name = index.shards[2].file
    data = files.cat_file(f"/bucket/corpus/{name}")
    files.pipe_file(f"/bucket/corpus/{name}", data[:-2])
    with pytest.raises(CorpusError, match=rf"memory://bucket/corpus/{name} has .* \(file 3 of 9"):
        Corpus.open(stored)
    files.pipe_file(f"/bucket/corpus/{name}", data[:-1000] + bytes(1000))
    with pytest.raises(CorpusError, match=rf"memory://bucket/corpus/{name} is damaged"):
        amplitudes(stored)
    files.rm_file(f"/bucket/corpus/{name}")
    with pytest.raises(CorpusError, match=rf"memory://bucket/corpus/{name} is missing \(file 3 of"):
        Corpus.open(stored)
    with pytest.raises(CorpusError, match=rf"{name} is gone: the corpus was prepared anew"):
        [open_before.amplitude(recording) for recording in open_before.recordings]
    with pytest.raises(CorpusError, match="memory://bucket/none holds no corpus"):
        Corpus.open("memory://bucket/none")
    with pytest.raises(CorpusError, match=r"^s3://x/y/corpus.json needs a package|^cannot rea"):
        Corpus.open("s3://x/y")
    with pytest.raises(CorpusError, match=r"nosuch://x/y/corpus.json cannot be used: Prot"):
        Corpus.open("nosuch://x/y")


def test_a_request_that_fails_is_repeated(stored, monkeypatch):
    memory = type(fsspec.filesystem("memory"))
    cat, answers = memory.cat_file, []

    def unreliable(system, *arguments, **options):
        answers.append(None)
        if len(answers) % 4:
            raise TimeoutError("no answer")
        return cat(system, *arguments, **options)

    monkeypatch.setattr(memory, "cat_file", unreliable)
    Corpus.open(stored)
    assert len(answers) == 4
    monkeypatch.setattr(memory, "cat_file", lambda *arguments, **options: 1 / 0)
    with pytest.raises(CorpusError, match=r"cannot read memory://.*json: division by zero"):
        Corpus.open(stored)


def test_recordings_come_from_a_store_and_only_new_ones_are_read_again(prepared, tmp_path):
    files = fsspec.filesystem("memory")
    for number in range(4):
        sf.write(tmp_path / "sound.wav", noise(16000, number), 16000)
        files.put_file(str(tmp_path / "sound.wav"), f"/bucket/takes/a/{number}.wav")
    files.pipe_file("/bucket/takes/.hidden/x.wav", b"")
    files.pipe_file("/bucket/takes/notes.txt", b"notes")
    files.pipe_file("/bucket/takes/broken.wav", b"RIFF")
    source, output = as_folder("memory://bucket/takes/"), as_folder("memory://bucket/takes/corpus")
    made = prepared(source, output)
    assert [file.source for file in made.index.files] == [f"a/{number}.wav" for number in range(4)]
    assert [item.source for item in made.index.skipped] == [
        ".hidden/x.wav",
        "broken.wav",
        "notes.txt",
    ]
    assert prepared(source, output).is_unchanged
    files.put_file(str(tmp_path / "sound.wav"), "/bucket/takes/a/0.wav")  # a copy of the last
    sf.write(tmp_path / "sound.wav", noise(16000, 9), 16000)
    files.put_file(str(tmp_path / "sound.wav"), "/bucket/takes/b.wav")
    more = prepared(source, output)
    assert (more.decoded, more.taken_over) == (2, 3)
    splits = {(r.source, r.split) for r in made.index.recordings if r.source != "a/0.wav"}
    assert splits <= {(r.source, r.split) for r in more.index.recordings}
    assert sorted(output.sizes()) == sorted(
        ["corpus.json", *(shard.file for shard in more.index.shards)]
    )
    assert not list((tmp_path / "cache" / "prepare").rglob("*.npy"))  # nothing stays here
    with pytest.raises(CorpusError, match=r"memory://bucket/takes is not empty and"):
        prepared(tmp_path, source)
    with pytest.raises(CorpusError, match="memory://bucket/empty holds no files"):
        prepared(as_folder("memory://bucket/empty"))


def test_an_upload_that_was_interrupted_goes_on(folder, prepared, one, monkeypatch):
    sent, upload = [], RemoteFolder.upload

    def stopped(target, source):
        if len(sent) == 4:
            raise CorpusError("the cable is cut")
        sent.append(target.name)
        upload(target, source)

    output = as_folder("memory://bucket/corpus")
    with monkeypatch.context() as patch:
        patch.setattr(RemoteFolder, "upload", stopped)
        with pytest.raises(CorpusError, match="the cable is cut"):
            prepared(folder, output, shard_bytes=SHARD)
    with pytest.raises(CorpusError, match="holds no corpus"):
        Corpus.open(output)
    monkeypatch.setattr(
        RemoteFolder,
        "upload",
        lambda target, source: sent.append(target.name) or upload(target, source),
    )
    assert prepared(folder, output, shard_bytes=SHARD).decoded == 0
    assert len(sent) == len(set(sent)) == 10
    assert_same_corpus(one, output)


def test_commands_take_urls(stored):
    url = str(stored)
    assert tyro.cli(PrepareArgs, args=["gs://a/b/", "-o", url]).output == stored
    assert tyro.cli(TrainArgs, args=[url, "-o", "run"]).corpus == stored
    assert tyro.cli(EvaluateArgs, args=["run", "--corpus", url]).corpus == stored
    assert tyro.cli(EvaluateArgs, args=["run", "--corpus", "a/b"]).corpus == Path("a/b")
    assert main(["prepare", "--verify", url]) == 0


def test_a_file_url_is_a_path(tmp_path):
    assert as_folder(f"file://{tmp_path}/a%20b") == tmp_path / "a b"
    assert as_folder("corpora/mine").name == "mine"
    assert publish.staging_folder(as_folder("s3://a/b")) != publish.staging_folder(
        as_folder("s3://a/c")
    )
