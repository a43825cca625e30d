import base64
import hashlib
import io
import itertools
import json
import re
import shutil

import numpy as np
import pytest
import soundfile
from PIL import Image
from tests.report.conftest import CLIPS, RATE, line, wave, write_json
from tests.report.parsing import Page

from samplewise.audio.write import write_wav
from samplewise.errors import CheckpointError
from samplewise.report import page, run_data
from samplewise.report.page import write_report

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>&amp; 😀\n\u202e\x00\ud800 `rm`"
PARTS = ("config.json", "metrics.jsonl", "generated", "previews", "evaluation.json", "sound.json")
SENTENCES = {
    "config.json": "There is no config.json in the folder",
    "metrics.jsonl": "There are no training figures yet: samplewise train",
    "generated": "There are no generated clips yet: samplewise generate",
    "previews": "There are no previews yet; training writes them",
    "evaluation.json": "Not evaluated yet: samplewise evaluate",
    "sound.json": "Not measured yet: samplewise evaluate",
}


def read(run) -> Page:
    return Page(write_report(run).read_text(encoding="utf-8"))


def edit(path, **changes):
    write_json(path, json.loads(path.read_text()) | changes)


@pytest.fixture
def undrawn(monkeypatch):
    """Pictures that cost nothing, for tests of everything else."""
    file = io.BytesIO()
    Image.new("L", (2, 2)).save(file, "PNG")
    for name in ("spectrogram_png", "waveform_png", "curves_png", "scores_png"):
        monkeypatch.setattr(f"samplewise.plots.{name}", lambda *_, **__: file.getvalue())


def test_the_page_is_whole_in_itself(drawn):
    found = Page(drawn[1])
    assert len(found.players) == 1 + CLIPS + 2  # recording, clips, previews
    assert len(found.pictures) == 2 * (1 + CLIPS) + 2 + 2  # two a clip; previews; curves, scores
    assert all(address.startswith("data:") for address in found.addresses)
    assert not {"link", "iframe", "object", "embed", "base", "svg"} & set(found.tags)
    assert not re.search(r"url\(|@import|http", found.raw["style"] + found.raw["script"])
    assert not [name for name in found.attributes if name.startswith("on") or name == "style"]


def test_the_sound_of_the_clips_stands_beside_that_of_the_recordings(run, undrawn):
    text = read(run).text
    assert "Log-mel distance of 16 clips to the test recordings: 0.750" in text
    assert "training recordings 0.062 these clips 0.750 white noise 2.500" in text
    assert "onsets per second 4.5 2.5 to 8.2 75%" in text
    assert "nearest training passage 4.50 2.50 to 8.25 75%" in text
    assert "drawn: 3.125 bits per sample; the test recordings need 2.345." in text
    assert "Clips with a flag: 12%." in text


def test_a_flag_says_what_was_measured(run, undrawn):
    assert "stuck in a loop: 45% of it loops or rests" in read(run).text
    clip = {"file": "clip-0000.wav", "flags": ["hiss", "stuck"], "flag_reasons": ["much"]}
    edit(run / "generated" / "generation.json", clips=[clip])
    assert "hiss: much stuck in a loop" in read(run).text


def test_every_picture_decodes_and_has_the_size_that_the_page_claims(drawn):
    html = drawn[1]
    sizes = re.findall(r'<img [^>]*width="(\d+)" height="(\d+)"', html)
    images = [Image.open(io.BytesIO(png)) for _, png in Page(html).pictures]
    assert [(str(w), str(h)) for w, h in (image.size for image in images)] == sizes
    assert all(image.format == "PNG" and image.load() for image in images)
    assert all(alt for alt, _ in Page(html).pictures)


def test_the_curves_and_the_best_clips_are_files_too(drawn):
    folder, html = drawn
    curves = (folder / "pictures" / "curves.png").read_bytes()
    assert curves in [png for _, png in Page(html).pictures]
    compared = Image.open(io.BytesIO((folder / "pictures" / "clips.png").read_bytes()))
    assert compared.height > (1 + page.COMPARED) * 300
    assert sorted(path.name for path in folder.glob("pictures/*")) == ["clips.png", "curves.png"]


