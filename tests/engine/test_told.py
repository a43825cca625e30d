"""Models that are told something: the engine gives what the reference gives."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.engine.conftest import EXTRA
from tests.engine.test_agreement import TIE, TOLERANCE, beyond
from tests.generate.conftest import make_model
from tests.models.conftest import TOLD

from samplewise.config.conditioning import ConditioningConfig
from samplewise.config.models import RNNConfig, SampleRNNConfig, WaveNetConfig, WaveRNNConfig
from samplewise.engine.sampler import NativeSampler
from samplewise.generate.class_conditioning import class_conditioning
from samplewise.generate.reference import ReferenceSampler
from samplewise.generate.uniforms import uniforms
from samplewise.generate.vocoder import condition_frames
from samplewise.models.memory import model_memory

KINDS = {"mel": TOLD, "class": ConditioningConfig(classes=("a", "b"), width=4)}
MODELS = {
    "wavernn": WaveRNNConfig(dim=70),
    # A spectrogram's vectors are held for 3 samples: others than those of any frame.
    "samplernn": SampleRNNConfig(frame_sizes=(2, 2, 8), dim=40, emb_size=5, q_levels=64),
    "samplernn-skips": EXTRA["skips"],
    "samplernn-lstm": EXTRA["odd"],
    "rnn": RNNConfig(dim=33, n_rnn=2, skip=True, emb_size=9, q_levels=36),
    "rnn-real": EXTRA["rnn-real"],
    "wavenet": WaveNetConfig(blocks=2, layers=4, channels=35, skip_channels=40, q_levels=50),
}
SAMPLES = 10 * TOLD.mel.hop


@pytest.fixture(
    scope="module", params=[(name, kind) for name in MODELS for kind in KINDS], ids="-".join
)
def told(request):
    """A model, and the vectors of ten frames of two spectrograms, or of two classes."""
    name, kind = request.param
    model = make_model(replace(MODELS[name], conditioning=KINDS[kind]))
    if kind == "class":
        return model, class_conditioning(model, None, [0, 1]).at(0, SAMPLES)
    mels = np.random.default_rng(0).uniform(-9, 2, (2, 10, TOLD.mel.n_mels)).astype(np.float32)
    rows = [
        np.concatenate([frame.vectors for frame in condition_frames(model, mel, label)])
        for mel, label in zip(mels, "ab", strict=True)
    ]
    return model, np.stack(rows)


def reference_logits(model, codes, vectors):
    """In double precision."""
    previous = np.pad(codes[:, :-1], ((0, 0), (1, 0)), constant_values=model.quantizer.silence)
    places = np.arange(codes.shape[1]) // model.conditioner.config.hold
    held = torch.from_numpy(vectors[:, places]).double()
    double = copy.deepcopy(model).double()
    target, state = torch.from_numpy(codes), double.initial_state(len(codes))
    with torch.inference_mode():
        return double(torch.from_numpy(previous), state, target, held)[0]


@pytest.mark.parametrize("weights", TOLERANCE)
def test_logits_are_the_references(told, weights):
    model, vectors = told
    codes = np.random.default_rng(1).integers(0, model.q_levels, (2, SAMPLES))
    sampler = NativeSampler(model, 2, weights, threads=1)
    found = sampler.logits(codes, conditioning=vectors)
    expected = reference_logits(model, codes, vectors)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE[weights])
    wrong = sampler.logits(codes, conditioning=vectors[::-1] + 1)
    assert np.abs(wrong - found).max() > 0.1


def test_codes_are_the_references_until_a_rounding_tie(told):
    model, vectors = told
    is_dual = isinstance(model.config, WaveRNNConfig)
    numbers = uniforms(3, [0, 1], 0, SAMPLES)
    for sampler in (NativeSampler(model, 2, "f32"), ReferenceSampler(model, 2)):
        codes, scores, _ = sampler.draw(sampler.start(2), numbers, None, vectors)
        logits = reference_logits(model, codes, vectors)
        assert beyond(logits.numpy(), is_dual, codes, numbers).max() < TIE
        expected = model.head.log_prob(logits.flatten(0, 1), torch.from_numpy(codes.flatten()))
        np.testing.assert_allclose(scores.flatten(), expected, atol=1e-4)
        other = reference_logits(model, codes, vectors + 1).numpy()
        assert beyond(other, is_dual, codes, numbers).max() > 100 * TIE


@pytest.mark.parametrize("weights", ["f32", "int8"])
def test_threads_batches_and_chunks_do_not_change_a_bit(told, weights):
    model, vectors = told
    hold = model.conditioner.config.hold
    codes = np.random.default_rng(1).integers(0, model.q_levels, (2, SAMPLES))
    expected = NativeSampler(model, 2, weights, threads=1).logits(codes, conditioning=vectors)
    for threads, pace in ((2, "all"), (3, "all"), (2, "alternate")):
        sampler = NativeSampler(model, 2, weights, threads, pace=pace)
        assert (sampler.logits(codes, conditioning=vectors) == expected).all()
        alone = sampler.logits(codes[1:], conditioning=vectors[1:])
        assert (alone == expected[1:]).all()
        state, cut = sampler.start(2), 17  # within a frame, and while a vector is held
        state = sampler.teacher_force(state, codes[:, :cut], vectors[:, : (cut - 1) // hold + 1])
        rest = sampler.logits(codes[:, cut:], state, vectors[:, cut // hold :])
        assert (rest == expected[:, cut:]).all()


def test_a_wrong_map_is_refused_by_name():
    config = replace(MODELS["wavenet"], conditioning=TOLD)
    model = make_model(config)
    layer = model.stack.layers[1]
    layer.condition.weight.v.data = layer.condition.weight.v.data[:, :-1].clone()
    with pytest.raises(ValueError, match=r"stack.condition.1 is 70 x 3, not 70 x 4"):
        NativeSampler(model, 1)


def test_maps_of_conditioning_count_as_the_engine_fills_them_up():
    wide = ConditioningConfig(classes=("a",), width=900)
    config = WaveNetConfig(
        blocks=1, layers=6, channels=1, skip_channels=1, q_levels=2, conditioning=wide
    )
    packed = NativeSampler(make_model(config), 1, "f32").packed
    memory, without = model_memory(config), model_memory(replace(config, conditioning=None))
    assert packed.bytes > 3 * (memory.weights + without.total)
    assert packed.bytes < memory.tables
