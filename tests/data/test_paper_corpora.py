"""The recipe of docs/paper-corpora.md, run on a small corpus."""

import random
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
import soundfile

from samplewise.config.presets import PAPER_2TIER, PAPER_3TIER
from samplewise.data.corpus import Corpus
from samplewise.data.excerpts import cut, read_codes
from samplewise.data.index import Settings
from samplewise.data.prepare.prepare import prepare
from samplewise.quantizers import LinearQuantizer

PAGE = (Path(__file__).parents[2] / "docs" / "paper-corpora.md").read_text()
RATE, CLIP, HELD_OUT, BATCH = 16000, 1000, 3, 4
FILES = {"a.wav": 12_345, "b.wav": 9_700, "c.wav": 3_050}
COUNTS = {"train": 16, "valid": 3, "test": 3}
"""Of the 25 whole clips: 6 held out, 19 left, of which 16 make whole batches."""


def recipe():
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    code = textwrap.dedent(block)
    for old, new in {
        "8 * 16000, 256, 128": f"{CLIP}, {HELD_OUT}, {BATCH}",
        '"corpora/sonatas"': '"whole"',
        '"sonata-clips"': '"clips"',
    }.items():
        assert old in code
        code = code.replace(old, new)
    return code


def shuffled_by_python_2(items):
    """random.seed(123); random.shuffle(items): swap from the end with floor(u n)."""
    items, dice = list(items), random.Random(123)  # noqa: S311
    for n in range(len(items), 1, -1):
        chosen = int(dice.random() * n)
        items[n - 1], items[chosen] = items[chosen], items[n - 1]
    return items


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder that the recipe leaves, and the sound that went in, end to end."""
    folder = tmp_path_factory.mktemp("recipe")
    rng = np.random.default_rng(0)
    waves = [np.cumsum(rng.integers(-300, 301, n)).astype(np.int16) for n in FILES.values()]
    (folder / "sonatas").mkdir()
    for name, wave in zip(FILES, waves, strict=True):
        soundfile.write(folder / "sonatas" / name, wave, RATE, subtype="PCM_16")
    prepare(folder / "sonatas", folder / "whole", Settings(RATE, 0.06, 0.06, 0, "recordings"), 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(recipe(), {})  # noqa: S102  the page's own code is what is tested
    prepare(folder / "clips", folder / "corpus", Settings(RATE, 0.06, 0.06, 0, "folders"), 1)
    return folder, np.concatenate(waves)


def test_the_clips_are_those_of_the_official_shuffle(made):
    folder, sound = made
    names = shuffled_by_python_2(sorted(f"p{i}.flac" for i in range(len(sound) // CLIP)))
    assert len(names) == 25
    expected = {"train": names[:16], "valid": names[-6:-3], "test": names[-3:]}
    for split, chosen in expected.items():
        assert {path.name for path in (folder / "clips" / split).iterdir()} == set(chosen)
        for name in chosen:
            stored, rate = soundfile.read(folder / "clips" / split / name, dtype="int16")
            start = int(name[1:-5]) * CLIP
            np.testing.assert_array_equal(stored, sound[start : start + CLIP])
            assert rate == RATE


def test_a_clip_of_the_corpus_is_a_clip_of_the_model_with_the_official_codes(made):
    corpus = Corpus.open(made[0] / "corpus")
    assert corpus.split_rule == "by folder"
    for split, count in COUNTS.items():
        clips = cut(corpus.split(split), CLIP)
        assert [clip.samples for clip in clips] == [CLIP] * count
        for clip in clips:
            sound, _ = soundfile.read(made[0] / "clips" / clip.recording.source)
            sound = sound.astype(np.float16).astype(np.float64)  # as the arrays are stored
            x01 = (sound - sound.min()) / (sound.max() - sound.min())
            exact = x01 * (256 - 1e-5) + 5e-6
            found = read_codes(corpus, clip, "paper", LinearQuantizer(256))
            np.testing.assert_array_equal(found, exact.astype(int))


@pytest.mark.parametrize("preset", [PAPER_2TIER, PAPER_3TIER], ids=lambda p: p.preset)
def test_the_presets_are_what_the_page_says(preset):
    assert (preset.level, preset.clip_seconds, preset.random_offsets) == ("paper", 8.0, False)


def test_the_counts_of_the_page_fit_each_other():
    # 4,340 clips of Music; 512 are held out; 29 batches of 128 remain.
    assert (4340 - 512) // 128 * 128 == 3712
    shares = {"Music": (3712, 256, 256), "Blizzard": (9216, 768, 768)}
    percent = {"Music": (88, 6, 6), "Blizzard": (86, 7, 7)}
    for name, counts in shares.items():
        assert tuple(round(100 * n / sum(counts)) for n in counts) == percent[name]
        assert " / ".join(f"{n:,}" for n in counts) in PAGE
    assert f"{3712 * 8 / 60:.2f}, {256 * 8 / 60:.2f} and" in PAGE
    assert 9216 * 8 / 3600 == 20.48
