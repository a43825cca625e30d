"""Which way a recurrent layer runs."""

import sys

import pytest
import torch

from samplewise.nn import recurrence_choice as module
from samplewise.nn.recurrence_choice import choose_recurrence, recurrence_by, why_not

GPU = torch.device("cuda", 0)


def choose(cell="gru", asked=None, steps=64, dtype=torch.bfloat16, device=GPU, batch=128):
    with recurrence_by(asked or "auto"):
        return choose_recurrence(cell, steps, batch, 1024, dtype, device)


@pytest.fixture
def broken(monkeypatch):
    """Ways whose kernels cannot run."""
    ways = set()
    monkeypatch.setattr(module, "why_not", lambda way, *shape: "no" if way in ways else None)
    return ways


def test_what_cannot_run_is_followed_by_the_next(broken):
    assert choose() == "persistent"
    assert choose(dtype=torch.float32) == "eager"
    assert choose(dtype=torch.float32, asked="phases") == "phases"
    broken.add("persistent")
    assert choose(asked="persistent") == "phases"
    broken.add("phases")
    assert choose(asked="persistent") == "eager"
    assert choose("lstm", "persistent") == "cudnn"


def test_cudnn_has_no_cell_that_resets_before(broken):
    assert choose("gru-reset-after") == choose("lstm") == choose("lstm", "cudnn") == "cudnn"
    assert choose("gru", "cudnn") == "eager"
    assert choose("lstm", "eager") == "eager"


def test_short_sequences_and_double_precision_have_no_kernels(broken):
    assert choose(steps=1) == choose(dtype=torch.float64) == "eager"


@pytest.mark.parametrize("cell", ["gru", "gru-reset-after", "lstm"])
def test_on_a_cpu_single_precision_is_left_to_the_compiled_module(cell, monkeypatch):
    on_cpu = {"cell": cell, "dtype": torch.float32, "device": torch.device("cpu")}
    assert choose(**on_cpu) == choose(**on_cpu, asked="persistent") == "native"
    assert choose(**on_cpu, asked="eager") == "eager"
    assert choose(**on_cpu, steps=1) == choose(**on_cpu, steps=5, batch=3) == "eager"
    for dtype in (torch.float64, torch.bfloat16):
        assert choose(**on_cpu | {"dtype": dtype}) == "eager"
    monkeypatch.setattr(module, "can_load_native", lambda: False)
    assert choose(**on_cpu) == "eager"


def test_a_line_says_why_kernels_cannot_run(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "samplewise.nn.triton_recurrence", None)
    why_not.cache_clear()
    assert why_not("phases", "gru", 2, 16, torch.float32, torch.device("cpu"))
    why_not.cache_clear()
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "recurrent layers (gru): not by a Triton kernel for each phase of a step (ModuleNotFound"
    )
