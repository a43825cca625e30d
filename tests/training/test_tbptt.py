import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from samplewise.config.models import (
    FusedSubscaleConfig,
    HybridConfig,
    RNNConfig,
    SampleRNNConfig,
    SubscaleWaveRNNConfig,
    WaveNetConfig,
    WaveRNNConfig,
)
from samplewise.data.excerpts import Excerpt
from samplewise.data.lanes import LaneStream, finite_batches
from samplewise.data.reader import ClipReader
from samplewise.models.build import build_model
from samplewise.models.segment_model import SegmentModel
from samplewise.nn.state import detach, map_tensors, select, to_tensors
from samplewise.training.tbptt import Subsequence, accumulate_gradients, clip_gradients

CONFIGS = {
    "samplernn": SampleRNNConfig(frame_sizes=(2, 2, 8), dim=8, emb_size=4, q_levels=32, n_rnn=2),
    "rnn": RNNConfig(dim=8, emb_size=4, q_levels=32, cell="lstm"),
    "wavenet": WaveNetConfig(blocks=2, layers=3, channels=4, skip_channels=6, q_levels=32),
    "wavernn": WaveRNNConfig(dim=8),
    "subscale": SubscaleWaveRNNConfig(
        n_subscale=2, columns=4, dilations=(1,), dim=8, channels=4, residual_channels=6
    ),
    "fused-subscale": FusedSubscaleConfig(dim=16, columns=4),
    "hybrid": HybridConfig(
        frame_size=8, dim=8, blocks=2, layers=2, channels=4, skip_channels=6, q_levels=32
    ),
}


@pytest.fixture(params=CONFIGS)
def model(request):
    torch.manual_seed(3)
    model = build_model(CONFIGS[request.param], seed=3).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def reader(corpus, model):
    return ClipReader(corpus, "keep", model.quantizer)


def one_batch(corpus, model, lanes=4):
    stream = LaneStream(
        corpus.split("train"), reader(corpus, model), lanes=lanes, seq_len=16,
        clip_samples=25, seed=0,
    )  # fmt: skip
    stream.next_batch()
    batch = stream.next_batch()  # some lanes end within it
    assert not batch.mask.all()
    assert batch.mask.any(1).all()
    return batch


def gradients(model):
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize(("lanes", "seq_len"), [(1, 8), (2, 64), (3, 24), (50, 256)])
def test_tbptt_at_zero_learning_rate_reports_the_nll_of_one_long_pass(
    corpus, model, lanes, seq_len
):
    recordings = 2 * corpus.split("valid")
    clips = [Excerpt(r, 9, 9 + n) for r, n in zip(recordings, (131, 40, 7, 64), strict=True)]
    frozen = torch.optim.SGD(model.parameters(), lr=0.0)
    state = map_tensors(model.initial_state(min(lanes, len(clips))), torch.detach)
    nats, samples = 0.0, 0
    for batch in finite_batches(clips, reader(corpus, model), lanes=lanes, seq_len=seq_len):
        total, state = accumulate_gradients(Subsequence(model), batch, state)
        frozen.step()
        nats, samples = nats + total.item(), samples + batch.samples

    expected = 0.0
    with torch.no_grad():
        for clip in clips:
            target = torch.from_numpy(reader(corpus, model).read(clip).codes).unsqueeze(0)
            if isinstance(
                model, SegmentModel
            ):  # samples before the end depend on the silence after it
                rest = -clip.samples % model.config.top_frame
                target = functional.pad(target, (0, rest), value=model.quantizer.silence)
            first = torch.full((1, 1), model.quantizer.silence)
            previous = torch.cat([first, target[:, :-1]], 1)
            params, _ = model(previous, model.initial_state(1), target)
            nll = model.head.nll(params, target)[:, : clip.samples]
            expected += nll.double().sum().item()
    assert samples == sum(clip.samples for clip in clips)
    assert nats == pytest.approx(expected, rel=1e-6)


