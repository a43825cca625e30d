"""The backward-adaptive linear predictor, and the logistic distribution around its prediction."""

import numpy as np
import pytest
import torch

from samplewise.nn.linear_predictor import (
    LONG,
    RECENT,
    LinearPredictor,
    LogisticPrior,
    asymmetric_window,
    error_sizes,
    mean_size,
)
from samplewise.quantizers import make_quantizer

ORDER, WINDOW, HOP, NOISE = 8, 256, 32, 1e-3
QUANTIZER = make_quantizer("mulaw", 256)


def make_predictor(**changes):
    sizes = {"order": ORDER, "window": WINDOW, "hop": HOP, "noise": NOISE} | changes
    amplitudes = torch.from_numpy(QUANTIZER.amplitudes)
    return LinearPredictor(**sizes, amplitudes=amplitudes, silence=QUANTIZER.silence).double()


def tone(samples, hz=0.05):
    noise = 0.003 * np.random.default_rng(0).standard_normal(samples)
    return torch.from_numpy(0.3 * np.sin(2 * np.pi * hz * np.arange(samples)) + noise)


def codes_of(wave):
    silence = torch.full((WINDOW,), QUANTIZER.silence)
    return torch.cat([silence, torch.from_numpy(QUANTIZER.encode(wave.numpy()))])[None]


def predict(predictor, codes, time):
    """Predict the samples after WINDOW samples of silence, the last of ``codes`` not among them."""
    return predictor(codes[:, : WINDOW + time - 1], time, 0, predictor.initial_state(1))


def test_filters_solve_the_normal_equations_of_the_windowed_samples():
    predictor = make_predictor()
    frame = tone(WINDOW)
    windowed = torch.cat([frame * predictor.window, torch.zeros(ORDER, dtype=torch.double)])
    past = torch.stack([windowed.roll(k) for k in range(1, ORDER + 1)], 1)
    gram = past.T @ past
    gram.diagonal().add_(gram[0, 0] * NOISE + 1e-5)
    expected = torch.linalg.solve(gram, past.T @ windowed)
    torch.testing.assert_close(predictor.filters(frame[None, None])[0, 0], expected)


@pytest.mark.parametrize("hz", [0.0, 0.001, 0.2, 0.5])
def test_every_filter_is_stable(hz):
    predictor = make_predictor(noise=1e-9)
    loud = torch.cos(2 * np.pi * hz * torch.arange(WINDOW, dtype=torch.double))
    for frame in (loud, torch.zeros(WINDOW), 1e-6 * loud):
        taps = predictor.filters(frame.double()[None, None])[0, 0].numpy()
        assert np.abs(np.roots([1.0, *-taps])).max() < 1.0


def test_predictions_use_the_filter_of_the_samples_before_their_block():
    predictor, codes, time = make_predictor(), codes_of(tone(3 * HOP + 5)), 3 * HOP + 5
    places, errors, _ = predict(predictor, codes, time)
    amplitudes = predictor.amplitudes[codes[0]]
    for t in (0, 1, HOP - 1, HOP, 2 * HOP + 7, time - 1):
        block = WINDOW + t // HOP * HOP
        taps = predictor.filters(amplitudes[None, None, block - WINDOW : block])[0, 0]
        past = amplitudes[WINDOW + t - ORDER : WINDOW + t].flip(0)
        torch.testing.assert_close(places[0, t], predictor.place(taps @ past))
    wrong = codes[0, WINDOW : WINDOW + time - 1] - places[0, :-1]
    torch.testing.assert_close(errors[0, LONG:], wrong)
    assert not errors[0, :LONG].any()  # silence predicts silence
    assert wrong[2 * HOP :].abs().mean() < 8  # a tone is predictable once it is in the window


@pytest.mark.parametrize("parts", [(101,), (1, 31, 33, 1, 35), (64, 37), (5, 5, 91)])
def test_a_call_goes_on_where_the_last_one_ended(parts):
    predictor, codes = make_predictor(), codes_of(tone(101))
    whole, errors, end = predict(predictor, codes, 101)
    state, clock, places = predictor.initial_state(1), 0, []
    for time in parts:
        past = codes[:, clock : clock + WINDOW + time - 1]
        place, own_errors, state = predictor(past, time, clock, state)
        torch.testing.assert_close(own_errors, errors[:, clock : clock + LONG + time - 1])
        places.append(place)
        clock += time
    torch.testing.assert_close(torch.cat(places, 1), whole)
    for found, expected in zip(state, end, strict=True):
        torch.testing.assert_close(found, expected)


def test_the_place_of_a_codes_amplitude_is_the_code():
    predictor = make_predictor()
    codes = torch.arange(256, dtype=torch.double)
    assert torch.equal(predictor.place(predictor.amplitudes), codes)
    halves = (predictor.amplitudes[1:] + predictor.amplitudes[:-1]) / 2
    torch.testing.assert_close(predictor.place(halves), codes[:-1] + 0.5)
    assert predictor.place(torch.tensor([-3.0, 3.0]).double()).tolist() == [0.0, 255.0]


def test_sizes_are_means_of_what_was_known():
    errors = 40 * torch.randn(2, LONG + 9, dtype=torch.double)
    recent, long = error_sizes(errors)
    sizes = errors.abs().clamp(max=64)
    for t in range(10):
        torch.testing.assert_close(long[:, t], sizes[:, t : t + LONG].mean(1))
        torch.testing.assert_close(recent[:, t], sizes[:, t + LONG - RECENT : t + LONG].mean(1))
    torch.testing.assert_close(mean_size(recent, long), recent / 2 + long / 2 + 0.4)


def test_the_window_rises_long_and_falls_over_the_newest_samples():
    window = asymmetric_window(WINDOW)
    assert (window[: WINDOW - 64].diff() > 0).all()
    assert (window[WINDOW - 64 :].diff() < 0).all()
    assert (window[0], window[WINDOW - 64]) == (0.0, 1.0)
    assert abs(window[-1]) < 1e-6


def test_the_logistic_distribution():
    place, log_scale = torch.tensor([3.3, 200.0]).double(), torch.tensor([0.4, -1.0]).double()
    found = LogisticPrior.apply(place, log_scale, 256)
    z = (torch.arange(256).double() - place[:, None]) / log_scale.exp()[:, None]
    density = torch.sigmoid(z).log() + torch.sigmoid(-z).log()  # of a logistic, up to its scale
    torch.testing.assert_close(found, density)
    place.requires_grad_()
    log_scale.requires_grad_()
    assert torch.autograd.gradcheck(lambda *x: LogisticPrior.apply(*x, 9), (place, log_scale))
