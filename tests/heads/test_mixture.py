"""The mixture against its definition, summed and sampled by independent means."""

import math
import statistics

import numpy as np
import pytest
import torch

from samplewise.heads.mixture import MIN_LOG_SCALE, GaussianMixtureHead, LogisticMixtureHead

WEIGHTS, MEANS, DEVIATIONS = [0.2, 0.5, 0.3], [-1.0, 0.25, 2.0], [0.4, 0.05, 1.5]
NORMALS = [statistics.NormalDist(*pair) for pair in zip(MEANS, DEVIATIONS, strict=True)]


def params(rows=1):
    scales = [math.log(d) for d in DEVIATIONS]
    # The inverse of the soft limit below.
    raw = [MIN_LOG_SCALE + math.log(math.expm1(s - MIN_LOG_SCALE)) for s in scales]
    flat = [*(math.log(w) for w in WEIGHTS), *MEANS, *raw]
    return torch.tensor(flat, dtype=torch.double).expand(rows, -1)


def cdf(value):
    return sum(w * n.cdf(value) for w, n in zip(WEIGHTS, NORMALS, strict=True))


@pytest.mark.parametrize("value", [-3.0, -1.0, 0.2, 0.25, 5.0])
def test_the_density_is_that_of_the_mixture(value):
    density = sum(w * n.pdf(value) for w, n in zip(WEIGHTS, NORMALS, strict=True))
    log_density = GaussianMixtureHead.log_density(params(), torch.tensor([value])).item()
    assert log_density == pytest.approx(math.log(density), rel=1e-5)


def test_the_density_sums_to_one():
    grid = torch.linspace(-12, 16, 200_001)
    density = GaussianMixtureHead.log_density(params().expand(len(grid), -1), grid).double().exp()
    assert torch.trapezoid(density, grid.double()).item() == pytest.approx(1, abs=1e-5)


def test_draws_have_the_mixtures_distribution():
    uniforms = (torch.arange(200_000) + 0.5) / 200_000
    drawn = np.sort(GaussianMixtureHead.sample_value(params(len(uniforms)), uniforms).numpy())
    places = np.linspace(0, len(drawn) - 1, 400).astype(int)
    empirical = (places + 0.5) / len(drawn)
    exact = np.array([cdf(drawn[place]) for place in places])
    assert np.abs(empirical - exact).max() < 1e-4  # Kolmogorov-Smirnov of evenly spread uniforms


def test_the_ends_of_the_uniforms_are_finite_and_far_out():
    ends = torch.tensor([0.0, 1 - 2.0**-24])
    low, high = GaussianMixtureHead.sample_value(params(2), ends).tolist()
    assert -4 < low < -2
    assert 5 < high < 12


def test_temperature_multiplies_variances():
    uniforms = (torch.arange(10_000) + 0.5) / 10_000
    one = torch.tensor([[0.0, 3.0, 0.0]]).expand(10_000, -1)
    temperatures = torch.full_like(uniforms, 0.25)
    spread = [
        GaussianMixtureHead.sample_value(one, uniforms, t).std().item()
        for t in (None, temperatures)
    ]
    assert spread[1] == pytest.approx(spread[0] / 2, rel=1e-3)


def test_temperature_sharpens_the_choice_of_a_component():
    two = torch.tensor([[math.log(0.2), math.log(0.8), -9.0, 9.0, -99.0, -99.0]])
    uniforms = (torch.arange(10_000) + 0.5) / 10_000
    drawn = GaussianMixtureHead.sample_value(
        two.expand(10_000, -1), uniforms, torch.full_like(uniforms, 0.5)
    )
    assert (drawn < 0).double().mean().item() == pytest.approx(0.04 / 0.68, abs=1e-3)


def test_a_deviation_has_a_floor():
    spike = torch.tensor([[0.0, 0.5, -100.0]])
    peak = GaussianMixtureHead.log_density(spike, torch.tensor([0.5])).item()
    assert peak == pytest.approx(7 - 0.5 * math.log(2 * math.pi), rel=1e-5)


