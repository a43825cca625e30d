import numpy as np
import pytest
import torch

from samplewise.audio import mel_correction
from samplewise.audio.lpc import interpolation
from samplewise.audio.mel import mel_filters, mel_spectrogram
from samplewise.audio.mel_correction import correct, delay
from samplewise.config.conditioning import MelConfig

RATE = 16000
CONFIGS = [MelConfig(), MelConfig(20, 64, 50, 23, f_max=None), MelConfig(8, 32, 32, 16)]


def noise(samples, seed=0):
    return np.random.default_rng(seed).standard_normal(samples) / 10


def mel_of(wave, config):
    return mel_spectrogram(torch.from_numpy(wave).float(), config, RATE).numpy()


def pieces(wave, mel, config):
    return zip(wave.reshape(-1, config.hop), mel, strict=True)


def corrected(wave, mel, config):
    return np.concatenate([sound for sound, _ in correct(pieces(wave, mel, config), config, RATE)])


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("frames", [1, 3, 20])
def test_a_sound_with_the_bands_that_were_told_stays(config, frames):
    wave = noise(frames * config.hop)
    np.testing.assert_allclose(corrected(wave, mel_of(wave, config), config), wave, atol=1e-5)


@pytest.mark.parametrize("config", CONFIGS)
def test_it_is_what_whole_transforms_give(config):
    """The same with torch's transforms of the whole sound; the last windows have no frame there."""
    wave, other = noise(30 * config.hop), noise(30 * config.hop, 1) * 0.3
    mel = mel_of(other, config)
    bank, (to_bins, areas) = mel_filters(config, RATE), interpolation(config, RATE)
    window = torch.hann_window(config.win_length).double()
    settings = (config.n_fft, config.hop, config.win_length, window)
    spectrum = torch.stft(
        torch.from_numpy(wave), *settings, pad_mode="constant", return_complex=True
    )[:, :30]
    own = (bank.double() @ spectrum.abs()).clamp(min=1e-5).log()[areas > 0]
    told = torch.from_numpy(mel.T).double()[areas > 0]
    change = (mel_correction.STEP * (told - own)).clamp(-3, 3)
    gains = (torch.from_numpy(to_bins).T @ change).exp()
    whole = torch.istft(spectrum * gains, *settings, length=len(wave)).numpy()
    found = corrected(wave, mel, config)
    inner = 30 * config.hop - config.n_fft
    np.testing.assert_allclose(found[:inner], whole[:inner], atol=1e-9)


def test_every_correction_brings_the_bands_nearer():
    config = CONFIGS[0]
    wave, mel = noise(20 * config.hop), mel_of(noise(20 * config.hop, 1) * 0.2, config)
    gaps = []
    for _ in range(4):
        gaps.append(np.abs(mel_of(wave, config) - mel).mean())
        wave = corrected(wave, mel, config)
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < gaps[0] / 3


@pytest.mark.parametrize("config", CONFIGS)
def test_a_piece_leaves_as_soon_as_those_are_there_that_it_depends_on(config):
    taken = 0

    def coming():
        nonlocal taken
        wave = noise(40 * config.hop)
        for piece in pieces(wave, mel_of(wave, config), config):
            taken += 1
            yield piece

    when = [taken for _ in correct(coming(), config, RATE)]
    assert when == [min(40, index + 1 + delay(config)) for index in range(40)]


def test_silence_stays_silent_and_windows_must_overlap():
    config = CONFIGS[0]
    silent = np.zeros(3 * config.hop)
    assert not corrected(silent, mel_of(silent, config), config).any()
    apart = MelConfig(8, 32, 32, 17)
    with pytest.raises(ValueError, match="hop = 17 must be at most half of win_length = 32"):
        corrected(np.zeros(17), np.zeros((1, 8), np.float32), apart)
