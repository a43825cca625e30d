"""The memory experiment: what is drawn, what is fed, how it is judged."""

import dataclasses
import json

import numpy as np
import pytest
from tests.evaluate.test_speakers import classifier, spoken, tone
from tests.generate.conftest import AUDIO, RATE, SMALL, make_model

from samplewise.errors import CorpusError
from samplewise.evaluate import memory
from samplewise.evaluate.memory import (
    JudgedClip,
    MemoryPlan,
    MemoryResult,
    interrupted_clips,
    memory_experiment,
    recorded_openings,
)
from samplewise.evaluate.speakers import Share
from samplewise.generate import drawing
from samplewise.generate.backend import Backend
from samplewise.generate.clips import generate_clips
from samplewise.generate.temperature import Envelope
from samplewise.generate.uniforms import uniforms
from samplewise.models.io import LoadedModel
from samplewise.quantizers import MuLawQuantizer

BACKENDS = {"reference": Backend("reference"), "native": Backend("native", "f32")}
PLAN = MemoryPlan(before_s=0.02, silence_s=0.01, after_s=0.015, count=3, seed=7)
BEFORE, SILENT, AFTER = 80, 40, 60


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return LoadedModel(make_model(SMALL), AUDIO, {}, tmp_path_factory.mktemp("model"))


@pytest.fixture(params=BACKENDS)
def backend(request):
    return BACKENDS[request.param]


def drawn(loaded, plan, **options):
    return list(interrupted_clips(loaded, plan, **options))


def test_without_silence_the_clips_are_those_of_generate(loaded, backend):
    plan = dataclasses.replace(PLAN, silence_s=0.0, temperature=0.8)
    seconds, temperatures = plan.before_s + plan.after_s, Envelope((0.0,), (0.8,))
    expected = generate_clips(loaded, 3, seconds, 7, temperature=temperatures, backend=backend)
    found = drawn(loaded, plan, backend=backend)
    assert [clip.index for clip in found] == [0, 1, 2]
    for one, other in zip(found, expected, strict=True):
        assert (len(one.before), len(one.after)) == (BEFORE, AFTER)
        np.testing.assert_array_equal(np.concatenate([one.before, one.after]), other.codes)


def test_what_follows_the_silence_is_what_follows_it_as_a_prompt(loaded, backend):
    sampler = backend.sampler(loaded.model, 1)
    silence = np.full(SILENT, loaded.model.quantizer.silence)
    for clip in drawn(loaded, PLAN, backend=backend):
        heard = sampler.prefill(np.concatenate([clip.before, silence]))
        numbers = uniforms(7, [clip.index], BEFORE + SILENT, AFTER)
        codes, _, _ = sampler.draw(sampler.start(1, heard), numbers)
        np.testing.assert_array_equal(codes[0], clip.after)


def test_an_opening_is_read_before_the_first_sample(loaded, backend):
    openings = np.random.default_rng(0).integers(0, loaded.model.quantizer.q_levels, (3, 50))
    sampler = backend.sampler(loaded.model, 1)
    for clip in drawn(loaded, PLAN, openings=openings, backend=backend):
        numbers = uniforms(7, [clip.index], 0, BEFORE)
        state = sampler.start(1, sampler.prefill(openings[clip.index]))
        np.testing.assert_array_equal(sampler.draw(state, numbers)[0][0], clip.before)


