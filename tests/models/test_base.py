"""Real values, folding; the RNN and the hybrids against their equations written out."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from samplewise.config.models import HybridConfig, RNNConfig, SampleRNNConfig
from samplewise.models.build import build_model

SMALL = {"dim": 6, "emb_size": 5, "q_levels": 16}


def codes_of(model, time=20):
    return torch.randint(model.q_levels, (2, time), generator=torch.Generator().manual_seed(1))


def moved(config):
    """No bias and no h0 is zero."""
    model = build_model(config, seed=2).double()
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def test_real_values_are_normalised_amplitudes():
    amplitudes = (np.arange(16) - 8) / 8
    plain = build_model(SampleRNNConfig(**SMALL)).real_values
    np.testing.assert_allclose(plain, 2 * amplitudes)  # in [-2, 2), as in the official code
    own = build_model(RNNConfig(**SMALL, sample_input="real", moments=(0.1, 0.3))).real_values
    np.testing.assert_allclose(own, (amplitudes - 0.1) / 0.3, rtol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("kind", [RNNConfig, SampleRNNConfig])
def test_a_mixture_begins_as_a_gaussian_of_the_datas_moments(kind):
    sizes = {"dim": 64, "q_levels": 65536, "sample_input": "real", "head": "gmm"}
    model = build_model(kind(**sizes, moments=(0.0, 0.25)), seed=0)
    generator = torch.Generator().manual_seed(3)
    wave = torch.randn(2, 400, generator=generator) / 4
    codes = (wave.clamp(-1, 0.99) * 32768 + 32768).long()
    params, _ = model(codes[:, :-1], model.initial_state(2))
    nats = model.head.nll(params, codes[:, 1:]).mean().item()
    assert nats == pytest.approx(0.5 * np.log(2 * np.pi * np.e), abs=0.1)


def test_folding_makes_the_table_of_embeddings():
    model = build_model(SampleRNNConfig(**SMALL))
    assert model.sample_level.folded is None
    model.fold()
    torch.testing.assert_close(model.sample_level.folded, model.sample_level.table())
    assert not any(name.endswith(".g") for name, _ in model.named_parameters())


@torch.no_grad()
def test_the_rnn_is_an_mlp_on_top_of_a_recurrent_stack():
    model = moved(RNNConfig(**SMALL))
    codes = codes_of(model)
    h, _ = model.rnn(model.embedding[codes], model.initial_state(2).h)
    first, second, last = list(model.mlp)
    expected = last(F.relu(second(F.relu(first(h)))))
    torch.testing.assert_close(model(codes, model.initial_state(2))[0], expected)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["rnn", "convolution"])
def test_a_hybrid_concatenates_what_frames_and_samples_say(kind):
    size = 4
    model = moved(
        HybridConfig(
            frame_level=kind, frame_size=size, dim=6, frame_blocks=1, frame_layers=2, blocks=1,
            layers=2, channels=5, skip_channels=7, q_levels=16,
        )
    )  # fmt: skip
    codes = codes_of(model)
    state = model.initial_state(2)
    behind = torch.full((2, size - 1), model.quantizer.silence)
    frames = model.real_values[torch.cat([behind, codes], 1)[:, :20]].unflatten(1, (5, size))
    if kind == "rnn":
        of_frames, _ = model.rnn(frames, state.h[0])
    else:
        of_frames, _ = model.frame_stack(model.frame_input(frames), state.frame_pasts)
    of_samples, _ = model.stack(model.embedding[codes], state.pasts)
    both = torch.cat([of_samples, of_frames.repeat_interleave(size, 1)], -1)
    first, second, last = list(model.mlp)
    expected = last(F.relu(second(F.relu(first(F.relu(both))))))
    torch.testing.assert_close(model(codes, state)[0], expected)
