import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.generate.conftest import AUDIO, RATE, make_model
from tests.models.conftest import UNTOLD

from samplewise.config.models import SampleRNNConfig
from samplewise.generate import clips as clips_module
from samplewise.generate.backend import Backend
from samplewise.generate.clips import (
    even_groups,
    generate_clips,
    iterate_clips,
    noise_of_recordings,
    samples_of,
    stream_chunks,
    temperature_of,
)
from samplewise.generate.prompts import level_prompt
from samplewise.generate.temperature import Envelope, parse_envelope
from samplewise.models.io import AudioFormat, LoadedModel

SECONDS = 0.02  # 80 samples
NOWHERE = Path("small.safetensors")


@pytest.fixture(scope="module", params=["reference", "native"])
def draw(request):
    """Every test is for both back ends."""
    return partial(generate_clips, backend=Backend(request.param, weights="f32"))


@pytest.fixture(scope="module")
def sixty_four(draw, loaded):
    return draw(loaded, 64, SECONDS, seed=3, temperature=parse_envelope("0.9"))


@pytest.mark.parametrize("index", [0, 17, 63])
def test_a_clip_alone_is_the_clip_of_a_batch(draw, loaded, sixty_four, index):
    temperatures = parse_envelope("0.9")
    [alone] = draw(loaded, 1, SECONDS, 3, first_index=index, temperature=temperatures)
    assert alone.index == index
    assert np.array_equal(alone.codes, sixty_four[index].codes)
    assert np.array_equal(alone.samples, sixty_four[index].samples)
    assert alone.log_likelihood == sixty_four[index].log_likelihood


@pytest.mark.parametrize("batch", [1, 5, 13, 64])
def test_clips_do_not_depend_on_how_many_are_drawn_together(draw, loaded, sixty_four, batch):
    temperatures = parse_envelope("0.9")
    clips = draw(loaded, 15, SECONDS, 3, temperature=temperatures, batch=batch)
    assert [clip.index for clip in clips] == list(range(15))
    assert all(
        np.array_equal(a.codes, b.codes) and a.log_likelihood == b.log_likelihood
        for a, b in zip(clips, sixty_four, strict=False)
    )


@pytest.mark.parametrize("dim", [6, 50, 100])
def test_odd_widths_are_as_exact_as_others(draw, dim):
    model = make_model(SampleRNNConfig(frame_sizes=(2, 2, 8), dim=dim, emb_size=4, q_levels=16))
    model.fold()
    odd = LoadedModel(model, AUDIO, {}, NOWHERE)
    clips = draw(odd, 6, 0.02, seed=1)
    alone = [draw(odd, 1, 0.02, seed=1, first_index=i)[0] for i in range(6)]
    assert [clip.log_likelihood for clip in clips] == [clip.log_likelihood for clip in alone]


@pytest.mark.parametrize("cell", ["gru", "lstm", "gru-reset-after"])
def test_wide_clips_are_exact_over_thousands_of_samples(draw, cell):
    config = SampleRNNConfig(frame_sizes=(2, 2, 8), dim=128, emb_size=32, cell=cell)
    model = make_model(config)
    model.fold()
    wide = LoadedModel(model, AUDIO, {}, NOWHERE)
    clips = draw(wide, 20, 0.03, seed=1)
    for index in (0, 13):
        [alone] = draw(wide, 1, 0.03, seed=1, first_index=index)
        assert np.array_equal(alone.codes, clips[index].codes)


def test_seeds_and_clips_differ(draw, loaded, sixty_four):
    other = draw(loaded, 8, SECONDS, 4, temperature=parse_envelope("0.9"))
    takes = {clip.codes.tobytes() for clip in [*other, *sixty_four]}
    assert len(takes) == 72


def test_likelihood_is_of_what_was_drawn_at_temperature_1(draw, loaded, monkeypatch):
    monkeypatch.setattr(clips_module, "CHUNK_S", 0.007)
    clip = draw(loaded, 2, SECONDS, 3, temperature=parse_envelope("0.9"))[1]
    target = torch.from_numpy(clip.codes.astype(np.int64)).unsqueeze(0)
    previous = torch.cat([torch.full((1, 1), 128), target[:, :-1]], 1)
    logits, _ = loaded.model(previous, loaded.model.initial_state(1))
    nats = torch.nn.functional.cross_entropy(logits[0], target[0], reduction="sum").item()
    assert clip.log_likelihood == pytest.approx(-nats, rel=1e-5)
    assert clip.bits_per_sample == pytest.approx(nats / math.log(2) / 80, rel=1e-5)


def test_an_envelope_starts_with_the_first_drawn_sample(draw, loaded):
    step = Envelope((0.0, 0.01, 0.01 + 1e-9), (1.0, 1.0, 0.01))
    plain = draw(loaded, 1, SECONDS, 3)[0].codes
    cooled = draw(loaded, 1, SECONDS, 3, temperature=step)[0].codes
    assert np.array_equal(plain[:41], cooled[:41])
    assert (plain[41:] != cooled[41:]).any()
    prompt = np.linspace(-0.5, 0.5, 77).astype(np.float32)
    plain = draw(loaded, 1, SECONDS, 3, prompt=prompt)[0].codes
    cooled = draw(loaded, 1, SECONDS, 3, prompt=prompt, temperature=step)[0].codes
    assert np.array_equal(plain[:41], cooled[:41])
    assert (plain[41:] != cooled[41:]).any()


