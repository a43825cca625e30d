"""Two speakers told apart: labels, threshold, intervals, the classifier's own error."""

import dataclasses
import json

import numpy as np
import pytest
from tests.evaluate.small import make_corpus, make_model
from tests.evaluate.test_pitch import tone

from samplewise.data.corpus import Corpus
from samplewise.data.index import Recording
from samplewise.errors import CorpusError
from samplewise.evaluate.pitch import READ_SPEECH
from samplewise.evaluate.speaker_check import ClassifierCheck, check_classifier, quantized_sound
from samplewise.evaluate.speakers import (
    Share,
    Speaker,
    SpeakerClassifier,
    measure_speakers,
    read_speakers,
    speakers_by_folder,
    tile,
)
from samplewise.models.io import AudioFormat, LoadedModel

RATE = 4000


def spoken(parts):
    """A corpus of (source, split, wave)."""
    waves = [np.round(wave * 20000).astype("<i2") for _, _, wave in parts]
    recordings, start = [], 0
    for (source, split, _), wave in zip(parts, waves, strict=True):
        recordings.append(Recording(source, start, len(wave), split, "0" * 64, 1.0, 0.5))
        start += len(wave)
    made = make_corpus(rate=RATE)
    index = dataclasses.replace(made.index, recordings=tuple(recordings), gain=1.0)
    return Corpus(made.folder, index, np.concatenate(waves))


def sing(*hz, seconds=1.0):
    """One tone after the other; 0 is a pause."""
    count = round(seconds * RATE)
    parts = [tone(np.full(count, float(f)), RATE) if f else np.zeros(count) for f in hz]
    return np.concatenate(parts).astype(np.float32)


def classifier(low=100.0, high=200.0):
    speakers = Speaker("bass", low, 1.0, 1.0), Speaker("alto", high, 1.0, 1.0)
    return SpeakerClassifier(*speakers, "autocorrelation", READ_SPEECH)


LABELS = {"a.wav": "bass", "b.wav": "alto"}


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [(83, 100, 0.7445, 0.8911), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (0, 0, 0.0, 1.0)],
)
def test_intervals_are_wilsons(count, total, low, high):
    share = Share(count, total)
    assert share.interval == pytest.approx((low, high), abs=5e-5)
    assert share.value == (count / total if total else None)


@pytest.mark.parametrize(("count", "total"), [(3, 7), (83, 100), (1, 500)])
def test_an_interval_ends_where_the_share_is_two_deviations_away(count, total):
    for edge in Share(count, total).interval:
        deviation = (edge * (1 - edge) / total) ** 0.5
        assert abs(count / total - edge) / deviation == pytest.approx(1.959964, rel=1e-6)


def test_the_threshold_is_midway_between_the_means_of_the_training_split():
    corpus = spoken(
        [
            ("a.wav", "train", sing(90, 0, 0, 110, 110)),
            ("b.wav", "train", sing(200, 220)),
            ("b2.wav", "test", sing(300, 300)),
        ]
    )
    found = measure_speakers(
        corpus, LABELS | {"b2.wav": "alto"}, segment_s=1.0, tracker="autocorrelation"
    )
    assert (found.low.name, found.high.name) == ("bass", "alto")
    assert found.low.mean_f0_hz == pytest.approx((90 + 2 * 110) / 3, rel=2e-3)
    assert found.high.mean_f0_hz == pytest.approx(210, rel=2e-3)
    assert found.threshold_hz == (found.low.mean_f0_hz + found.high.mean_f0_hz) / 2
    assert (found.low.seconds, found.high.seconds) == (5.0, 2.0)
    assert found.low.voiced_seconds == pytest.approx(3.0, abs=0.2)
    assert json.loads(json.dumps(found.to_json()))["threshold_hz"] == found.threshold_hz


def test_long_recordings_are_sampled_evenly():
    tones = np.linspace(90, 130, 9)
    corpus = spoken([("a.wav", "train", sing(*tones)), ("b.wav", "train", sing(200, 220))])
    found = measure_speakers(corpus, LABELS, segment_s=1.0, max_s=3.0, tracker="autocorrelation")
    assert found.low.seconds == 3.0
    assert found.low.mean_f0_hz == pytest.approx(tones[[0, 3, 6]].mean(), rel=2e-3)
    whole = measure_speakers(corpus, LABELS, segment_s=1.0, max_s=0.0, tracker="autocorrelation")
    assert whole.low.seconds == 9.0


def test_segments_are_given_to_the_nearer_mean():
    judge = classifier()
    assert judge.threshold_hz == 150
    names = [judge.name(hz) for hz in (60.0, 149.99, 150.0, 390.0, None)]
    assert names == ["bass", "bass", "alto", "alto", None]
    assert judge.name(judge.f0(sing(120), RATE)) == "bass"
    assert judge.f0(sing(0), RATE) is None


