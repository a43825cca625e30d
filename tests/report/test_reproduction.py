import json
from dataclasses import replace

import pytest
import tyro
from tests.report.conftest import write_json

from samplewise.cli import prepare
from samplewise.config.codec import to_json, with_fields
from samplewise.config.presets import PRESETS, preset_for
from samplewise.config.training import TrainConfig
from samplewise.report.reproduction import commands
from samplewise.report.run_data import gather


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_the_command_of_training_parses_to_the_settings_of_the_run(run, preset):
    used = PRESETS[preset]
    changes = {
        "samplernn": {"dim": 96, "n_rnn": 2, "frame_sizes": (4, 8, 16)},
        "rnn": {"dim": 96, "n_rnn": 2},
        "wavenet": {"blocks": 2, "channels": 16},
        "hybrid": {"dim": 96, "frame_size": 64},
        "wavernn": {"dim": 96, "learn_h0": False},
        "subscale-wavernn": {"dim": 96, "dilations": (1, 2, 3)},
        "fused-subscale-wavernn": {"dim": 96, "learn_h0": False},
    }
    changed = changes[used.model.family]
    if hasattr(used.model, "weight_norm"):
        changed |= {"weight_norm": False}
    model = replace(used.model, **changed)
    used = with_fields(used, model=model, seed=5, minutes=2.5, epochs=None, random_offsets=False)
    config = json.loads((run / "config.json").read_text())
    write_json(run / "config.json", config | {"train": to_json(used)})
    command = commands(gather(run))[1]
    assert command[:2] == ["samplewise", "train"]
    assert command[3:5] == ["-o", "mine"]
    options = (tyro.conf.AvoidSubcommands,)
    default = preset_for(preset, [word.removeprefix("--") for word in command])
    found = tyro.cli(TrainConfig, args=command[5:], default=default, config=options)
    assert found == used


def test_the_command_of_preparing_parses_to_the_settings_of_the_corpus(run, corpus):
    command = commands(gather(run))[0]
    args = tyro.cli(prepare.PrepareArgs, args=command[2:])
    settings = json.loads((corpus / "corpus.json").read_text())["settings"]
    found = {key: getattr(args, key) for key in settings}
    assert found == settings


def test_the_commands_of_measuring_and_generating_carry_their_options(run):
    _, _, evaluate, generate, report = commands(gather(run))
    assert evaluate == ["samplewise", "evaluate", "mine", "--split", "test", "--json"]
    options = "--count 4 --seconds 0.25 --temperature 0.95 --seed 7"
    assert generate == ["samplewise", "generate", "mine", *options.split()]
    assert report == ["samplewise", "report", "mine"]


def test_a_recorded_command_is_told_as_it_was(run):
    config = json.loads((run / "config.json").read_text())
    write_json(run / "config.json", config | {"command": ["samplewise", "train", "a b"]})
    assert commands(gather(run))[1] == ["samplewise", "train", "a b"]
