"""Search space: its data, and the changes from the command line."""

import itertools
from dataclasses import replace

import pytest

from samplewise.config.codec import differences, flat_fields, with_fields
from samplewise.config.presets import PRESETS
from samplewise.search.settings import base_config
from samplewise.search.space import (
    MODELS,
    Choices,
    Range,
    change_space,
    default_space,
    format_space,
)


@pytest.fixture(params=[name for name in PRESETS if type(PRESETS[name].model) in MODELS])
def config(request):
    return base_config(PRESETS[request.param], 5.0, None)


def test_every_corner_of_every_space_is_a_configuration(config):
    """All pairs of extreme values of any two parameters fit each other."""
    corners = {
        name: [entry.low, entry.high] if isinstance(entry, Range) else list(entry.values)
        for name, entry in default_space(config).items()
    }
    for one, other in itertools.combinations(corners, 2):
        for values in itertools.product(corners[one], corners[other]):
            chosen = dict(zip((one, other), values, strict=True))
            if chosen.get("model.skip"):
                chosen = {"model.n_rnn": 2} | chosen
            if chosen.get("model.skip") and chosen["model.n_rnn"] == 1:
                continue  # what the condition of the entry excludes
            made = with_fields(config, **chosen)
            found = flat_fields(made)
            assert {name: found[name][1] for name in chosen} == chosen


def test_values_are_set_at_once_and_nothing_else_is():
    config = PRESETS["small"]
    values = {"model.frame_sizes": (2, 2, 30), "seq_len": 60, "model.dim": 24}
    made = with_fields(config, **values)  # neither fits without the other
    after = {name: new for name, (_, new) in differences(config, made).items()}
    assert after == values
    with pytest.raises(ValueError, match="seq_len = 64 must be a multiple of the top frame"):
        with_fields(config, **values | {"seq_len": 64})


def test_multiples_are_of_the_preset():
    spaces = [default_space(PRESETS[name]) for name in ("small", "paper-2tier")]
    assert [space["model.dim"].values[0] for space in spaces] == [128, 512]
    assert [space["lanes"].values for space in spaces] == [(8, 16, 32), (64, 128, 256)]


def test_a_family_without_an_entry_is_named(monkeypatch):
    monkeypatch.setattr("samplewise.search.space.MODELS", {int: {}})
    with pytest.raises(ValueError, match=r"is a SampleRNNConfig, for which search/space.py has"):
        default_space(PRESETS["small"])
    assert MODELS  # the real one


@pytest.fixture
def change():
    base = PRESETS["small"]
    return lambda **changes: change_space(base, default_space(base), **changes)


def test_changes_set_values_ranges_and_choices(change):
    space, fixed = change(
        fix=["model.dim=96", "level=paper", "model.skip=True", "beta2=0.99"],
        ranges=["learning-rate=1e-3:2e-3", "clip_limit=0.5:2:linear", "model.emb_size=8:64:log"],
        choices=["model.frame_sizes=[2,2,8],[4,4,16]", "seq_len=64", "clip=none,norm"],
    )
    assert fixed == {"model.dim": 96, "level": "paper", "model.skip": True, "beta2": 0.99}
    assert not fixed.keys() & space.keys()
    assert space["learning_rate"] == Range(1e-3, 2e-3, log=True)  # as it was
    assert space["clip_limit"] == Range(0.5, 2, log=False)
    only_if = ("model.sample_input", ("embedding",))
    assert space["model.emb_size"] == Range(8, 64, log=True, only_if=only_if)
    assert space["model.frame_sizes"] == Choices(((2, 2, 8), (4, 4, 16)))
    assert space["seq_len"] == Choices((64,))
    assert space["clip"] == Choices(("none", "norm"))
    text = format_space(space, fixed)
    assert "learning_rate" in text
    assert "0.001 to 0.002, logarithmic" in text
    assert "[2, 2, 8], [4, 4, 16]" in text
    assert "96  (fixed)" in text


def test_a_condition_outlives_a_change(change):
    space, _ = change(choices=["model.skip=True"])
    assert space["model.skip"] == Choices((True,), ("model.n_rnn", (2, 3, 4, 5)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fix": ["model.dimm=3"]}, r"no parameter 'model.dimm'; did you mean 'model.dim'\?"),
        ({"fix": ["quux=3"]}, "no parameter 'quux'; parameters: preset, model"),
        ({"fix": ["model=3"]}, "there is no parameter 'model'"),
        ({"fix": ["model.dim"]}, "--fix model.dim must be --fix NAME=VALUE; --space lists"),
        ({"fix": ["model.dim=wide"]}, "--fix model.dim: 'wide' cannot be its value: Input should"),
        ({"fix": ["model.dim=2.5"]}, "--fix model.dim: '2.5' cannot be its value"),
        ({"fix": ["model.cell=gruu"]}, "'gruu' cannot be its value: Input should be 'gru'"),
        ({"choices": ["model.cell=gru,rnn"]}, "--choices model.cell: 'rnn' cannot be its value"),
        ({"ranges": ["model.cell=1:2"]}, r"not a number \(but for example gru-reset-after\)"),
        ({"ranges": ["model.dim=64"]}, "must be LOW:HIGH, LOW:HIGH:log"),
        ({"ranges": ["model.dim=64.5:128"]}, "--range model.dim: '64.5' cannot be its value"),
        ({"ranges": ["learning_rate=1e-2:1e-3"]}, "0.01 must be less than 0.001"),
        ({"ranges": ["learning_rate=0:1"]}, "0 must be above 0 on a logarithmic scale; or write"),
        ({"choices": ["steps=1,2"]}, "'steps' is the same for all trials; use the option"),
        ({"choices": ["level=keep,paper"]}, "runs that differ in 'level' cannot be compared"),
        ({"ranges": ["clip_seconds=1:2"]}, "runs that differ in 'clip_seconds' cannot be compared"),
        ({"fix": ["lanes=4"], "choices": ["lanes=4,8"]}, "'lanes' is fixed and varied at once"),
    ],
)
def test_an_impossible_change_is_explained(change, changes, message):
    with pytest.raises(ValueError, match=message):
        change(**changes)


def test_a_trial_has_one_budget():
    for minutes, steps in ((None, None), (5.0, 100)):
        with pytest.raises(ValueError, match="a trial has one budget; give one of the two"):
            base_config(PRESETS["small"], minutes, steps)


def test_a_worker_computes_with_the_threads_of_the_preset_unless_told():
    assert base_config(PRESETS["small"], 5.0, None).threads == 1
    assert base_config(PRESETS["small"], 5.0, None, threads=3).threads == 3
    assert base_config(PRESETS["music"], 5.0, None).threads is None


def test_trials_are_compared_at_ten_places_of_a_budget_in_steps(search):
    search = replace(search, base=with_fields(search.base, steps=200))
    assert search.config_of({}, 4000).valid_every == 20
    timed = replace(
        search, base=with_fields(search.base, steps=None, minutes=1.0, valid_seconds=0.8)
    )
    config = timed.config_of({"lanes": 4}, 4000)
    assert config.valid_every * 4 * config.seq_len == 4 * 0.8 * 4000  # four trained for one scored


def test_field_names_are_those_that_can_be_set():
    names = list(flat_fields(PRESETS["small"]))
    assert "model.dim" in names
    assert "model" not in names
    assert len(names) == len(set(names))