def test_the_policy_lets_only_this_script_and_this_style_run(run, undrawn):
    found = read(run)
    assert found.tags.count("script") == found.tags.count("style") == 1
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(found.raw[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in found.policy
    assert "default-src 'none'" in found.policy


def test_names_from_files_stay_text(run, undrawn):
    hostile_run = run.with_name(HOSTILE.replace("/", "∕").replace("\0", "").replace("\ud800", ""))
    clean = read(run)
    run.rename(hostile_run)
    config = json.loads((hostile_run / "config.json").read_text())
    config["train"] = {"preset": HOSTILE, HOSTILE: {HOSTILE: [HOSTILE]}, "seed": HOSTILE}
    config["versions"] = {HOSTILE: HOSTILE}
    config["corpus"] |= {"digest": HOSTILE}
    write_json(hostile_run / "config.json", config)
    recording = {"source": HOSTILE, "samples": HOSTILE, "bits_per_sample": HOSTILE}
    changes = {"label": HOSTILE, "split": HOSTILE, "device": HOSTILE, "recordings": [recording]}
    edit(hostile_run / "evaluation.json", baselines={HOSTILE: 4.0}, **changes)
    name = HOSTILE.replace("/", "∕").replace("\0", "").replace("\ud800", "") + ".wav"
    write_wav(hostile_run / "generated" / name, wave(0), RATE)
    clips = [
        {"file": name, "flags": [HOSTILE], "flag_reasons": [HOSTILE], "rank": 1},
        {"file": HOSTILE, "rank": 2},
    ]
    changes = {"temperature": HOSTILE, "prompt": HOSTILE, "seed": HOSTILE}
    edit(hostile_run / "generated" / "generation.json", clips=clips, **changes)
    found = read(hostile_run)
    assert found.tags.count("script") == 1
    assert found.attributes == clean.attributes
    assert all(address.startswith("data:") for address in found.addresses)
    assert found.text.count("<script>alert(1)") > 12
    assert f"Clip {name}" in [label for label, _ in found.players]


@pytest.mark.parametrize("missing", list(itertools.product([False, True], repeat=len(PARTS))))
def test_a_missing_part_is_a_sentence_that_names_the_command(run, missing, undrawn):
    absent = [part for part, is_missing in zip(PARTS, missing, strict=True) if is_missing]
    for part in absent:
        path = run / part
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if {"config.json", "metrics.jsonl"} <= set(absent):
        has_sounds = not {"previews", "generated"} <= set(absent)  # else nothing says what it is
        refusal = (
            r"not a run folder.*then train" if has_sounds else r"no run folder.*samplewise train"
        )
        with pytest.raises(CheckpointError, match=refusal):
            write_report(run)
        return
    found = read(run)
    shown = [part for part in PARTS if SENTENCES[part] in found.text]
    assert shown == absent


def test_without_validation_the_page_says_so(run, undrawn):
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(line for line in lines if '"train"' in line))
    (run / "evaluation.json").unlink()
    assert "There is no validation score" in read(run).text


def test_every_clip_is_there_once_and_the_likeliest_first(run, undrawn):
    labels = [label for label, _ in read(run).players]
    clips = [f"Clip clip-{index:04d}.wav" for index in reversed(range(CLIPS))]
    assert labels == ["A real recording", *clips, "Preview at step 100", "Preview at step 400"]


def test_clips_are_there_by_name_when_nothing_is_known_about_them(run, undrawn):
    (run / "generated" / "generation.json").unlink()
    labels = [label for label, _ in read(run).players if label.startswith("Clip")]
    assert labels == [f"Clip clip-{index:04d}.wav" for index in range(CLIPS)]


def test_a_player_holds_the_samples_of_the_file(run, undrawn):
    for label, wav in read(run).players[1 : 1 + CLIPS]:
        path = run / "generated" / label.removeprefix("Clip ")
        expected, _ = soundfile.read(path, dtype="int16")
        found, rate = soundfile.read(io.BytesIO(wav), dtype="int16")
        assert rate == RATE
        np.testing.assert_array_equal(found, expected)


def test_more_clips_than_the_page_holds_are_listed_and_long_ones_are_cut(run, undrawn):
    clips = []
    for index in range(run_data.MAX_CLIPS + 2):
        name = f"take-{index:02d}.wav"
        write_wav(run / "generated" / name, wave(index, 21.0 if index == 0 else 0.1), RATE)
        clips.append({"file": name, "rank": index + 1, "seconds": 0.1})
    for path in (run / "generated").glob("clip-*.wav"):
        path.unlink()
    edit(run / "generated" / "generation.json", clips=[*clips, clips[0]])
    found = read(run)
    players = [(label, wav) for label, wav in found.players if label.startswith("Clip")]
    assert [label for label, _ in players] == [f"Clip take-{i:02d}.wav" for i in range(12)]
    assert len(soundfile.read(io.BytesIO(players[0][1]))[0]) == run_data.MAX_CLIP_S * RATE
    assert "first 20.0 s of 21.0 s" in found.text
    assert "at most 12 clips and 20 s of each" in found.text
    assert [found.text.count(f"take-{index}.wav") for index in (0, 11, 12, 13)] == [0, 1, 1, 1]


@pytest.mark.parametrize(
    "name", ["../secret.wav", "/etc/hostname", "..", "", "a" * 5000, "\ud800", 7]
)
def test_a_clip_outside_its_folder_is_not_read(run, name, undrawn):
    write_wav(run / "secret.wav", wave(99), RATE)
    edit(run / "generated" / "generation.json", clips=[{"file": name, "rank": 1}])
    assert len(read(run).players) == 1 + CLIPS + 2


def test_a_link_out_of_the_folder_is_not_followed(run, tmp_path, undrawn):
    write_wav(tmp_path / "secret.wav", wave(99), RATE)
    (run / "generated" / "link.wav").symlink_to(tmp_path / "secret.wav")
    found = read(run)
    assert "it lies outside its folder" in found.text
    assert len(found.players) == 1 + CLIPS + 2


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_damaged_files_are_named_and_the_rest_is_shown(run, content, undrawn):
    for path in (run / "config.json", run / "evaluation.json", run / "generated/generation.json"):
        path.write_bytes(content)
    (run / "generated" / "clip-0001.wav").write_bytes(content)
    found = read(run)
    for name in ("config.json", "evaluation.json", "generation.json"):
        assert f"{name} was left out" in found.text
    assert "Why it is not playable here clip-0001.wav" in found.text
    assert sum(label.startswith("Clip") for label, _ in found.players) == CLIPS - 1


@pytest.mark.parametrize(
    "value", [None, "x", True, [], {}, float("nan"), float("inf"), 10**400, -1]
)
def test_figures_that_are_none_do_no_harm(run, value, undrawn):
    edit(run / "evaluation.json", bits_per_sample=value, samples=value, baselines={"a": value})
    edit(run / "sound.json", descriptors=value, references=value, count=value, flagged=value)
    edit(run / "config.json", parameters=value, audio=value, train=value, corpus=value)
    clip = {"file": "clip-0000.wav", "rank": value, "index": value}
    clip |= {"flags": value, "flag_reasons": value}
    edit(run / "generated" / "generation.json", clips=[clip | {"bits_per_sample": value}, value])
    shutil.rmtree(run / "previews")
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"event": "train", "step": value, "bits": value, "lr": value}) + "\n")
        file.write(json.dumps({"event": value, "step": 500, "seconds": value, "bits": 2.0}) + "\n")
    assert len(read(run).players) == CLIPS


