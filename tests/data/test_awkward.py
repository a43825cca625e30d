"""Hostile and odd files: each is either in the corpus or skipped with a reason; nothing hangs."""

import csv
import os
import resource
import struct

import numpy as np
import pytest
import soundfile as sf
from tests.data.mutations import FORMATS, mutate, valid_file
from tests.data.sounds import noise

from samplewise.cli.corpus_summary import format_summary
from samplewise.data.corpus import Corpus


@pytest.fixture
def place(tmp_path):
    """A folder with one good recording, so that a corpus can be made."""
    folder = tmp_path / "in"
    folder.mkdir()
    sf.write(folder / "good.wav", noise(32000, 0), 16000)
    return folder


def reason(prepared, place, name):
    """Prepare and return why ``name`` is skipped; None if it is in the corpus."""
    index = prepared(place).index
    reasons = {item.source: item.reason for item in index.skipped}
    kept = {file.source for file in index.files}
    assert (name in kept) != (name in reasons)
    assert "good.wav" in kept
    assert all("\n" not in text for text in reasons.values())
    return reasons.get(name)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.nan, "NaN at 0.5000 s in channel 1"),
        (-np.inf, "infinity at 0.5000 s"),
        (1e30, "amplitude 1e\\+30 at 0.5000 s"),
        (30.0, "more than 24 dB over full scale"),
    ],
)
def test_floats_that_are_no_sound_are_skipped(place, prepared, value, expected):
    wave = noise(16000, 1)
    wave[8000] = value
    sf.write(place / "bad.wav", wave, 16000, subtype="DOUBLE")
    assert expected.replace("\\", "") in (reason(prepared, place, "bad.wav") or "")


@pytest.mark.parametrize("samples", [0, 1, 79, 799])
def test_recordings_without_a_twentieth_of_a_second_are_skipped(place, prepared, samples):
    sf.write(place / "short.wav", noise(samples, 1), 16000)
    expected = "too short" if samples else "it holds no samples"
    assert expected in (reason(prepared, place, "short.wav") or "")


def test_fifty_milliseconds_are_enough(place, prepared):
    sf.write(place / "short.wav", noise(800, 1), 16000)
    assert reason(prepared, place, "short.wav") is None


def test_a_header_that_claims_4_gigabytes_costs_nothing(place, prepared):
    data = noise(3200, 1)
    sf.write(place / "claims.wav", data, 16000)
    raw = bytearray((place / "claims.wav").read_bytes())
    struct.pack_into("<I", raw, 40, 2**32 - 1)
    (place / "claims.wav").write_bytes(raw)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    index = prepared(place).index
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB
    assert {f.source: f.samples for f in index.files}["claims.wav"] == 3200
    assert [(n.source, n.note[:9]) for n in index.notes] == [("claims.wav", "cut short")]


def test_a_flac_file_of_unknown_length_costs_nothing(place, prepared):
    sf.write(place / "a.flac", noise(16000, 1), 16000)
    raw = bytearray((place / "a.flac").read_bytes())
    raw[21] &= 0xF0  # the 36 bits of STREAMINFO's total samples: 0 means unknown
    raw[22:26] = bytes(4)
    (place / "a.flac").write_bytes(raw)
    assert reason(prepared, place, "a.flac") is None


