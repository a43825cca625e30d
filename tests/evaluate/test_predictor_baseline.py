"""The linear predictor alone, against a direct computation and against a silenced network."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.evaluate.small import CONFIG, RATE, make_corpus, make_model

from samplewise.data.excerpts import cut, read_codes
from samplewise.evaluate import predictor_baseline
from samplewise.evaluate.evaluation import evaluate_split
from samplewise.evaluate.nll import score
from samplewise.evaluate.predictor_baseline import (
    FACTORS,
    fit_factor,
    predictor_alone,
    silence_network,
)
from samplewise.models.io import AudioFormat, LoadedModel

MODEL = replace(CONFIG, q_levels=64, quantizer="mulaw", lp_order=8, lp_window=128, lp_hop=16)


@pytest.fixture(scope="module")
def corpus():
    return make_corpus({"train": [150, 210], "valid": [50], "test": [333, 1, 250]}, RATE)


@pytest.fixture
def model(monkeypatch):
    monkeypatch.setattr(predictor_baseline, "BLOCK", 100)  # no multiple of a hop
    return make_model(MODEL)


def by_definition(model, codes, factor):
    """Bits of a clip, sample by sample."""
    predictor, q_levels = model.predictor, model.q_levels
    amplitudes, silence = predictor.amplitudes.double().numpy(), model.quantizer.silence
    past, errors = [silence] * 200, [0.0] * 128
    weights, nats = np.zeros(8), 0.0
    for t, code in enumerate(codes):
        known = amplitudes[past]
        if t % model.config.predictor_hop == 0:
            windowed = known[-128:] * predictor.window.double().numpy()
            lags = [windowed[lag:] @ windowed[: 128 - lag] for lag in range(9)]
            lags[0] = lags[0] * (1 + model.config.lp_noise) + 1e-5
            matrix = [[lags[abs(row - column)] for column in range(8)] for row in range(8)]
            weights = np.linalg.solve(matrix, lags[1:])
        place = np.interp(weights @ known[:-9:-1], amplitudes, np.arange(q_levels))
        sizes = np.minimum(np.abs(errors), q_levels / 4)
        size = (sizes[-16:].mean() + sizes[-128:].mean()) / 2 + 0.4
        scale = np.clip(size * math.exp(factor), math.exp(-3), math.exp(5) * q_levels / 256)
        density = 1 / np.cosh((np.arange(q_levels) - place) / scale / 2) ** 2
        nats -= math.log(density[code] / density.sum())
        past.append(code)
        errors.append(code - place)
    return nats / math.log(2)


@pytest.mark.parametrize("level", ["keep", "paper"])
def test_the_predictor_alone_is_what_a_computation_sample_by_sample_gives(model, corpus, level):
    train, test = cut(corpus.split("train"), 300), cut(corpus.split("test"), 300)
    factor, calls = fit_factor(model, corpus, train, level), []
    found = predictor_alone(model, corpus, test, level, factor, lambda *call: calls.append(call))
    clips = [read_codes(corpus, clip, level, model.quantizer) for clip in test]
    expected = sum(by_definition(model, codes, factor) for codes in clips) / 584
    assert found == pytest.approx(expected, rel=1e-6)
    assert calls[-1] == (584, 584)


def test_the_factor_is_the_best_of_those_that_are_tried(model, corpus, monkeypatch):
    monkeypatch.setattr(predictor_baseline, "FIT_STRIDE", 1)
    train = cut(corpus.split("train"), 0)
    clips = [read_codes(corpus, clip, "keep", model.quantizer) for clip in train]
    bits = {factor: sum(by_definition(model, c, factor) for c in clips) for factor in FACTORS}
    assert fit_factor(model, corpus, train, "keep") == min(bits, key=bits.__getitem__)


def test_a_network_without_a_say_leaves_the_predictor_alone(model, corpus):
    train, test = cut(corpus.split("train"), 300), cut(corpus.split("test"), 300)
    factor = fit_factor(model, corpus, train, "keep")
    silence_network(model, factor)
    found = predictor_alone(model, corpus, test, "keep", factor)
    assert found == pytest.approx(score(model, corpus, test, "keep").bits_per_sample)


def test_a_mixture_without_a_say_leaves_one_logistic_around_the_prediction(corpus):
    model = make_model(
        replace(
            MODEL,
            head="mol",
            sample_input="none",
            quantizer="linear",
            q_levels=4096,
            lp_method="burg",
            lp_tilt=(0.5,),
        )
    )
    train, test = cut(corpus.split("train"), 300), cut(corpus.split("test"), 300)
    factor = fit_factor(model, corpus, train, "keep")
    silence_network(model, factor)
    found = predictor_alone(model, corpus, test, "keep", factor)
    assert found == pytest.approx(score(model, corpus, test, "keep").bits_per_sample)


def test_an_evaluation_names_it_among_the_baselines(model, corpus):
    audio = AudioFormat(corpus.sample_rate, corpus.gain, "keep")
    result = evaluate_split(LoadedModel(model, audio, {}, Path("lp")), corpus, clip_seconds=0.3)
    train, test = cut(corpus.split("train"), 300), cut(corpus.split("test"), 300)
    factor = fit_factor(model, corpus, train, "keep")
    expected = predictor_alone(model, corpus, test, "keep", factor)
    assert result.baselines["predictor_alone"] == expected