def test_every_16_bit_code_can_be_drawn():
    amplitudes = (torch.arange(65536).double() - 32768) / 32768
    head = GaussianMixtureHead(((amplitudes + 0.0005) / 0.234).float())
    codes = torch.arange(0, 65536, 64)
    spikes = torch.stack([torch.zeros(1024), head.values[codes], torch.full((1024,), -30.0)], 1)
    found = head.sample(spikes.double(), torch.full((1024,), 0.5))
    assert torch.equal(found, codes)


def test_a_head_draws_the_nearest_code_within_full_scale():
    values = (torch.arange(16) - 8.0) / 8 / 0.5
    head = GaussianMixtureHead(values)
    sharp = torch.tensor([[0.0, 0.24, -30.0], [0.0, 99.0, -30.0], [0.0, -99.0, -30.0]])
    codes = head.sample(sharp, torch.full((3,), 0.5))
    assert codes.tolist() == [9, 15, 0]  # 0.24 lies next to 0.25, the ninth
    density = GaussianMixtureHead.log_density(sharp, values[codes])
    torch.testing.assert_close(head.log_prob(sharp, codes), density.double(), rtol=1e-5, atol=1e-4)
    assert torch.equal(head.nll(sharp[None], codes[None])[0], -density)


def mixture_of_logistics(q_levels=12):
    logits, places, log_scales = [0.3, -0.5, 1.0], [2.4, 6.0, 30.0], [-1.0, 0.5, 1.5]
    params = torch.tensor([logits + places + log_scales], dtype=torch.double)
    return LogisticMixtureHead(q_levels), params


def test_probabilities_of_logistics_are_differences_of_the_cdf():
    head, params = mixture_of_logistics()
    logits, places, log_scales = params[0].chunk(3)
    edges = torch.arange(-0.5, 12.0, dtype=torch.double)
    edges[0], edges[-1] = -math.inf, math.inf
    cdf = torch.sigmoid((edges[:, None] - places) * (-log_scales).exp()) @ logits.softmax(0)
    expected = (1 - 1e-6) * cdf.diff() + 1e-6 / 12
    found = head.log_prob(params.expand(12, -1), torch.arange(12)).exp()
    torch.testing.assert_close(found, expected)
    nats = head.nll(params.expand(12, -1)[None], torch.arange(12)[None])
    torch.testing.assert_close(nats[0].double(), -found.log(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_random_numbers_draw_logistics_with_their_probabilities(temperature):
    head, params = mixture_of_logistics()
    count = 40_000
    numbers = (torch.arange(count) + 0.5) / count
    drawn = head.sample(params.expand(count, -1), numbers, torch.full((count,), temperature))
    logits, places, log_scales = params[0].chunk(3)
    sharp = torch.cat([logits / temperature, places, log_scales + math.log(temperature)])[None]
    expected = head.log_prob(sharp.expand(12, -1), torch.arange(12)).exp()
    found = torch.bincount(drawn, minlength=12) / count
    torch.testing.assert_close(found.double(), expected, atol=2e-4, rtol=0)


def test_min_p_bounds_the_density_relative_to_the_middle_of_a_component():
    head = LogisticMixtureHead(65536)
    params = torch.tensor([[0.0, 30_000.0, 5.0]])
    ends = torch.tensor([0.0, 1 - 2**-24])
    scale, min_p = math.exp(5.0), 0.1
    low, high = head.sample(params.expand(2, -1), ends, None, min_p).tolist()
    for code in (low, high):
        p = 1 / (1 + math.exp(-(code - 30_000) / scale))
        assert 4 * p * (1 - p) == pytest.approx(min_p, rel=0.02)
    assert low - 30_000 == pytest.approx(30_000 - high, abs=1)
