import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from tests.data.sounds import noise

from samplewise.atomic_io import lock
from samplewise.data.corpus import Corpus
from samplewise.data.prepare import assemble as assemble_module
from samplewise.data.prepare.prepare import Prepared, verify_corpus
from samplewise.data.prepare.summary import split_warnings
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
    assert any("1 earlier recording is gone: r0.wav" in w for w in result.index.warnings)


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
    with pytest.raises(CorpusError, match=r"the only sound file cannot be used \(a\.wav: "):
        prepared(tmp_path / "in")
    with pytest.raises(CorpusError, match="is not a folder"):
        prepared(tmp_path / "missing")


def test_two_prepares_into_one_folder_refuse(folder, tmp_path, prepared):
    (tmp_path / "corpus").mkdir()
    with (
        lock(tmp_path / "corpus", "prepare"),
        pytest.raises(SamplewiseError, match=r"another prepare .* is writing"),
    ):
        prepared(folder)
    assert prepared(folder).decoded == 8


def test_workers_do_not_import_torch():
    workers = "samplewise.data.prepare.decode_worker, samplewise.data.prepare.decode"
    script = f"import sys, {workers}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "torch" not in done.stdout.split()


PREPARE = (
    "import sys; from pathlib import Path\n"
    "from samplewise.data.index import Settings\n"
    "from samplewise.data.prepare.prepare import prepare\n"
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

    monkeypatch.setattr("samplewise.data.prepare.prepare.assemble", fails)
    with pytest.raises(OSError, match="disk full"):
        prepared(folder)
    monkeypatch.undo()
    journal = tmp_path / "corpus" / ".prepare" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    (tmp_path / "corpus" / ".tmp-left_abc").write_bytes(b"half")
    monkeypatch.setattr("samplewise.data.prepare.prepare.assemble", fails)
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
    monkeypatch.setattr("samplewise.data.prepare.prepare.assemble", lambda *arguments: 1 / 0)
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


def test_seconds_to_train_on_are_counted_in_seconds(tmp_path, capsys):
    from samplewise.cli.prepare import main

    (tmp_path / "in").mkdir()
    sf.write(tmp_path / "in" / "a.wav", np.sin(np.arange(24000)), 8000)
    assert main([str(tmp_path / "in"), "-o", str(tmp_path / "c"), "--jobs", "1"]) == 0
    assert re.search(r"only [12]\.\d seconds to train on", capsys.readouterr().out)


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


def test_one_recording_is_a_corpus_whatever_its_name_is(folder, prepared):
    song = (folder / "r0.wav").rename(folder / "song.backup")
    index = prepared(song).index
    assert {(r.source, r.split) for r in index.recordings} == {
        ("song.backup", split) for split in ("train", "valid", "test")
    }
    assert prepared(song).is_unchanged


@pytest.mark.parametrize("name", ["config.json", "notes.txt", "samples.npy"])
def test_a_folder_that_holds_something_else_is_refused(folder, tmp_path, prepared, name):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).write_text("mine")
    with pytest.raises(CorpusError, match=rf"holds no corpus \({name} is in it\); choose another"):
        prepared(folder, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [name]


def spoil(corpus, source):
    """Change one bit of a stored recording; return the file of samples."""
    (file,) = [file for file in corpus.index.files if file.source == source]
    path = corpus.folder / "samples.npy"
    data = bytearray(path.read_bytes())
    data[-2 * len(corpus.stored) + 2 * (file.start + 100)] ^= 1
    path.write_bytes(data)
    return path


def test_damaged_samples_are_named_when_they_are_read_and_decoded_again(folder, prepared):
    path = prepared(folder).folder / "samples.npy"
    sound, corpus = path.read_bytes(), Corpus.open(path.parent)
    assert len(corpus.index.checksums) == 8  # one block
    spoil(corpus, "r4.wav")
    damage = r"samples\.npy is damaged: .* prepared from r4\.wav; .* --verify"
    with pytest.raises(CorpusError, match=damage):
        corpus.amplitude(corpus.recordings[-1], 0, 1)  # the same block
    with pytest.raises(CorpusError, match=damage):
        verify_corpus(path.parent)
    assert prepared(folder).is_unchanged  # asks nobody
    repaired = prepared(folder, verify=True)
    assert (repaired.decoded, repaired.taken_over) == (1, 7)
    assert path.read_bytes() == sound
    assert verify_corpus(path.parent) == repaired.index


def test_damage_shows_where_it_is_read_and_not_elsewhere(folder, prepared, monkeypatch):
    monkeypatch.setattr("samplewise.data.stored.BLOCK_BYTES", 1000)
    monkeypatch.setattr("samplewise.data.corpus.BLOCK_BYTES", 1000)
    corpus = Corpus.open(prepared(folder).folder)
    (recording,) = [r for r in corpus.recordings if r.source == "r4.wav"]
    spoil(corpus, "r4.wav")  # sample 100
    start = 1000 - recording.start % 500  # in the second block after it
    corpus.amplitude(recording, start)
    with pytest.raises(CorpusError, match="is damaged"):
        corpus.amplitude(recording, start - 501, start)


def test_a_corpus_without_checksums_opens_and_is_verified_by_its_hashes(folder, prepared):
    place = prepared(folder).folder
    facts = json.loads((place / "corpus.json").read_text())
    del facts["checksums"]
    for entry in facts["recordings"]:
        del entry["dc"]
    for entry in facts["files"]:
        del entry["mean"], entry["peak_about_mean"], entry["sound_end"]
    del facts["settings"]["remove_dc"]
    (place / "corpus.json").write_text(json.dumps(facts))
    spoil(Corpus.open(place), "r4.wav")
    corpus = Corpus.open(place)
    assert len(corpus.amplitude(corpus.recordings[0])) == corpus.recordings[0].samples
    with pytest.raises(CorpusError, match=r"prepared from r4\.wav"):
        verify_corpus(place)
    assert prepared(folder).is_unchanged
    assert prepared(folder, remove_dc=True).decoded == 8  # its files have no mean


@pytest.mark.parametrize("size", [0, 1000, None])
def test_samples_that_are_cut_short_or_gone_are_decoded_again(folder, prepared, size):
    before = prepared(folder)
    path = before.folder / "samples.npy"
    if size is None:
        path.unlink()
    else:
        os.truncate(path, size)
    after = prepared(folder)
    assert after.decoded == 8
    assert after.index == before.index


def test_the_command_verifies(folder, tmp_path, prepared, capsys):
    from samplewise.cli.main import main

    place = str(prepared(folder).folder)
    assert main(["prepare", "--verify", place]) == 0
    assert "is sound: the samples of 8 recordings are as they" in capsys.readouterr().out
    spoil(Corpus.open(Path(place)), "r4.wav")
    assert main(["prepare", "--verify", place]) == 1
    assert "prepared from r4.wav" in capsys.readouterr().err
    assert main(["prepare", str(folder)]) == 2
    assert "name the folder of the corpus with -o" in capsys.readouterr().err


def test_of_a_constant_under_the_sound_all_levels_are_free_and_it_can_be_removed(
    tmp_path, prepared
):
    t = np.arange(16000) / 16000
    wave = 0.2 + 0.01 * np.sin(2 * np.pi * 250 * t)
    (tmp_path / "in").mkdir()
    for i in range(4):
        sf.write(tmp_path / "in" / f"{i}.wav", wave + 0.01 * i, 16000)
    kept = prepared(tmp_path / "in").index
    assert kept.summary.loudness_rms_dbfs == pytest.approx(-43.01, abs=0.01)
    assert kept.gain == pytest.approx(0.99 / 0.24, rel=1e-3)  # nothing may be clipped
    (warning,) = [w for w in kept.warnings if "(DC)" in w]
    assert "4 recordings: 0.wav, 1.wav, 2.wav, 3.wav; without it the peak is -39.99 dBFS" in warning
    result = prepared(tmp_path / "in", remove_dc=True)
    assert result.decoded == 0
    assert not any("(DC)" in warning for warning in result.index.warnings)
    assert result.index.gain == pytest.approx(99, rel=1e-2)
    assert {r.sha256: r.split for r in result.index.recordings} == {
        r.sha256: r.split for r in kept.recordings
    }
    corpus = Corpus.open(result.folder)
    for recording in corpus.recordings:
        amplitude = corpus.amplitude(recording)
        assert abs(amplitude.mean()) < 1e-5
        assert 0.98 < np.abs(amplitude).max() <= 0.99
        assert recording.peak * corpus.gain == pytest.approx(np.abs(amplitude).max(), rel=1e-6)


def test_the_peak_of_a_corpus_is_what_was_asked_for(tmp_path, prepared):
    for i in range(3):
        sf.write(tmp_path / f"{i}.wav", noise(20_000, i) / (i + 2), 16000)
    loud, low = (prepared(tmp_path, **given).index for given in ({}, {"peak": 0.5}))
    assert low.gain == pytest.approx(loud.gain * 0.5 / 0.99)
    assert low.recordings == loud.recordings
    with pytest.raises(ValueError, match=r"peak = 1.5 must lie in \(0, 1\]"):
        prepared(tmp_path, peak=1.5)


def test_the_mean_of_a_cut_recording_is_that_of_the_whole(tmp_path, prepared):
    wave = noise(80_000, 0) / 10 + np.linspace(0, 0.4, 80_000)
    sf.write(tmp_path / "one.wav", wave, 16000)
    corpus = Corpus.open(prepared(tmp_path / "one.wav", remove_dc=True).folder)
    assert [r.split for r in corpus.recordings] == ["train", "valid", "test"]
    assert {round(r.dc, 3) for r in corpus.recordings} == {0.2}
    peaks = [np.abs(corpus.amplitude(r)).max() for r in corpus.recordings]
    assert peaks == pytest.approx([r.peak * corpus.gain for r in corpus.recordings], rel=1e-6)
    assert max(peaks) <= 0.99


@pytest.mark.parametrize("short", [0.06, 1.0, 2.0])
def test_neither_a_jingle_nor_silence_decides(tmp_path, prepared, short):
    (tmp_path / "in").mkdir()
    for i in range(10):
        sf.write(tmp_path / "in" / f"track{i}.wav", noise(30_000, i), 1000)
    for i in range(2):
        jingle = noise(round(1000 * short), 99) if short < 2 else np.zeros(2000 + i)
        sf.write(tmp_path / "in" / f"short{i}.wav", jingle, 1000)
    for seed in range(2):
        index = prepared(tmp_path / "in", sample_rate=1000, seed=seed).index
        held = {r.source for r in index.recordings if r.split != "train"}
        assert {source[:5] for source in held} >= {"track"}
        for split in ("valid", "test"):
            tracks = [r for r in index.recordings if r.split == split and "track" in r.source]
            assert len(tracks) == 1
        assert short < 2 or len(held) == 2
        silent = "2 recordings are silent and not counted in any split: short0.wav, short1.wav"
        assert (silent in index.warnings) == (short == 2)


def test_silence_at_the_end_of_the_only_recording_is_not_held_out(tmp_path, prepared):
    sf.write(tmp_path / "one.wav", np.append(noise(40_000, 0), np.zeros(20_000)), 16000)
    parts = Corpus.open(prepared(tmp_path / "one.wav").folder).recordings
    assert [part.split for part in parts] == ["train", "valid", "test"]
    assert parts[-1].offset + parts[-1].samples == 40_000


def test_a_small_or_silent_split_is_warned_of_in_corpora_that_have_one(tmp_path, prepared):
    for name, samples, level in (("train/a", 90_000, 1), ("valid/b", 2000, 0), ("test/c", 900, 1)):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        sf.write(tmp_path / "in" / f"{name}.wav", level * noise(samples, samples), 1000)
    index = prepared(tmp_path / "in", sample_rate=1000).index
    expected = [
        "1 recording is silent and not counted in any split: valid/b.wav",
        "the validation split is silence instead of 6%, and decides which weights are kept; ",
        "the test split is 0.9 s, 1.0% of the audio instead of 6%, and decides the score; ",
    ]
    assert [w.split("add")[0] for w in split_warnings(index)] == expected
    assert set(split_warnings(index)) <= set(index.warnings)
    before = Prepared(tmp_path, dataclasses.replace(index, warnings=("old",)), 0, 3, True)
    assert before.warnings == ["old", *split_warnings(index)]


@pytest.mark.parametrize(
    ("lengths", "reason"),
    [
        ([10_000], r"there are too few recordings \(1\)"),
        ([90_000, 2000, 2000, 2000], r"each split its share \(it is 94% of the audio\)"),
    ],
)
def test_why_a_recording_was_cut_is_said(tmp_path, prepared, lengths, reason):
    (tmp_path / "in").mkdir()
    for i, samples in enumerate(lengths):
        sf.write(tmp_path / "in" / f"{i}.wav", noise(samples, i), 1000)
    warnings = prepared(tmp_path / "in", sample_rate=1000).index.warnings
    assert [w for w in warnings if re.search(rf"0\.wav was cut .* because .*{reason}", w)]


def test_a_part_of_another_length_is_decoded_again(folder, tmp_path, prepared, monkeypatch):
    monkeypatch.setattr("samplewise.data.prepare.prepare.assemble", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepared(folder)
    monkeypatch.undo()
    part = next((tmp_path / "corpus" / ".prepare" / "parts").iterdir())
    part.write_bytes(part.read_bytes()[:-2])
    assert prepared(folder).decoded == 1
