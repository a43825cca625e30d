import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile as sf
from tests.data.sounds import noise

from samplewise.data import assemble as assemble_module
from samplewise.data.corpus import Corpus
from samplewise.durable import lock
from samplewise.errors import CorpusError, SamplewiseError


def splits(corpus):
    return {(r.source, r.offset): r.split for r in corpus.recordings}


def stored(corpus, source):
    (file,) = [file for file in corpus.index.files if file.source == source]
    return np.asarray(corpus.stored[file.start : file.start + file.samples])


def content(folder):
    return [(folder / name).read_bytes() for name in ("samples.npy", "corpus.json")]


def test_sixteen_bit_recordings_at_the_corpus_rate_are_stored_bit_for_bit(tmp_path, prepared):
    codes = np.random.default_rng(0).integers(-32768, 32768, 40_000).astype(np.int16)
    codes[:2] = -32768, 32767
    (tmp_path / "in").mkdir()
    for ending in ("wav", "flac"):
        sf.write(tmp_path / "in" / f"a.{ending}", codes, 16000)
        corpus = Corpus.open(prepared(tmp_path / "in").folder)
        assert np.array_equal(stored(corpus, f"a.{ending}"), codes)
        assert {file.scale for file in corpus.index.files} == {1.0}
        (tmp_path / "in" / f"a.{ending}").unlink()


@pytest.mark.parametrize("sign", [1, -1])
def test_a_file_above_full_scale_is_stored_with_a_scale_and_never_clipped(tmp_path, prepared, sign):
    wave = noise(32000, 0).astype(np.float32)
    wave *= sign * 3.5 / wave[np.abs(wave).argmax()]
    (tmp_path / "in").mkdir()
    sf.write(tmp_path / "in" / "loud.wav", wave, 16000, subtype="FLOAT")
    corpus = Corpus.open(prepared(tmp_path / "in").folder)
    (file,) = corpus.index.files
    amplitude = stored(corpus, "loud.wav") / 32768 * file.scale
    assert np.abs(amplitude - wave).max() <= 0.51 * file.scale / 32768
    assert file.peak == pytest.approx(3.5, rel=1e-4)
    assert np.abs(corpus.amplitude(corpus.recordings[0])).max() <= 0.99
    assert any("loud.wav exceeds full scale" in warning for warning in corpus.index.warnings)


def test_a_recording_at_another_rate_keeps_pitch_and_duration(tmp_path, prepared):
    (tmp_path / "in").mkdir()
    for rate in (8000, 44100, 192000):
        t = np.arange(3 * rate) / rate
        tone = 0.5 * np.sin(2 * np.pi * 1000 * t) + 1e-4 * noise(len(t), rate)
        sf.write(tmp_path / "in" / f"{rate}.wav", np.stack([tone, tone], 1), rate)
    corpus = Corpus.open(prepared(tmp_path / "in").folder)
    for file in corpus.index.files:
        wave = stored(corpus, file.source).astype(float)
        assert file.samples == 48000
        assert np.abs(np.fft.rfft(wave)).argmax() / 3 == 1000
    assert (corpus.index.summary.resampled, corpus.index.summary.mixed) == (3, 3)
    assert any("nothing above 4000 Hz in 1" in warning for warning in corpus.index.warnings)


def test_figures_of_the_summary_are_right(tmp_path, prepared):
    t = np.arange(160_000) / 16000
    wave = 0.5 * np.sin(2 * np.pi * 250 * t)
    wave[:40_000] = 0
    (tmp_path / "in").mkdir()
    sf.write(tmp_path / "in" / "a.wav", wave, 16000)
    summary = prepared(tmp_path / "in").index.summary
    assert summary.peak_dbfs == pytest.approx(-6.02, abs=0.01)
    assert summary.loudness_rms_dbfs == pytest.approx(-6.02 - 3.01 - 1.25, abs=0.01)
    assert summary.silence_share == 0.25
    assert sum(summary.minutes.values()) == pytest.approx(9 / 60, abs=1e-3)  # two gaps of 0.5 s


def test_a_second_prepare_finds_nothing_to_do_and_writes_nothing(folder, prepared):
    first = prepared(folder)
    before = [(first.folder / n).stat().st_mtime_ns for n in ("samples.npy", "corpus.json")]
    second = prepared(folder)
    assert (first.decoded, second.decoded, second.is_unchanged) == (8, 0, True)
    after = [(first.folder / n).stat().st_mtime_ns for n in ("samples.npy", "corpus.json")]
    assert before == after
    assert sorted(path.name for path in first.folder.iterdir()) == [
        ".lock",
        "corpus.json",
        "samples.npy",
    ]


