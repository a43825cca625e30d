"""Burg's method in Triton equals the operators of PyTorch, by Triton's interpreter on a CPU."""

import pytest
import torch
from tests.interpreted import run_interpreted

from samplewise.nn.linear_predictor import FLAT_SILENCE_POWER, burg

WINDOWS, ORDER, NOISE = (2, 3, 100), 20, 1e-3
INTERPRETED = """
import sys, torch
from samplewise.nn.triton_burg import burg_weights
source, target, order, noise, silence = sys.argv[1:]
flat = torch.load(source)
torch.save([burg_weights(x, int(order), float(noise), float(silence)) for x in flat], target)
"""


def windows(device="cpu"):
    generator = torch.Generator().manual_seed(0)
    flat = 0.1 * torch.randn(WINDOWS, generator=generator, dtype=torch.float64).cumsum(-1)
    flat[0, 0] = 0.0  # silence
    return [flat.to(device), flat.float().to(device)]


def check(found, flat):
    exact = burg(flat[0].cpu(), ORDER, NOISE)
    torch.testing.assert_close(found[0].cpu(), exact, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(found[1].double().cpu(), exact, rtol=1e-3, atol=1e-4)


def test_one_program_a_window_gives_the_same_weights(tmp_path):
    source, target = tmp_path / "windows.pt", tmp_path / "weights.pt"
    torch.save(windows(), source)
    run_interpreted(INTERPRETED, source, target, ORDER, NOISE, FLAT_SILENCE_POWER)
    check(torch.load(target), windows())


@pytest.mark.gpu
def test_the_gpu_gives_the_same_weights(gpu):
    flat = windows(gpu)
    found = [burg(part, ORDER, NOISE) for part in flat]
    check(found, flat)
    assert all(
        torch.equal(burg(part, ORDER, NOISE), own) for part, own in zip(flat, found, strict=True)
    )