def test_openings_are_recordings_of_either_speaker_in_turn(loaded):
    steps = np.linspace(-0.9, 0.9, RATE, dtype=np.float32)
    corpus = spoken([("a.wav", "test", steps), ("b.wav", "valid", steps[: RATE // 2])])
    speakers = {"a.wav": "bass", "b.wav": "alto"}
    plan = dataclasses.replace(PLAN, count=6, opening_s=0.25)
    openings = recorded_openings(corpus, speakers, loaded, plan)
    assert openings.speakers == ("alto", "bass") * 3
    codes = loaded.model.quantizer.encode(corpus.amplitude(corpus.recordings[0], 0, RATE))
    quarters = codes.reshape(4, -1)  # the alto has two of them, the bass four
    np.testing.assert_array_equal(openings.codes, quarters[[0, 0, 1, 1, 0, 2]])
    with pytest.raises(CorpusError, match=r"openings of 0.6 s need both speakers .* there are 1"):
        recorded_openings(corpus, speakers, loaded, dataclasses.replace(plan, opening_s=0.6))


@pytest.mark.parametrize("batch", [1, 2])
def test_a_clip_is_the_same_alone_and_in_any_batch(loaded, backend, batch, monkeypatch):
    expected, told = drawn(loaded, PLAN, backend=backend), []
    monkeypatch.setattr(memory, "CHUNK_S", 0.004)
    found = drawn(
        loaded, PLAN, batch=batch, backend=backend, progress=lambda *now: told.append(now)
    )
    assert str(found) == str(expected)
    assert sorted(set(told)) == told
    assert told[-1] == (540, 540)


@pytest.mark.parametrize("silence_s", [0.0, 0.01])
def test_a_model_that_forgets_goes_on_as_if_nothing_had_been(loaded, monkeypatch, silence_s):
    # All clips have the same random numbers after the silence.
    def shared(seed, clips, start, count):
        return uniforms(seed, clips if start < BEFORE else [0] * len(clips), start, count)

    monkeypatch.setattr(drawing, "uniforms", shared)
    plan = dataclasses.replace(PLAN, silence_s=silence_s)
    forgetful = make_model(SMALL)
    for name, parameter in forgetful.named_parameters():
        if ".rnn." in name and not name.endswith(".v"):
            parameter.zero_()  # gains, biases and h0: what the recurrent layers give is then 0
    ends = {}
    for name, model in (("forgets", forgetful), ("remembers", loaded.model)):
        clips = drawn(dataclasses.replace(loaded, model=model), plan, backend=BACKENDS["native"])
        assert len({str(clip.before) for clip in clips}) == 3
        ends[name] = len({str(clip.after) for clip in clips})
    assert ends == {"forgets": 1 if silence_s else 3, "remembers": 3}


class Singer:
    """A sampler that draws tones, and writes down what it is fed."""

    name, lookahead = "singer", 0

    def __init__(self, before, after):
        self.tones = {False: before, True: after}
        self.max_batch, self.fed = len(before), []

    def prefill(self, prompt, progress=None, conditioning=None):
        raise NotImplementedError

    def start(self, clips, after=None):
        return (False, 0)

    def draw(self, sampler_state, numbers, temperature=None, conditioning=None):
        is_after, time = sampler_state
        count = numbers.shape[1]
        waves = [self.wave(hz, time, count) for hz in self.tones[is_after]]
        codes = MuLawQuantizer(256).encode(np.stack(waves))
        return codes, np.zeros(codes.shape), (is_after, time + count)

    def teacher_force(self, sampler_state, codes, conditioning=None):
        self.fed.append(codes)
        return (True, 0)

    def wave(self, hz, time, count):
        if not hz:
            return np.zeros(count, np.float32)
        return tone(np.full(time + count, float(hz)), RATE)[time:]


def test_clips_are_judged_by_the_pitch_of_their_ends(loaded, monkeypatch):
    singer = Singer([100, 110, 200, 210, 0, 220, 120], [105, 190, 205, 110, 100, 0, 215])
    monkeypatch.setattr(Backend, "sampler", lambda self, model, clips: singer)
    plan = MemoryPlan(before_s=1.0, silence_s=0.5, after_s=0.75, count=7)
    kept, told = {}, []
    result = memory_experiment(
        loaded,
        classifier(),
        plan,
        backend=BACKENDS["reference"],
        keep=kept.__setitem__,
        progress=lambda *values: told.append(values),
    )
    ends = [(clip.before, clip.after) for clip in result.clips]
    bass, alto = "bass", "alto"
    assert ends == [
        (bass, bass),
        (bass, alto),
        (alto, alto),
        (alto, bass),
        (None, bass),
        (alto, None),
        (bass, alto),
    ]
    assert result.clips[1].before_hz == pytest.approx(110, rel=5e-3)
    assert result.clips[1].after_hz == pytest.approx(190, rel=5e-3)
    assert result.same == Share(2, 5)
    assert result.same_by_speaker == {bass: Share(1, 3), alto: Share(1, 2)}
    assert result.unvoiced_before == result.unvoiced_after == Share(1, 7)
    assert result.by_chance == pytest.approx(0.6 * 0.4 + 0.4 * 0.6)
    fed = np.concatenate(singer.fed, 1)
    assert fed.shape == (7, RATE // 2)
    assert (fed == 128).all()
    assert told[-1] == (7 * 2.25 * RATE, 7 * 2.25 * RATE)
    assert sorted(told) == told
    wave = kept[0]
    assert (len(kept), len(wave)) == (7, 2.25 * RATE)
    assert not wave[RATE : RATE + RATE // 2].any()
    assert wave[:RATE].any()
    found = json.loads(json.dumps(result.to_json()))
    assert (found["same"]["count"], found["same"]["total"], found["paper"]) == (2, 5, 0.83)
    assert (found["tracker"], found["backend"]) == ("autocorrelation", result.backend)
    assert result.backend.startswith("reference back end on cpu")
    assert [clip["before"] for clip in found["clips"]] == [before for before, _ in ends]
    assert found["plan"] == dataclasses.asdict(plan)


def judged(*ends):
    clips = (JudgedClip(i, None, None, *pair) for i, pair in enumerate(ends))
    return MemoryResult(MemoryPlan(), classifier(), tuple(clips), "none")


def test_a_model_of_one_speaker_agrees_by_chance_alone():
    always = judged(*[("bass", "bass")] * 9)
    assert (always.same.value, always.by_chance) == (1.0, 1.0)
    assert always.same_by_speaker["alto"] == Share(0, 0)


def test_the_speaker_of_an_opening_is_counted_where_there_is_a_voice():
    ends = [("bass", "bass"), ("bass", "alto"), ("alto", "alto"), (None, "alto")]
    clips = [
        JudgedClip(index, None, None, before, "bass", opening)
        for index, (before, opening) in enumerate(ends)
    ]
    result = MemoryResult(MemoryPlan(opening_s=1.0), classifier(), tuple(clips), "none")
    assert result.continued == Share(2, 3)
    assert judged(("bass", "bass")).continued == Share(0, 0)


def test_no_voice_at_all_is_no_share():
    mute = judged((None, None), ("bass", None))
    assert mute.same == Share(0, 0)
    assert (mute.same.value, mute.by_chance) == (None, None)
    assert (mute.unvoiced_before, mute.unvoiced_after) == (Share(1, 2), Share(2, 2))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"silence_s": -1.0}, "silence_s = -1.0 must be 0 or positive"),
        ({"silence_s": float("nan")}, "silence_s = nan"),
        ({"opening_s": -1.0}, "opening_s = -1.0 must be 0 or positive"),
        ({"count": 0}, "count = 0 must be at least 1"),
        ({"temperature": 0.0}, "temperature: 0 in .* must be above 0"),
    ],
)
def test_impossible_plans_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        MemoryPlan(**setting)


def test_ends_of_no_length_are_refused(loaded):
    with pytest.raises(ValueError, match="seconds = 0 must be at least one sample"):
        drawn(loaded, MemoryPlan(after_s=0.0))
