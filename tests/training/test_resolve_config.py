from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.evaluate.small import make_corpus

from samplewise.config.conditioning import ConditioningConfig, MelConfig
from samplewise.config.models import WaveRNNConfig
from samplewise.config.presets import PRESETS
from samplewise.data.excerpts import cut
from samplewise.data.lanes import finite_batches
from samplewise.data.reader import ClipReader
from samplewise.errors import CorpusError
from samplewise.evaluate.baselines import baselines
from samplewise.generate.starts import Starts
from samplewise.quantizers import make_quantizer
from samplewise.training.loop import validate
from samplewise.training.resolve_config import (
    TILT_ORDER,
    code_counts,
    describe_starts,
    level_warning,
    with_conditioning,
    with_tilt,
)
from samplewise.training.run import start

LABELS = {"1.wav": "eve", "2.wav": "adam", "3.wav": "eve"}


def told(config, labels=None):
    return with_conditioning(config, labels).model.conditioning


def test_flags_decide_what_a_model_is_told():
    small, vocoder = PRESETS["small"], PRESETS["vocoder-small"]
    assert with_conditioning(small, None) == small
    assert with_conditioning(vocoder, None) == vocoder
    assert told(small, LABELS).classes == ("adam", "eve")
    assert told(small, LABELS).mel is None
    assert told(replace(small, mel=True)) == ConditioningConfig(MelConfig())
    assert told(replace(PRESETS["wavernn-224"], mel=True)).lpc_order == 192
    both = told(vocoder, LABELS)
    assert (both.mel, both.classes) == (vocoder.model.conditioning.mel, ("adam", "eve"))
    assert told(replace(vocoder, mel=False)) is None
    only_class = told(replace(vocoder, mel=False), LABELS)
    assert (only_class.mel, only_class.lpc_order) == (None, 0)
    # A resumed run asks again what its configuration already holds.
    again = with_conditioning(with_conditioning(vocoder, LABELS), LABELS)
    assert again == with_conditioning(vocoder, LABELS)


def test_each_class_has_excerpts_of_its_own_recordings(corpus, config):
    recordings = corpus.split("train")
    labels = {each.source: "even" if place % 2 else "odd" for place, each in enumerate(recordings)}
    config = with_conditioning(config, labels)
    stored = describe_starts(config, corpus, labels)
    found = Starts.from_json(stored, config.model.q_levels)
    assert set(found.labels) == {"even", "odd"}
    reader = ClipReader(corpus, config.level, make_quantizer("linear", config.model.q_levels))
    whole = dict.fromkeys(("even", "odd"), b"")
    for excerpt in cut(recordings, 0):
        whole[labels[excerpt.recording.source]] += reader.read(excerpt).codes.tobytes() + b"|"
    kind = reader.read(cut(recordings, 0)[0]).codes.dtype
    for codes, label in zip(found.codes, found.labels, strict=True):
        assert codes.astype(kind).tobytes() in whole[label]
    mel = replace(config.model.conditioning, mel=MelConfig())
    told_more = replace(config, model=replace(config.model, conditioning=mel))
    assert describe_starts(told_more, corpus, labels) is None
    many = replace(config.model.conditioning, classes=tuple(map(str, range(129))))
    told_more = replace(config, model=replace(config.model, conditioning=many))
    assert describe_starts(told_more, corpus, labels) is None


def test_a_class_has_to_be_heard_in_training():
    with pytest.raises(CorpusError, match="'adam' has no recording in the training split"):
        with_conditioning(PRESETS["small"], LABELS, {"1.wav", "3.wav"})
    with_conditioning(PRESETS["small"], LABELS, {"1.wav", "2.wav"})


def test_what_cannot_be_told_is_refused():
    with pytest.raises(ValueError, match="level = paper hides the true level"):
        told(replace(PRESETS["paper-3tier"], mel=True))
    with pytest.raises(ValueError, match="a hybrid model cannot be told anything"):
        told(replace(PRESETS["paper-rnn-wavenet"]), LABELS)


