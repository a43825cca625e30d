import csv
import math

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from samplewise.data.excerpts import cut, read_codes
from samplewise.evaluate.baselines import SMOOTHING, baselines, count, cross_entropies
from samplewise.quantizers import make_quantizer

Q, SILENCE = 6, 3
CLIPS = st.lists(st.lists(st.integers(0, Q - 1), min_size=1, max_size=20), min_size=1, max_size=4)


def by_definition(train, test, context):
    """Slowly, with dictionaries."""
    counts = {}
    for clip in train:
        for t, code in enumerate(clip):
            key = context([SILENCE, SILENCE, *clip[:t]])
            counts.setdefault(key, [0] * Q)[code] += 1
    bits, samples = 0.0, 0
    for clip in test:
        for t, code in enumerate(clip):
            row = counts.get(context([SILENCE, SILENCE, *clip[:t]]), [0] * Q)
            bits -= math.log2((row[code] + SMOOTHING) / (sum(row) + SMOOTHING * Q))
            samples += 1
    return bits / samples


@given(CLIPS, CLIPS)
def test_vectorised_counts_equal_the_definition(train, test):
    counts = [count([[np.array(clip)] for clip in clips], Q, SILENCE) for clips in (train, test)]
    found = cross_entropies(*counts)
    assert found["uniform"] == pytest.approx(math.log2(Q))
    contexts = {
        "unigram": lambda past: None,
        "bigram": lambda past: past[-1],
        "linear_prediction": lambda past: 2 * past[-1] - past[-2],
    }
    for name, context in contexts.items():
        assert found[name] == pytest.approx(by_definition(train, test, context)), name


@given(CLIPS, st.integers(1, 7))
def test_blocks_do_not_matter(clips, size):
    whole = count([[np.array(clip)] for clip in clips], Q, SILENCE)
    blocks = [
        [np.array(clip[start : start + size]) for start in range(0, len(clip), size)]
        for clip in clips
    ]
    cut_up = count(blocks, Q, SILENCE)
    for name in ("unigram", "bigram", "linear_prediction"):
        np.testing.assert_array_equal(getattr(cut_up, name), getattr(whole, name))
        assert getattr(whole, name).sum() == sum(map(len, clips))


@pytest.mark.parametrize("level", ["keep", "paper"])
@pytest.mark.parametrize("codec", ["linear", "mulaw"])
def test_a_corpus_is_counted_through_the_codes_that_the_model_sees(
    corpus, level, codec, monkeypatch
):
    monkeypatch.setattr("samplewise.evaluate.baselines.BLOCK", 64)
    quantizer = make_quantizer(codec, 32)
    train, test = cut(corpus.split("train"), 100), cut(corpus.split("test"), 100)
    calls = []
    found = baselines(corpus, train, test, level, quantizer, lambda *call: calls.append(call))
    counts = [
        count([[read_codes(corpus, clip, level, quantizer)] for clip in clips], 32, 16)
        for clips in (train, test)
    ]
    assert found == cross_entropies(*counts)
    assert calls[-1] == (1631 + 715, 1631 + 715)


@given(CLIPS, CLIPS)
def test_beyond_so_many_codes_differences_are_counted(train, test):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("samplewise.evaluate.baselines.MAX_PAIR_LEVELS", Q - 1)
        counts = [
            count([[np.array(clip)] for clip in clips], Q, SILENCE) for clips in (train, test)
        ]
    found = cross_entropies(*counts)
    assert found["unigram"] == pytest.approx(by_definition(train, test, lambda past: None))
    differences = {"bigram": [1, -1], "linear_prediction": [1, -2, 1]}
    for name, taps in differences.items():
        filtered = [
            [
                np.convolve([SILENCE, SILENCE, *clip], taps)[2 : len(clip) + 2].astype(int)
                for clip in clips
            ]
            for clips in (train, test)
        ]
        values = (Q - 1) * int(np.abs(taps).sum()) + 1  # from -2 (Q - 1) to 2 (Q - 1), or half
        seen = np.concatenate(filtered[0])
        expected = [
            math.log2(len(seen) + SMOOTHING * values) - math.log2((seen == value).sum() + SMOOTHING)
            for value in np.concatenate(filtered[1])
        ]
        assert found[name] == pytest.approx(np.mean(expected)), name


def test_sixteen_bits_have_every_baseline(corpus):
    quantizer = make_quantizer("linear", 65536)
    train, test = cut(corpus.split("train"), 0), cut(corpus.split("test"), 0)
    found = baselines(corpus, train, test, "keep", quantizer)
    assert found["uniform"] == 16
    assert found.keys() == {"uniform", "unigram", "bigram", "linear_prediction"}


@pytest.mark.parametrize(
    ("codec", "expected", "tolerance"),
    [("linear", (4.860, 3.405, 3.339), 0.003), ("mulaw", (7.281, 5.478, 5.574), 0.03)],
)
def test_figures_of_a_pack_at_its_own_level(packs, codec, expected, tolerance):
    pack, quantizer = packs / "two-speakers-synth", make_quantizer(codec, 256)
    with (pack / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    def codes(split):
        names = [row["file"] for row in rows if row["split"] == split]
        return [[quantizer.encode(soundfile.read(pack / n, dtype="float32")[0])] for n in names]

    found = cross_entropies(*(count(codes(split), 256, 128) for split in ("train", "test")))
    # The published mu-law figures are of a codec that rounds otherwise.
    names = ("unigram", "bigram", "linear_prediction")
    assert [found[name] for name in names] == pytest.approx(expected, abs=tolerance)