def test_a_speaker_without_a_voice_is_an_error():
    corpus = spoken([("a.wav", "train", sing(0, 0)), ("b.wav", "train", sing(200))])
    with pytest.raises(CorpusError, match="no 1 s of the training recordings of bass hold a voice"):
        measure_speakers(corpus, LABELS, segment_s=1.0, tracker="autocorrelation")


def test_folders_name_speakers():
    wave = sing(100)
    corpus = spoken(
        [
            ("train/bass/x/1.wav", "train", wave),
            ("test/alto/1.wav", "test", wave),
            ("alto/2.wav", "train", wave),
        ]
    )
    assert speakers_by_folder(corpus) == {
        "train/bass/x/1.wav": "bass",
        "test/alto/1.wav": "alto",
        "alto/2.wav": "alto",
    }
    for source in ("1.wav", "train/1.wav"):
        with pytest.raises(CorpusError, match=f"1 recording .* no speaker: {source}"):
            speakers_by_folder(spoken([(source, "train", wave), ("alto/2.wav", "train", wave)]))
    with pytest.raises(CorpusError, match=r"have 1 speaker \(alto\), not two"):
        speakers_by_folder(spoken([("alto/2.wav", "train", wave)]))


def test_a_table_names_speakers(tmp_path):
    corpus = spoken([("a.wav", "train", sing(100)), ("b.wav", "test", sing(200))])
    table = tmp_path / "who.csv"
    table.write_text("seconds,file,speaker\n1,a.wav,bass\n2,b.wav,alto\n3,elsewhere.wav,boy\n")
    assert read_speakers(table, corpus) == LABELS
    table.write_text("file,speaker\na.wav,bass\nb.wav,\n")
    with pytest.raises(CorpusError, match=r"no speaker: b.wav; add them to .*who.csv"):
        read_speakers(table, corpus)
    table.write_text("file,who\na.wav,bass\n")
    with pytest.raises(CorpusError, match="no columns file and speaker: it begins with 'file,who'"):
        read_speakers(table, corpus)
    table.write_text("")
    with pytest.raises(CorpusError, match="it begins with ''"):
        read_speakers(table, corpus)


def test_clips_are_whole_and_do_not_overlap():
    (recording,) = spoken([("a.wav", "train", sing(100, 100))]).recordings
    assert [(c.start, c.stop) for c in tile([recording], 3000)] == [(0, 3000), (3000, 6000)]
    assert [(c.start, c.stop) for c in tile([recording], 8000)] == [(0, 8000)]
    assert tile([recording], 8001) == []


def test_real_clips_with_known_faults_give_the_errors():
    # Each clip: first end, gap, last end. Right, wrong at its end, silent at its start, right.
    corpus = spoken(
        [
            ("a.wav", "test", sing(100, 300, 100)),
            ("a2.wav", "valid", sing(100, 300, 250)),
            ("b.wav", "test", sing(0, 80, 200)),
            ("b2.wav", "valid", sing(220, 80, 210)),
            ("c.wav", "train", sing(100, 100, 300)),
        ]
    )
    speakers = {"a.wav": "bass", "a2.wav": "bass", "b.wav": "alto", "b2.wav": "alto"}
    ends = {"before_s": 1.0, "silence_s": 1.0, "after_s": 1.0}
    found = check_classifier(corpus, speakers, classifier(), **ends)
    assert found == ClassifierCheck(
        unvoiced=Share(1, 8),
        wrong=Share(1, 7),
        same_missed=Share(1, 3),
        # valid first: a2-b2 right, b2-a2 called one; then a-b right, b silent.
        different_missed=Share(1, 3),
    )
    assert json.loads(json.dumps(found.to_json()))["wrong"]["share"] == 1 / 7
    with pytest.raises(CorpusError, match=r"no recording in test of .* lasts 4 s"):
        check_classifier(
            corpus, speakers, classifier(), **(ends | {"after_s": 2.0}), splits=["test"]
        )


def test_a_clip_can_be_judged_as_a_model_hears_it():
    corpus = spoken([("a.wav", "test", sing(100, 100, 100) * np.float32(0.01) + 0.03)])
    model = make_model().float()  # 16 linear codes: all of it is within one
    clips = tile(corpus.split("test"), 3 * RATE)
    for level, is_heard in (("keep", False), ("paper", True)):
        audio = AudioFormat(sample_rate=RATE, gain=1.0, level=level)
        read_clip = quantized_sound(LoadedModel(model, audio, {}, corpus.folder), corpus)
        assert (len(np.unique(read_clip(clips[0]))) > 2) is is_heard
        found = check_classifier(
            corpus, {"a.wav": "bass"}, classifier(), before_s=1.0, after_s=1.0, read_clip=read_clip
        )
        assert found.unvoiced == Share(0 if is_heard else 2, 2)
        assert found.different_missed == Share(0, 0)
