"""Each family on a GPU equals itself on the CPU: outputs, gradients, and what it draws."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from tests.models.conftest import CONFIGS, UNTOLD, built
from tests.models.told import cues_of

from samplewise.generate.backend import reference_sampler
from samplewise.generate.graphed import GraphedSampler
from samplewise.generate.uniforms import uniforms
from samplewise.models.build import FAMILIES
from samplewise.models.step_model import StepModel
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


def folded(name, device):
    model = deepcopy(built(name)).float().to(device).eval().requires_grad_(False)
    model.fold()
    return model


def drawn_by(sampler):
    numbers = uniforms(0, range(1), 0, SAMPLES + sampler.lookahead)
    codes, log_probs, _ = sampler.draw(sampler.start(1), numbers)
    return torch.as_tensor(codes), torch.as_tensor(log_probs)


@pytest.mark.parametrize("name", UNTOLD)
def test_the_gpu_draws_the_codes_of_the_cpu(name, gpu):
    here, there = (drawn_by(reference_sampler(folded(name, d), 1))[0] for d in ("cpu", gpu))
    # A tie that rounding decides changes every later code: rare in so few samples.
    assert (here == there).double().mean() > 0.9


STEPWISE = [
    name for name, config in CONFIGS.items() if issubclass(FAMILIES[config.family][1], StepModel)
]


@pytest.mark.parametrize("name", STEPWISE)
def test_a_graph_draws_what_its_operators_draw(name, gpu, caplog):
    model, samples = folded(name, gpu), 3 * SAMPLES
    graphed, eager = GraphedSampler(model, 5), GraphedSampler(model, 5)
    eager._captures, clips = False, graphed.max_batch
    numbers, vectors = uniforms(0, range(clips), 0, samples), None
    if model.conditioner is not None:
        count = -(-samples // model.conditioner.config.hold)
        generator = np.random.default_rng(1)
        vectors = generator.standard_normal((clips, count, model.condition_width()), np.float32)
    temperatures = np.linspace(0.8, 1.2, clips * samples).reshape(clips, samples)
    for _ in range(2):  # the second draw replays what the first has captured
        ours = graphed.draw(graphed.start(clips), numbers, temperatures, vectors)
        theirs = eager.draw(eager.start(clips), numbers, temperatures, vectors)
        assert np.array_equal(ours[0], theirs[0])
        assert np.array_equal(ours[1], theirs[1])
    assert not caplog.records
    graphs = [static.graph for static in graphed._statics.values()]
    assert len(graphs) > 0
    assert gpu.type == "cpu" or None not in graphs


@pytest.mark.parametrize("name", [name for name in STEPWISE if name in UNTOLD])
def test_graphs_draw_the_codes_of_the_cpu(name, gpu):
    expected, scores = drawn_by(reference_sampler(folded(name, "cpu"), 1))
    codes, log_probs = drawn_by(GraphedSampler(folded(name, gpu), 1))
    same = codes == expected
    assert same.double().mean() > 0.9
    until = int(same.long().cumprod(-1).sum())
    torch.testing.assert_close(log_probs[:, :until], scores[:, :until], rtol=1e-3, atol=1e-3)


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
