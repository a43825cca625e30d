"""Models that draw a segment at a time, and the wavefront against the plain order."""

import numpy as np
import pytest
import torch
from tests.generate.conftest import AUDIO, make_model

from samplewise.config.models import FusedSubscaleConfig, SubscaleWaveRNNConfig
from samplewise.generate import segments
from samplewise.generate.backend import Backend, reference_sampler
from samplewise.generate.batch_invariance import RowPlan
from samplewise.generate.clips import generate_clips, stream_chunks
from samplewise.generate.segments import SegmentSampler
from samplewise.generate.uniforms import uniforms
from samplewise.generate.wavefront import NativeWavefrontSampler, WavefrontSampler
from samplewise.models import subscale_wavernn
from samplewise.models.io import LoadedModel

SUBSCALE = SubscaleWaveRNNConfig(
    n_subscale=4, columns=6, dilations=(1, 1), dim=8, channels=5, residual_channels=6
)
FUSED = FusedSubscaleConfig(dim=16, columns=9)
CLIPS, DRAWN = 3, 100


@pytest.fixture
def together(monkeypatch):
    """In single precision too, clips are drawn together even where torch then rounds otherwise."""
    monkeypatch.setattr(segments, "plan_rows", lambda model, clips: RowPlan(1, clips))


@pytest.fixture(params=["wavefront", "segments", "fused", "native"])
def sampler(request, together):
    config = FUSED if request.param == "fused" else SUBSCALE
    if request.param == "native":
        return NativeWavefrontSampler(make_model(config), CLIPS, "f32", threads=2)
    model = make_model(config).double()
    kind = WavefrontSampler if request.param == "wavefront" else SegmentSampler
    return kind(model, CLIPS)


def draw(sampler, sampler_state, counts, first=0, clips=CLIPS, temperatures=None):
    """Draw parts of some lengths, one after the other."""
    codes, scores, t = [], [], first
    for count in counts:
        wanted = count + sampler.lookahead
        own = None if temperatures is None else temperatures[t : t + wanted]
        found = sampler.draw(sampler_state, uniforms(5, range(clips), t, wanted), own)
        codes.append(found[0])
        scores.append(found[1])
        sampler_state, t = found[2], t + count
    return np.concatenate(codes, 1), np.concatenate(scores, 1), sampler_state


def assert_scores(sampler, found, expected):
    """The reference runs in double precision here, the engine in single."""
    loose = sampler.name == "native"
    np.testing.assert_allclose(
        found, expected, rtol=0 if loose else 1e-9, atol=2e-4 if loose else 0
    )


@torch.no_grad()
def teacher_forced(model, codes):
    target = torch.from_numpy(codes)
    params, _ = model(target, model.initial_state(len(codes)), target)
    return model.head.log_prob(params.flatten(0, 1), target.flatten()).view_as(target).numpy()


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("block", [1, 3, 64])
def test_a_wavefront_draws_the_codes_of_the_plain_order(rows, block, monkeypatch):
    monkeypatch.setattr(subscale_wavernn, "BLOCK", block)
    config = SubscaleWaveRNNConfig(
        n_subscale=rows, columns=6, dilations=(1, 1), dim=8, channels=5, residual_channels=6
    )
    model, temperatures = make_model(config).double(), np.linspace(0.5, 1.5, 1000)
    assert model.block == min(block, 6)
    one, other = WavefrontSampler(model, CLIPS), SegmentSampler(model, CLIPS)
    found = draw(one, one.start(CLIPS), [DRAWN], temperatures=temperatures)
    expected = draw(other, other.start(CLIPS), [DRAWN], temperatures=temperatures)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-9)


def test_a_row_trails_the_one_before_by_the_horizon_and_a_block(monkeypatch):
    monkeypatch.setattr(subscale_wavernn, "BLOCK", 1)
    front = WavefrontSampler(make_model(SUBSCALE).double(), 1)
    assert front.lag == SUBSCALE.horizon + 1  # section 4.3
    _, _, sampler_state = draw(front, front.start(1), [1], clips=1)
    drawn = [int(row.count_nonzero()) for row in sampler_state.lookahead.codes[0]]
    assert drawn == [1 + 5 * (3 - row) for row in range(4)]


