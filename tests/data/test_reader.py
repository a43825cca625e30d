from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.data.sounds import noise

from samplewise.audio.lpc import predict
from samplewise.audio.mel import SILENCE, mel_spectrogram
from samplewise.audio.write import write_wav
from samplewise.cli import prepare
from samplewise.config.conditioning import ConditioningConfig, MelConfig
from samplewise.config.models import WaveRNNConfig
from samplewise.data import reader as cues_module
from samplewise.data.clips import Clip
from samplewise.data.corpus import Corpus
from samplewise.data.reader import conditioning_reader
from samplewise.errors import CorpusError
from samplewise.generate.vocoder import LPCSynthesis, condition_frames
from samplewise.models.build import build_model
from samplewise.nn.conditioning import Conditioner
from samplewise.nn.init import Initializer

MEL = MelConfig(n_mels=5, n_fft=32, win_length=32, hop=20, f_max=None)
TOLD = ConditioningConfig(MEL, ("high", "low"), channels=6, layers=1, upsampling=2, width=3)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cues")
    places = [(s, name) for s in ("train", "valid", "test") for name in ("high", "low")]
    for seed, (split, name) in enumerate(places):
        (folder / "in" / split / name).mkdir(parents=True)
        wave = noise(3000 + seed, seed).clip(-1, 1).astype(np.float32)
        write_wav(folder / "in" / split / name / "x.wav", wave, 4000)
    command = [
        str(folder / "in"),
        "-o",
        str(folder / "out"),
        "--sample-rate",
        "4000",
        "--jobs",
        "1",
    ]
    prepare.main(command)
    return Corpus.open(folder / "out")


def labels(corpus):
    return {r.source: r.source.split("/")[1] for r in corpus.recordings}


def test_frames_of_a_clip_are_those_of_its_recording(corpus):
    recording = corpus.recordings[0]
    reader = conditioning_reader(corpus, TOLD, labels(corpus))
    wave = torch.from_numpy(corpus.amplitude(recording))
    whole = mel_spectrogram(wave, MEL, corpus.sample_rate).numpy()
    clip = Clip(recording, 10 * MEL.hop, 10 * MEL.hop + 95)
    conditioning_inputs = reader.read(clip)
    assert conditioning_inputs.mel.shape == (5 + 2 * TOLD.context, 5)
    around = slice(10 - TOLD.context, 15 + TOLD.context)
    np.testing.assert_allclose(conditioning_inputs.mel, whole[around], atol=1e-4)
    # What is centred outside the recording is silence, as it is for a vocoder.
    first = reader.read(Clip(recording, 0, 95)).mel
    assert first is not None
    np.testing.assert_allclose(first[TOLD.context :], whole[: 5 + TOLD.context], atol=1e-4)
    assert (first[: TOLD.context] == np.float32(SILENCE)).all()


def test_a_model_is_told_of_a_recording_what_a_vocoder_is(corpus):
    recording, reader = corpus.recordings[0], conditioning_reader(corpus, TOLD, labels(corpus))
    model = build_model(WaveRNNConfig(dim=4, conditioning=TOLD))
    conditioning_inputs = reader.read(Clip(recording, 0, recording.samples))
    trained = model.conditioner.vectors(
        torch.from_numpy(conditioning_inputs.mel)[None], torch.tensor([1])
    )
    wave = torch.from_numpy(corpus.amplitude(recording))
    frames = mel_spectrogram(wave, MEL, corpus.sample_rate).numpy()
    vocoded = np.concatenate([frame.vectors for frame in condition_frames(model, frames, "low")])
    np.testing.assert_allclose(vocoded, trained[0].detach().numpy(), atol=1e-4)


def test_vectors_do_not_depend_on_how_a_clip_is_cut_into_subsequences(corpus):
    reader = conditioning_reader(corpus, TOLD, labels(corpus))
    clip = Clip(corpus.recordings[1], 7, 507)
    told, conditioner = reader.read(clip), Conditioner(TOLD, Initializer(0))
    whole = conditioner(reader.cut([told], [0], 500), 500)
    assert not torch.equal(whole[:, 9], whole[:, 10])  # another vector every hop / upsampling
    assert torch.equal(whole[:, 10], whole[:, 19])
    for size in (1, 33, 170):
        parts = []
        for start in range(0, 500, size):
            length = min(size, 500 - start)
            parts.append(conditioner(reader.cut([told], [start], length), length))
        torch.testing.assert_close(torch.cat(parts, 1), whole)


