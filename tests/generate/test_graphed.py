"""The graphed back end equals the reference; without a GPU its operators run without a graph."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.generate.conftest import make_model
from tests.models.conftest import CONFIGS
from tests.training.test_host_free import CASES, OnTheHost, meta, meta_as_gpu  # noqa: F401
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from samplewise.config.presets import PRESETS
from samplewise.errors import EngineError
from samplewise.generate import graphed, reference, step_operators
from samplewise.generate.backend import Backend
from samplewise.generate.batch_invariance import RowPlan
from samplewise.generate.fused_step import fuse
from samplewise.generate.graphed import GraphedSampler
from samplewise.generate.reference import ReferenceSampler, SamplerState
from samplewise.generate.uniforms import uniforms
from samplewise.models.build import build_model
from samplewise.models.segment_model import SegmentModel

LENGTHS = (1, 21, 0, 39, 16)
"""Samples of the draws of a clip, in turn."""
DRAWN = sum(LENGTHS)
FUSED = ("add_values", "add_rows", "reset", "update", "reset_after")
FUSED += ("draw_code", "draw_symbol", "relu_product")
"""Operators that are one launch each on a GPU."""
VIEWS = (
    "t",
    "view",
    "unflatten",
    "slice",
    "select",
    "unbind",
    "transpose",
    "unsqueeze",
    "squeeze",
    "split",
)
NOT_LAUNCHED = (
    *VIEWS,
    "expand",
    "detach",
    "empty",
    "new_empty",
    "empty_like",
    "reshape",
    "flatten",
)
FAMILIES = {
    name: config
    for name, config in CONFIGS.items()
    if not isinstance(build_model(config, None), SegmentModel)
}
FAMILIES |= {
    f"{name}-long-hop": replace(CONFIGS[name], lp_hop=48) for name in ("predictor", "predictor-mol")
}  # several graphs to a period


def vectors_of(model, clips, samples):
    """Conditioning vectors from clock 0 on, and the samples that each is in force."""
    if model.conditioner is None:
        return None, 1
    hold = model.conditioner.config.hold
    generator = np.random.default_rng(3)
    shape = (clips, -(-samples // hold), model.condition_width())
    return generator.standard_normal(shape).astype(np.float32), hold


def draw_in_parts(sampler, clips, prompt, temperatures):
    vectors, hold = vectors_of(sampler.model, clips, len(prompt) + DRAWN)
    first = None if vectors is None else vectors[:1]
    state, done, parts = sampler.start(clips, sampler.prefill(prompt, None, first)), 0, []
    numbers = uniforms(4, range(clips), 0, DRAWN)
    for length in LENGTHS:
        part = slice(done, done + length)
        own = None if vectors is None else vectors[:, (len(prompt) + done) // hold :]
        colder = None if temperatures is None else temperatures[:, part]
        codes, log_probs, state = sampler.draw(state, numbers[:, part], colder, own)
        parts.append((codes, log_probs))
        done += length
    return [np.concatenate(column, 1) for column in zip(*parts, strict=True)]


@pytest.mark.parametrize("name", FAMILIES)
def test_codes_and_scores_are_those_of_the_reference(name, monkeypatch):
    monkeypatch.setattr(reference, "plan_rows", lambda model, clips: RowPlan(clips, clips))
    monkeypatch.setattr(graphed, "SAMPLES", 16)
    model = make_model(FAMILIES[name]).double()
    model.fold()
    is_same = fuse(model) is None and not model.head.is_density
    prompt = np.random.default_rng(1).integers(0, model.q_levels, 13)
    colder = np.linspace(0.6, 1.2, 5 * DRAWN).reshape(5, DRAWN)
    min_p = 0.0 if model.head.is_density else 0.05
    for clips, temperatures, least in ((1, None, 0.0), (5, colder, min_p)):
        expected, found = (
            draw_in_parts(kind(model, clips, least), clips, prompt, temperatures)
            for kind in (ReferenceSampler, GraphedSampler)
        )
        assert np.array_equal(found[0], expected[0])
        # Where a density is computed in memory has an effect on its last bit, in torch's exp.
        np.testing.assert_allclose(found[1], expected[1], 0 if is_same else 1e-12)


def test_a_state_stays_as_it_is(loaded):
    sampler = GraphedSampler(loaded.model, 2)
    numbers = uniforms(1, range(2), 0, 128)
    _, _, first = sampler.draw(sampler.start(2), numbers[:, :64])
    codes, _, _ = sampler.draw(first, numbers[:, 64:])
    sampler.draw(sampler.start(2), uniforms(2, range(2), 0, 64))
    again, _, _ = sampler.draw(first, numbers[:, 64:])
    assert np.array_equal(codes, again)


@pytest.mark.parametrize(
    ("name", "frames", "hop", "sizes"),
    [
        ("wavernn", None, None, (64, 1)),
        ("3-tier", (2, 2, 8), None, (64, 8)),
        ("3-tier", (2, 2, 6), None, (66, 6)),
        ("predictor", (2, 2, 8), 128, (64, 8)),
        ("predictor", (2, 6, 30), 90, (30, 30)),
        ("3-tier", (2, 2, 100), None, (100, 100)),
    ],
)
def test_a_graph_holds_whole_frames(name, frames, hop, sizes):
    config = CONFIGS[name]
    if frames:
        config = replace(config, frame_sizes=frames)
    if hop:
        config = replace(config, lp_hop=hop, lp_window=256)
    assert GraphedSampler(build_model(config), 1).sizes == sizes


@pytest.mark.parametrize("name", CASES)
def test_a_graph_holds_no_wait_and_no_constant_of_the_host(name, request):
    config, rows = CASES[name][0], 2
    model = build_model(config, seed=None).to("meta").eval().requires_grad_(False)
    if isinstance(model, SegmentModel):
        pytest.skip("it has no graphed back end")
    model.fold()
    sampler = GraphedSampler(model, rows, 0.0 if model.head.is_density else 0.1)
    samples = sampler.sizes[-1]
    request.getfixturevalue("meta_as_gpu")
    vectors = None if model.conditioner is None else meta(samples, rows, model.condition_width())
    state = SamplerState(model.initial_state(rows), meta(rows, dtype=torch.int64), rows)
    numbers = meta(samples, rows)
    with torch.inference_mode(), OnTheHost() as host:
        _, _, after = sampler._draw_part(state, numbers, numbers.double(), vectors)
    assert after.model.clock == samples
    assert host.found == {}


def test_models_that_draw_in_another_order_are_refused():
    model = build_model(CONFIGS["subscale"])
    with pytest.raises(EngineError, match="a subscale-wavernn model draws in another order"):
        Backend("graphed").resolve(model)


@pytest.mark.parametrize(("preset", "most"), [("paper-3tier", 8.0), ("wavernn-896", 9.5)])
def test_a_sample_takes_few_launches(preset, most, monkeypatch):
    calls = Counter()

    class Launches(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            calls[func.overloadpacket.__name__] += 1
            return func(*args, **(kwargs or {}))

    def kernel(compute):
        def call(*args):
            calls[compute.__name__] += 1
            with _disable_current_modes():
                return compute(*args)

        return call

    for name in FUSED:
        monkeypatch.setattr(step_operators, name, kernel(getattr(step_operators, name)))
    model = build_model(PRESETS[preset].model, seed=None).to("meta").requires_grad_(False)
    model.fold()
    sampler = GraphedSampler(model, 2)
    state = SamplerState(model.initial_state(2), meta(2, dtype=torch.int64), 2)
    numbers = meta(64, 2)
    with torch.inference_mode(), Launches():
        sampler._launch(state, numbers, None, None)
    for name in NOT_LAUNCHED:
        del calls[name]
    assert calls.total() / 64 < most


def score_errors(name, device, monkeypatch):
    """By how many nats scores under rounded operands differ from those of the exact model."""
    monkeypatch.setattr(reference, "plan_rows", lambda model, clips: RowPlan(clips, clips))
    model = make_model(FAMILIES[name]).to(device)
    model.fold()
    sampler = GraphedSampler(model, 8, products="tf32")
    codes, scores, _ = sampler.draw(sampler.start(8), uniforms(0, range(8), 0, 64))
    drawn = torch.from_numpy(codes).to(device)
    previous = F.pad(drawn[:, :-1], (1, 0), value=model.quantizer.silence)
    params, _ = model(previous, model.initial_state(8), drawn)
    exact = model.head.log_prob(params.flatten(0, 1), drawn.flatten()).view_as(drawn)
    return (torch.from_numpy(scores) - exact.cpu()).abs()


@pytest.mark.parametrize("name", ["3-tier", "wavernn"])
def test_rounded_operands_change_scores_little(name, monkeypatch):
    assert 1e-5 < score_errors(name, "cpu", monkeypatch).mean() < 2e-3


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["3-tier", "wavernn"])
def test_on_a_gpu_rounded_operands_change_scores_little(name, gpu, monkeypatch):
    assert score_errors(name, gpu, monkeypatch).mean() < 2e-3
    assert torch.get_float32_matmul_precision() == "highest"


def test_rounded_operands_are_for_this_back_end():
    model = build_model(CONFIGS["3-tier"]).eval()
    assert Backend("graphed", products="tf32").sampler(model, 1).products == "tf32"
    with pytest.raises(EngineError, match="tf32 are for the graphed back end, not reference"):
        Backend("reference", products="tf32").resolve(model)
    with pytest.raises(ValueError, match="are for float32 models"):
        GraphedSampler(model.double(), 1, products="tf32")
