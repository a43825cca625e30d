from pathlib import Path

import numpy as np
import pytest
import torch

from samplewise.audio import mel as module
from samplewise.audio.mel import SILENCE, griffin_lim, mel_spectrogram
from samplewise.config.conditioning import ConditioningConfig, MelConfig

GOLDEN = Path(__file__).parent / "golden_mel.npz"
"""A noisy chirp at 16 kHz and, by librosa 0.11 (melspectrogram with power=1, center=True,
pad_mode="constant"), the logarithm of its bands, at least 1e-5, with two sets of parameters."""
CONFIGS = {"a": MelConfig(40, 512, 400, 160, 50.0, 7000.0), "b": MelConfig()}


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


@pytest.mark.parametrize("name", CONFIGS)
def test_mel_equals_librosas(golden, name):
    found = mel_spectrogram(golden["wave"], CONFIGS[name], 16000)
    torch.testing.assert_close(found, golden[name][: len(found)], rtol=0, atol=2e-5)


def test_blocks_and_a_later_start_change_nothing(golden, monkeypatch):
    wave, config = golden["wave"], CONFIGS["a"]
    whole = mel_spectrogram(wave, config, 16000)
    monkeypatch.setattr(module, "BLOCK_FRAMES", 7)
    torch.testing.assert_close(mel_spectrogram(wave, config, 16000), whole, rtol=0, atol=1e-5)
    later = mel_spectrogram(wave, config, 16000, start=3 * config.hop)
    torch.testing.assert_close(later, whole[3:], rtol=0, atol=1e-5)


def test_silence_is_the_floor():
    frames = mel_spectrogram(torch.zeros(1000), MelConfig(), 16000)
    torch.testing.assert_close(frames, torch.full((4, 80), SILENCE))


def test_griffin_lim_nears_the_spectrogram_with_every_projection(golden):
    config = CONFIGS["a"]
    wanted = mel_spectrogram(golden["wave"], config, 16000)
    errors = []
    for iterations in (0, 4, 60):
        wave = griffin_lim(wanted, config, 16000, iterations)
        assert len(wave) == len(wanted) * config.hop
        errors.append((mel_spectrogram(wave, config, 16000) - wanted).abs().mean().item())
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"hop": 0}, "hop = 0 must lie in"),
        ({"win_length": 2048}, "win_length = 2048 must lie in"),
        ({"f_min": 9000.0}, "f_min, f_max = 9000.0, 8000.0 Hz must be in order"),
    ],
)
def test_impossible_parameters_are_refused(change, fault):
    with pytest.raises(ValueError, match=fault):
        MelConfig(**change)
    with pytest.raises(ValueError, match="upsampling = 3 must divide the hop of 256 samples"):
        ConditioningConfig(MelConfig(), upsampling=3)
