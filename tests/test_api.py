"""The Python interface, as docs/python.md and a notebook use it."""

import itertools
import re
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import samplewise
from samplewise.cli.main import main
from samplewise.models.pruning import zero_share

RATE = 4000
SMALL = {
    "dim": 8,
    "emb_size": 4,
    "lanes": 2,
    "seq_len": 64,
    "steps": 3,
    "threads": 1,
    "valid_seconds": 1.0,
    "preview_minutes": 0.0,
}
DOCS = Path(__file__).parent.parent / "docs" / "python.md"


def tone(pitch, seconds=2.0, rate=RATE):
    time = np.arange(round(seconds * rate)) / rate
    return (0.4 * np.sin(2 * np.pi * pitch * time) * np.exp(-time)).astype(np.float32)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    for split, pitches in (("train", (220, 330)), ("valid", (440,)), ("test", (550,))):
        (folder / split).mkdir()
        for pitch in pitches:
            soundfile.write(folder / split / f"{pitch}.wav", tone(pitch), RATE)
    return folder


@pytest.fixture(scope="module")
def corpus(recordings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared") / "corpus"
    return samplewise.prepare(recordings, folder, sample_rate=RATE)


@pytest.fixture(scope="module")
def run(corpus):
    return samplewise.train(corpus, corpus.folder.parent / "run", preset="small", **SMALL)


@pytest.fixture(scope="module")
def model(run):
    return run.load()


def test_importing_it_imports_nothing_heavy():
    code = (
        "import time; began = time.process_time(); import samplewise, sys;"
        "taken = time.process_time() - began;"
        "assert not {'torch', 'numpy', 'pydantic'} & set(sys.modules);"
        "assert taken < 0.3, taken;"
        "samplewise.prepare; samplewise.CorpusError; samplewise.load;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_everything_that_is_exported_is_there():
    assert set(samplewise.__all__) <= set(dir(samplewise))
    for name in samplewise.__all__:
        assert getattr(samplewise, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'generate_clip'"):
        _ = samplewise.generate_clip


def test_the_names_that_editors_see_are_those_that_are_imported():
    source = Path(str(samplewise.__file__)).read_text()
    block = source.partition("if TYPE_CHECKING:")[2].partition("\n\n__version__")[0]
    shown = set(re.findall(r"\b([A-Za-z]+)\b(?=,|\n|\)|$)", re.sub(r"from \S+ import", "", block)))
    assert shown == set(samplewise.__all__) - {"__version__"}


def test_what_is_shown_of_each_thing_says_what_it_is(corpus, run, model):
    assert re.fullmatch(r"Corpus\('.*corpus' · 4 recordings · 0.1 min · 4000 Hz\)", repr(corpus))
    assert re.fullmatch(
        r"Run\('.*run' · step 3 · validation [\d.]+ bits per sample · .*\)", repr(run)
    )
    words = r"Model\(samplernn small · 0\.\d+ M parameters · 4000 Hz · trained on 'corpus' · step 3"
    assert re.fullmatch(words + r" · validation [\d.]+ bits per sample\)", repr(model))
    [clip] = model.generate(seconds=0.1, seed=7)
    words = r"Clip\(0.10 s at 4000 Hz, seed 7, index 0, [\d.]+ bits per sample.*\)"
    assert re.fullmatch(words, repr(clip))


def test_clips_are_those_of_the_command(model, run, tmp_path):
    clips = model.generate(2, 0.1, seed=3, temperature="0:0.8,0.05:1.1", min_p=0.01)
    command = ["generate", str(run.folder), "--count", "2", "--seconds", "0.1", "--seed", "3"]
    flags = ["--temperature", "0:0.8,0.05:1.1", "--min-p", "0.01", "-o", str(tmp_path / "clips")]
    assert main([*command, *flags]) == 0
    for clip in clips:
        clip.save(tmp_path / "clip.wav")
        made = tmp_path / "clips" / f"clip-{clip.index:04d}.wav"
        assert (tmp_path / "clip.wav").read_bytes() == made.read_bytes()
        assert (clip.seed, clip.sample_rate, len(clip.samples)) == (3, RATE, 400)
        assert clip.samples.dtype == np.float32
        assert clip.log_likelihood < 0


def test_a_clip_is_a_collected_stream(model, recordings):
    prompt = recordings / "test" / "550.wav"
    [clip] = model.generate(seconds=0.2, seed=5, prompt=prompt, first_index=2, temperature=0.9)
    options = {"seed": 5, "prompt": prompt, "index": 2, "temperature": 0.9}
    stream = model.stream(chunk_seconds=0.05, **options)
    chunks = list(itertools.islice(stream, 1 + 4))  # the prompt, then 0.2 s
    assert np.array_equal(np.concatenate(chunks), clip.samples)
    assert len(next(stream)) == 200  # it goes on
    assert sum(map(len, model.stream(0.1, **options))) == len(tone(550)) + 400
    wave, _ = soundfile.read(prompt, dtype="float32")
    [same] = model.generate(seconds=0.2, seed=5, prompt=wave, first_index=2, temperature=0.9)
    assert np.array_equal(same.samples, clip.samples)


def test_both_back_ends_leave_the_threads_of_torch_alone(run):
    import torch

    drawn = []
    for backend in ("native", "reference"):
        model = run.load(backend=backend, weights="f32", threads=2)
        before = torch.get_num_threads()
        drawn.append(model.generate(2, 0.05, seed=2))
        assert torch.get_num_threads() == before
    for native, reference in zip(*drawn, strict=True):
        assert np.array_equal(native.codes, reference.codes)


def test_a_recording_scores_as_the_corpus_that_holds_it(model, corpus, recordings):
    [recording] = corpus.split("test")
    assert recording.source == "test/550.wav"
    expected = model.score(corpus, split="test")
    found = model.score(recordings / "test" / "550.wav")
    assert corpus.gain == model.loaded.audio.gain
    assert found.bits_per_sample == expected.bits_per_sample
    assert found.samples == expected.samples == len(tone(550))
    assert found.label.replace("one recording", corpus.split_rule) == expected.label
    wave, _ = soundfile.read(recordings / "test" / "550.wav", dtype="float32")
    assert model.score(wave).bits_per_sample == expected.bits_per_sample
    assert found.log_likelihood == pytest.approx(
        -found.samples * expected.bits_per_sample * np.log(2)
    )


def test_a_loud_recording_is_softened_and_another_rate_converted(model, tmp_path):
    loud = model.score(2.5 * tone(500))
    assert "gain 0.99" in loud.label
    high = model.score(tone(500, rate=16000), sample_rate=16000)
    assert high.samples == len(tone(500))
    with pytest.raises(samplewise.AudioError, match="the samples: too short"):
        model.score(np.zeros(10, np.float32))


def test_training_works_from_a_thread_and_goes_on(corpus, tmp_path):
    runs, lines = [], []

    def work():
        fields = {**SMALL, "steps": 1}
        runs.append(samplewise.train(corpus, tmp_path / "run", preset="small", **fields))
        runs.append(
            samplewise.train(corpus, tmp_path / "run", preset="small", log=lines.append, **SMALL)
        )

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [run.step for run in runs] == [1, 3]


def test_training_computes_with_its_threads_and_leaves_those_of_torch(corpus, tmp_path):
    import torch

    before, seen = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        samplewise.train(
            corpus,
            tmp_path / "run",
            preset="small",
            log=lambda _: seen.append(torch.get_num_threads()),
            **SMALL,
        )
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert SMALL["threads"] == 1
    assert set(seen) == {1}


def test_mistakes_are_named(corpus, model, tmp_path):
    with pytest.raises(ValueError, match="there is no preset 'smal'"):
        samplewise.train(corpus, tmp_path / "run", preset="smal")
    with pytest.raises(ValueError, match="there is no field 'minuts'; did you mean 'minutes'"):
        samplewise.train(corpus, tmp_path / "run", minuts=3)
    with pytest.raises(ValueError, match="lanes"):
        samplewise.train(corpus, tmp_path / "run", lanes="many")
    with pytest.raises(samplewise.CheckpointError):
        samplewise.load(tmp_path / "run")
    with pytest.raises(samplewise.SamplewiseError, match="no vocoder"):
        model.vocode(np.zeros((3, 80), np.float32))
    with pytest.raises(ValueError, match="count = 0"):
        model.generate(0)
    with pytest.raises(ValueError, match="temperature"):
        model.generate(temperature=-1.0)


def test_an_exported_model_is_the_model(model, tmp_path):
    model.export(tmp_path / "mine.safetensors")
    model.export(tmp_path / "mine.safetensors")
    copy = samplewise.load(tmp_path / "mine.safetensors")
    [ours], [theirs] = (one.generate(seconds=0.05, seed=1) for one in (model, copy))
    assert np.array_equal(ours.codes, theirs.codes)
    (tmp_path / "notes.txt").write_text("not a model")
    with pytest.raises(ValueError, match="not known to be made by this command"):
        model.export(tmp_path / "notes.txt")


def test_the_examples_of_the_page_run(recordings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recordings").symlink_to(recordings)
    soundfile.write("riff.wav", tone(300, 0.5), RATE)
    soundfile.write("song.flac", tone(400, 1.0), RATE)
    prepare, train, generate = samplewise.prepare, samplewise.train, samplewise.Model.generate

    def small_train(corpus, output=None, *, preset="small", **fields):
        own = {key: value for key, value in SMALL.items() if key != "emb_size"}
        if preset == "small":
            own["emb_size"] = 4
        return train(corpus, output, preset=preset, **{**fields, **own, "minutes": None})

    def short(self, count=1, seconds=10.0, **options):
        return generate(self, count, seconds / 100, **options)

    monkeypatch.setattr(samplewise, "prepare", lambda *paths: prepare(*paths, sample_rate=8000))
    monkeypatch.setattr(samplewise, "train", small_train)
    monkeypatch.setattr(samplewise.Model, "generate", short)
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(blocks) >= 5
    names = {}
    for block in blocks:
        exec(compile(block, str(DOCS), "exec"), names)  # noqa: S102
    assert Path("a.wav").exists()
    assert Path("mine.safetensors").exists()


def test_the_temperature_of_training_and_that_of_an_export_travel_with_the_model(corpus, tmp_path):
    samplewise.train(corpus, tmp_path / "run", preset="small", **SMALL, temperature=0.6)
    model = samplewise.load(tmp_path / "run")
    model.export(tmp_path / "own.safetensors")
    model.export(tmp_path / "other.safetensors", temperature=0.9)
    for path, temperature in (("run", 0.6), ("own.safetensors", 0.6), ("other.safetensors", 0.9)):
        loaded = samplewise.load(tmp_path / path)
        [default], [given] = (
            loaded.generate(seconds=0.05, seed=1, **chosen)
            for chosen in ({}, {"temperature": temperature})
        )
        assert np.array_equal(default.codes, given.codes)
    model.export(tmp_path / "given.safetensors", name="tones", starts=1)
    known = samplewise.load(tmp_path / "given.safetensors").loaded.provenance
    assert (known["name"], known["corpus"]["folder"]) == ("tones", "corpus")
    assert (known["starts"]["count"], model.loaded.provenance["starts"]["count"] > 1) == (1, True)
    assert known["corpus"]["digest"] == model.loaded.provenance["corpus"]["digest"]
    with pytest.raises(ValueError, match=r"temperature: 11 .* at most 10"):
        model.export(tmp_path / "no.safetensors", temperature=11.0)


def test_a_pruned_model_loses_its_smallest_blocks_and_keeps_them_lost_in_its_file(model, tmp_path):
    pruned = model.pruned(0.25, "4x4")
    weights, left = (
        {part.name: part.weight() for part in one.loaded.model.prunable()}
        for one in (model, pruned)
    )
    for name, weight in weights.items():
        assert torch.equal(left[name][left[name] != 0], weight[left[name] != 0])
    assert zero_share(pruned.loaded.model) == pytest.approx(0.25, abs=0.02)
    assert zero_share(model.loaded.model) == 0
    whole, small = tmp_path / "whole.safetensors", tmp_path / "small.safetensors"
    model.export(whole)
    pruned.export(small)
    assert small.stat().st_size < whole.stat().st_size
    again = samplewise.load(small)
    assert again.loaded.provenance["sparsity"] == zero_share(pruned.loaded.model)
    a, b = (m.generate(seconds=0.05, seed=2)[0].codes for m in (pruned, again))
    assert np.array_equal(a, b)
    some = model.pruned(0.5, "4x4", "recurrent")
    for part in some.loaded.model.prunable():
        assert torch.equal(part.weight(), weights[part.name]) != ("recurrent" in part.name)
    with pytest.raises(ValueError, match="parts = 'gru' is in the name of no matrix"):
        model.pruned(0.5, "4x4", "gru")
    with pytest.raises(ValueError, match=r"sparsity = 1\.0 must lie in"):
        model.pruned(1.0)


def test_a_model_with_damaged_starts_is_exported_all_the_same(model, tmp_path):
    provenance = model.loaded.provenance | {"starts": {"count": 1, "codes": "?"}}
    damaged = samplewise.Model(
        replace(model.loaded, provenance=provenance), model.backend, model.max_memory
    )
    damaged.export(tmp_path / "damaged.safetensors")
    again = samplewise.load(tmp_path / "damaged.safetensors")
    assert again.loaded.provenance["starts"] == provenance["starts"]
    with pytest.raises(
        samplewise.CheckpointError, match="the starts in the model file are damaged"
    ):
        damaged.export(tmp_path / "fewer.safetensors", starts=1)
