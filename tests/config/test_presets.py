import math
import re

import pytest
import tyro

from samplewise.config.codec import differences, flat_fields, from_json, to_json, with_fields
from samplewise.config.presets import PRESETS, preset_for
from samplewise.config.training import OptimizerConfig, TrainConfig
from samplewise.models.build import FAMILIES
from samplewise.models.samplernn import SampleRNN
from samplewise.training.run import count_parameters


@pytest.mark.parametrize(
    ("name", "millions", "frames", "layers"),
    [("paper-3tier", 18.74, (2, 2, 8), 1), ("paper-2tier", 39.24, (16, 16), 3)],
)
def test_paper_presets_have_every_number_of_section_3(name, millions, frames, layers):
    config = PRESETS[name]
    model = config.model
    assert model.frame_sizes == frames
    assert (model.n_rnn, model.dim, model.emb_size, model.q_levels) == (layers, 1024, 256, 256)
    assert (model.cell, model.quantizer, model.init) == ("gru", "linear", "paper")
    assert model.weight_norm
    assert model.learn_h0
    optimizer = config.optimizer
    assert (config.lanes, optimizer.clip, optimizer.clip_limit) == (128, "value", 1.0)
    assert (optimizer.learning_rate, optimizer.schedule) == (1e-3, "constant")
    assert (optimizer.beta1, optimizer.beta2, optimizer.epsilon) == (0.9, 0.999, 1e-8)
    assert (config.clip_seconds, config.level) == (8.0, "paper")
    # Parameters of the official code, its unused head left out.
    assert count_parameters(SampleRNN(model, seed=None)) / 1e6 == pytest.approx(millions, abs=0.01)


def test_presets_of_the_other_systems_have_the_papers_numbers():
    wavenet = PRESETS["paper-wavenet"]
    model = wavenet.model
    assert (model.blocks, model.layers, model.channels, model.q_levels) == (4, 10, 64, 256)
    assert (wavenet.seq_len, wavenet.lanes, wavenet.optimizer.learning_rate) == (1600, 8, 1e-4)
    for name in ("paper-rnn-wavenet", "paper-conv-wavenet"):
        assert PRESETS[name].model.frame_size == 128
    for name in ("paper-rnn-gmm", "paper-2tier-gmm"):
        model = PRESETS[name].model
        assert (model.head, model.components, model.q_levels) == ("gmm", 4, 65536)
        assert (model.sample_input, PRESETS[name].level) == ("real", "keep")
    assert PRESETS["paper-rnn"].model.dim == 1024


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_json(name):
    config = PRESETS[name]
    assert config.preset == name
    assert from_json(TrainConfig, to_json(config), "here") == config


def test_every_field_has_a_flag_of_its_name(capsys):
    options = (tyro.conf.AvoidSubcommands,)
    with pytest.raises(SystemExit):
        tyro.cli(TrainConfig, args=["--help"], default=PRESETS["vocoder"], config=options)
    words = set(re.findall(r"--[a-z][\w.-]*", capsys.readouterr().out))
    names = {f"--{name.replace('_', '-')}" for name in flat_fields(PRESETS["vocoder"])}
    assert names - {"--model.family"} <= words
    assert {"--optimizer", "--minutes", "--prune-start", "--preview-minutes"} < names


def test_fields_are_set_by_the_names_of_their_flags():
    config = with_fields(PRESETS["small"], minutes=3, prune_every=7, dim=8, optimizer="muon")
    assert (config.budget.minutes, config.preview.minutes) == (3.0, 5.0)
    assert (config.pruning.every, config.model.dim, config.optimizer.name) == (7, 8, "muon")
    assert differences(PRESETS["small"], config) == {
        "minutes": (20.0, 3.0),
        "prune_every": (None, 7),
        "model.dim": (256, 8),
        "optimizer": ("adam", "muon"),
    }
    with pytest.raises(ValueError, match="minutes = 'ten': Input should be a valid number"):
        with_fields(config, minutes="ten")