def test_added_recordings_leave_earlier_splits_and_are_decoded_alone(folder, prepared):
    before = splits(Corpus.open(prepared(folder).folder))
    for i in range(20):
        sf.write(folder / f"a_new{i}.wav", noise(20_000, 100 + i), 16000)
    result = prepared(folder)
    after = splits(Corpus.open(result.folder))
    assert (result.decoded, result.taken_over) == (20, 8)
    assert len(after) == 28
    assert {key: after[key] for key in before} == before
    again = Corpus.open(result.folder)
    assert np.array_equal(stored(again, "r0.wav") / 32768, sf.read(folder / "r0.wav")[0])


def test_a_cut_recording_stays_cut_when_others_are_added(tmp_path, prepared):
    (tmp_path / "in").mkdir()
    sf.write(tmp_path / "in" / "long.wav", noise(160_000, 0), 16000)
    first = Corpus.open(prepared(tmp_path / "in").folder)
    assert first.split_rule == "by part of a recording"
    assert any("long.wav was cut into parts" in warning for warning in first.index.warnings)
    for i in range(30):
        sf.write(tmp_path / "in" / f"n{i}.wav", noise(30_000, 1 + i), 16000)
    second = Corpus.open(prepared(tmp_path / "in").folder)
    assert splits(first).items() <= splits(second).items()
    assert sum(r.samples for r in second.split("valid")) > sum(
        r.samples for r in first.split("valid")
    )


def test_renamed_and_changed_recordings_keep_their_split(folder, prepared):
    before = splits(Corpus.open(prepared(folder).folder))
    held_out = next(source for (source, _), split in before.items() if split == "valid")
    (folder / held_out).rename(folder / "renamed.wav")
    changed = next(source for (source, _), split in before.items() if split == "test")
    sf.write(folder / changed, noise(17_000, 99), 16000)
    after = splits(Corpus.open(prepared(folder).folder))
    assert after["renamed.wav", 0] == "valid"
    assert after[changed, 0] == "test"


def test_removed_recordings_leave_the_corpus_and_are_named(folder, prepared):
    prepared(folder)
    (folder / "r0.wav").unlink()
    result = prepared(folder)
    assert result.decoded == 0
    assert "r0.wav" not in {file.source for file in result.index.files}
    assert any("1 earlier recordings are gone: r0.wav" in w for w in result.index.warnings)


def test_other_settings_make_new_splits_without_decoding(folder, prepared):
    first = prepared(folder)
    second = prepared(folder, seed=5)
    assert second.decoded == 0
    assert first.index.digest != second.index.digest
    assert any("settings differ" in warning for warning in second.index.warnings)
    assert splits(first.index) != splits(second.index)
    third = prepared(folder, sample_rate=8000)
    assert third.decoded == 8
    assert Corpus.open(third.folder).sample_rate == 8000


def test_names_and_order_do_not_decide_about_splits(folder, tmp_path, prepared):
    first = prepared(folder).index
    for path in list(folder.rglob("*.wav")):
        path.rename(folder / f"x{hash(path.name) & 0xFFFF}-{path.name[::-1]}.wav")
    second = prepared(folder, tmp_path / "other").index
    assert {r.sha256: r.split for r in first.recordings} == {
        r.sha256: r.split for r in second.recordings
    }


def test_identical_audio_is_kept_once(folder, prepared):
    (folder / "copy.wav").write_bytes((folder / "r0.wav").read_bytes())
    wave, rate = sf.read(folder / "r1.wav" if (folder / "r1.wav").exists() else folder / "r2.wav")
    sf.write(folder / "as_flac.flac", wave, rate)
    result = prepared(folder)
    reasons = {item.source: item.reason for item in result.index.skipped}
    assert reasons == {"r0.wav": "same audio as copy.wav", "r2.wav": "same audio as as_flac.flac"}
    assert prepared(folder).is_unchanged
    (folder / "copy.wav").unlink()
    sources = {file.source for file in prepared(folder).index.files}
    assert "r0.wav" in sources


def test_of_two_copies_the_one_that_was_there_before_stays(folder, prepared):
    prepared(folder)
    (folder / "a.wav").write_bytes((folder / "r0.wav").read_bytes())
    reasons = {item.source: item.reason for item in prepared(folder).index.skipped}
    assert reasons == {"a.wav": "same audio as r0.wav"}


def test_folders_that_name_splits_are_used_as_given(smoke_folder, prepared):
    index = prepared(smoke_folder).index
    assert index.split_rule == "by folder"
    assert all(r.source.split("/")[0] == r.split for r in index.recordings)
    assert prepared(smoke_folder, split="recordings").index.split_rule == "by recording"


