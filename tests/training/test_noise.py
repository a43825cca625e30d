from dataclasses import replace

import pytest
import torch
from tests.training.test_resume import assert_same_bits, train

from samplewise.training.noise import add_noise

CODES = torch.full((6, 2000), 100)
OPTIONS = {"seed": 1, "step": 5, "lanes": 6}


def test_noise_has_the_deviation_that_was_asked_for():
    moved = add_noise(CODES, 2.0, 256, **OPTIONS, rows=slice(0, 6)) - 100
    assert moved.float().mean().item() == pytest.approx(0, abs=0.1)
    # Rounding adds 1/12 to the variance.
    assert moved.float().var().item() == pytest.approx(4 + 1 / 12, rel=0.05)


def test_codes_stay_codes():
    moved = add_noise(CODES, 300.0, 128, **OPTIONS, rows=slice(0, 6))
    assert (moved.min(), moved.max()) == (0, 127)


def test_noise_is_a_function_of_seed_step_and_lane_alone():
    whole = add_noise(CODES, 2.0, 256, **OPTIONS, rows=slice(0, 6))
    assert torch.equal(whole, add_noise(CODES, 2.0, 256, **OPTIONS, rows=slice(0, 6)))
    part = add_noise(CODES[2:4], 2.0, 256, **OPTIONS, rows=slice(2, 4))
    assert torch.equal(part, whole[2:4])
    other = add_noise(CODES, 2.0, 256, **(OPTIONS | {"step": 6}), rows=slice(0, 6))
    assert not torch.equal(other, whole)


def test_a_run_with_noise_resumes_in_the_same_bits(config, corpus, tmp_path, alone):
    noisy = replace(config, input_noise=1.0)
    train(replace(noisy, steps=8), corpus, tmp_path / "whole", alone)
    for steps in (3, 8):
        train(replace(noisy, steps=steps), corpus, tmp_path / "parts", alone)
    assert_same_bits(tmp_path / "whole", tmp_path / "parts")
    train(replace(config, steps=8), corpus, tmp_path / "clean", alone)
    with pytest.raises(AssertionError):
        assert_same_bits(tmp_path / "whole", tmp_path / "clean")