def test_all_faults_of_a_configuration_are_named_at_once():
    values = to_json(PRESETS["tiny"]) | {"lanez": 3, "seed": "one"}
    values["model"]["dim"] = 1.5
    with pytest.raises(ValueError, match="here does not fit") as caught:
        from_json(TrainConfig, values, "here")
    for name in ("lanez", "seed", "model.dim"):
        assert name in str(caught.value)


def test_a_fault_is_told_of_the_family_that_was_meant():
    values = to_json(PRESETS["paper-wavenet"])
    assert from_json(TrainConfig, values, "here").model == PRESETS["paper-wavenet"].model
    values["model"]["dim"] = 3
    with pytest.raises(ValueError, match="here does not fit") as caught:
        from_json(TrainConfig, values, "here")
    assert str(caught.value).endswith("version: model.dim: Unexpected keyword argument")
    values["model"]["family"] = "tacotron"
    with pytest.raises(ValueError, match="model: family = 'tacotron' must be one of 'samplernn', "):
        from_json(TrainConfig, values, "here")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_wrong_field_of_every_family_is_named(family):
    values = to_json(PRESETS["tiny"]) | {"model": to_json(FAMILIES[family][0]())}
    values["model"] |= {"q_levels": "many", "colour": "red"}
    with pytest.raises(ValueError, match="here does not fit") as caught:
        from_json(TrainConfig, values, "here")
    *_, first, second = str(caught.value).split("version: ")[1].split("; ")
    assert first == "model.q_levels: Input should be a valid integer"
    assert second == "model.colour: Unexpected keyword argument"


def test_differences_are_named_by_their_path():
    small, music = PRESETS["small"], PRESETS["music"]
    found = differences(small, music)
    assert found["model.lp_order"] == (64, 256)
    assert "seed" not in found
    assert differences(small, small) == {}


def test_a_limit_that_is_named_replaces_those_of_the_preset():
    named = preset_for("small", ["lanes", "steps"])
    assert (named.budget.steps, named.budget.minutes) == (None, None)
    assert preset_for("small", ["lanes"]) == PRESETS["small"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seq_len": 20}, r"seq_len = 20 must be a multiple of the top frame \(8\); try 16"),
        ({"lanes": 6, "accumulate": 4}, "lanes = 6 must be a multiple of accumulate x ranks"),
        ({"ema": 1.0}, r"ema = 1.0 must lie in \[0, 1\)"),
        ({"cooldown": 0.0}, r"cooldown = 0.0 must lie in \(0, 1\]"),
        ({"learning_rate": 0.0}, "learning_rate = 0.0 must be positive"),
        ({"muon_scale": 0.0}, "muon_scale = 0.0 must be positive"),
        ({"muon_every": 0}, "muon_every = 0 must be at least 1"),
        ({"clip_seconds": -1.0}, "clip_seconds = -1.0 must not be negative"),
        ({"valid_every": 0}, "valid_every = 0 must be at least 1"),
        ({"preview_seconds": 0.0}, "preview_seconds = 0.0 must be positive"),
        ({"preview_seconds": math.inf}, "a number is not finite: preview_seconds = inf"),
        ({"preview_count": 0}, "preview_count = 0 must be at least 1"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        with_fields(TrainConfig(), **changes)


def test_learning_rate_schedules():
    def rates(schedule):
        config = OptimizerConfig(learning_rate=1.0, schedule=schedule, cooldown=0.5)
        return [round(config.learning_rate_at(5, p), 6) for p in (0.0, 0.5, 0.75, 1.0)]

    assert rates("constant") == [1, 1, 1, 1]
    assert rates("cooldown") == [1, 1, 0.5, 0]
    assert rates("cosine") == [1, 0.5, 0.146447, 0]
    warm = OptimizerConfig(learning_rate=1.0, schedule="constant", warmup_steps=4)
    assert [warm.learning_rate_at(step, 0.0) for step in range(5)] == [0.25, 0.5, 0.75, 1, 1]
