"""What the bits of a model are that draws excitations: bits of the sound, at most so many."""

from pathlib import Path

import numpy as np
import pytest
import torch

from samplewise.config.conditioning import ConditioningConfig, MelConfig
from samplewise.config.models import SampleRNNConfig, WaveRNNConfig
from samplewise.data.excerpts import cut
from samplewise.data.reader import ClipReader
from samplewise.evaluate.evaluation import label
from samplewise.evaluate.nll import Scores, score
from samplewise.evaluate.nll_native import score_natively
from samplewise.models.build import build_model
from samplewise.models.io import AudioFormat, LoadedModel
from samplewise.quantizers import DualQuantizer

MEL = MelConfig(n_mels=4, n_fft=32, win_length=32, hop=12, f_max=None)
TOLD = ConditioningConfig(MEL, (), channels=5, layers=1, upsampling=2, width=3, lpc_order=7)


def excitations(corpus, clips):
    reader = ClipReader(corpus, "keep", DualQuantizer(), TOLD)
    return [reader.read(clip) for clip in clips]


def test_a_uniform_model_needs_as_many_bits_as_there_are_steps_in_its_range(corpus):
    """It puts 2 x 32 gains into 65536 codes; the sound has 32768 steps to an amplitude of 1."""
    model = build_model(WaveRNNConfig(dim=4, conditioning=TOLD))
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    clips = cut(corpus.split("test"), 100)
    gains = [np.exp(own.log_steps.astype(float)) / 32 for own in excitations(corpus, clips)]
    expected = [np.log2(2 * 32 * gain * 32768).sum() for gain in gains]
    found = score(model, corpus, clips, "keep").nats
    np.testing.assert_allclose(np.array(found) / np.log(2), expected, rtol=1e-5)


def test_the_native_engine_and_any_lanes_score_the_same(corpus):
    model = build_model(WaveRNNConfig(dim=8, conditioning=TOLD), seed=2).requires_grad_(False)
    for parameter in model.parameters():
        parameter.mul_(2)
    clips = cut(corpus.split("test"), 100)
    expected = score(model, corpus, clips, "keep", lanes=1, seq_len=13).nats
    found = score(model, corpus, clips, "keep", lanes=3, seq_len=40).nats
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-4)
    natively = score_natively(model, corpus, clips, "keep", "f32").nats
    assert natively == pytest.approx(expected, rel=1e-4, abs=1e-3)


def test_the_label_says_that_the_bits_are_a_bound(corpus):
    model = build_model(WaveRNNConfig(dim=4, conditioning=TOLD))
    loaded = LoadedModel(model, AudioFormat(1000, corpus.gain, "keep"), {}, Path("run"))
    scores = Scores(tuple(cut(corpus.split("test"), 100)), (0.0,) * 8)
    assert "upper bound, from the excitation of a prediction of order 7" in label(
        loaded, corpus, 0.1, scores
    )


def test_half_a_step_of_noise_decides_about_no_clip_but_its_own(corpus):
    """Codes are a function of the clip: the same in every epoch, on every rank and when scored."""
    clips = cut(corpus.split("test"), 100)
    pairs = zip(excitations(corpus, clips), excitations(corpus, clips[::-1])[::-1], strict=True)
    assert all(np.array_equal(one.codes, other.codes) for one, other in pairs)


def test_other_families_draw_the_sound_itself():
    with pytest.raises(ValueError, match="lpc_order = 7 must be 0: only a WaveRNN"):
        SampleRNNConfig(conditioning=TOLD)
