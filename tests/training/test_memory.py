from dataclasses import replace

import pytest
import torch

from samplewise.cli.main import main
from samplewise.config.models import SampleRNNConfig
from samplewise.errors import TrainingError
from samplewise.training import loop
from samplewise.training.memory import training_memory
from samplewise.training.run import start


def test_a_model_that_cannot_fit_is_refused_and_nothing_is_written(corpus, config, alone, tmp_path):
    folder = tmp_path / "run"
    large = replace(config, model=SampleRNNConfig(dim=65536, emb_size=4, q_levels=32))
    with pytest.raises(TrainingError, match=r"need at least \S+ GiB of memory, but this machine"):
        start(large, corpus, folder, alone)
    assert not folder.exists()
    start(config, corpus, folder, alone)
    assert [path.name for path in folder.iterdir()] == ["config.json"]
    logits = config.lanes // config.accumulate * config.seq_len * 32
    assert training_memory(config, 1000) == 4 * ((4 + bool(config.ema)) * 1000 + logits)


def test_memory_that_runs_out_in_the_first_step_leaves_nothing(
    corpus, tmp_path, monkeypatch, capsys
):
    def step(*_, **__):
        torch.empty(2**50)

    monkeypatch.setattr(loop, "train_step", step)
    command = ["train", str(corpus.folder), "--preset", "small", "--lanes", "1", "--seq-len", "64"]
    assert main([*command, "--model.dim", "8", "-o", str(tmp_path / "run")]) == 1
    assert capsys.readouterr().err.endswith(
        "error: out of memory; ask for less at once, or a smaller model\n"
    )
    assert [path.name for path in (tmp_path / "run").iterdir()] in ([], [".lock"])
