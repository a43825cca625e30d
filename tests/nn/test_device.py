import pytest
import torch

from samplewise.nn.device import choose_device, use_device


@pytest.fixture(params=[0, 2], ids=["no GPU", "two GPUs"])
def gpus(request, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: request.param)
    return request.param


def test_auto_is_the_gpu_of_this_rank_if_there_is_one(gpus):
    assert str(choose_device("auto", local_rank=1)) == ("cuda:1" if gpus else "cpu")
    assert str(choose_device("cpu", local_rank=1)) == "cpu"


def test_a_device_that_is_not_there_is_an_error(gpus):
    found = "torch sees 2 GPUs" if gpus else "torch sees no GPU here"
    with pytest.raises(ValueError, match=f"device = 'cuda:2', but {found}; try --device cpu"):
        choose_device("cuda:2")


@pytest.mark.parametrize("name", ["tpu", "cuda:x", "cuda:", "cpu:0", "", "0"])
def test_a_name_that_means_nothing_is_an_error(gpus, name):
    with pytest.raises(ValueError, match=f"device = '{name}' must be auto, cpu, cuda or cuda:N"):
        choose_device(name)


def test_a_gpu_in_use_is_the_current_one(gpus, monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    device = use_device("auto", local_rank=1)
    assert chosen == [device] * bool(gpus)
