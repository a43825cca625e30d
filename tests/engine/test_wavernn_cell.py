"""Subscale WaveRNN whose rows the engine steps: the reference's codes, until a rounding tie."""

import numpy as np
import pytest
from tests.engine.test_agreement import TIE, outside
from tests.generate.conftest import make_model

from samplewise.config.models import SubscaleWaveRNNConfig
from samplewise.engine.sampler import NativeSampler
from samplewise.engine.wavernn_cell import NativeCell
from samplewise.errors import EngineError
from samplewise.generate.backend import Backend
from samplewise.generate.uniforms import uniforms
from samplewise.generate.wavefront import NativeWavefrontSampler
from samplewise.models.pruning import prune_model

SAMPLES = 96


@pytest.fixture(params=[(1, False), (4, False), (4, True)], ids=["1-row", "4-rows", "sparse"])
def model(request):
    rows, is_sparse = request.param
    config = SubscaleWaveRNNConfig(
        n_subscale=rows, columns=6, dilations=(1, 1), dim=72, channels=5, residual_channels=37
    )
    model = make_model(config)
    if is_sparse:
        prune_model(model, 0.75, (4, 4))
    return model


def draw(sampler, temperatures=None):
    numbers = uniforms(5, range(1), 0, SAMPLES + sampler.lookahead)
    own = None if temperatures is None else temperatures[: numbers.shape[1]]
    codes, scores, _ = sampler.draw(sampler.start(1), numbers, own)
    return codes, scores, numbers[:, :SAMPLES]


@pytest.mark.parametrize(
    "temperatures", [None, np.linspace(0.5, 1.5, 1000)], ids=["plain", "temperature"]
)
def test_codes_are_the_references_until_a_rounding_tie(model, temperatures):
    codes, scores, numbers = draw(NativeWavefrontSampler(model, 1, "f32", threads=2), temperatures)
    own = None if temperatures is None else temperatures[:SAMPLES]
    assert outside(model, codes, numbers, own).max() < TIE
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("weights", ["f16", "int8", "int8x16"])
def test_narrow_weights_are_nearly_the_same_model(model, weights):
    sampler = Backend("native", weights, threads=1).sampler(model, 1)
    assert isinstance(sampler, NativeWavefrontSampler)
    codes, _, numbers = draw(sampler)
    assert 0 < outside(model, codes, numbers).max() < {"f16": 2e-3}.get(weights, 3e-2)


def test_it_is_no_sampler_by_itself(model):
    with pytest.raises(EngineError, match="does not run subscale-wavernn models"):
        NativeSampler(model)


def test_a_row_that_is_given_its_codes_does_not_disturb_those_that_draw():
    model = make_model(SubscaleWaveRNNConfig(n_subscale=2, columns=6, dilations=(1,), dim=8))
    random = np.random.default_rng(0)
    width = model.config.residual_channels
    last, h = random.integers(0, 65536, 5), random.standard_normal((5, 8)).astype(np.float32)
    said = random.standard_normal((5, 6, width)).astype(np.float32)
    numbers = random.random((5, 6)).astype(np.float32)
    drawing = np.full((5, 6), -1)
    for threads in (1, 2):
        cell = NativeCell(model, 5, "f32", threads)
        codes, scores, after = cell.run(last, h, said, numbers, None, drawing)
        told = drawing.copy()
        told[1], told[3, :2], told[4, 4] = codes[1], codes[3, :2], codes[4, 4]
        found = cell.run(last, h, said, numbers, None, told)
        for one, other in zip((codes, scores, after), found, strict=True):
            np.testing.assert_array_equal(one, other)
        told[1, 0] = (codes[1, 0] + 1000) % 65536
        other = cell.run(last, h, said, numbers, None, told)
        assert (other[0][1, :1] == told[1, :1]).all()
        assert (other[2][1] != after[1]).any()
        np.testing.assert_array_equal(other[0][[0, 2, 3, 4]], codes[[0, 2, 3, 4]])
    with pytest.raises(ValueError, match="code -2 is not within"):
        cell.run(last, h, said, numbers, None, drawing - 1)
