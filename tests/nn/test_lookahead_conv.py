"""Convolutions that look ahead, against torch's own written out."""

import torch
from torch.nn import functional as F

from samplewise.config.models import SubscaleWaveRNNConfig
from samplewise.nn.init import Initializer
from samplewise.nn.lookahead_conv import LookaheadStack, horizon_of


def stack(dilations=(1, 3), rows=2):
    torch.manual_seed(0)
    net = LookaheadStack(4, rows, dilations, 5, 3, Initializer(1)).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return net


@torch.no_grad()
def test_the_layers_are_dilated_convolutions_without_padding():
    net, x = stack(), torch.randn(3, 2, 20, 4, dtype=torch.double)
    for row in range(2):
        hidden = (F.linear(x[:, row], net.input.weight()) + net.rows[row]).mT
        for layer in net.layers:
            kernel = layer.taps.weight().unflatten(0, (3, -1)).permute(1, 2, 0)
            inner = F.conv1d(F.relu(hidden), kernel, layer.bias, dilation=layer.dilation)
            out = F.conv1d(F.relu(inner), layer.out.weight()[..., None], layer.out.bias)
            hidden = hidden[..., : out.shape[-1]] + out
        torch.testing.assert_close(net(x)[:, row], F.relu(hidden).mT)


def test_a_column_sees_itself_and_the_whole_horizon_and_nothing_else():
    net, x = stack(), torch.randn(1, 2, 14, 4, dtype=torch.double, requires_grad=True)
    assert horizon_of((1, 3)) == net.horizon == 8
    [gradient] = torch.autograd.grad(net(x)[0, 1, 2].sum(), x)
    seen = gradient[0].abs().sum(-1) > 0
    offsets = {a + 3 * b for a in range(3) for b in range(3)}
    assert seen.tolist() == [[False] * 14, [column - 2 in offsets for column in range(14)]]


def test_the_papers_layers_leave_no_hole_in_the_horizon():
    config = SubscaleWaveRNNConfig()
    seen = {0}
    for dilation in config.dilations:
        seen = {offset + tap * dilation for offset in seen for tap in range(3)}
    assert seen == set(range(128 + 1))
    assert config.horizon == 128
