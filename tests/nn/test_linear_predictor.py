"""The backward-adaptive linear predictor, and the logistic distribution around its prediction."""

import numpy as np
import pytest
import torch

from samplewise.nn import linear_predictor as module
from samplewise.nn.linear_predictor import (
    FLAT_SILENCE_POWER,
    LONG,
    RECENT,
    LinearPredictor,
    LogisticPrior,
    asymmetric_window,
    error_sizes,
    mean_size,
)
from samplewise.nn.linear_predictor import burg as burg_filters
from samplewise.quantizers import make_quantizer

ORDER, WINDOW, HOP, NOISE = 8, 256, 32, 1e-3
QUANTIZER = make_quantizer("mulaw", 256)


def make_predictor(**changes):
    sizes = {"method": "autocorrelation", "tilt": (), "order": ORDER, "window": WINDOW, "hop": HOP}
    sizes |= {"noise": NOISE, "damping": 0.0} | changes
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
    recent, long = error_sizes(errors, 64.0)
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


def burg(wave, order, noise, fall_back=FLAT_SILENCE_POWER):
    """Compute a filter by Burg's method from whole polynomials and the sums of its definition."""
    taps = np.array([1.0])
    white = noise * np.mean(np.square(wave))
    for n in range(1, order + 1):
        forward = np.convolve(wave, taps, "valid")[1:]
        backward = np.convolve(wave, taps[::-1], "valid")[:-1]
        added = len(forward) * white  # expected of noise of this power after both filters
        ahead, behind = np.r_[taps, 0.0], np.r_[0.0, taps[::-1]]
        k = 2 * (forward @ backward + added * (ahead @ behind))
        k /= forward @ forward + backward @ backward + 2 * added * (taps @ taps) + fall_back
        taps = ahead - k * behind
        assert len(taps) == n + 1
    return -taps[1:]


@pytest.mark.parametrize("noise", [1e-9, 1e-2])
def test_burgs_filter_is_that_of_its_definition(noise):
    predictor = make_predictor(method="burg", noise=noise).eval()
    frame = tone(WINDOW)
    expected = torch.from_numpy(burg(frame.numpy(), ORDER, noise))
    torch.testing.assert_close(predictor.filters(frame[None, None])[0, 0], expected)


@pytest.mark.parametrize(("order", "samples"), [(1, 57), (7, 57), (56, 57), (300, 6000)])
def test_the_compiled_module_gives_burgs_filters_of_single_precision(order, samples):
    """The last case has work enough for four threads."""
    windows = torch.randn(2, 3, samples, generator=torch.Generator().manual_seed(order))
    windows[0, 1] = 0
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            found.append(burg_filters(windows, order, NOISE))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)
    assert torch.equal(burg_filters(windows[1:, 2:], order, NOISE), found[0][1:, 2:])
    expected = burg_filters(windows.double(), order, NOISE)
    torch.testing.assert_close(found[0].double(), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("order", [1, 8, 61])
def test_the_compiled_module_gives_the_filters_of_the_autocorrelation_method(order, monkeypatch):
    predictor = make_predictor(order=order).float()
    frames = torch.randn(2, 3, WINDOW, generator=torch.Generator().manual_seed(order))
    frames[0, 1] = 0
    trained = predictor.train().filters(frames)
    monkeypatch.setattr(module, "can_load_native", lambda: False)
    torch.testing.assert_close(trained, predictor.filters(frames), rtol=1e-5, atol=1e-6)
    monkeypatch.undo()
    monkeypatch.setattr(module, "native_module", lambda: pytest.fail("it is not for scoring"))
    torch.testing.assert_close(trained, predictor.eval().filters(frames), rtol=1e-5, atol=1e-6)
    with pytest.raises(pytest.fail.Exception):
        predictor.train().filters(frames)


def test_a_fixed_predictor_comes_before_burgs():
    predictor = make_predictor(method="burg", tilt=(1.2, -0.5, 0.1)).eval()
    frame = tone(WINDOW).numpy()
    fixed = np.array([1.0, -1.2, 0.5, -0.1])
    adaptive = burg(np.convolve(frame, fixed, "valid"), ORDER, NOISE)
    expected = -np.convolve(fixed, np.r_[1.0, -adaptive])[1:]
    found = predictor.filters(torch.from_numpy(frame)[None, None])[0, 0]
    torch.testing.assert_close(found, torch.from_numpy(expected))


@pytest.mark.parametrize("clock", [0, 5])
@pytest.mark.parametrize("method", ["burg", "autocorrelation"])
def test_in_training_the_predictions_are_those_of_scoring(method, clock):
    predictor = make_predictor(method=method)
    generator = torch.Generator().manual_seed(clock)
    codes = torch.randint(100, 156, (3, WINDOW + LONG + ORDER + 70), generator=generator)
    state = torch.randn(3, predictor.taps, generator=generator) / 9, torch.full((3, LONG), 128.0)
    found = [predictor.train(mode)(codes, 70, clock, state) for mode in (True, False)]
    for ours, expected in zip(found[0][:2] + found[0][2], found[1][:2] + found[1][2], strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-3)


def test_burgs_resonances_are_as_narrow_as_a_tone():
    frame = tone(WINDOW)[None, None]
    radius = {}
    for method in ("autocorrelation", "burg"):
        taps = make_predictor(method=method, noise=1e-9).eval().filters(frame)[0, 0].numpy()
        poles = np.roots([1.0, *-taps])
        radius[method] = np.abs(poles[np.abs(np.angle(poles) / (2 * np.pi) - 0.05).argmin()])
    assert 1 - radius["burg"] < (1 - radius["autocorrelation"]) / 4
    assert radius["burg"] < 1


def test_damping_moves_every_pole_towards_the_centre():
    codes, time = codes_of(tone(2 * HOP)), 2 * HOP
    kept, damped = (
        predict(make_predictor(method="burg", damping=damping).eval(), codes, time)[2][0][0]
        for damping in (0.0, 0.01)
    )
    np.testing.assert_allclose(
        np.sort_complex(np.roots([1.0, *-damped.numpy()])),
        np.sort_complex(np.roots([1.0, *-kept.numpy()]) * 0.99),
        rtol=1e-4,
    )


def test_training_computes_the_same_filters_in_single_precision():
    frame = tone(WINDOW).float()[None, None]
    predictor = make_predictor(method="burg", tilt=(0.9,)).float()
    torch.testing.assert_close(
        predictor.train().filters(frame), predictor.eval().filters(frame), rtol=1e-3, atol=1e-3
    )