def test_without_output_weights_a_new_run_scores_as_the_unigram_does(
    config, corpus, tmp_path, alone
):
    config = replace(config, ema=0.0)
    run = start(config, corpus, tmp_path / "run", alone)
    train, valid = (cut(corpus.split(name), 800) for name in ("train", "valid"))
    unigram = baselines(corpus, train, valid, "keep", run.model.quantizer)["unigram"]
    assert validate(run, None, valid) == pytest.approx(unigram, abs=0.1)
    for linear, _ in run.model.output_maps():
        linear.weight.scale(0.0)
    assert validate(run, None, valid) == pytest.approx(unigram, rel=1e-6)


@pytest.mark.parametrize("preset", ["tiny", "vocoder-small"])
def test_our_presets_begin_below_uniform(preset, corpus, tmp_path, alone):
    config = replace(PRESETS[preset], device="cpu", lanes=2)
    run = start(config, corpus, tmp_path / "run", alone)
    clips = cut(corpus.split("valid"), 800)[:1]
    assert validate(run, None, clips) < run.model.quantizer.q_levels.bit_length() - 1


@pytest.mark.parametrize("lpc_order", [0, 4])
def test_the_codes_that_are_counted_are_those_that_are_trained_on(config, corpus, lpc_order):
    mel = MelConfig(n_mels=4, n_fft=64, win_length=64, hop=32, f_max=None)
    told = ConditioningConfig(mel, channels=6, width=5, upsampling=2, lpc_order=lpc_order)
    config = replace(config, model=WaveRNNConfig(dim=8, conditioning=told))
    quantizer = make_quantizer("dual", 65536)
    batches = finite_batches(
        cut(corpus.split("train"), 800),
        ClipReader(corpus, "keep", quantizer, told),
        lanes=4,
        seq_len=64,
    )
    targets = torch.cat([batch.target[batch.mask] for batch in batches])
    counts = code_counts(config, corpus, quantizer, None)
    assert torch.equal(torch.from_numpy(counts), targets.bincount(minlength=65536))


def test_only_our_own_presets_start_at_the_unigram():
    ours = {name for name, config in PRESETS.items() if config.output_init == "unigram"}
    assert ours == {name for name in PRESETS if not name.startswith("paper-")}


def test_the_fixed_predictor_of_burgs_method_is_that_of_the_average_spectrum():
    # x(t) = 0.9 x(t - 1) + noise, and the second half of it 30 dB quieter.
    corpus = make_corpus({"train": [40_000]}, rate=8000, gain=1.0, scales=(1.0,))
    noise = 0.05 * np.random.default_rng(0).standard_normal(40_000)
    wave = np.zeros(len(noise))
    for t in range(1, len(wave)):
        wave[t] = 0.9 * wave[t - 1] + noise[t]
    wave[20_000:] *= 10 ** (-30 / 20)
    corpus.stored[:] = np.round(wave * 32768)
    preset = PRESETS["small-16bit"]
    tilt = with_tilt(preset, corpus).model.lp_tilt
    assert len(tilt) == TILT_ORDER
    np.testing.assert_allclose(tilt, [0.9, *[0.0] * (TILT_ORDER - 1)], atol=0.06)
    given = replace(preset, model=replace(preset.model, lp_tilt=(0.5,)))
    assert with_tilt(given, corpus) == given
    assert with_tilt(PRESETS["small"], corpus) == PRESETS["small"]


def test_recordings_at_full_scale_are_warned_of_before_a_model_that_would_clip():
    corpus, sixteen = make_corpus(), PRESETS["small-16bit"]
    index = corpus.index
    quiet = replace(corpus, index=replace(index, settings=replace(index.settings, peak=0.5)))
    loud = level_warning(sixteen, corpus)
    stretched = level_warning(replace(sixteen, level="paper"), quiet)
    assert loud is not None
    assert loud.startswith("peaks are at 0.99 of full scale")
    assert stretched is not None
    assert stretched.startswith("every clip reaches full scale")
    assert level_warning(sixteen, quiet) is None
    assert level_warning(PRESETS["small"], corpus) is None
