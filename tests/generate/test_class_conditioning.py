from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.models.conftest import CONFIGS

from samplewise.config.conditioning import ConditioningConfig
from samplewise.errors import SamplewiseError
from samplewise.generate.backend import Backend
from samplewise.generate.class_conditioning import ClassConditioning, class_conditioning
from samplewise.generate.clips import generate_clips, stream_chunks
from samplewise.models.build import build_model
from samplewise.models.io import AudioFormat, LoadedModel

REFERENCE = Backend("reference")


@pytest.fixture(params=["told-samplernn", "told-wavernn"])
def loaded(request, tmp_path):
    told = ConditioningConfig(classes=("a", "b"), width=4)
    model = build_model(replace(CONFIGS[request.param], conditioning=told), seed=1)
    for parameter in model.eval().requires_grad_(False).parameters():
        parameter.mul_(2)
    return LoadedModel(model, AudioFormat(8000, 1.0, "keep"), {}, tmp_path)


def codes(clips):
    return [clip.codes.tolist() for clip in clips]


def test_classes_come_in_turn_and_a_clip_depends_on_its_own_alone(loaded):
    def clips(count, label=None, **more):
        return generate_clips(loaded, count, 0.01, 3, label=label, backend=REFERENCE, **more)

    mixed = clips(3)
    assert [clip.label for clip in mixed] == ["a", "b", "a"]
    of_a, of_b = clips(3, "a"), clips(3, "b")
    assert codes(mixed) == [codes(of_a)[0], codes(of_b)[1], codes(of_a)[2]]
    assert codes(of_a) != codes(of_b)
    assert codes(clips(1, first_index=1)) == codes(mixed)[1:2]


@pytest.mark.parametrize("index", [0, 1])
def test_a_stream_and_a_prompt_know_the_class(loaded, index):
    prompt = np.sin(np.arange(30) / 3).astype(np.float32)
    options = {"prompt": prompt, "label": "b", "backend": REFERENCE}
    [clip] = generate_clips(loaded, 1, 0.01, 3, first_index=index, **options)
    stream = stream_chunks(loaded, 3, samples=80, index=index, chunk_s=0.002, **options)
    np.testing.assert_array_equal(np.concatenate(list(stream)), clip.samples)
    with pytest.raises(ValueError, match="a prompt has one class: name it"):
        generate_clips(loaded, 2, 0.01, 3, prompt=prompt, backend=REFERENCE)


def test_a_new_vector_begins_where_the_last_one_ends():
    vectors = np.arange(6, dtype=np.float32).reshape(2, 3)
    told = ClassConditioning(("a", "b"), vectors, hold=10)
    assert told.at(0, 10).shape == (2, 1, 3)
    assert told.at(9, 2).shape == (2, 2, 3)
    assert told.at(25, 30).shape == (2, 4, 3)
    assert (told.at(25, 30) == vectors[:, None]).all()


def test_mistakes_are_named(loaded, tmp_path):
    with pytest.raises(SamplewiseError, match=r"the class 'c' \(--label\): it knows a, b"):
        class_conditioning(loaded.model, "c", [0])
    with pytest.raises(SamplewiseError, match="it knows no classes"):
        class_conditioning(build_model(CONFIGS["rnn"]), "a", [0])
    with pytest.raises(SamplewiseError, match="with `samplewise vocode`"):
        class_conditioning(build_model(CONFIGS["told-wavenet"]), "a", [0])
    assert class_conditioning(build_model(CONFIGS["rnn"]), None, range(2)).at(0, 5) is None
    assert torch.is_tensor(loaded.model.conditioner.embedding)
