from pathlib import Path

import pytest
import torch
from tests.models.conftest import UNTOLD

from samplewise.config.models import SampleRNNConfig
from samplewise.models.build import FAMILIES, build_model
from samplewise.models.io import AudioFormat, LoadedModel, save_model
from samplewise.models.step_model import StepModel

RATE = 4000
AUDIO = AudioFormat(sample_rate=RATE, gain=1.1, level="keep")
SMALL = SampleRNNConfig(frame_sizes=(2, 2, 8), dim=32, emb_size=8, quantizer="mulaw", q_levels=256)


def make_model(config, seed=1):
    """Not trained, but with opinions: its distributions are far from uniform."""
    model = build_model(config, seed=seed).eval().requires_grad_(False)
    torch.manual_seed(seed)
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    return model


STEPWISE = [
    name for name, config in UNTOLD.items() if issubclass(FAMILIES[config.family][1], StepModel)
]


@pytest.fixture(params=STEPWISE)
def any_model(request):
    """Every kind of model that draws in the order of time, in double precision."""
    return make_model(UNTOLD[request.param]).double()


@pytest.fixture(scope="session")
def loaded():
    """A small model as one would load it, in single precision."""
    model = make_model(SMALL)
    model.fold()
    return LoadedModel(model, AUDIO, {}, Path("small.safetensors"))


@pytest.fixture
def model_file(tmp_path):
    path = tmp_path / "small.safetensors"
    save_model(path, make_model(SMALL), AUDIO, {})
    return path
