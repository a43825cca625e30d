import math

import numpy as np
import pytest
import soundfile
from tests.conftest import SMOKE

from samplewise.audio.descriptors import mel_levels_db
from samplewise.audio.write import write_wav
from samplewise.data.corpus import Corpus
from samplewise.data.index import Settings
from samplewise.data.prepare.prepare import prepare
from samplewise.errors import CorpusError, SamplewiseError
from samplewise.evaluate import sound
from samplewise.evaluate.clip_sets import corpus_reference, score_folder
from samplewise.evaluate.log_mel_distance import log_mel_distance, total
from samplewise.evaluate.sound import bootstrap, compare, score_sound, sound_reference

RATE = 16000


def rng():
    return np.random.default_rng(5)


def excerpts(names, seconds=2):
    waves = [soundfile.read(SMOKE / f"{name}.flac", dtype="float32")[0] for name in names]
    length = seconds * RATE
    return [w[i : i + length] for w in waves for i in range(0, len(w) - length + 1, length)]


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(sound, "RESAMPLES", 20)


KINDS = {
    "piano": (["train/piano_0", "train/piano_1", "train/piano_2"], ["test/piano_4"]),
    "voice": ([f"train/voice_train_{i}" for i in range(4)], ["test/voice_test_0"]),
}


@pytest.fixture(scope="module")
def piano():
    training, test = map(excerpts, KINDS["piano"])
    return training, sound_reference(test, training, RATE, count=4)


def score(waves, reference, training=(), **options):
    return score_sound(waves, reference, training, [()] * len(waves), **options)


@pytest.mark.parametrize("kind", KINDS)
def test_references_are_ranked_as_by_ear(kind):
    every = excerpts([name for names in KINDS[kind] for name in names])
    distances = sound_reference(every[::2], every[1::2], RATE, count=8).distances
    assert list(distances) == sorted(distances, key=distances.__getitem__)
    assert list(distances) == [
        "training recordings",
        "the same as mu-law codes",
        "the same in shuffled pieces of 100 ms",
        "drone",
        "white noise",
        "mu-law noise",
    ]


def test_the_same_clips_have_the_distance_of_their_reference(piano):
    training, reference = piano
    known = [training[index * len(training) // 4] for index in range(4)]
    found = score(known, reference)
    distance = found.log_mel_distance
    assert distance.value == reference.distances["training recordings"]
    moments = [reference.projection.moments(mel_levels_db(wave, RATE)) for wave in known]

    def figure(chosen):
        times = np.bincount(chosen, minlength=4).tolist()
        return log_mel_distance(total(moments, times), reference.test)

    assert distance == bootstrap(figure, 4, is_biased=True)
    parts = found.distance_parts.values()
    assert found.log_mel_distance.value == pytest.approx(sum(parts) / len(parts))


def test_a_score_does_not_depend_on_the_order_of_clips_and_is_the_same_again(piano):
    training, reference = piano
    once, again = (score(training[:3], reference, training[4:]) for _ in range(2))
    assert once == again
    other = score(training[2::-1], reference, training[4:])
    assert other.log_mel_distance.value == pytest.approx(once.log_mel_distance.value)
    assert other.nearest_passage.clips.value == once.nearest_passage.clips.value


def test_copies_are_nearer_to_the_training_than_the_test_recordings(piano):
    training, reference = piano
    copied = [0.5 * wave[1000:] for wave in training[:3]]
    nearest = score(copied, reference, training).nearest_passage
    assert nearest.clips.value > 0.93
    assert nearest.high < 0.9
    assert nearest.inside == 0


def test_noise_lies_outside_the_range_of_piano(piano):
    _, reference = piano
    noise = [rng().normal(0, 0.1, 2 * RATE).astype(np.float32) for _ in range(2)]
    found = score(noise, reference).descriptors
    for name in ("flatness_db", "noisiness_db", "harmonicity", "onsets_per_s"):
        assert not found[name].is_inside
        assert found[name].inside == 0


def test_flags_and_entropies_are_counted(piano):
    training, reference = piano
    flags = [("noise", "stuck"), (), ("stuck",), ()]
    found = score_sound(training[:4], reference, [], flags, [1.0, 2.0, 3.0, 6.0], test_bits=2.5)
    assert found.flagged.value == 0.5
    assert found.flags == {"noise": 1, "stuck": 2}
    assert found.drawn_bits is not None
    assert found.drawn_bits.value == 3.0
    assert found.test_bits == 2.5


def test_a_range_is_that_of_the_recordings_and_leaves_out_what_is_undefined():
    found = compare([1.0, 50.0, math.nan, 200.0], [*map(float, range(101)), math.nan])
    assert (found.low, found.median, found.high) == (5.0, 50.0, 95.0)
    assert found.clips.value == 50.0
    assert found.is_inside
    assert found.inside == 0.25


def test_an_interval_covers_as_the_normal_distribution_says(monkeypatch):
    monkeypatch.setattr(sound, "RESAMPLES", 400)
    values = rng().normal(size=400)
    interval = bootstrap(lambda chosen: float(values[chosen].mean()), 400)
    error = 1.96 * values.std() / 20
    assert interval.value == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - error, abs=0.2 * error)
    assert interval.high == pytest.approx(values.mean() + error, abs=0.2 * error)


def test_the_interval_of_a_distance_has_the_distance_as_its_middle():
    plain, moved = (
        bootstrap(lambda chosen: float(len(set(chosen.tolist()))), 20, is_biased=biased)
        for biased in (False, True)
    )
    assert plain.value == moved.value == 20
    assert plain.high < 20
    assert moved.low < 20 < moved.high
    assert moved.high - moved.low == plain.high - plain.low


def test_shuffled_pieces_are_the_same_pieces():
    wave = np.arange(1050, dtype=np.float32)
    shuffled = sound.shuffle_pieces(wave, 100, rng())
    np.testing.assert_array_equal(shuffled[1000:], wave[1000:])
    pieces = shuffled[:1000].reshape(-1, 100)
    assert (np.diff(pieces, axis=1) == 1).all()
    assert sorted(pieces[:, 0]) == list(range(0, 1000, 100)) != list(pieces[:, 0])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    return Corpus.open(
        prepare(SMOKE, folder / "made", Settings(RATE, 0.06, 0.06, 0, "auto"), 1).folder
    )


def test_a_folder_of_recordings_is_judged_like_them(tmp_path, corpus):
    recordings = [corpus.amplitude(recording) for recording in corpus.split("test")]
    for index, wave in enumerate(recordings):
        write_wav(tmp_path / f"{index}.wav", wave[: 3 * RATE + index], RATE)
    found = score_folder(tmp_path, corpus)
    assert (found.count, found.seconds) == (len(recordings), 3.0)
    assert found.log_mel_distance.value < found.references["drone"] / 2
    assert found.drawn_bits is None
    assert found.flags == {}


def test_what_cannot_be_compared_is_refused(tmp_path, corpus):
    with pytest.raises(SamplewiseError, match=r"holds no \.wav, \.flac, \.ogg, \.mp3 file"):
        score_folder(tmp_path, corpus)
    with pytest.raises(SamplewiseError, match="nowhere is no folder of clips"):
        score_folder(tmp_path / "nowhere", corpus)
    with pytest.raises(CorpusError, match="holds 0 excerpts of 60 s, and 2 are needed"):
        corpus_reference(corpus, "keep", 60.0, 4)
    with pytest.raises(ValueError, match=r"seconds = 1 must be at least 1\.02 for a sound score"):
        corpus_reference(corpus, "keep", 1.0, 4)
