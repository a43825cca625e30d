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
from samplewise.data import reader as reader_module
from samplewise.data.corpus import Corpus
from samplewise.data.excerpts import Excerpt
from samplewise.data.reader import ClipReader
from samplewise.errors import CorpusError
from samplewise.generate.vocoder import LPCSynthesis, condition_frames
from samplewise.models.build import build_model
from samplewise.nn.conditioning import Conditioner
from samplewise.nn.init import Initializer
from samplewise.quantizers import DualQuantizer

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


def reader_of(corpus, conditioning):
    return ClipReader(corpus, "keep", DualQuantizer(), conditioning, labels(corpus))


def test_frames_of_a_clip_are_those_of_its_recording(corpus):
    recording = corpus.recordings[0]
    reader = reader_of(corpus, TOLD)
    wave = torch.from_numpy(corpus.amplitude(recording))
    whole = mel_spectrogram(wave, MEL, corpus.sample_rate).numpy()
    clip = Excerpt(recording, 10 * MEL.hop, 10 * MEL.hop + 95)
    mel = reader.read(clip).conditioning.mel
    assert mel.shape == (5 + 2 * TOLD.context, 5)
    around = slice(10 - TOLD.context, 15 + TOLD.context)
    np.testing.assert_allclose(mel, whole[around], atol=1e-4)
    # What is centred outside the recording is silence, as it is for a vocoder.
    first = reader.read(Excerpt(recording, 0, 95)).conditioning.mel
    assert first is not None
    np.testing.assert_allclose(first[TOLD.context :], whole[: 5 + TOLD.context], atol=1e-4)
    assert (first[: TOLD.context] == np.float32(SILENCE)).all()


def test_a_model_is_told_of_a_recording_what_a_vocoder_is(corpus):
    recording, reader = corpus.recordings[0], reader_of(corpus, TOLD)
    model = build_model(WaveRNNConfig(dim=4, conditioning=TOLD))
    mel = reader.read(Excerpt(recording, 0, recording.samples)).conditioning.mel
    trained = model.conditioner.vectors(torch.from_numpy(mel)[None], torch.tensor([1]))
    wave = torch.from_numpy(corpus.amplitude(recording))
    frames = mel_spectrogram(wave, MEL, corpus.sample_rate).numpy()
    vocoded = np.concatenate([frame.vectors for frame in condition_frames(model, frames, "low")])
    np.testing.assert_allclose(vocoded, trained[0].detach().numpy(), atol=1e-4)


def test_vectors_do_not_depend_on_how_a_clip_is_cut_into_subsequences(corpus):
    reader = reader_of(corpus, TOLD)
    clip = Excerpt(corpus.recordings[1], 7, 507)
    told, conditioner = reader.read(clip), Conditioner(TOLD, Initializer(0))
    whole = conditioner(reader.conditioning_inputs([told], [0], 500), 500)
    assert not torch.equal(whole[:, 9], whole[:, 10])  # another vector every hop / upsampling
    assert torch.equal(whole[:, 10], whole[:, 19])
    for size in (1, 33, 170):
        parts = []
        for start in range(0, 500, size):
            length = min(size, 500 - start)
            parts.append(conditioner(reader.conditioning_inputs([told], [start], length), length))
        torch.testing.assert_close(torch.cat(parts, 1), whole)


