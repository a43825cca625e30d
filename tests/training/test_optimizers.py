"""Muon's step: against torch's own, gate by gate, behind masks, and in runs that resume."""

import copy

import pytest
import torch

from samplewise.config.models import SampleRNNConfig, WaveRNNConfig
from samplewise.config.training import OptimizerConfig
from samplewise.models.build import build_model
from samplewise.models.wavernn import WaveRNN
from samplewise.training.optimizers import LEAST_SIDE, Muon, make_optimizer, orthogonal

WIDE = SampleRNNConfig(frame_sizes=(2, 2, 8), dim=32, emb_size=4, q_levels=32)


def with_gradients(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return model


@pytest.mark.parametrize("shape", [(24, 40), (40, 24), (32, 32)])
@pytest.mark.parametrize("iterations", [3, 5])
def test_a_direction_is_about_orthonormal_and_that_of_the_matrix(shape, iterations):
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    u, s, v = torch.linalg.svd(x, full_matrices=False)
    x = u * (1 + s / s.max()).unsqueeze(1) @ v  # well conditioned
    made = u.mT @ orthogonal(x, iterations) @ v.mT
    values = made.diagonal(dim1=1, dim2=2)
    assert 0.6 < values.min() <= values.max() < 1.3
    assert (made - values.diag_embed()).abs().max() < 1e-5  # float32, not bfloat16, on a CPU
    assert not orthogonal(torch.zeros(1, 8, 8)).any()


def test_a_matrix_of_one_part_moves_as_under_torchs_muon(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.float)  # as ours on a CPU
    ours = build_model(WIDE, seed=0)
    torchs = copy.deepcopy(ours)
    optimizer = Muon(ours, 0.5, 0.1, lr=0.01)
    single = [weight for weight, parts in optimizer.matrices if parts == 1]
    assert len(single) >= 5
    names = [f"{name}.v" for name, module in ours.named_modules() if module in single]
    theirs = [torchs.get_parameter(name) for name in names]
    reference = torch.optim.Muon(
        theirs, lr=0.005, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    for step in range(3):
        with_gradients(ours, step)
        with_gradients(torchs, step)
        optimizer.step()
        reference.step()
    start = build_model(WIDE, seed=0)
    for name, their in zip(names, theirs, strict=True):
        mine = ours.get_parameter(name)
        torch.testing.assert_close(mine, their, rtol=0, atol=1e-6)
        assert (mine - start.get_parameter(name)).abs().max() > 1e-3


def test_matrices_that_move_every_third_step_move_by_the_momentum_of_all_steps():
    models = [build_model(WIDE, seed=0) for _ in range(2)]
    every, third = (
        make_optimizer(model, OptimizerConfig("muon", muon_decay=0.0, muon_every=n))
        for model, n in zip(models, (1, 3), strict=True)
    )
    moves = []
    for step in range(3):
        before = [matrices_of(optimizer) for optimizer in (every, third)]
        for model, optimizer in zip(models, (every, third), strict=True):
            with_gradients(model, step)
            optimizer.step()
        moves.append([matrices_of(every) - before[0], matrices_of(third) - before[1]])
    assert [bool(move.any()) for _, move in moves] == [False, False, True]
    torch.testing.assert_close(moves[2][1], moves[2][0], rtol=0, atol=1e-7)


def matrices_of(optimizer):
    return torch.cat([weight.v.detach().flatten() for weight, _ in optimizer.matrices])


def test_what_is_no_wide_matrix_moves_as_under_adam():
    ours, plain = (with_gradients(build_model(WIDE, seed=0), 1) for _ in range(2))
    optimizer = make_optimizer(ours, OptimizerConfig("muon"))
    assert isinstance(optimizer, Muon)
    make_optimizer(plain, OptimizerConfig()).step()
    optimizer.step()
    wide = {id(weight.v) for weight, _ in optimizer.matrices}
    pairs = list(zip(ours.parameters(), plain.parameters(), strict=True))
    assert len(wide) < len(pairs)
    for mine, adams in pairs:
        assert torch.equal(mine, adams) == (id(mine) not in wide)
        assert id(mine) not in wide or min(mine.shape) >= LEAST_SIDE


def test_every_gate_moves_equally_far():
    model = WaveRNN(WaveRNNConfig(dim=32), seed=0)
    before = model.layer.recurrent.v.detach().clone()
    with_gradients(model, 2)
    gradient = model.layer.recurrent.v.grad
    assert gradient is not None
    gradient[32:] *= 1e-3  # taken together, r alone would move
    Muon(model, 1.0, 0.0, lr=0.1).step()
    moved = (model.layer.recurrent.v - before).unflatten(0, (3, -1))
    sizes = torch.linalg.matrix_norm(moved).detach()
    torch.testing.assert_close(sizes, sizes.mean().expand(3), rtol=0.1, atol=0)


def test_what_a_mask_hides_does_not_move():
    model = WaveRNN(WaveRNNConfig(dim=32), seed=0)
    model.prepare_to_prune()
    weight = model.layer.recurrent
    kept = torch.rand(6, 8, generator=torch.Generator().manual_seed(0)) < 0.5
    weight.prune(kept)
    assert weight.mask is not None
    before = weight.v.detach().clone()
    with_gradients(model, 3)
    Muon(model, 1.0, 0.0, lr=0.1).step()
    assert torch.equal(weight.v[~weight.mask], before[~weight.mask])
    assert (weight.v[weight.mask] != before[weight.mask]).float().mean() > 0.99