def test_previews_go_from_the_earliest_to_the_latest_with_both_ends_shown(run, undrawn):
    for step in range(1000, 31_000, 1000):
        folder = run / "previews" / f"step-{step:08d}"
        folder.mkdir()
        write_wav(folder / "clip-0.wav", wave(step, 0.05), RATE)
    (run / "previews" / "step-00000009").mkdir()  # a preview that a kill left empty
    labels = [label for label, _ in read(run).players if label.startswith("Preview")]
    steps = [int(label.rpartition(" ")[2]) for label in labels]
    assert len(steps) == run_data.MAX_PREVIEWS
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (100, 30_000)


def test_the_real_recording_is_the_start_of_the_test_split(run, corpus, undrawn):
    label, wav = read(run).players[0]
    stored = np.load(corpus / "samples.npy")
    index = json.loads((corpus / "corpus.json").read_text())
    recording = next(item for item in index["recordings"] if item["split"] == "test")
    expected = stored[recording["start"] : recording["start"] + recording["samples"]]
    found, _ = soundfile.read(io.BytesIO(wav), dtype="int16")
    assert label == "A real recording"
    np.testing.assert_allclose(found, expected * index["gain"], atol=1)


def test_a_corpus_that_has_changed_or_gone_or_broken_is_told(run, tmp_path, undrawn):
    config = json.loads((run / "config.json").read_text())
    edit(run / "config.json", corpus=config["corpus"] | {"digest": "other"})
    assert "prepared anew since this model was trained" in read(run).text
    edit(run / "config.json", corpus=config["corpus"] | {"folder": str(tmp_path / "gone")})
    assert "A real recording" not in read(run).text
    edit(run / "config.json", corpus=config["corpus"] | {"folder": str(run)})
    assert "The corpus was left out: mine is a run folder, not a corpus" in read(run).text


