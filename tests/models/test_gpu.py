"""Each family on a GPU equals itself on the CPU: outputs, gradients, and what it draws."""

from copy import deepcopy

import pytest
import torch
from tests.models.conftest import CONFIGS, UNTOLD, built
from tests.models.told import cues_of

from samplewise.generate.backend import reference_sampler
from samplewise.generate.uniforms import uniforms
from samplewise.nn.init import Initializer
from samplewise.nn.rnn import RecurrentLayer

pytestmark = pytest.mark.gpu
BATCH, SAMPLES = 3, 48


@pytest.fixture(autouse=True)
def exact_products():
    """Products in cuDNN are of float32, not of TF32; elsewhere that is torch's default."""
    with torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False):
        yield


def costs_and_gradients(name, device):
    model = deepcopy(built(name)).float().to(device)
    time = -(-SAMPLES // model.config.top_frame) * model.config.top_frame
    generator = torch.Generator().manual_seed(1)
    codes = torch.randint(model.q_levels, (BATCH, time + 1), generator=generator).to(device)
    previous, target = codes[:, :-1], codes[:, 1:]
    inputs = vectors = None
    if model.conditioner is not None:
        inputs = cues_of(model, BATCH, time).map(lambda part: part.to(device))
        vectors = model.conditioning_vectors(inputs, time)
    state = model.reset(model.initial_state(BATCH), torch.tensor([True, False, True]).to(device))
    params, _ = model(previous, state, target, vectors)
    nats = model.nll(params, target, inputs)
    nats.mean().backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    return nats.detach().cpu(), [None if part is None else part.cpu() for part in gradients]


@pytest.mark.parametrize("name", CONFIGS)
def test_costs_and_gradients_are_those_of_the_cpu(name, gpu):
    here, there = costs_and_gradients(name, "cpu"), costs_and_gradients(name, gpu)
    torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", UNTOLD)
def test_the_gpu_draws_the_codes_of_the_cpu(name, gpu):
    drawn = []
    for device in ("cpu", gpu):
        model = deepcopy(built(name)).float().to(device).eval().requires_grad_(False)
        model.fold()
        sampler = reference_sampler(model, 1)
        numbers = uniforms(0, range(1), 0, SAMPLES + sampler.lookahead)
        drawn.append(torch.as_tensor(sampler.draw(sampler.start(1), numbers)[0]).cpu())
    # A tie that rounding decides changes every later code: rare in so few samples.
    assert (drawn[0] == drawn[1]).double().mean() > 0.9


@pytest.mark.parametrize("cell", ["gru", "gru-reset-after", "lstm"])
def test_bfloat16_is_bfloat16(cell, gpu):
    layer = RecurrentLayer(64, 64, cell, True, Initializer(1)).to(gpu)
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(8, 128, 64, generator=generator).to(gpu)
    state = torch.zeros(8, layer.state_dim, device=gpu)
    exact, _ = layer(x, state)
    with torch.autocast(gpu.type, torch.bfloat16):
        h, last = layer(x, state)
    by_cudnn = gpu.type == "cuda" and cell != "gru"
    assert h.dtype == (torch.bfloat16 if by_cudnn else torch.float32)
    assert last.dtype == torch.float32
    assert 0 < (h.float() - exact).norm() / exact.norm() < 0.02
