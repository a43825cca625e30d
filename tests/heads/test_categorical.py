import math

import pytest
import torch

from samplewise.heads.categorical import CategoricalHead

HEAD = CategoricalHead()


def logits_of(probabilities):
    return torch.tensor([probabilities]).log()


def draw(probabilities, uniform, temperature=None):
    temperatures = None if temperature is None else torch.tensor([temperature])
    return HEAD.sample(logits_of(probabilities), torch.tensor([uniform]), temperatures).item()


def test_drawing_inverts_the_cdf():
    assert [draw([0.25, 0.5, 0.25], u) for u in (0.0, 0.2499, 0.2501, 0.7499, 0.7501, 0.9999)] == [
        0, 0, 1, 1, 2, 2,
    ]  # fmt: skip


def test_a_code_of_probability_zero_is_never_drawn():
    for uniform in (0.0, 0.5, 1 - 2**-24):
        assert draw([0.0, 1.0, 0.0], uniform) == 1
    assert draw([0.5, 0.0, 0.5], 0.5000001) == 2


def test_rounding_of_the_cdf_never_draws_what_is_impossible():
    logits = torch.randn(2000, 256, generator=torch.Generator().manual_seed(1)) * 5
    logits[:, 200:] = -math.inf
    largest = torch.full((2000,), 1 - 2**-53, dtype=torch.float64)
    assert (HEAD.sample(logits, largest) < 200).all()


def test_temperature_divides_the_logits():
    # p^(1/T) normalised: 0.2^2 : 0.8^2 = 1/17 at T = 0.5.
    assert draw([0.2, 0.8], 0.999 / 17, 0.5) == 0
    assert draw([0.2, 0.8], 1.001 / 17, 0.5) == 1


def test_codes_that_are_improbable_are_cut_off_and_the_others_keep_their_proportions():
    logits = torch.tensor([0.1, 0.2, 0.3, 0.4]).log().expand(10_000, 4)
    uniforms = (torch.arange(10_000) + 0.5) / 10_000
    whole = HEAD.sample(logits, uniforms)
    assert torch.equal(HEAD.sample(logits, uniforms, min_p=0.2), whole)
    codes = HEAD.sample(logits, uniforms, min_p=0.4)
    expected = torch.tensor([0.0, 2 / 9, 3 / 9, 4 / 9])
    torch.testing.assert_close(codes.bincount() / 10_000, expected, atol=1e-4, rtol=0)
    # At a temperature of 0.5: 1, 4, 9 and 16 in 30.
    temperatures = torch.full((10_000,), 0.5)
    codes = HEAD.sample(logits, uniforms, temperatures, min_p=0.5)
    expected = torch.tensor([0.0, 0.0, 9 / 25, 16 / 25])
    torch.testing.assert_close(codes.bincount() / 10_000, expected, atol=1e-4, rtol=0)


def test_shares_of_draws_are_the_probabilities():
    probabilities = torch.tensor([0.1, 0.2, 0.3, 0.4])
    uniforms = (torch.arange(10_000) + 0.5) / 10_000
    codes = HEAD.sample(probabilities.log().expand(10_000, 4), uniforms)
    torch.testing.assert_close(codes.bincount() / 10_000, probabilities, atol=1e-4, rtol=0)


def test_nll_and_log_prob_are_those_of_the_softmax_in_nats():
    logits = torch.tensor([[1.0, 2.0, 4.0]])
    expected = 4.0 - math.log(math.e + math.e**2 + math.e**4)
    assert HEAD.log_prob(logits, torch.tensor([2])).item() == pytest.approx(expected)
    nll = HEAD.nll(logits.unsqueeze(0), torch.tensor([[2]]))
    assert nll.item() == pytest.approx(-expected)