@pytest.mark.parametrize("length", [0, 1, 17, 24, 61])
def test_scores_are_those_of_a_teacher_forced_pass_after_a_prompt_of_any_length(sampler, length):
    prompt = np.random.default_rng(length).integers(0, 65536, length)
    # To the end of a segment: what is drawn there depends on nothing beyond.
    count = -(-(length + 50) // sampler.segment) * sampler.segment - length
    codes, scores, _ = draw(sampler, sampler.start(CLIPS, sampler.prefill(prompt)), [count])
    whole = np.concatenate([np.tile(prompt, (CLIPS, 1)), codes], 1)
    assert_scores(sampler, scores, teacher_forced(sampler.model, whole)[:, length:])


def test_chunks_equal_one_go(sampler):
    temperatures = np.linspace(0.5, 1.5, 1000)
    expected = draw(sampler, sampler.start(CLIPS), [DRAWN], temperatures=temperatures)
    found = draw(sampler, sampler.start(CLIPS), [1, 0, 22, 2, 50, 25], temperatures=temperatures)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def test_going_on_twice_from_the_same_place_gives_the_same(sampler):
    _, _, sampler_state = draw(sampler, sampler.start(CLIPS), [11])
    first = draw(sampler, sampler_state, [40], first=11)
    draw(sampler, sampler_state, [40], first=500)
    sampler.teacher_force(sampler_state, np.zeros((CLIPS, 70), np.int64))
    second = draw(sampler, sampler_state, [40], first=11)
    np.testing.assert_array_equal(first[1], second[1])


@pytest.mark.parametrize("cut", [0, 5, 24, 50])
def test_what_was_drawn_forced_leaves_the_same_bits(sampler, cut):
    drawn, _, sampler_state = draw(sampler, sampler.start(CLIPS), [50])
    expected = draw(sampler, sampler_state, [50], first=50)
    forced = sampler.teacher_force(sampler.start(CLIPS), drawn[:, :cut])
    forced = sampler.teacher_force(forced, drawn[:, cut:])
    found = draw(sampler, forced, [50], first=50)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def test_codes_forced_in_place_of_drawn_ones_are_what_follows_depends_on(sampler):
    _, _, sampler_state = draw(sampler, sampler.start(1), [10], clips=1)
    rest = -10 % sampler.segment
    other = np.full((1, 2 * sampler.segment + rest), 123)
    codes, scores, _ = draw(
        sampler, sampler.teacher_force(sampler_state, other), [sampler.segment], clips=1
    )
    first = draw(sampler, sampler.start(1), [10], clips=1)[0]
    whole = np.concatenate([first, other, codes], 1)
    expected = teacher_forced(sampler.model, whole)[:, -sampler.segment :]
    assert_scores(sampler, scores, expected)


@pytest.mark.parametrize("config", [SUBSCALE, FUSED])
def test_a_clip_is_the_same_alone_in_a_batch_and_in_a_stream(config, tmp_path):
    model = make_model(config)
    model.fold()
    loaded = LoadedModel(model, AUDIO, {}, tmp_path)
    assert Backend("auto").resolve(model).name == "reference"
    batch = generate_clips(loaded, 5, 0.02, seed=3)
    [alone] = generate_clips(loaded, 1, 0.02, seed=3, first_index=4)
    np.testing.assert_array_equal(batch[4].codes, alone.codes)
    assert batch[4].log_likelihood == alone.log_likelihood
    chunks = stream_chunks(loaded, 3, samples=80, index=4, chunk_s=0.0065)
    np.testing.assert_array_equal(np.concatenate(list(chunks)), alone.samples)


def test_the_back_end_takes_the_order_that_the_model_needs():
    assert isinstance(reference_sampler(make_model(SUBSCALE), 2), WavefrontSampler)
    fused = reference_sampler(make_model(FUSED), 2)
    assert isinstance(fused, SegmentSampler)
    assert fused.lookahead == 17


def test_wrong_arguments_are_refused(sampler):
    sampler_state = sampler.start(1)
    with pytest.raises(
        ValueError, match=r"uniforms has 3 numbers per clip, but the lookahead alone takes \d+"
    ):
        sampler.draw(sampler_state, np.zeros((1, 3), np.float32))
    with pytest.raises(ValueError, match=r"codes range from 0 to 65536, not within"):
        sampler.teacher_force(sampler_state, np.array([[0, 65536]]))
    with pytest.raises(ValueError, match="codes have 2 rows, but there are 1 clips"):
        sampler.teacher_force(sampler_state, np.zeros((2, 5), np.int64))
