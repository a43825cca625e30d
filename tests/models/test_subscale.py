"""Subscale and Fused Subscale WaveRNN: what each sample sees, and that densities are whole."""

import pytest
import torch

from samplewise.config.models import FusedSubscaleConfig, SubscaleWaveRNNConfig, WaveRNNConfig
from samplewise.config.presets import PRESETS
from samplewise.models.build import build_model
from samplewise.models.subscale_wavernn import fold

SUBSCALE = SubscaleWaveRNNConfig(
    n_subscale=3, columns=8, dilations=(1, 1), dim=8, channels=9, residual_channels=12
)
FUSED = FusedSubscaleConfig(dim=16, columns=6)
SEGMENTS = 3


def moved(config):
    """No bias and no h0 is zero."""
    model = build_model(config, seed=1).double()
    torch.manual_seed(6)
    with torch.no_grad():
        if config is SUBSCALE:  # gates that are not saturated
            model.layer.input.weight.v.normal_(std=0.8)
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def codes_of(model, batch=1, segments=SEGMENTS):
    size = (batch, segments * model.config.top_frame)
    return torch.randint(65536, size, generator=torch.Generator().manual_seed(2))


def logits_of(model, target):
    return model(target, model.initial_state(len(target)), target)[0]


def test_a_fold_puts_sample_t_in_row_t_mod_b():
    rows = fold(torch.arange(12)[None], 3)[0]
    assert rows.tolist() == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]


