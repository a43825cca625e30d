"""What is WaveNet's own: how far it sees, and what its layers compute."""

import torch
from torch.nn import functional as F

from samplewise.config.models import HybridConfig, WaveNetConfig
from samplewise.models.wavenet import WaveNet

SMALL = WaveNetConfig(blocks=2, layers=3, channels=5, skip_channels=7, q_levels=16)


def test_the_papers_receptive_fields():
    # Section 3.1 gives 4092, which leaves out one of the two taps of the first layer.
    assert WaveNetConfig().receptive_field == 4 * (2**10 - 1) + 1 == 4093
    assert sum(HybridConfig().dilations) + 1 == 509  # appendix A


@torch.no_grad()
def test_a_prediction_sees_its_receptive_field_and_nothing_beyond():
    model, field = WaveNet(SMALL).double(), SMALL.receptive_field
    codes = torch.randint(16, (1, field + 1), generator=torch.Generator().manual_seed(0))
    before, _ = model(codes, model.initial_state(1))
    for place in (0, 1):
        changed = codes.clone()
        changed[0, place] = (changed[0, place] + 1) % 16
        after, _ = model(changed, model.initial_state(1))
        assert torch.equal(before[:, -1], after[:, -1]) == (place == 0)


@torch.no_grad()
def test_the_layers_are_dilated_convolutions():
    model = WaveNet(SMALL, seed=3).double()
    codes = torch.randint(16, (2, 40), generator=torch.Generator().manual_seed(1))
    x, total = F.embedding(codes, model.embedding).mT, torch.zeros(())
    for layer in model.stack.layers:
        taps = layer.taps.weight().unflatten(1, (2, -1)).transpose(1, 2)  # (out, in, tap)
        padded = F.pad(x, (layer.dilation, 0))
        filtered, gate = F.conv1d(padded, taps, layer.taps.bias, dilation=layer.dilation).chunk(
            2, 1
        )
        z = filtered.tanh() * gate.sigmoid()
        total = total + F.conv1d(z, layer.skip.weight()[..., None], layer.skip.bias)
        if layer.residual is not None:
            x = x + F.conv1d(z, layer.residual.weight()[..., None], layer.residual.bias)
    hidden = F.relu(total).mT
    expected = model.mlp[1](F.relu(model.mlp[0](hidden)))
    logits, _ = model(codes, model.initial_state(2))
    torch.testing.assert_close(logits, expected)