def test_no_folder_above_the_working_folder_is_told(run, corpus, undrawn):
    found = read(run)
    assert str(corpus.parent) not in found.text
    assert str(run.parent) not in found.text


def test_the_headline_compares_with_the_best_baseline(run, undrawn):
    assert (
        "It needs 2.345 bits per sample on the test recordings, 1.155 fewer than the best of the "
        "trivial baselines, linear prediction (3.500)." in read(run).text
    )
    edit(run / "evaluation.json", bits_per_sample=3.75)
    assert "0.250 more than the best of the trivial baselines" in read(run).text
    edit(run / "evaluation.json", bits_per_sample=3.5)
    assert "as many as linear prediction" in read(run).text
    edit(run / "evaluation.json", baselines={})
    assert "3.500 bits per sample on the test recordings." in read(run).text


def test_the_same_folder_gives_the_same_page(drawn):
    folder, html = drawn
    assert write_report(folder).read_text(encoding="utf-8") == html


def test_progress_reaches_its_total(run, undrawn):
    calls = []
    write_report(run, lambda done, total: calls.append((done, total)))
    assert calls == [(done, 1 + CLIPS + 2 + 1) for done in range(1, 1 + CLIPS + 2 + 2)]


def test_a_failed_write_leaves_the_old_page(run, undrawn, monkeypatch):
    old = write_report(run).read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_report(run)
    assert (run / page.NAME).read_bytes() == old
    assert not [path for path in run.iterdir() if path.name.startswith(".tmp-")]


@pytest.mark.parametrize("points", [40, 60])
def test_a_mean_is_named_where_one_is_drawn_and_baselines_where_they_are(run, points, undrawn):
    with (run / "metrics.jsonl").open("a") as file:
        file.writelines(line("train", step, bits=2.0) for step in range(410, 10 * points + 10, 10))
    assert ("the grey one its mean" in read(run).text) == (points == 60)
    assert "Dashed: the trivial baselines." in read(run).text
    (run / "evaluation.json").unlink()
    assert "Dashed" not in read(run).text


def test_a_pruned_run_says_how_sparse_it_is_and_counts_no_dense_validation(run, undrawn):
    before = read(run).text
    assert "Best validation: 2.250 at step 400." in before
    assert "Blocks" not in before
    events = [("prune", 100, {"sparsity": 0.6}), ("prune", 150, {"sparsity": 0.9})]
    events += [("valid", 50, {"bits": 1.0})]  # dense, and better than all that follow
    with (run / "metrics.jsonl").open("a") as file:
        for event, step, figures in events:
            file.write(json.dumps({"event": event, "step": step, "seconds": 1.0} | figures) + "\n")
    after = read(run).text
    assert "Blocks at zero 90.0%" in after
    assert "Blocks were pruned until step 150; since then 90.0% of them are zero" in after
    assert "Best validation: 2.250 at step 400." in after
