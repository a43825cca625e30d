import pytest
import torch
from torch import nn

from samplewise.nn.init import Initializer
from samplewise.nn.recurrence import LSTM, GRUResetAfter, GRUResetBefore
from samplewise.nn.rnn import RecurrentLayer, RecurrentStack

TIME, BATCH, DIM = 5, 3, 4


def normal(*shape):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.double, requires_grad=True)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (GRUResetAfter, [(TIME, BATCH, 12), (BATCH, DIM), (12, DIM), (DIM,)]),
        (GRUResetBefore, [(TIME, BATCH, 12), (BATCH, DIM), (12, DIM)]),
        (LSTM, [(TIME, BATCH, 16), (BATCH, DIM), (BATCH, DIM), (16, DIM)]),
    ],
)
def test_hand_written_gradients_equal_finite_differences(function, arguments):
    inputs = [normal(*shape) for shape in arguments]
    assert torch.autograd.gradcheck(function.apply, inputs)


@pytest.mark.parametrize("cell", ["gru-reset-after", "lstm"])
def test_layer_equals_the_one_of_torch(cell):
    layer = RecurrentLayer(6, DIM, cell, True, Initializer(1)).double()
    oracle = (nn.LSTM if cell == "lstm" else nn.GRU)(6, DIM, batch_first=True).double()
    with torch.no_grad():
        hidden = torch.zeros_like(oracle.bias_hh_l0)
        if layer.candidate_bias is not None:
            layer.candidate_bias.normal_(generator=torch.Generator().manual_seed(2))
            hidden[2 * DIM :] = layer.candidate_bias
        oracle.weight_ih_l0.copy_(layer.input.weight())
        oracle.weight_hh_l0.copy_(layer.recurrent())
        oracle.bias_ih_l0.copy_(layer.input.bias)  # pyright: ignore[reportArgumentType]
        oracle.bias_hh_l0.copy_(hidden)
    x, state = normal(BATCH, TIME, 6), normal(BATCH, layer.state_dim)
    out, last = layer(x, state)
    parts = [part.unsqueeze(0).contiguous() for part in state.split(DIM, -1)]
    expected, expected_last = oracle(x, tuple(parts) if cell == "lstm" else parts[0])
    torch.testing.assert_close(out, expected)
    joined = torch.cat(expected_last, -1) if cell == "lstm" else expected_last
    torch.testing.assert_close(last, joined.squeeze(0))


def test_the_paper_gru_resets_before_the_product():
    layer = RecurrentLayer(6, DIM, "gru", False, Initializer(3)).double()
    x, h = normal(BATCH, TIME, 6), normal(BATCH, DIM)
    out, _ = layer(x, h)
    w_r, w_z, w_n = layer.recurrent().split(DIM)
    for t in range(TIME):  # Chung et al. 2014, Eqs. 5-8, written out
        x_r, x_z, x_n = layer.input(x[:, t]).split(DIM, -1)
        r, z = torch.sigmoid(x_r + h @ w_r.t()), torch.sigmoid(x_z + h @ w_z.t())
        h = z * h + (1 - z) * torch.tanh(x_n + (r * h) @ w_n.t())
        torch.testing.assert_close(out[:, t], h)


def test_forget_gates_start_open():
    bias = RecurrentLayer(6, DIM, "lstm", True, Initializer(1)).input.bias
    assert bias is not None
    assert bias.tolist() == [0.0] * DIM + [3.0] * DIM + [0.0] * 2 * DIM


def test_every_recurrent_gate_starts_orthogonal_in_the_paper_and_only_the_candidate_officially():
    eye = torch.eye(DIM)
    for scheme, expected in [("paper", [True, True, True]), ("official", [False, False, True])]:
        gates = RecurrentLayer(6, DIM, "gru", True, Initializer(1, scheme)).recurrent().split(DIM)
        assert [torch.allclose(w @ w.t(), eye, atol=1e-5) for w in gates] == expected


def stack(n_rnn, skip=False, cell="gru", learn_h0=True):
    return RecurrentStack(6, DIM, n_rnn, cell, skip, True, learn_h0, Initializer(4)).double()


def test_with_skips_the_output_is_the_sum_of_one_map_per_layer():
    rnn = stack(3, skip=True)
    x, state = normal(BATCH, TIME, 6), normal(BATCH, 3, DIM)
    total, h = torch.zeros(BATCH, TIME, DIM, dtype=torch.double), x
    for index, (layer, skip) in enumerate(zip(rnn.layers, rnn.skips, strict=True)):
        h, _ = layer(torch.cat([h, x], -1) if index else h, state[:, index])
        total = total + skip(h)
    torch.testing.assert_close(rnn(x, state)[0], total)


@pytest.mark.parametrize("cell", ["gru", "gru-reset-after", "lstm"])
def test_a_sequence_in_two_parts_is_the_sequence_in_one(cell):
    rnn = stack(2, cell=cell)
    x = normal(BATCH, TIME, 6)
    whole, last = rnn(x, rnn.initial_state(BATCH))
    head, state = rnn(x[:, :2], rnn.initial_state(BATCH))
    tail, state = rnn(x[:, 2:], state)
    torch.testing.assert_close(torch.cat([head, tail], 1), whole)
    torch.testing.assert_close(state, last)