def test_files_outside_the_split_folders_are_named(tmp_path, prepared):
    for i, place in enumerate(("train", "validation", "test", ".")):
        (tmp_path / "in" / place).mkdir(parents=True, exist_ok=True)
        sf.write(tmp_path / "in" / place / "a.wav", noise(16000, i), 16000)
    index = prepared(tmp_path / "in").index
    assert [(item.source, item.reason) for item in index.skipped] == [
        ("a.wav", "outside the folders train, valid and test")
    ]
    assert {r.source: r.split for r in index.recordings}["validation/a.wav"] == "valid"


def test_a_copy_across_split_folders_stays_in_the_held_out_one(tmp_path, prepared):
    for i, name in enumerate(("train/a", "train/b", "valid/c", "test/d")):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        sf.write(tmp_path / "in" / f"{name}.wav", noise(16000, i % 3), 16000)
    index = prepared(tmp_path / "in").index
    assert {item.source: item.reason for item in index.skipped} == {
        "train/a.wav": "same audio as test/d.wav"
    }


def test_split_folders_that_are_asked_for_must_exist(folder, prepared):
    with pytest.raises(CorpusError, match="--split folders needs top-level folders"):
        prepared(folder, split="folders")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"sample_rate": 10}, "sample_rate = 10 must lie in"),
        ({"split": "dice"}, "split = 'dice' must be one of"),
        ({"jobs": 0}, "jobs = 0 must be at least 1"),
        ({"valid": 0.9}, "must not be negative"),
    ],
)
def test_settings_out_of_range_are_refused(folder, prepared, changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        prepared(folder, **changes)


def test_the_recordings_cannot_be_their_own_corpus(folder, prepared):
    with pytest.raises(ValueError, match="must not be the folder of the recordings"):
        prepared(folder, folder)


def test_a_corpus_inside_the_folder_is_not_taken_for_recordings(folder, prepared):
    output = folder / "corpus"
    assert prepared(folder, output).index.skipped == ()
    assert prepared(folder, output).is_unchanged


def test_an_empty_folder_and_one_without_sound_say_so(tmp_path, prepared):
    (tmp_path / "in").mkdir()
    with pytest.raises(CorpusError, match="there is no sound file in the folder"):
        prepared(tmp_path / "in")
    (tmp_path / "in" / "a.wav").write_bytes(b"nothing" * 100)
    with pytest.raises(CorpusError, match=r"none of the 1 sound files can be used \(a\.wav: "):
        prepared(tmp_path / "in")
    with pytest.raises(CorpusError, match="is not a folder"):
        prepared(tmp_path / "missing")


def test_two_prepares_into_one_folder_refuse(folder, tmp_path, prepared):
    (tmp_path / "corpus").mkdir()
    with (
        lock(tmp_path / "corpus", "prepare"),
        pytest.raises(SamplewiseError, match="another prepare is writing"),
    ):
        prepared(folder)
    assert prepared(folder).decoded == 8


def test_workers_do_not_import_torch():
    script = "import sys, samplewise.data.worker, samplewise.data.decode; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "torch" not in done.stdout.split()


PREPARE = (
    "import sys; from pathlib import Path\n"
    "from samplewise.data.index import Settings\n"
    "from samplewise.data.prepare import prepare\n"
    "settings = Settings(16000, 0.06, 0.06, 0, 'auto')\n"
    "done = prepare(Path(sys.argv[1]), Path(sys.argv[2]), settings, 2)\n"
    "print(done.decoded)\n"
)


@pytest.mark.parametrize("lines", [1, 6])
def test_a_killed_prepare_goes_on_and_ends_as_if_never_killed(folder, tmp_path, prepared, lines):
    for i in range(4):
        sf.write(folder / f"long{i}.flac", noise(500_000, 50 + i), 44100)
    straight = content(prepared(folder, tmp_path / "straight").folder)
    output = tmp_path / "killed"
    command = [sys.executable, "-c", PREPARE, folder, output]
    victim = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    journal = output / ".prepare" / "journal.jsonl"
    while victim.poll() is None:
        if journal.exists() and journal.read_bytes().count(b"]\n") >= lines:
            victim.send_signal(signal.SIGKILL)
            break
        time.sleep(0.001)
    assert victim.wait() == -signal.SIGKILL
    survivors = journal.read_bytes().count(b"]\n")
    assert survivors >= lines
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) == 12 - survivors
    assert content(output) == straight
    assert not (output / ".prepare").exists()