def test_a_prompt_is_kept_or_cut_as_the_model_heard_it(draw, loaded):
    prompt = np.sin(np.arange(333) / 9).astype(np.float32) * 0.7
    [kept] = draw(loaded, 1, SECONDS, 3, prompt=prompt)
    [cut] = draw(loaded, 1, SECONDS, 3, prompt=prompt, keep_prompt=False)
    quantizer = loaded.model.quantizer
    assert np.array_equal(kept.samples[:333], quantizer.decode(quantizer.encode(prompt)))
    assert np.array_equal(kept.samples[333:], cut.samples)
    assert np.array_equal(cut.samples, quantizer.decode(cut.codes))
    assert kept.log_likelihood == cut.log_likelihood


def test_progress_counts_every_sample_once(loaded, monkeypatch):
    monkeypatch.setattr(clips_module, "CHUNK_S", 0.01)
    calls = []
    for _ in iterate_clips(
        loaded, range(6), 0.025, 1, batch=3, progress=lambda *call: calls.append(call)
    ):
        pass
    done = [call[0] for call in calls]
    assert done == sorted(set(done))
    assert calls[-1] == (6 * 100, 6 * 100)


def test_groups_are_few_and_even():
    assert [len(group) for group in even_groups(range(70), 64)] == [35, 35]
    assert [len(group) for group in even_groups(range(10), 4)] == [4, 4, 2]
    assert [i for group in even_groups(range(5, 40), 8) for i in group] == list(range(5, 40))


def test_nonsense_is_refused(draw, loaded):
    with pytest.raises(ValueError, match="count = 0"):
        draw(loaded, 0, 1.0, 0)
    with pytest.raises(ValueError, match=r"seconds = 0 must be at least one sample \(1/4000 s\)"):
        draw(loaded, 1, 0.0, 0)
    with pytest.raises(ValueError, match="seconds = nan"):
        samples_of(math.nan, RATE)
    with pytest.raises(ValueError, match="batch = 0"):
        draw(loaded, 1, 1.0, 0, batch=0)


def test_a_prompt_gets_the_corpus_gain_but_never_clips():
    quiet, factor = level_prompt(np.array([0.5, -0.25], np.float32), AUDIO)
    np.testing.assert_allclose(quiet, [0.55, -0.275], rtol=1e-6)
    assert factor == 1
    loud, factor = level_prompt(np.array([1.0, -0.5], np.float32), AUDIO)
    np.testing.assert_allclose(loud, [0.99, -0.495], rtol=1e-6)
    assert factor == pytest.approx(0.9)
    stretched, _ = level_prompt(np.array([0.1, 0.2], np.float32), AudioFormat(RATE, 1.1, "paper"))
    np.testing.assert_allclose(stretched, [-1, 1], atol=1e-6)
    with pytest.raises(ValueError, match="at least one sample"):
        level_prompt(np.zeros(0, np.float32), AUDIO)
    with pytest.raises(ValueError, match="neither NaN"):
        level_prompt(np.array([np.nan], np.float32), AUDIO)


def test_every_kind_of_model_makes_clips():
    for config in UNTOLD.values():
        model = make_model(config)
        [clip] = generate_clips(LoadedModel(model, AUDIO, {}, NOWHERE), 1, 0.01, seed=0)
        assert len(clip.samples) == 40
        assert np.abs(clip.samples).max() <= 1


USUAL = {"flatness_db": [-30, -20], "noisiness_db": [-20, -5], "noise_floor_db": [-70, -50]}


@pytest.mark.parametrize("known", [None, {}, 3, {**USUAL, "flatness_db": "low"}, "old"])
def test_a_model_that_does_not_say_how_noisy_its_recordings_were_flags_no_hiss(loaded, known):
    known = {**USUAL, "version": 0} if known == "old" else known
    assert noise_of_recordings(replace(loaded, provenance={"noise": known})) is None
    assert noise_of_recordings(replace(loaded, provenance={})) is None
    assert noise_of_recordings(replace(loaded, provenance={"noise": {**USUAL, "version": 1}}))


def test_a_model_is_drawn_from_at_its_own_temperature_unless_another_is_given(loaded):
    own = replace(loaded, provenance={**loaded.provenance, "temperature": 0.5})
    default, half, one = (
        generate_clips(model, 1, SECONDS, 3, temperature=given)[0].codes
        for model, given in (
            (own, None),
            (loaded, parse_envelope("0.5")),
            (own, parse_envelope("1")),
        )
    )
    [chunk] = stream_chunks(own, 3, samples=len(default), start="silence", chunk_s=SECONDS)
    assert np.array_equal(default, half)
    assert np.array_equal(loaded.model.quantizer.decode(default), chunk)
    assert np.array_equal(one, generate_clips(loaded, 1, SECONDS, 3)[0].codes)
    assert not np.array_equal(default, one)


@pytest.mark.parametrize("nonsense", [0, -1, 11, math.nan, "hot", None])
def test_a_temperature_of_a_strangers_file_that_makes_no_sense_is_1(nonsense):
    assert temperature_of({"temperature": nonsense}) == Envelope((0.0,), (1.0,))