@pytest.mark.parametrize("ending", ["flac", "mp3", "ogg", "wav"])
def test_a_truncated_file_is_used_as_far_as_it_goes_and_noted(place, prepared, ending):
    sf.write(place / f"cut.{ending}", noise(64_000, 1), 16000)
    data = (place / f"cut.{ending}").read_bytes()
    (place / f"cut.{ending}").write_bytes(data[: 2 * len(data) // 3])
    index = prepared(place).index
    samples = {file.source: file.samples for file in index.files}[f"cut.{ending}"]
    assert 16_000 < samples < 64_000
    if ending != "ogg":  # its header claims no length
        assert [note.source for note in index.notes] == [f"cut.{ending}"]


def test_random_bytes_and_other_kinds_of_file_are_skipped(place, prepared):
    (place / "random.wav").write_bytes(np.random.default_rng(0).bytes(5000))
    (place / "text.flac").write_text("this is no sound\n" * 100)
    (place / "zip.mp3").write_bytes(b"PK\x03\x04" + bytes(1000))
    (place / "empty.ogg").touch()
    (place / "notes.txt").write_text("hello")
    reasons = {item.source: item.reason for item in prepared(place).index.skipped}
    assert reasons == {
        "random.wav": "Format not recognised",
        "text.flac": "Format not recognised",
        "zip.mp3": "Format not recognised",
        "empty.ogg": "empty file (0 bytes)",
        "notes.txt": "not a sound file, by its name",
    }


@pytest.mark.parametrize("name", list(FORMATS))
def test_the_ending_of_a_name_does_not_decide_how_it_is_decoded(place, prepared, name):
    (place / "any.wav").write_bytes(valid_file(name))
    assert reason(prepared, place, "any.wav") is None


def test_channels_that_cancel_are_pointed_out(place, prepared):
    left = noise(16000, 1)
    sf.write(place / "antiphase.wav", np.stack([left, -left], 1), 16000)
    sf.write(place / "a_silence.wav", np.zeros(16000), 16000)
    sf.write(place / "cancel.wav", noise(16000, 2), 16000)
    sf.write(place / "copy.wav", noise(16000, 2), 16000)
    index = prepared(place).index
    warnings = [warning for warning in index.warnings if "cancel" in warning]
    assert warnings == ["all channels cancel: antiphase.wav mixes to silence"]
    copy, _ = index.skipped
    assert copy.source == "antiphase.wav"
    assert copy.reason.startswith("same audio as a_silence.wav; all channels cancel")
    assert prepared(place).is_unchanged


@pytest.mark.parametrize("channels", [6, 32])
def test_many_channels_are_averaged(place, prepared, channels):
    codes = np.random.default_rng(0).integers(-9999, 9999, (16000, channels))
    sf.write(place / "many.wav", codes.astype(np.int16), 16000)
    corpus = Corpus.open(prepared(place).folder)
    (file,) = [f for f in corpus.index.files if f.source == "many.wav"]
    mixed = np.asarray(corpus.stored[file.start : file.start + file.samples])
    assert np.abs(mixed - codes.mean(axis=1)).max() <= 0.51


def test_silence_alone_makes_a_corpus_of_gain_one_and_a_warning(tmp_path, prepared):
    (tmp_path / "in").mkdir()
    sf.write(tmp_path / "in" / "a.wav", np.zeros(80_000), 16000)
    index = prepared(tmp_path / "in").index
    assert index.gain == 1.0
    assert index.summary.peak_dbfs is None
    assert index.summary.silence_share == 1.0
    assert any("everything is digital silence" in warning for warning in index.warnings)


@pytest.mark.timeout(20)
def test_what_is_no_regular_file_is_skipped_and_never_waited_for(place, prepared):
    os.mkfifo(place / "fifo.wav")
    (place / "loop_a.wav").symlink_to("loop_b.wav")
    (place / "loop_b.wav").symlink_to("loop_a.wav")
    (place / "dangling.wav").symlink_to("/nonexistent/file.wav")
    (place / "zero.wav").symlink_to("/dev/zero")
    (place / "folder.wav").mkdir()
    (place / "cycle").mkdir()
    (place / "cycle" / "parent").symlink_to("..")
    reasons = {item.source: item.reason for item in prepared(place).index.skipped}
    assert reasons == {
        "fifo.wav": "a FIFO, not a regular file",
        "loop_a.wav": "a link that leads nowhere: Too many levels of symbolic links",
        "loop_b.wav": "a link that leads nowhere: Too many levels of symbolic links",
        "dangling.wav": "a link that leads nowhere: No such file or directory",
        "zero.wav": "a device, not a regular file",
        "cycle/parent": "the same folder as the folder itself",
    }


def test_links_to_recordings_and_folders_are_followed(place, tmp_path, prepared):
    (tmp_path / "elsewhere").mkdir()
    sf.write(tmp_path / "elsewhere" / "a.wav", noise(16000, 5), 16000)
    sf.write(tmp_path / "b.wav", noise(16000, 6), 16000)
    (place / "linked").symlink_to(tmp_path / "elsewhere")
    (place / "b.wav").symlink_to(tmp_path / "b.wav")
    sources = {file.source for file in prepared(place).index.files}
    assert sources == {"good.wav", "linked/a.wav", "b.wav"}


def test_any_name_works_and_is_printed_on_one_line(place, prepared):
    names = [
        b"-rf.wav",
        b"new\nline.wav",
        b"latin1_\xe9.wav",
        "音声_🎹.wav".encode(),
        b"$(echo x);&%s'\".wav",
        b"\x1b[31mred.wav",
        b"a" * 240 + b".wav",
    ]
    for i, name in enumerate(names):
        with open(os.fsencode(place) + b"/" + name, "wb") as file:  # noqa: PTH123 - bytes
            sf.write(file, noise(16000, 10 + i), 16000, format="WAV")
    bad = [name.replace(b".wav", b".flac") for name in names]
    for name in bad:
        with open(os.fsencode(place) + b"/" + name, "wb") as file:  # noqa: PTH123 - bytes
            file.write(b"no sound")
    for processes in (False, True):
        result = prepared(place, place.parent / f"corpus{processes}", processes=processes)
        sources = {file.source for file in result.index.files}
        assert len(sources) == 1 + len(names)
        assert {"latin1_\\xe9.wav", "new\nline.wav", "音声_🎹.wav"} < sources
        text = format_summary(result)
        text.encode("utf-8")
        assert all(line.isprintable() for line in text.split("\n"))
        assert text.count("Format not recognised") == len(bad)
        assert prepared(place, result.folder).is_unchanged


def test_a_file_that_vanishes_after_it_was_found_is_skipped(place, prepared, monkeypatch):
    sf.write(place / "gone.wav", noise(16000, 3), 16000)
    from samplewise.data.prepare import prepare as module

    real_walk = module.walk

    def walk_then_remove(*arguments):
        found = real_walk(*arguments)
        (place / "gone.wav").unlink()
        return found

    monkeypatch.setattr(module, "walk", walk_then_remove)
    assert reason(prepared, place, "gone.wav") == "No such file or directory"


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_unreadable_files_and_folders_are_skipped(place, prepared):
    sf.write(place / "secret.wav", noise(16000, 3), 16000)
    (place / "secret.wav").chmod(0)
    (place / "closed").mkdir(mode=0)
    reasons = {item.source: item.reason for item in prepared(place).index.skipped}
    assert reasons == {
        "secret.wav": "Permission denied",
        "closed": "cannot list the folder: Permission denied",
    }
    (place / "closed").chmod(0o700)


@pytest.mark.parametrize("name", list(FORMATS))
def test_ten_mutations_of_each_format_neither_crash_nor_reach_the_corpus_as_nan(
    tmp_path, prepared, name
):
    (tmp_path / "in").mkdir()
    sf.write(tmp_path / "in" / "good.wav", noise(32000, 0), 16000)
    rng = np.random.default_rng(list(name.encode()))
    data = valid_file(name)
    for i in range(10):
        (tmp_path / "in" / f"{i}.wav").write_bytes(mutate(data, rng))
    result = prepared(tmp_path / "in")
    assert len(result.index.files) + len(result.index.skipped) == 11
    corpus = Corpus.open(result.folder)
    for recording in corpus.recordings:
        assert np.abs(corpus.amplitude(recording)).max() <= 0.99


def test_the_nasty_pack_behaves_as_its_list_says(packs, prepared):
    nasty = packs / "nasty"
    result = prepared(nasty, jobs=2, processes=True)
    kept = {file.source for file in result.index.files}
    skipped = {item.source: item for item in result.index.skipped}
    with (nasty / "EXPECT.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 90
    for row in rows:
        name, expected = row["file"], row["expected"]
        assert (name in kept) != (name in skipped), name
        if name in skipped:
            assert skipped[name].reason, name
            assert "\n" not in skipped[name].reason
        if expected == "accept" and name not in kept:
            assert skipped[name].same_as in kept, f"{name}: {skipped[name].reason}"
        if expected == "reject":
            assert name in skipped, name
            assert not skipped[name].same_as
        if name in kept and row["seconds"] and row["rate"]:
            (facts,) = [f for f in result.index.files if f.source == name]
            assert facts.rate == int(row["rate"])
            assert abs(facts.samples / 16000 - float(row["seconds"])) < 0.06, name
    corpus = Corpus.open(result.folder)
    assert all(np.isfinite(corpus.amplitude(r)).all() for r in corpus.recordings)