def test_padding_has_no_part_in_cost_or_gradient(corpus, model):
    if isinstance(model, SegmentModel):
        pytest.skip("samples before a clip's end see that silence follows")
    batch = one_batch(corpus, model)
    garbage = torch.randint(32, batch.target.shape, generator=torch.Generator().manual_seed(1))
    spoiled = replace(
        batch,
        target=torch.where(batch.mask, batch.target, garbage),
        # The code before a padded target is not padding where the target before it was real.
        previous=torch.where(
            batch.mask | torch.cat([batch.mask[:, :1], batch.mask[:, :-1]], 1),
            batch.previous,
            garbage,
        ),
    )
    assert not torch.equal(spoiled.target, batch.target)
    results = []
    for version in (batch, spoiled):
        model.zero_grad()
        total, _ = accumulate_gradients(Subsequence(model), version, model.initial_state(4))
        results.append((total, gradients(model)))
    torch.testing.assert_close(results[0], results[1])


def test_the_cost_is_the_mean_in_bits_over_samples_that_are_not_padding(corpus, model):
    batch = one_batch(corpus, model)
    accumulate_gradients(Subsequence(model), batch, model.initial_state(4))
    found = gradients(model)
    model.zero_grad()
    fresh = model.reset(model.initial_state(4), batch.reset)
    params, _ = model(batch.previous, fresh, batch.target)
    nats = model.head.nll(params, batch.target)[batch.mask].mean()
    (nats / math.log(2)).backward()
    torch.testing.assert_close(found, gradients(model))


@pytest.mark.parametrize("groups", [2, 4])
def test_gradients_accumulated_over_groups_of_lanes_are_those_of_all_lanes(corpus, model, groups):
    batch, results, totals = one_batch(corpus, model), [], []
    for count in (1, groups):
        model.zero_grad()
        total, state = accumulate_gradients(
            Subsequence(model), batch, model.initial_state(4), groups=count
        )
        results.append((gradients(model), to_tensors(state)))
        totals.append(total)
    torch.testing.assert_close(results[0], results[1])
    torch.testing.assert_close(*totals, rtol=1e-6, atol=0)  # a sum of costs in single precision


def test_gradients_stop_at_the_start_of_the_subsequence_but_the_history_does_not(corpus, model):
    batch = one_batch(corpus, model)
    fresh = map_tensors(model.initial_state(4), torch.detach)
    _, state = accumulate_gradients(Subsequence(model), batch, fresh)
    assert not any(part.requires_grad for part in to_tensors(state).values())
    parts = zip(to_tensors(state).values(), to_tensors(fresh).values(), strict=True)
    learned = [(after, before) for after, before in parts if after.is_floating_point()]
    assert learned
    assert not any(torch.equal(after, before) for after, before in learned)
    carried, _ = model(batch.previous, state, batch.target)
    forgotten, _ = model(batch.previous, fresh, batch.target)
    assert not torch.allclose(carried, forgotten)


def test_a_state_can_be_taken_apart_by_lanes(model):
    state = detach(model.initial_state(4))
    parts = to_tensors(select(state, slice(1, 3))).values()
    assert {len(part) for part in parts} == {2}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("value", [0.5, -0.5, 0.1]), ("norm", [0.3, -0.4, 0.01]), ("none", [3.0, -4.0, 0.1])],
)
def test_gradients_are_clipped_by_value_as_in_the_paper_or_by_norm(kind, expected):
    parameter = torch.nn.Parameter(torch.zeros(3))
    parameter.grad = torch.tensor([3.0, -4.0, 0.1])
    norm = clip_gradients([parameter], kind, 0.5)
    assert norm.item() == pytest.approx(5.001, abs=1e-3)
    torch.testing.assert_close(parameter.grad, torch.tensor(expected), atol=1e-4, rtol=1e-3)
