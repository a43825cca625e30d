"""The precision that ``auto`` stands for."""

from types import SimpleNamespace

import pytest
import torch

from samplewise.config.training import TrainConfig
from samplewise.heads.categorical import CategoricalHead
from samplewise.heads.mixture import LogisticMixtureHead
from samplewise.training.ranks import Ranks
from samplewise.training.run import RunState
from samplewise.training.train_step import autocast


@pytest.mark.parametrize("head", [CategoricalHead(), LogisticMixtureHead(65536)])
@pytest.mark.parametrize("device", ["cuda", "cpu"])
@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16"])
def test_auto_is_bfloat16_on_a_gpu_except_for_mixtures(head, device, precision, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr(torch, "autocast", lambda *arguments: arguments)
    run = object.__new__(RunState)
    run.ranks = Ranks(0, 1, torch.device(device))
    run.config, run.model = TrainConfig(precision=precision), SimpleNamespace(head=head)
    by_itself = device == "cuda" and isinstance(head, CategoricalHead)
    wanted = precision == "bfloat16" or (precision == "auto" and by_itself)
    assert autocast(run) == ((device, torch.bfloat16) if wanted else None)
