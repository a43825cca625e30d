import tracemalloc

import numpy as np
import pytest
import soundfile
from tests.conftest import SMOKE

from samplewise.audio.noise import measure_noise, noise_range
from samplewise.generate.artifacts import find_artifacts
from samplewise.quantizers import make_quantizer

RATE = 16000
SECONDS = np.arange(4 * RATE) / RATE


def generator():
    return np.random.default_rng(1)


def loop(period_s, scale=0.3):
    period = generator().standard_normal(round(period_s * RATE)).cumsum()
    period = (period - period.mean()) / np.abs(period).max() * scale
    return np.resize(period, 4 * RATE)


def real(name="piano_0.flac"):
    return soundfile.read(SMOKE / "train" / name, dtype="float32")[0][: 4 * RATE]


def drone():
    """Two partials of wandering phase over noise: what a model falls into."""
    wander = np.cumsum(generator().normal(0, 0.01, 4 * RATE))
    tones = [np.sin(2 * np.pi * f * SECONDS + f / 250 * wander) / f * 50 for f in (250, 500)]
    return np.sum(tones, axis=0) + generator().normal(0, 0.005, 4 * RATE)


def howl(seconds=1.2):
    """Piano that ends in a loud whistle of 3.5 kHz: a model that answers itself."""
    whistle = 0.5 * np.sin(2 * np.pi * 3500 * SECONDS)
    return real() + whistle * (4 - seconds <= SECONDS)


