from dataclasses import replace

import pytest

from samplewise.config.conditioning import Conditioning, MelConfig
from samplewise.errors import CorpusError
from samplewise.training.measured import with_conditioning
from samplewise.training.presets import PRESETS

LABELS = {"1.wav": "eve", "2.wav": "adam", "3.wav": "eve"}


def told(config, labels=None):
    return with_conditioning(config, labels).model.conditioning


def test_flags_decide_what_a_model_is_told():
    small, vocoder = PRESETS["small"], PRESETS["vocoder-small"]
    assert with_conditioning(small, None) == small
    assert with_conditioning(vocoder, None) == vocoder
    assert told(small, LABELS).classes == ("adam", "eve")
    assert told(small, LABELS).mel is None
    assert told(replace(small, mel=True)) == Conditioning(MelConfig())
    assert told(replace(PRESETS["wavernn-224"], mel=True)).lpc_order == 192
    both = told(vocoder, LABELS)
    assert (both.mel, both.classes) == (vocoder.model.conditioning.mel, ("adam", "eve"))
    assert told(replace(vocoder, mel=False)) is None
    only_class = told(replace(vocoder, mel=False), LABELS)
    assert (only_class.mel, only_class.lpc_order) == (None, 0)
    # A resumed run asks again what its configuration already holds.
    again = with_conditioning(with_conditioning(vocoder, LABELS), LABELS)
    assert again == with_conditioning(vocoder, LABELS)


def test_a_class_has_to_be_heard_in_training():
    with pytest.raises(CorpusError, match="'adam' has no recording in the training split"):
        with_conditioning(PRESETS["small"], LABELS, {"1.wav", "3.wav"})
    with_conditioning(PRESETS["small"], LABELS, {"1.wav", "2.wav"})


def test_what_cannot_be_told_is_refused():
    with pytest.raises(ValueError, match="level = paper hides the true level"):
        told(replace(PRESETS["paper-3tier"], mel=True))
    with pytest.raises(ValueError, match="a hybrid model cannot be told anything"):
        told(replace(PRESETS["paper-rnn-wavenet"]), LABELS)
