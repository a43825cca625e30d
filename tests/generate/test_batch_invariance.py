"""What a batch may change, shown where it does: the guard must see it."""

import pytest
import torch

from samplewise.generate import batch_invariance
from samplewise.generate.batch_invariance import RowPlan, pick_threads, plan_rows


def tilted(probe, wrong):
    """A machine whose products differ in the last bits for some numbers of rows."""

    def tilt(model, count):
        logits = probe(model, count)
        return logits * (1 + 1e-7) if count in wrong else logits

    return tilt


def test_sizes_that_round_otherwise_are_not_used(loaded, monkeypatch):
    honest = plan_rows(loaded.model, 64)
    assert honest.max_batch >= 4
    monkeypatch.setattr(batch_invariance, "_probe", tilted(batch_invariance._probe, {64, 32}))
    assert plan_rows(loaded.model, 64) == RowPlan(honest.fewest, 16)


def test_a_row_that_depends_on_its_place_costs_the_batch(loaded, monkeypatch):
    def uneven(model, count):
        logits = torch.zeros(2, count, model.q_levels)
        logits[:, -1] = 1e-7
        return logits

    monkeypatch.setattr(batch_invariance, "_probe", uneven)
    assert plan_rows(loaded.model, 64) == RowPlan(1, 1)


@pytest.mark.parametrize(
    ("alone", "together", "same", "expected"),
    [(2.0, 1.0, True, 2), (1.0, 0.95, True, 1), (1.0, 30.0, True, 1), (2.0, 1.0, False, 1)],
)
def test_threads_are_used_if_they_help_and_change_nothing(
    loaded, monkeypatch, alone, together, same, expected
):
    def timed(model, count, threads):
        logits = torch.zeros(1, count, 2)
        return (alone, logits) if threads == 1 else (together, logits + (not same))

    monkeypatch.setattr(batch_invariance, "_timed", timed)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    assert pick_threads(loaded.model, 4) == expected


def test_the_trial_of_threads_leaves_the_setting_alone(loaded):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    picked, after = pick_threads(loaded.model, 4), torch.get_num_threads()
    torch.set_num_threads(before)
    assert picked in (1, 2)
    assert after == 2