def test_a_reset_takes_the_learned_state_only_where_asked_and_keeps_it_in_the_graph():
    rnn = stack(2)
    with torch.no_grad():
        rnn.h0.fill_(0.5)
    state = normal(BATCH, 2, DIM)
    reset = rnn.reset(state, torch.tensor([True, False, True]))
    torch.testing.assert_close(reset[1], state[1])
    assert (reset[[0, 2]] == 0.5).all()
    rnn.reset(state, torch.zeros(BATCH, dtype=torch.bool)).sum().backward()
    assert rnn.h0.grad is not None  # DDP needs every parameter in every graph
    assert not isinstance(stack(2, learn_h0=False).h0, nn.Parameter)


@pytest.mark.parametrize("cell", ["gru", "gru-reset-after", "lstm"])
def test_a_wide_layer_in_single_precision_equals_double_precision(cell):
    generator = torch.Generator().manual_seed(5)
    x, results = torch.randn(16, 3, 64, generator=generator), []
    for dtype in (torch.float32, torch.float64):  # the former through oneDNN where there is one
        layer = RecurrentLayer(64, 256, cell, True, Initializer(1)).to(dtype)
        inp = x.to(dtype).clone().requires_grad_()
        state = torch.full((16, layer.state_dim), 0.1, dtype=dtype, requires_grad=True)
        out, last = layer(inp, state)
        (out.sum() + (last * last).sum()).backward()
        gradients = [inp.grad, state.grad, *(p.grad for p in layer.parameters())]
        results.append([value.double() for value in (out, last, *gradients)])
    for found, expected in zip(*results, strict=True):
        scale = expected.abs().max().item()
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-5 * max(scale, 1))


def rounded(x):
    return x.bfloat16().to(x.dtype)


def test_bfloat16_weights_round_the_operands_of_products_and_leave_the_state_alone():
    gates, h0, weight = normal(40, BATCH, 12).float(), normal(BATCH, DIM).float(), normal(12, DIM)
    h = GRUResetBefore.apply(gates, h0, weight.bfloat16())
    assert h.dtype == torch.float32
    state, w = h0, rounded(weight.float())
    for t in range(40):
        products = rounded(rounded(state) @ w[: 2 * DIM].t())
        r, z = torch.sigmoid(gates[t, :, : 2 * DIM] + products).split(DIM, -1)
        n = torch.tanh(gates[t, :, 2 * DIM :] + rounded(rounded(r * state) @ w[2 * DIM :].t()))
        state = torch.lerp(n, state, z)
        torch.testing.assert_close(h[t], state, rtol=0, atol=1e-3)


@pytest.mark.parametrize("cell", ["gru", "gru-reset-after", "lstm"])
def test_under_autocast_state_and_gradients_are_float32(cell):
    layer = RecurrentLayer(6, DIM, cell, True, Initializer(1))
    x, state = normal(BATCH, TIME, 6).float(), normal(BATCH, layer.state_dim).float()

    def run(enabled):
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            h, last = layer(x, state)
        h.square().sum().backward()
        return h, last, [parameter.grad for parameter in layer.parameters()]

    (h, last, gradients), (exact, exact_last, exact_gradients) = run(True), run(False)
    assert h.dtype == last.dtype == torch.float32
    assert not torch.equal(h, exact)
    torch.testing.assert_close(h, exact, rtol=0, atol=0.02)
    torch.testing.assert_close(last, exact_last, rtol=0, atol=0.02)
    torch.testing.assert_close(gradients, exact_gradients, rtol=0.02, atol=0.05)


@pytest.mark.parametrize("cell", ["gru-reset-after", "lstm"])
def test_what_cudnn_is_given_makes_the_same_layer_and_its_operands_are_bfloat16(cell, monkeypatch):
    layer = RecurrentLayer(6, DIM, cell, True, Initializer(1)).double()
    x, state = normal(BATCH, TIME, 6), normal(BATCH, layer.state_dim)
    for one, other in zip(layer._cudnn(x, state), layer(x, state), strict=True):
        torch.testing.assert_close(one, other)
    name = "lstm" if cell == "lstm" else "gru"
    torchs_own, given = getattr(torch, name), []

    def spy(x, parts, weights, *options):
        hidden = parts if cell == "lstm" else [parts]
        given.extend([x, *hidden, *weights])
        assert not torch.is_autocast_enabled("cpu")  # on a GPU it would make them float16
        return torchs_own(x, parts, weights, *options)

    monkeypatch.setattr(torch, name, spy)
    layer = layer.float()
    with torch.autocast("cpu", torch.bfloat16):
        h, last = layer._cudnn(x.float(), state.float())
    assert {tensor.dtype for tensor in given} == {torch.bfloat16}
    assert (h.dtype, last.dtype) == (torch.bfloat16, torch.float32)