def subscale_sees(config, s, i, z, k):
    """Section 4.1, with the horizon clipped at the end of a segment of column i."""
    if z == s:
        return k < i
    end = (i // config.columns + 1) * config.columns - 1
    return z < s and k <= min(i + config.horizon, end)


def fused_sees(config, s, i, z, k):
    """What was made in an earlier step: sample i of row s in step i + 3 s of its segment."""
    n = config.columns
    if i // n != k // n:
        return k // n < i // n
    return k % n + 3 * z < i % n + 3 * s


@torch.no_grad()
@pytest.mark.parametrize(("config", "sees"), [(SUBSCALE, subscale_sees), (FUSED, fused_sees)])
def test_a_sample_sees_what_it_may_and_nothing_else(config, sees):
    model, rows = moved(config), getattr(config, "n_subscale", 2)
    target = codes_of(model)
    time = target.shape[1]
    changed = target.repeat(time, 1)
    changed[torch.arange(time), torch.arange(time)] ^= 8  # a last bit: no sample sees its own
    # A batch of another size rounds otherwise; what is seen makes a far larger difference.
    differs = ((logits_of(model, changed) - logits_of(model, target)).abs() > 1e-12).any(-1)
    expected = [
        [sees(config, t % rows, t // rows, u % rows, u // rows) for t in range(time)]
        for u in range(time)
    ]
    assert differs.tolist() == expected


@torch.no_grad()
@pytest.mark.parametrize(("config", "bits"), [(SUBSCALE, 8), (FUSED, 4)])
def test_of_its_own_sample_a_softmax_sees_the_bits_above(config, bits):
    model = moved(config)
    target, stages, t = codes_of(model), 16 // bits, 13
    before = logits_of(model, target)[0, t].unflatten(-1, (stages, -1))
    for stage in range(stages):
        changed = target.clone()
        changed[0, t] ^= 1 << (16 - bits * (stage + 1))
        after = logits_of(model, changed)[0, t].unflatten(-1, (stages, -1))
        assert (after != before).any(-1).tolist() == [s > stage for s in range(stages)]


@torch.no_grad()
@pytest.mark.parametrize("config", [SUBSCALE, FUSED])
def test_the_conditionals_of_a_draw_are_those_of_a_teacher_forced_pass(config):
    model = moved(config)
    state, drawn, scores = model.initial_state(2), [], []
    generator = torch.Generator().manual_seed(3)
    for _ in range(SEGMENTS):
        uniforms = torch.rand(2, config.top_frame, generator=generator)
        codes, state, log_probs = model.draw_segment(state, uniforms)
        drawn.append(codes)
        scores.append(log_probs)
    codes = torch.cat(drawn, 1)
    params, after = model(codes, model.initial_state(2), codes)
    expected = model.head.log_prob(params.flatten(0, 1), codes.flatten()).view_as(codes)
    torch.testing.assert_close(torch.cat(scores, 1), expected)
    torch.testing.assert_close(after.h, state.h)
    assert torch.equal(after.last, state.last)
    assert after.clock == state.clock == codes.shape[1]


@torch.no_grad()
@pytest.mark.parametrize("config", [SUBSCALE, FUSED])
def test_known_codes_are_taken_and_the_rest_is_drawn_from_what_they_leave(config):
    model, known = moved(config), 7
    uniforms = torch.rand(1, config.top_frame, generator=torch.Generator().manual_seed(4))
    given = codes_of(model)[:, :known]
    codes, _, scores = model.draw_segment(model.initial_state(1), uniforms, None, given)
    assert torch.equal(codes[:, :known], given)
    params = logits_of(model, codes)
    expected = model.head.log_prob(params.flatten(0, 1), codes.flatten()).view_as(codes)
    torch.testing.assert_close(scores, expected)


@torch.no_grad()
def test_one_row_is_a_wavernn_weight_for_weight():
    config = SubscaleWaveRNNConfig(n_subscale=1, columns=6, dim=8)
    ours = moved(config)
    plain = build_model(WaveRNNConfig(dim=8)).double()
    plain.load_state_dict(ours.state_dict())
    target = codes_of(ours)
    silence = torch.full((1, 1), 32768)
    previous = torch.cat([silence, target[:, :-1]], 1)
    expected, state = plain(previous, plain.initial_state(1), target)
    found, after = ours(previous, ours.initial_state(1), target)
    assert torch.equal(found, expected)
    assert torch.equal(after.h, state.h)
    # Drawn with the same random numbers, too.
    uniforms = torch.rand(1, 6, generator=torch.Generator().manual_seed(5))
    codes, _, _ = ours.draw_segment(ours.initial_state(1), uniforms)
    previous, state = silence[0], plain.initial_state(1)
    for t in range(6):
        previous, state, _ = plain.sample(previous, state, uniforms[:, t])
        assert previous == codes[:, t]


def test_the_sizes_of_the_paper():
    for rows in (8, 16):
        config = PRESETS[f"subscale-wavernn-{rows}x"]
        model = config.model
        assert (model.n_subscale, model.dim, model.horizon) == (rows, 1024, 128)
        assert (len(model.dilations), len(set(model.dilations))) == (10, 5)
        assert (model.channels, model.residual_channels) == (384, 768)
        assert model.columns > model.horizon
    assert PRESETS["fused-subscale-wavernn-896"].model.dim == 896
    fused = build_model(FusedSubscaleConfig(), seed=None)
    sizes = [p.shape for name, p in fused.named_parameters() if name.startswith("logits")]
    assert [size for size in sizes if len(size) == 2] == 8 * [(16, 112)]


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (SubscaleWaveRNNConfig, {"dim": 7}, "dim = 7 must be even"),
        (SubscaleWaveRNNConfig, {"n_subscale": 0}, r"n_subscale = 0 must lie in \[1, 256\]"),
        (SubscaleWaveRNNConfig, {"columns": 0}, "columns = 0 must lie in"),
        (SubscaleWaveRNNConfig, {"dilations": (1, 0)}, r"dilations\[1\] = 0 must lie in \[1, 409"),
        (SubscaleWaveRNNConfig, {"dilations": ()}, r"len\(dilations\) = 0 must lie in \[1, 16\]"),
        (FusedSubscaleConfig, {"dim": 12}, "dim = 12 must be a multiple of 8"),
        (FusedSubscaleConfig, {"q_levels": 256}, "q_levels = 256 must be 65536"),
    ],
)
def test_impossible_sizes_are_refused(kind, changes, message):
    with pytest.raises(ValueError, match=message):
        kind(**changes)


@pytest.mark.parametrize("config", [SUBSCALE, FUSED])
def test_what_cannot_be_made_alone_is_refused(config):
    model = moved(config)
    state, codes = model.initial_state(1), codes_of(model)
    with pytest.raises(ValueError, match="needs the target: samples depend on later ones"):
        model(codes, state)
    with pytest.raises(ValueError, match="time = 5 must be a multiple of the top"):
        model(codes[:, :5], state, codes[:, :5])
    assert not any(hasattr(model, method) for method in ("step", "sample", "draw"))