def test_a_torn_line_of_the_journal_costs_one_file(folder, tmp_path, prepared, monkeypatch):
    def fails(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr("samplewise.data.prepare.assemble", fails)
    with pytest.raises(OSError, match="disk full"):
        prepared(folder)
    monkeypatch.undo()
    journal = tmp_path / "corpus" / ".prepare" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    (tmp_path / "corpus" / ".tmp-left").write_bytes(b"half")
    monkeypatch.setattr("samplewise.data.prepare.assemble", fails)
    with pytest.raises(OSError, match="disk full"):
        prepared(folder)  # decodes that file and writes its line after the torn one
    monkeypatch.undo()
    result = prepared(folder)
    assert (result.decoded, result.taken_over) == (0, 8)
    assert sorted(p.name for p in result.folder.iterdir()) == [
        ".lock",
        "corpus.json",
        "samples.npy",
    ]


def test_a_damaged_part_is_noticed(folder, tmp_path, prepared, monkeypatch):
    monkeypatch.setattr("samplewise.data.prepare.assemble", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepared(folder)
    monkeypatch.undo()
    part = next((tmp_path / "corpus" / ".prepare" / "parts").iterdir())
    data = bytearray(part.read_bytes())
    data[100] ^= 1
    part.write_bytes(data)
    with pytest.raises(CorpusError, match=r"the stored samples of .* are damaged; delete"):
        prepared(folder)


@pytest.mark.parametrize("is_half_done", [False, True])
def test_a_kill_while_the_corpus_is_replaced_is_mended_by_the_next(
    folder, tmp_path, prepared, monkeypatch, is_half_done
):
    prepared(folder)
    sf.write(folder / "aaa.wav", noise(20_000, 77), 16000)
    straight = content(prepared(folder, tmp_path / "corpus-straight").folder)

    def killed(output):
        if is_half_done:
            pending = output / ".prepare" / "new-samples.npy"
            pending.replace(output / "samples.npy")
        raise KeyboardInterrupt

    monkeypatch.setattr(assemble_module, "finish_pending", killed)
    with pytest.raises(KeyboardInterrupt):
        prepared(folder)
    monkeypatch.undo()
    with pytest.raises(CorpusError, match="run the same prepare again"):
        Corpus.open(tmp_path / "corpus")
    result = prepared(folder)
    assert result.is_unchanged
    assert len(Corpus.open(result.folder).index.files) == 9
    assert (result.folder / "samples.npy").read_bytes() == straight[0]


def test_a_full_disk_keeps_the_earlier_corpus(folder, tmp_path, prepared, monkeypatch):
    before = content(prepared(folder).folder)
    sf.write(folder / "aaa.wav", noise(20_000, 77), 16000)

    def full(path, *arguments):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(assemble_module, "write_json", full)
    with pytest.raises(OSError, match="No space left"):
        prepared(folder)
    monkeypatch.undo()
    assert content(tmp_path / "corpus") == before
    Corpus.open(tmp_path / "corpus")
    assert prepared(folder).decoded == 0


def test_the_command_prints_what_it_did(smoke_folder, tmp_path, capsys):
    from samplewise.cli.prepare import main

    assert main([str(smoke_folder), "-o", str(tmp_path / "c"), "--jobs", "1"]) == 0
    text = capsys.readouterr().out
    assert "11 recordings at 16000 Hz (11 files decoded, 0 taken over, 2 skipped)" in text
    assert "manifest.csv: not a sound file, by its name" in text
    assert "warning: only 0.8 minutes to train on" in text
    assert main([str(smoke_folder), "-o", str(tmp_path / "c"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["unchanged"] is True
    assert report["summary"]["minutes"]["train"] == pytest.approx(0.8, abs=0.01)


def test_help_is_quick_and_imports_nothing_heavy():
    script = (
        "import sys; from samplewise.cli.prepare import main\n"
        "try: main(['--help'])\n"
        "finally: print([m for m in ('torch', 'soundfile', 'numpy') if m in sys.modules])\n"
    )
    environment = os.environ | {"NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0
    assert "--sample-rate" in done.stdout
    assert done.stdout.rstrip().endswith("[]")


def test_a_part_of_another_length_is_decoded_again(folder, tmp_path, prepared, monkeypatch):
    monkeypatch.setattr("samplewise.data.prepare.assemble", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepared(folder)
    monkeypatch.undo()
    part = next((tmp_path / "corpus" / ".prepare" / "parts").iterdir())
    part.write_bytes(part.read_bytes()[:-2])
    assert prepared(folder).decoded == 1