@pytest.mark.parametrize("start", [0, 210])
def test_a_vocoder_makes_of_the_excitation_the_sound_that_it_was_of(corpus, start):
    told = replace(TOLD, lpc_order=12)
    recording, reader = corpus.recordings[0], reader_of(corpus, told)
    clip = Excerpt(recording, start, recording.samples)
    content = reader.read(clip)
    mel = content.conditioning.mel
    assert mel is not None
    model = build_model(WaveRNNConfig(dim=4, conditioning=told))
    sounding = LPCSynthesis(model, corpus.sample_rate)
    sounding.past = np.pad(corpus.amplitude(recording, 0, start), (12, 0))[-12:].astype(float)
    codes = np.pad(content.codes, (0, -clip.samples % MEL.hop), constant_values=32768)
    drawn = model.quantizer.decode(codes).reshape(-1, MEL.hop)
    frames = mel[told.context : len(mel) - told.context]
    pairs = zip(drawn, condition_frames(model, frames, "low"), strict=True)
    made = [sounding(part, [told_of_it]) for part, told_of_it in pairs]
    wave = corpus.amplitude(recording, start, recording.samples)
    found = np.concatenate(made)[: len(wave)]
    gain = np.exp(content.log_steps).max()
    # Half a 16-bit step of noise, and half a step of the excitation's, through the filter.
    np.testing.assert_allclose(found, wave.clip(-1, 1), atol=(1 + 8 * gain) / 32768)


def test_blocks_of_frames_change_nothing(corpus, monkeypatch):
    reader = reader_of(corpus, replace(TOLD, lpc_order=12))
    clip = Excerpt(corpus.recordings[0], 30, 1030)
    whole = reader.read(clip)
    monkeypatch.setattr(reader_module, "BLOCK_FRAMES", 7)
    parts = reader.read(clip)
    np.testing.assert_allclose(parts.codes, whole.codes, atol=1)  # rounding ties
    np.testing.assert_allclose(parts.log_steps, whole.log_steps, rtol=1e-6)


def test_steps_of_an_excitation_are_those_of_its_gain(corpus):
    told = replace(TOLD, lpc_order=12)
    reader = reader_of(corpus, told)
    clip = Excerpt(corpus.recordings[1], 7, 507)
    content = reader.read(clip)
    mel = content.conditioning.mel
    assert mel is not None
    frames = mel[told.context :][:26]
    gain = predict(frames, MEL, corpus.sample_rate, 12, 2).gain
    np.testing.assert_allclose(np.exp(content.log_steps), 32 * gain.repeat(10), rtol=1e-5)
    whole = reader.conditioning_inputs([content, None], [0, 0], 510).log_steps
    assert whole is not None
    assert (whole[0, 500:] == 0).all()  # padding
    assert (whole[1] == 0).all()
    parts = [
        reader.conditioning_inputs([content, None], [at, 0], 170).log_steps for at in (0, 170, 340)
    ]
    torch.testing.assert_close(torch.cat(parts, 1)[0], whole[0])


def test_a_class_alone_is_one_vector(corpus):
    told = ConditioningConfig(classes=("high", "low"), width=3)
    reader = reader_of(corpus, told)
    clips = [reader.read(Excerpt(r, 0, 9)) for r in corpus.recordings[:4]] + [None]
    vectors = Conditioner(told, Initializer(0))(reader.conditioning_inputs(clips, [0] * 5, 9), 9)
    classes = [labels(corpus)[r.source] for r in corpus.recordings[:4]]
    for row, name in enumerate(classes):
        same = classes.index(name)
        assert torch.equal(vectors[row], vectors[same, :1].expand(9, 3))
    other = next(row for row, name in enumerate(classes) if name != classes[0])
    assert not torch.equal(vectors[0], vectors[other])


def test_labels_are_asked_for_and_must_be_known(corpus):
    with pytest.raises(CorpusError, match="the model knows 2 classes"):
        ClipReader(corpus, "keep", DualQuantizer(), TOLD, None)
    wrong = dict.fromkeys(labels(corpus), "middle")
    with pytest.raises(CorpusError, match="'middle', which the model does not know; it knows high"):
        ClipReader(corpus, "keep", DualQuantizer(), TOLD, wrong)


def test_without_conditioning_there_are_codes_alone(corpus):
    clip = Excerpt(corpus.recordings[1], 7, 507)
    reader = ClipReader(corpus, "keep", DualQuantizer())
    content = reader.read(clip)
    wave = corpus.amplitude(clip.recording, 7, 507)
    assert content.codes.tolist() == DualQuantizer().encode(wave).tolist()
    assert content.conditioning is content.log_steps is None
    assert reader.conditioning_inputs([content], [0], 9) is None
