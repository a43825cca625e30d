import numpy as np
import pytest
import torch
from tests.models.conftest import CONFIGS, TOLD

from samplewise.audio.mel_correction import delay
from samplewise.errors import SamplewiseError
from samplewise.generate.backend import Backend
from samplewise.generate.vocoder import condition_frames, vocode, vocode_all
from samplewise.models.build import build_model
from samplewise.models.io import AudioFormat, LoadedModel
from samplewise.nn.conditioning import ConditioningInputs

REFERENCE = Backend("reference")
KINDS = [name for name in CONFIGS if name.startswith("told")]


@pytest.fixture(params=KINDS)
def loaded(request, tmp_path):
    model = build_model(CONFIGS[request.param], seed=1).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.mul_(2)  # so that what it is told matters
    return LoadedModel(model, AudioFormat(8000, 1.0, "keep"), {}, tmp_path)


def spectrogram(frames, seed=0):
    generator = np.random.default_rng(seed)
    return generator.uniform(-9, 2, (frames, TOLD.mel.n_mels)).astype(np.float32)


@pytest.mark.parametrize("corrections", [0, 2])
def test_streamed_equals_one_shot_equals_any_batch(loaded, corrections):
    mels = [spectrogram(frames, frames) for frames in (9, 4, 1)]
    labels = ["a", "b", "a"]
    options = {"backend": REFERENCE, "corrections": corrections}
    together = vocode_all(loaded, mels, 5, labels=labels, **options)
    for index, (mel, label) in enumerate(zip(mels, labels, strict=True)):
        parts = list(vocode(loaded, mel, 5, label=label, index=index, **options))
        assert [len(part) for part in parts] == [TOLD.mel.hop] * len(mel)
        np.testing.assert_array_equal(np.concatenate(parts), together[index].samples)


@pytest.mark.parametrize("corrections", [0, 3])
def test_sound_starts_before_the_spectrogram_ends(loaded, corrections):
    taken = 0

    def frames():
        nonlocal taken
        for frame in spectrogram(50):
            taken += 1
            yield frame

    next(vocode(loaded, frames(), 0, label="a", backend=REFERENCE, corrections=corrections))
    assert taken == TOLD.context + 1 + corrections * delay(TOLD.mel)


def test_vectors_of_single_frames_are_those_of_training(loaded):
    """One frame after the other gives what the network gives for the whole clip."""
    mel, context = spectrogram(12), TOLD.context
    stepwise = np.concatenate([frame.vectors for frame in condition_frames(loaded.model, mel, "b")])
    padded = np.pad(mel, ((context, context), (0, 0)), constant_values=np.log(1e-5))
    conditioning_inputs = ConditioningInputs(
        torch.from_numpy(padded)[None], torch.zeros(1, dtype=torch.long), torch.ones(1).long()
    )
    whole = loaded.model.conditioner(conditioning_inputs, 12 * TOLD.mel.hop)[0].numpy()
    np.testing.assert_allclose(stepwise.repeat(TOLD.hold, 0), whole, atol=1e-5)


def test_what_is_told_decides_about_the_sound(loaded):
    mel = spectrogram(20)

    def sound(mel, label):
        return vocode_all(loaded, [mel], 0, labels=[label], backend=REFERENCE)[0].samples

    assert not np.array_equal(sound(mel, "a"), sound(mel, "b"))
    later = mel.copy()
    later[12] += 3
    a, b = sound(mel, "a"), sound(later, "a")
    first = (12 - TOLD.context) * TOLD.mel.hop
    np.testing.assert_array_equal(a[:first], b[:first])
    assert not np.array_equal(a[first:], b[first:])


def test_mistakes_are_named(loaded, tmp_path):
    with pytest.raises(SamplewiseError, match="name it with --label; it knows a, b"):
        list(vocode(loaded, spectrogram(2), 0, backend=REFERENCE))
    with pytest.raises(ValueError, match=r"frame 0 has the shape \(2,\)"):
        list(vocode(loaded, spectrogram(2)[:, :2], 0, label="a", backend=REFERENCE))
    deaf = LoadedModel(build_model(CONFIGS["wavernn"]), loaded.audio, {}, tmp_path)
    with pytest.raises(SamplewiseError, match="takes no mel spectrogram, so it is no vocoder"):
        list(vocode(deaf, spectrogram(2), 0, backend=REFERENCE))
    with pytest.raises(ValueError, match="needs conditioning"):
        loaded.model.step(
            torch.zeros(1).long(), loaded.model.initial_state(1), torch.zeros(1).long()
        )
