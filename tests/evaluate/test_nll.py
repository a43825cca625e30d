import math

import pytest
import torch
from tests.evaluate.small import CONFIG, make_model

from samplewise.data.excerpts import Excerpt, cut, read_codes
from samplewise.evaluate.nll import Scores, nats_to_bits, schedule, score
from samplewise.heads.categorical import CategoricalHead


@torch.no_grad()
def one_clip_step_by_step(model, corpus, clip, level="keep"):
    """The definition: one sample at a time, from silence and the initial state."""
    state, nats = model.initial_state(1), 0.0
    previous = torch.tensor([model.quantizer.silence])
    for code in read_codes(corpus, clip, level, model.quantizer):
        logits, state = model.step(previous, state)
        previous = torch.tensor([code])
        nats += CategoricalHead().nll(logits[:, None], previous[:, None]).item()
    return nats


def test_a_score_is_that_of_one_step_at_a_time(model, corpus):
    clips = cut(corpus.split("test"), 100)
    scores = score(model, corpus, clips, "keep", lanes=3, seq_len=24)
    expected = [one_clip_step_by_step(model, corpus, clip) for clip in clips]
    assert scores.clips == tuple(clips)
    assert scores.nats == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("lanes", [2, 3, 50])
@pytest.mark.parametrize("seq_len", [16, 1000, None])
def test_lanes_and_seq_len_do_not_change_the_result(model, corpus, lanes, seq_len):
    clips = cut(corpus.split("test"), 100)
    expected = score(model, corpus, clips, "keep", lanes=1, seq_len=8)
    found = score(model, corpus, clips, "keep", lanes=lanes, seq_len=seq_len)
    assert found.nats == pytest.approx(expected.nats, rel=1e-6)


def test_a_lane_that_runs_out_leaves_the_state_of_the_others_alone(model, corpus):
    recording = corpus.split("test")[0]
    clips = [Excerpt(recording, 0, 40), Excerpt(recording, 100, 124), Excerpt(recording, 200, 224)]
    scores = score(model, corpus, clips, "keep", lanes=2, seq_len=8)  # the first lane ends first
    expected = [one_clip_step_by_step(model, corpus, clip) for clip in clips]
    assert scores.nats == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("samples", [1, 2, 7, 8, 9])
def test_one_clip_is_enough_even_if_shorter_than_a_frame(model, corpus, samples):
    clip = Excerpt(corpus.split("test")[0], 50, 50 + samples)
    scores = score(model, corpus, [clip], "keep")
    assert scores.samples == samples
    assert scores.nats[0] == pytest.approx(one_clip_step_by_step(model, corpus, clip), rel=1e-6)


def test_a_model_that_knows_nothing_needs_log2_q_bits_for_every_sample(model, corpus):
    with torch.no_grad():
        last = model.sample_level.mlp[-1]
        last.weight.g.zero_()
        last.bias.zero_()
    scores = score(model, corpus, cut(corpus.split("test"), 100), "keep")
    assert scores.samples == sum(recording.samples for recording in corpus.split("test"))
    assert scores.bits_per_sample == pytest.approx(4.0, rel=1e-6)
    for part in scores.by_recording():
        assert part.bits_per_sample == pytest.approx(4.0, rel=1e-6)


def test_state_is_carried_within_a_clip(model, corpus):
    recording = corpus.split("test")[0]
    whole = score(model, corpus, cut([recording], 0), "keep")
    pieces = score(model, corpus, cut([recording], 104), "keep")
    assert whole.samples == pieces.samples
    assert abs(whole.nats[0] - sum(pieces.nats)) > 1e-3


def test_the_paper_level_scales_each_clip(model, corpus):
    clip = Excerpt(corpus.split("test")[0], 20, 90)
    nats = score(model, corpus, [clip], "paper").nats[0]
    assert nats == pytest.approx(one_clip_step_by_step(model, corpus, clip, "paper"), rel=1e-6)
    assert nats != pytest.approx(one_clip_step_by_step(model, corpus, clip), rel=1e-3)


def test_recordings_add_up(model, corpus):
    scores = score(model, corpus, cut(corpus.split("test"), 100), "keep")
    parts = scores.by_recording()
    assert [part.clips[0].recording for part in parts] == list(corpus.split("test"))
    total = sum(part.bits_per_sample * part.samples for part in parts)
    assert total / scores.samples == pytest.approx(scores.bits_per_sample)


def test_progress_ends_at_the_number_of_samples(model, corpus):
    calls = []
    clips = cut(corpus.split("test"), 100)
    score(model, corpus, clips, "keep", lanes=2, progress=lambda *call: calls.append(call))
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert calls[-1] == (715, 715)


def test_scoring_leaves_the_model_as_it_was(corpus):
    model = make_model().train()
    score(model, corpus, cut(corpus.split("valid"), 0), "keep")
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("options", [{"seq_len": 12}, {"lanes": 0}, {"seq_len": -8}])
def test_an_impossible_schedule_is_refused(model, corpus, options):
    with pytest.raises(ValueError, match=r"positive multiple of the top frame \(8\)"):
        score(model, corpus, cut(corpus.split("valid"), 0), "keep", **options)


def test_nothing_to_score_is_refused(model, corpus):
    with pytest.raises(ValueError, match="clips is empty"):
        score(model, corpus, [], "keep")


def test_the_schedule_evens_out_rounds_and_bounds_memory(corpus):
    recording = corpus.split("train")[0]
    eight_seconds = [Excerpt(recording, 0, 128_000)] * 33
    assert schedule(CONFIG, eight_seconds, "cpu")[0] == 17  # not 32 and then 1
    ten_hours = [Excerpt(recording, 0, 576_000_000)] * 33
    assert schedule(CONFIG, ten_hours, "cpu")[0] == 1
    assert schedule(CONFIG, [Excerpt(recording, 0, 3)], "cpu") == (1, 8)


def test_bits(corpus):
    assert nats_to_bits(math.log(256)) == pytest.approx(8.0)
    clip = Excerpt(corpus.split("train")[0], 0, 10)
    assert Scores((clip, clip), (math.log(4), math.log(16))).bits_per_sample == pytest.approx(0.3)
