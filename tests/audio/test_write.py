import io
import struct
import subprocess
import sys
import wave as stdlib_wave

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from samplewise.audio.files import read_audio, write_wav
from samplewise.audio.write import pcm16, wav_bytes, wav_header, write_audio, write_blocks

INT16 = arrays(np.int16, st.integers(0, 300), elements=st.integers(-32768, 32767))


@given(INT16)
def test_sixteen_bit_audio_survives_writing_and_reading_bit_for_bit(codes):
    wave = codes.astype(np.float32) / 32768
    data, rate = sf.read(io.BytesIO(wav_bytes(wave, 22050)), dtype="int16")
    assert rate == 22050
    assert data.tolist() == codes.tolist()


def test_the_standard_library_reads_the_same_wav_file(tmp_path):
    codes = np.array([0, 1, -32768, 32767], np.int16)
    write_wav(tmp_path / "a.wav", codes.astype(np.float32) / 32768, 16000)
    with stdlib_wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16000)
        assert np.frombuffer(file.readframes(10), "<i2").tolist() == codes.tolist()


def test_rounding_is_to_the_nearest_and_plus_one_fits():
    wave = np.array([0.4 / 32768, 0.6 / 32768, 1.0, -1.0], np.float32)
    assert pcm16(wave).tolist() == [0, 1, 32767, -32768]


@pytest.mark.parametrize("value", [1.001, -1.5, np.nan, np.inf])
def test_a_wave_that_does_not_fit_is_refused_and_nothing_is_written(tmp_path, value):
    for write in (write_wav, write_audio):
        with pytest.raises(ValueError, match=r"wave must lie in \[-1, 1\], but its peak is"):
            write(tmp_path / "a.wav", np.array([0, value], np.float32), 16000)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_earlier_file(tmp_path):
    write_wav(tmp_path / "a.wav", np.zeros(10, np.float32), 16000)
    before = (tmp_path / "a.wav").read_bytes()

    def breaks_off():
        yield np.zeros(100_000, np.float32)
        raise RuntimeError("generator failed")

    with pytest.raises(RuntimeError, match="generator failed"):
        write_blocks(tmp_path / "a.wav", breaks_off(), 16000)
    assert (tmp_path / "a.wav").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.parametrize("ending", [".wav", ".flac", ".ogg"])
def test_stereo_of_each_format_can_be_read_again(tmp_path, ending):
    rng = np.random.default_rng(0)
    wave = (0.1 * rng.standard_normal((70_000, 2))).astype(np.float32)
    write_audio(tmp_path / f"a{ending}", wave, 44100)
    data, rate = sf.read(tmp_path / f"a{ending}")
    assert (data.shape, rate) == ((70_000, 2), 44100)
    tolerance = 0.5 if ending == ".ogg" else 1 / 65000
    assert np.abs(data - wave).max() < tolerance


def test_an_unknown_ending_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must end in one of"):
        write_audio(tmp_path / "a.xyz", np.zeros(10, np.float32), 16000)


def test_above_4_gigabytes_the_header_is_rf64(tmp_path):
    frames = 2**31 + 7
    header = wav_header(frames, 16000)
    assert header[:4] == b"RF64"
    assert struct.unpack_from("<QQQ", header, 20) == (72 + 2 * frames, 2 * frames, frames)
    with (tmp_path / "long.wav").open("wb") as file:
        file.write(header)
        file.truncate(len(header) + 2 * frames)  # sparse: takes no space
    assert sf.info(tmp_path / "long.wav").frames == frames


def test_just_below_4_gigabytes_the_header_is_riff():
    frames = (2**32 - 1 - 36) // 2
    assert wav_header(frames, 16000)[:4] == b"RIFF"
    assert wav_header(frames + 1, 16000)[:4] == b"RF64"


def test_the_header_of_a_stream_is_readable_up_to_its_end():
    data = wav_header(None, 16000) + pcm16(np.full(1000, 0.5, np.float32)).tobytes()
    samples, _ = sf.read(io.BytesIO(data))
    assert len(samples) == 1000


@pytest.mark.parametrize("numbers", [(-1, 16000, 1), (1, 0, 1), (1, 16000, 0)])
def test_an_impossible_header_is_refused(numbers):
    with pytest.raises(ValueError, match="make no WAV file"):
        wav_header(*numbers)


def test_ten_minutes_of_stereo_vorbis_in_one_call_do_not_crash(tmp_path):
    script = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from samplewise.audio.files import write_audio, blocks\n"
        "wave = np.zeros((600 * 8000, 2), np.float32); wave[::97] = 0.3\n"
        "write_audio(Path(sys.argv[1]), wave, 8000)\n"
        "assert sum(len(block) for block in blocks(Path(sys.argv[1]))) == len(wave)\n"
    )
    path = tmp_path / "long.ogg"
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_read_audio_gives_back_what_was_written(tmp_path):
    wave = (np.arange(-500, 500) / 32768).astype(np.float32)
    write_wav(tmp_path / "a.wav", wave, 16000)
    data, rate = read_audio(tmp_path / "a.wav", None)
    assert rate == 16000
    assert np.array_equal(data, wave)


@given(st.integers(0, 2**40), st.integers(1, 8))
def test_a_padded_header_has_one_length_and_says_the_same(frames, channels):
    padded = wav_header(frames, 16000, channels, is_padded=True)
    plain = wav_header(frames, 16000, channels)
    assert len(padded) == 80
    if plain[:4] == b"RF64":
        assert padded[:4] == b"RF64"
    if padded[:4] == b"RIFF":
        assert padded[-32:] == plain[-32:]
        assert struct.unpack_from("<I", padded, 4)[0] == 72 + 2 * channels * frames
