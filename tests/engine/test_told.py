"""A WaveRNN that is told something: the engine gives what the reference gives."""

import copy

import numpy as np
import pytest
import torch
from tests.engine.test_agreement import TIE, beyond
from tests.generate.conftest import make_model
from tests.models.conftest import TOLD

from samplewise.config.conditioning import ConditioningConfig
from samplewise.config.models import WaveNetConfig, WaveRNNConfig
from samplewise.engine.sampler import NativeSampler
from samplewise.engine.weights import can_pack
from samplewise.generate.class_conditioning import class_conditioning
from samplewise.generate.reference import ReferenceSampler
from samplewise.generate.uniforms import uniforms
from samplewise.generate.vocoder import condition_frames

KINDS = {"mel": TOLD, "class": ConditioningConfig(classes=("a", "b"), width=4)}


@pytest.fixture(params=KINDS)
def told(request):
    """A model, and the vectors of ten frames of a spectrogram, or of a class."""
    model = make_model(WaveRNNConfig(dim=70, conditioning=KINDS[request.param]))
    samples = 10 * TOLD.mel.hop
    if request.param == "class":
        return model, class_conditioning(model, "b", [0]).at(0, samples)
    mel = np.random.default_rng(0).uniform(-9, 2, (10, TOLD.mel.n_mels)).astype(np.float32)
    return model, np.concatenate([frame.vectors for frame in condition_frames(model, mel, "b")])[
        None
    ]


def reference_logits(model, codes, vectors):
    """In double precision."""
    previous = np.concatenate([[[model.quantizer.silence]], codes[:, :-1]], 1)
    places = np.arange(codes.shape[1]) // model.conditioner.config.hold
    held = torch.from_numpy(vectors[:, places]).double()
    double = copy.deepcopy(model).double()
    target = torch.from_numpy(codes)
    with torch.inference_mode():
        return double(torch.from_numpy(previous), double.initial_state(1), target, held)[0]


def test_logits_and_scores_are_the_references(told):
    model, vectors = told
    codes = np.random.default_rng(1).integers(0, model.q_levels, (1, 10 * TOLD.mel.hop))
    found = NativeSampler(model, 1, "f32").logits(codes, conditioning=vectors)
    expected = reference_logits(model, codes, vectors).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    wrong = NativeSampler(model, 1, "f32").logits(codes, conditioning=vectors[:, ::-1] + 1)
    assert np.abs(wrong - found).max() > 0.1


def test_codes_are_the_references_until_a_rounding_tie(told):
    model, vectors = told
    numbers = uniforms(3, [0], 0, 10 * TOLD.mel.hop)
    for sampler in (NativeSampler(model, 1, "f32"), ReferenceSampler(model, 1)):
        codes, scores, _ = sampler.draw(sampler.start(1), numbers, None, vectors)
        logits = reference_logits(model, codes, vectors)
        assert beyond(logits.numpy(), True, codes, numbers).max() < TIE
        expected = model.head.log_prob(logits[0], torch.from_numpy(codes[0]))
        np.testing.assert_allclose(scores[0], expected, atol=1e-4)
        other = reference_logits(model, codes, vectors + 1).numpy()
        assert beyond(other, True, codes, numbers).max() > 100 * TIE


def test_other_families_that_are_told_something_are_left_to_the_reference():
    assert not can_pack(make_model(WaveNetConfig(blocks=1, layers=2, conditioning=TOLD)))
    assert can_pack(make_model(WaveNetConfig(blocks=1, layers=2)))