@pytest.mark.parametrize("start", [0, 210])
def test_a_vocoder_makes_of_the_excitation_the_sound_that_it_was_of(corpus, start):
    told = replace(TOLD, lpc_order=12)
    recording, reader = corpus.recordings[0], conditioning_reader(corpus, told, labels(corpus))
    clip = Clip(recording, start, recording.samples)
    conditioning_inputs = reader.read(clip)
    assert conditioning_inputs.excitation is not None
    assert conditioning_inputs.mel is not None
    model = build_model(WaveRNNConfig(dim=4, conditioning=told))
    sounding = LPCSynthesis(model, corpus.sample_rate)
    sounding.past = np.pad(corpus.amplitude(recording, 0, start), (12, 0))[-12:].astype(float)
    codes = np.pad(
        conditioning_inputs.excitation.codes, (0, -clip.samples % MEL.hop), constant_values=32768
    )
    drawn = model.quantizer.decode(codes).reshape(-1, MEL.hop)
    frames = conditioning_inputs.mel[told.context : len(conditioning_inputs.mel) - told.context]
    pairs = zip(drawn, condition_frames(model, frames, "low"), strict=True)
    made = [sounding(part, [told_of_it]) for part, told_of_it in pairs]
    wave = corpus.amplitude(recording, start, recording.samples)
    found = np.concatenate(made)[: len(wave)]
    gain = np.exp(conditioning_inputs.excitation.log_steps).max()
    # Half a 16-bit step of noise, and half a step of the excitation's, through the filter.
    np.testing.assert_allclose(found, wave.clip(-1, 1), atol=(1 + 8 * gain) / 32768)


def test_blocks_of_frames_change_nothing(corpus, monkeypatch):
    reader = conditioning_reader(corpus, replace(TOLD, lpc_order=12), labels(corpus))
    clip = Clip(corpus.recordings[0], 30, 1030)
    whole = reader.read(clip).excitation
    assert whole is not None
    monkeypatch.setattr(cues_module, "BLOCK_FRAMES", 7)
    parts = reader.read(clip).excitation
    assert parts is not None
    np.testing.assert_allclose(parts.codes, whole.codes, atol=1)  # rounding ties
    np.testing.assert_allclose(parts.log_steps, whole.log_steps, rtol=1e-6)


def test_steps_of_an_excitation_are_those_of_its_gain(corpus):
    told = replace(TOLD, lpc_order=12)
    reader = conditioning_reader(corpus, told, labels(corpus))
    clip = Clip(corpus.recordings[1], 7, 507)
    conditioning_inputs = reader.read(clip)
    assert conditioning_inputs.excitation is not None
    assert conditioning_inputs.mel is not None
    frames = conditioning_inputs.mel[told.context :][:26]
    gain = predict(frames, MEL, corpus.sample_rate, 12, 2).gain
    np.testing.assert_allclose(
        np.exp(conditioning_inputs.excitation.log_steps), 32 * gain.repeat(10), rtol=1e-5
    )
    whole = reader.cut([conditioning_inputs, None], [0, 0], 510).log_steps
    assert whole is not None
    assert (whole[0, 500:] == 0).all()  # padding
    assert (whole[1] == 0).all()
    parts = [
        reader.cut([conditioning_inputs, None], [at, 0], 170).log_steps for at in (0, 170, 340)
    ]
    torch.testing.assert_close(torch.cat(parts, 1)[0], whole[0])


def test_a_class_alone_is_one_vector(corpus):
    told = ConditioningConfig(classes=("high", "low"), width=3)
    reader = conditioning_reader(corpus, told, labels(corpus))
    clips = [reader.read(Clip(r, 0, 9)) for r in corpus.recordings[:4]] + [None]
    vectors = Conditioner(told, Initializer(0))(reader.cut(clips, [0] * 5, 9), 9)
    classes = [labels(corpus)[r.source] for r in corpus.recordings[:4]]
    for row, name in enumerate(classes):
        same = classes.index(name)
        assert torch.equal(vectors[row], vectors[same, :1].expand(9, 3))
    other = next(row for row, name in enumerate(classes) if name != classes[0])
    assert not torch.equal(vectors[0], vectors[other])


def test_labels_are_asked_for_and_must_be_known(corpus):
    with pytest.raises(CorpusError, match="the model knows 2 classes"):
        conditioning_reader(corpus, TOLD, None)
    wrong = dict.fromkeys(labels(corpus), "middle")
    with pytest.raises(CorpusError, match="'middle', which the model does not know; it knows high"):
        conditioning_reader(corpus, TOLD, wrong)
    assert conditioning_reader(corpus, None, None) is None