BAD = {
    "digital silence": (np.zeros(4 * RATE), "silence"),
    "one code of dither": (generator().choice([0.0, 2e-4], 4 * RATE), "silence"),
    "a click in silence": (np.eye(1, 4 * RATE, 9000)[0] * 0.5, "silence"),
    "loud white noise": (generator().uniform(-1, 1, 4 * RATE), "noise"),
    "soft white noise": (generator().normal(0, 0.01, 4 * RATE), "noise"),
    "full-scale square": (np.sign(np.sin(2 * np.pi * 220 * SECONDS + 0.1)), "noise"),
    "random codes": (
        make_quantizer("mulaw", 256).decode(generator().integers(0, 256, 4 * RATE)), "noise",
    ),
    "a constant": (np.full(4 * RATE, 0.3), "stuck"),
    "a 50 ms loop": (loop(0.05), "stuck"),
    "a 0.8 s loop": (loop(0.8), "stuck"),
    "a 5 ms loop with noise": (loop(0.005) + generator().normal(0, 0.01, 4 * RATE), "stuck"),
    "piano, then a loop": (
        np.concatenate([real()[: 2 * RATE], np.resize(real()[30000:32000], 2 * RATE)]), "stuck",
    ),
    "a drone": (drone(), "stuck"),
    "piano, then a whistle": (howl(), "stuck"),
    "piano, then a constant": (np.concatenate([real()[: 2 * RATE], np.ones(2 * RATE)]), "stuck"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_bad_is_flagged(name):
    wave, flag = BAD[name]
    assert flag in find_artifacts(wave, RATE)


def test_silence_has_no_other_flag():
    assert list(find_artifacts(np.zeros(4 * RATE), RATE)) == ["silence"]
    assert list(find_artifacts(np.full(4 * RATE, 0.3), RATE)) == ["stuck"]


@pytest.mark.parametrize("path", sorted(SMOKE.rglob("*.flac")), ids=lambda path: path.stem)
@pytest.mark.parametrize("seconds", [1, 4, 60])
def test_real_recordings_have_no_flags(path, seconds):
    wave, rate = soundfile.read(path, dtype="float32")
    length = seconds * rate
    for start in range(0, max(1, len(wave) - length + 1), length):
        assert find_artifacts(wave[start : start + length], rate) == {}


def test_silence_is_what_its_code_decodes_to():
    quantizer = make_quantizer("linear", 256)
    for code in (127, 128, 129):
        wave = quantizer.decode(np.full(4 * RATE, code))
        flag = "silence" if code < 129 else "stuck"
        assert list(find_artifacts(wave, RATE, 1 / 256)) == [flag]


def test_real_recordings_have_no_flags_as_codes_either():
    for name in ("linear", "mulaw"):
        quantizer = make_quantizer(name, 256)
        assert find_artifacts(quantizer.decode(quantizer.encode(real())), RATE) == {}


def test_a_decaying_note_is_not_stuck():
    note = np.sin(2 * np.pi * 220 * SECONDS) * np.exp(-SECONDS) * 0.8
    assert find_artifacts(note, RATE) == {}


def test_a_whistle_that_ends_or_decays_is_no_howl():
    assert find_artifacts(np.concatenate([howl(), real()[: 2 * RATE]]), RATE) == {}
    assert find_artifacts(howl(0.5), RATE) == {}
    assert find_artifacts(howl() * 0.3**SECONDS, RATE) == {}


def test_little_is_said_about_very_short_takes():
    assert find_artifacts(np.zeros(0), RATE) == {}
    assert find_artifacts(np.zeros(1000), RATE) == {}


def test_a_long_take_is_judged_like_its_parts_and_needs_no_memory_of_its_own():
    minute = np.tile(real(), 15).astype(np.float32)
    with_gaps = np.concatenate([np.zeros(40 * RATE, np.float32), minute])
    tracemalloc.start()
    assert (
        find_artifacts(minute, RATE)
        == find_artifacts(with_gaps, RATE)
        == find_artifacts(np.tile(minute, 4), RATE)
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * 4 * 4 * len(minute)


@pytest.fixture(scope="module", params=["piano", "voice"])
def recordings(request):
    """Training excerpts of two seconds, and how noisy they are."""
    paths = sorted((SMOKE / "train").glob(f"{request.param}*.flac"))
    waves = [soundfile.read(path, dtype="float32")[0] for path in paths]
    excerpts = [w[i : i + 2 * RATE] for w in waves for i in range(0, len(w) - 2 * RATE, 2 * RATE)]
    return excerpts, noise_range(measure_noise(wave, RATE) for wave in excerpts)


def band_noise():
    """Noise at 150 to 1,000 Hz and nearly nothing else."""
    hz = np.fft.rfftfreq(4 * RATE, 1 / RATE)
    spectrum = np.fft.rfft(generator().normal(size=4 * RATE))
    wave = np.fft.irfft(spectrum * np.where((hz > 150) & (hz < 1000), 1, 1e-3))
    return 0.1 * wave / wave.std()


HISSING = {
    "bursts of hiss between silences": band_noise() * (SECONDS % 1 < 0.2),
    "steady noise without tones": band_noise(),
}


@pytest.mark.parametrize("name", HISSING)
def test_what_is_far_noisier_than_the_recordings_is_hiss(name, recordings):
    _, usual = recordings
    wave = HISSING[name]
    reason = find_artifacts(wave, RATE, recordings=usual)["hiss"]
    low, high = usual.noisiness_db
    noisiness = measure_noise(wave, RATE).noisiness_db
    assert reason.startswith(f"noisiness {noisiness:.1f} dB (recordings {low:.1f} to {high:.1f})")
    assert "hiss" not in find_artifacts(wave, RATE)  # unknown recordings


def test_hiss_over_a_recording_is_measured_by_its_flatness(recordings):
    excerpts, usual = recordings
    hiss = generator().normal(0, 0.1 * excerpts[0].std(), 2 * RATE)
    assert "flatness" in find_artifacts(excerpts[0] + 2 * hiss, RATE, recordings=usual)["hiss"]


def test_the_recordings_themselves_do_not_hiss(recordings):
    excerpts, usual = recordings
    for wave in excerpts:
        assert find_artifacts(wave, RATE, recordings=usual) == {}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("digital silence", "100% of its frames are below -55 dB"),
        ("loud white noise", "2% of its samples are clipped"),
        ("soft white noise", "the flatness of its mean spectrum is 0.99; white noise: 1"),
        ("a constant", "100% of it loops or rests"),
        ("piano, then a whistle", "it ends in a steady tone of 3500 Hz"),
        ("a drone", "its bands change by 2.7 dB in 0.25 s"),
    ],
)
def test_a_flag_says_what_was_measured(name, reason):
    wave, flag = BAD[name]
    assert find_artifacts(wave, RATE)[flag] == reason
