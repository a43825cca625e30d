"""What is WaveRNN's own: its equations, the mask, two stages from one random number."""

import pytest
import torch
from torch import nn

from samplewise.config.models import WaveRNNConfig
from samplewise.heads.dual_softmax import DualSoftmaxHead
from samplewise.models.wavernn import WaveRNN
from samplewise.nn.wavernn_cell import byte_inputs
from samplewise.training.run import count_parameters

DIM, TIME = 8, 12


@pytest.fixture
def model():
    torch.manual_seed(4)
    model = WaveRNN(WaveRNNConfig(dim=DIM), seed=1).double()
    with torch.no_grad():
        model.layer.input.weight.v.zero_()  # gates that are not saturated
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@pytest.fixture
def codes():
    return torch.randint(65536, (2, TIME + 1), generator=torch.Generator().manual_seed(1))


def scaled(code):
    return code.double() / 127.5 - 1


@torch.no_grad()
def test_the_masked_gru_is_the_papers_equations(model, codes):
    layer, half = model.layer, DIM // 2
    big_i, big_r = layer.input.weight.v, layer.recurrent()
    seen = torch.ones(DIM, 3, dtype=torch.double)
    seen[:half, 2] = 0  # I*: the current coarse code reaches only the fine half
    h, found = model.initial_state(2).h[:, 0], []
    for t in range(TIME):
        x = torch.stack(
            [scaled(codes[:, t] // 256), scaled(codes[:, t] % 256), scaled(codes[:, t + 1] // 256)]
        ).T
        of_x = [
            x @ (seen * part).T + bias
            for part, bias in zip(big_i.chunk(3), layer.input.bias.chunk(3), strict=True)
        ]
        of_h = [h @ part.T for part in big_r.chunk(3)]
        r, u = torch.sigmoid(of_x[0] + of_h[0]), torch.sigmoid(of_x[1] + of_h[1])
        e = torch.tanh(r * (of_h[2] + layer.candidate_bias) + of_x[2])
        h = u * h + (1 - u) * e
        y_c, y_f = h.chunk(2, -1)
        found.append(torch.cat([model.o2(model.o1(y_c).relu()), model.o4(model.o3(y_f).relu())], 1))
    params, state = model(codes[:, :-1], model.initial_state(2), codes[:, 1:])
    torch.testing.assert_close(params, torch.stack(found, 1))
    torch.testing.assert_close(state.h[:, 0], h)


@torch.no_grad()
def test_the_masked_gru_is_torchs(model, codes):
    gru = nn.GRU(3, DIM, batch_first=True).double()
    gru.weight_ih_l0.copy_(model.layer.input.weight())
    gru.weight_hh_l0.copy_(model.layer.recurrent())
    gru.bias_ih_l0.copy_(model.layer.input.bias)
    gru.bias_hh_l0.zero_()
    gru.bias_hh_l0[2 * DIM :] = model.layer.candidate_bias
    x = model._inputs(codes[:, :-1], codes[:, 1:] // 256)
    h0 = model.initial_state(2).h.transpose(0, 1).contiguous()
    expected, _ = gru(x, h0)
    found, _ = model.rnn(x, model.initial_state(2).h)
    torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_the_coarse_code_reaches_the_fine_half_alone_and_the_fine_code_nothing_yet(model, codes):
    before, _ = model(codes[:, :-1], model.initial_state(2), codes[:, 1:])
    target = codes[:, 1:].clone()
    target[:, 5] ^= 3  # fine bits
    after, _ = model(codes[:, :-1], model.initial_state(2), target)
    assert torch.equal(after, before)
    target[:, 5] ^= 3 << 8  # coarse bits
    after, _ = model(codes[:, :-1], model.initial_state(2), target)
    assert torch.equal(after[:, :5], before[:, :5])
    assert torch.equal(after[:, 5, :256], before[:, 5, :256])
    assert not torch.isclose(after[:, 5, 256:], before[:, 5, 256:]).all(-1).any()


@torch.no_grad()
def test_a_draw_in_two_stages_is_the_step_that_knows_its_coarse_code(model):
    state, previous = model.initial_state(3), torch.full((3,), 32768)
    generator = torch.Generator().manual_seed(2)
    for _ in range(20):
        uniforms = torch.rand(3, generator=generator)
        code, after, params = model.sample(previous, state, uniforms)
        expected, known = model.step(previous, state, code)
        torch.testing.assert_close(params, expected)
        torch.testing.assert_close(after.h, known.h)
        previous, state = code, after


def test_a_mask_survives_training_and_gets_no_gradient(model, codes):
    params, _ = model(codes[:, :-1], model.initial_state(2), codes[:, 1:])
    model.head.nll(params, codes[:, 1:]).sum().backward()
    gradient = model.layer.input.weight.v.grad.unflatten(0, (3, DIM))
    assert not gradient[:, : DIM // 2, 2].any()
    assert gradient[:, DIM // 2 :, 2].all()


def test_one_random_number_makes_both_stages_independent_and_right():
    logits = torch.tensor([[0.1, 0.2, 0.0, 0.7]]).log().expand(100_000, -1)
    uniforms = (torch.arange(100_000) + 0.5) / 100_000
    code, rest = DualSoftmaxHead().sample_stage(logits, uniforms)
    counts = torch.bincount(code, minlength=4) / len(code)
    torch.testing.assert_close(counts, torch.tensor([0.1, 0.2, 0.0, 0.7]), atol=1e-4, rtol=0)
    for value in (0, 1, 3):
        part = rest[code == value].sort().values
        even = (torch.arange(len(part)).double() + 0.5) / len(part)
        assert (part - even).abs().max() < 1e-3
    assert rest.min() >= 0
    assert rest.max() < 1


def test_what_is_left_of_a_random_number_always_finds_a_code():
    halves = torch.zeros(2, 2)
    # Just below the edge of the first code, and just above that of the second.
    uniforms = torch.tensor([0.5 - 2.0**-54, 0.5], dtype=torch.double)
    code, rest = DualSoftmaxHead().sample_stage(halves, uniforms)
    assert code.tolist() == [0, 1]
    assert rest.tolist() == [1 - 2.0**-50, 0.0]
    code, _ = DualSoftmaxHead().sample_stage(
        torch.randn(2, 16, generator=torch.Generator().manual_seed(7)), rest
    )
    assert code.tolist() == [15, 0]


def test_the_sizes_of_the_paper():
    # Section 2.1: 896 units have about 3 million parameters; biases and h0 are ours.
    model = WaveRNN(WaveRNNConfig(), seed=None)
    matrices = sum(p.numel() for p in model.parameters() if p.ndim == 2) - 896  # without h0
    assert matrices - 3 * 448 == 3_045_952  # what the mask keeps
    assert count_parameters(model) < 3_060_000


def test_an_odd_width_is_refused():
    with pytest.raises(ValueError, match="dim = 7 must be even"):
        WaveRNNConfig(dim=7)


def test_a_pass_needs_to_know_the_coarse_codes(model, codes):
    with pytest.raises(ValueError, match="needs the target"):
        model(codes, model.initial_state(2))


def test_gates_see_amplitudes_at_first_and_at_many_scales():
    model = WaveRNN(WaveRNNConfig(dim=64), seed=3)
    codes = torch.arange(0, 65536, 97)
    with torch.no_grad():
        x = byte_inputs(codes, torch.zeros_like(codes), model.real_values.double())
        x[:, 2] = 0
        gates = x @ model.layer.input.weight.v.double().T  # (codes, gates)
    line = (codes.double() / 65535 * 2 - 1)[:, None]
    slope = (gates[-1] - gates[0]) / (line[-1] - line[0])
    torch.testing.assert_close(gates - gates[:1], slope * (line - line[:1]), rtol=0, atol=1e-4)
    sizes = slope.abs().log2()
    assert sizes.max() - sizes.median() > 2
