import os
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from samplewise.audio.files import MAX_FRAMES, blocks, mono, probe, read_audio, shown
from samplewise.errors import AudioError


def test_a_file_is_read_in_small_blocks_and_nothing_is_lost(tmp_path):
    wave = np.random.default_rng(0).integers(-3000, 3000, (150_001, 2)).astype(np.int16)
    sf.write(tmp_path / "a.flac", wave, 44100)
    parts = list(blocks(tmp_path / "a.flac"))
    assert max(len(part) for part in parts) <= MAX_FRAMES
    assert np.array_equal(np.concatenate(parts) * 32768, wave)


def test_probe_tells_what_the_header_says(tmp_path):
    sf.write(tmp_path / "a.wav", np.zeros((100, 3)), 48000)
    facts = probe(tmp_path / "a.wav")
    assert (facts.sample_rate, facts.channels, facts.frames) == (48000, 3, 100)
    assert (facts.format, facts.subtype) == ("WAV", "PCM_16")


def test_mono_is_the_mean_of_the_channels():
    block = np.array([[1, 0], [0.5, -0.5]], np.float32)
    assert mono(block).tolist() == [0.5, 0]


def test_a_prompt_is_resampled_and_mixed(tmp_path):
    t = np.arange(44100) / 44100
    tone = 0.5 * np.sin(2 * np.pi * 440 * t)
    sf.write(tmp_path / "a.wav", np.stack([tone, tone], 1), 44100)
    wave, rate = read_audio(tmp_path / "a.wav", 16000)
    assert (len(wave), rate) == (16000, 16000)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert np.abs(wave - expected)[500:-500].max() < 1e-3


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.nan, "NaN at 0.0050 s in channel 2"),
        (np.inf, "infinity at 0.0050 s in channel 2"),
        (-17.0, "amplitude -17 at 0.0050 s in channel 2: more than 24 dB over full scale"),
    ],
)
def test_what_is_no_sound_is_refused_with_its_position(tmp_path, value, reason):
    wave = np.zeros((100, 2), np.float32)
    wave[40, 1] = value
    sf.write(tmp_path / "a.wav", wave, 8000, subtype="FLOAT")
    with pytest.raises(AudioError, match=reason):
        read_audio(tmp_path / "a.wav", None)


def test_random_bytes_are_refused_by_name(tmp_path):
    (tmp_path / "noise.wav").write_bytes(bytes(range(256)) * 20)
    with pytest.raises(AudioError, match=r"cannot read .*noise\.wav: Format not recognised"):
        probe(tmp_path / "noise.wav")


@pytest.mark.parametrize(
    ("magic", "name"),
    [
        (b"\0\0\0\x20ftypM4A ", "M4A"),
        (b"\x1a\x45\xdf\xa3", "WebM/Matroska"),
        (b"\x30\x26\xb2\x75\x8e\x66", "WMA"),
    ],
)
def test_containers_that_are_not_supported_are_named_with_a_remedy(tmp_path, magic, name):
    (tmp_path / "a.wav").write_bytes(magic + bytes(200))
    with pytest.raises(AudioError, match=f"{name} is not supported; convert it to WAV or FLAC"):
        probe(tmp_path / "a.wav")


def test_missing_and_empty_files_and_folders_are_refused(tmp_path):
    (tmp_path / "empty.wav").touch()
    for name, reason in [
        ("none.wav", "No such file"),
        ("empty.wav", r"empty file \(0 bytes\)"),
        (".", "not a regular file"),
    ]:
        with pytest.raises(AudioError, match=reason):
            probe(tmp_path / name)


@pytest.mark.timeout(10)
def test_a_fifo_is_refused_without_waiting_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "fifo.wav")
    with pytest.raises(AudioError, match="not a regular file"):
        read_audio(tmp_path / "fifo.wav", None)


def test_a_file_without_samples_is_refused_as_a_prompt(tmp_path):
    sf.write(tmp_path / "a.wav", np.zeros(0), 8000)
    with pytest.raises(AudioError, match="it holds no samples"):
        read_audio(tmp_path / "a.wav", None)


def test_no_descriptor_is_left_open_after_an_error(tmp_path):
    (tmp_path / "noise.wav").write_bytes(b"RIFF" + bytes(100))
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(5):
        with pytest.raises(AudioError):
            probe(tmp_path / "noise.wav")
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_decoders_do_not_print(tmp_path, capfd):
    wave = np.random.default_rng(0).standard_normal(48000) * 0.1
    sf.write(tmp_path / "a.mp3", wave, 16000)
    data = (tmp_path / "a.mp3").read_bytes()
    (tmp_path / "cut.mp3").write_bytes(data[: len(data) // 3])
    wave, _ = read_audio(tmp_path / "cut.mp3", None)
    assert 5000 < len(wave) < 40000
    os.write(2, b"still there")
    assert capfd.readouterr().err == "still there"


def test_a_flac_file_that_breaks_off_is_read_as_far_as_it_goes(tmp_path):
    wave = np.random.default_rng(0).integers(-3000, 3000, 60_000).astype(np.int16)
    sf.write(tmp_path / "a.flac", wave, 16000)
    data = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(data[: len(data) // 2])
    read, _ = read_audio(tmp_path / "cut.flac", None)
    assert 10_000 < len(read) < 40_000
    assert np.array_equal(read * 32768, wave[: len(read)])


def test_names_are_shown_on_one_line_without_control_characters():
    assert shown("a\nb\x1b[31m\udce9é🎹.wav") == "a\\nb\\x1b[31m\\udce9é🎹.wav"
