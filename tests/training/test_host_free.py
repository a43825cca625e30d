"""A step of training without the host: its tensors are born on the device and never looked at.

The step runs on the ``meta`` device, which like a GPU refuses to mix with what lies on the host,
and which has no values that a host could wait for.
"""

import math
from collections import Counter
from contextlib import nullcontext
from dataclasses import fields, replace

import pytest
import torch
from tests.models.conftest import CONFIGS
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from samplewise.config.models import conditioning_of
from samplewise.config.presets import PRESETS
from samplewise.data.lanes import Batch
from samplewise.data.reader import frames_across
from samplewise.models.build import build_model
from samplewise.nn.conditioning import ConditioningInputs
from samplewise.nn.state import detach
from samplewise.training.tbptt import Subsequence, accumulate_gradients, clip_gradients

LANES = 2
WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "_linalg_check_errors"}
"""What makes the host wait for a GPU."""
FEWER = {"blocks": 1, "layers": 2, "columns": 64, "dilations": (1, 2), "lp_order": 8}
"""Repetitions of a preset's parts that add nothing but time."""


class OnTheHost(TorchDispatchMode):
    """Counts operators that wait for the device, or that have a tensor on the host."""

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves([args, kwargs, out]) if isinstance(x, torch.Tensor)]
        name = func.overloadpacket.__name__
        if name in WAITS or any(tensor.device.type != "meta" for tensor in tensors):
            self.found[name] += 1
        return out


def smaller(config):
    used = {field.name for field in fields(config) if getattr(config, field.name)}
    return replace(config, **{name: value for name, value in FEWER.items() if name in used})


PRESET_OF = {(smaller(made.model), made.sample_stride): name for name, made in PRESETS.items()}
"""Presets that train the same model have one case."""
CASES = {name: (config, 1) for name, config in CONFIGS.items()} | {
    name: case for case, name in PRESET_OF.items()
}


def meta(*shape, dtype=torch.float32):
    return torch.empty(*shape, dtype=dtype, device="meta")


def batch_of(config, seq_len):
    conditioning, inputs = conditioning_of(config), None
    if conditioning is not None:
        mel = conditioning.mel
        frames = None if mel is None else frames_across(seq_len, mel.hop) + 2 * conditioning.context
        inputs = ConditioningInputs(
            None if mel is None else meta(LANES, frames, mel.n_mels),
            meta(LANES, dtype=torch.int64),
            meta(LANES, dtype=torch.int64),
            meta(LANES, seq_len) if conditioning.lpc_order else None,
        )
    codes = [meta(LANES, seq_len, dtype=torch.int64) for _ in range(2)]
    mask, reset = meta(LANES, seq_len, dtype=torch.bool), meta(LANES, dtype=torch.bool)
    return Batch(*codes, mask, reset, (None,) * LANES, LANES * seq_len, inputs)


@pytest.fixture
def meta_as_gpu(monkeypatch):
    """What the meta device lacks, and what it does not report."""

    def refuse(*args, **kwargs):
        raise AssertionError("a constant that the host copies to the device")

    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: nullcontext())
    for name in ("tensor", "as_tensor", "from_numpy"):
        monkeypatch.setattr(torch, name, refuse)


@pytest.mark.parametrize("name", CASES)
def test_a_step_neither_waits_for_the_device_nor_brings_it_constants(name, request):
    config, stride = CASES[name]
    model = build_model(config, seed=None).to("meta")
    request.getfixturevalue("meta_as_gpu")
    seq_len = math.lcm(config.top_frame, stride * getattr(config, "frame_sizes", (1, 1))[1])
    state = detach(model.initial_state(LANES))
    with OnTheHost() as host:
        _, state = accumulate_gradients(
            Subsequence(model, stride), batch_of(config, seq_len), state
        )
        for kind in ("norm", "value"):
            clip_gradients(list(model.parameters()), kind, 1.0)
    assert host.found == {}
