"""Training that is started from the studio's page, and the previews of runs."""

import shutil
import time

import numpy as np
import pytest
from tests.web.studies import TOKEN, serving

from samplewise.audio.write import wav_bytes
from samplewise.models.pretrained import pretrained_file
from samplewise.web.studio import training
from samplewise.web.studio.library import preview_steps, read_preview
from samplewise.web.studio.routes import create_studio

RATE = 16000


@pytest.fixture
def client(studio, client_of):
    return client_of(create_studio(studio, TOKEN))


def test_previews_of_a_run_are_found(tmp_path):
    assert preview_steps(tmp_path) == []
    for step in range(10, 25):
        folder = tmp_path / "previews" / f"step-{step:08d}"
        folder.mkdir(parents=True)
        (folder / "clip-0.wav").write_bytes(b"sound %d" % step)
    (tmp_path / "previews" / "step-x").mkdir()
    assert preview_steps(tmp_path) == list(range(17, 25))
    assert read_preview(tmp_path, 24) == b"sound 24"
    assert read_preview(tmp_path, 25) is None


STOPS = 'lambda *_: (print("saved"), sys.exit(0))'


def make_corpus(folder):
    """A folder that looks like a corpus."""
    folder.mkdir(parents=True)
    (folder / "corpus.json").write_text('{"sample_rate": 8000}')
    return folder


def stand_in(monkeypatch, handler):
    """Replace the training by a program that prints its arguments and waits."""
    program = f"""
import signal, sys, time
signal.signal(signal.SIGTERM, {handler})
print("\\n".join(sys.argv[1:]), flush=True)
for _ in range(1200):  # a signal just before one long sleep would wait for its end
    time.sleep(0.05)
"""
    monkeypatch.setattr(training, "WORKER", ("-c", program))


def wait_for_log(client, lines):
    while len((state := client.get("/api/training").json()["training"])["log"]) < lines:
        time.sleep(0.02)
    return state


def test_training_is_started_watched_and_stopped(client, tmp_path, monkeypatch):
    stand_in(monkeypatch, STOPS)
    corpus = make_corpus(tmp_path / "corpora" / "mine")
    (tmp_path / "runs" / "mine-tiny-1").mkdir(parents=True)
    state = client.get("/api/training").json()
    [found] = state["corpora"]
    assert (found["name"], found["sample_rate"], state["training"]) == ("mine", 8000, None)
    assert {"tiny", "music"} <= set(state["presets"])
    assert "vocoder" not in state["presets"]
    body = {"corpus": found["id"], "preset": "tiny", "minutes": 2.5}
    started = client.post("/api/training", json=body)
    assert (started.status_code, started.json()["training"]["code"]) == (201, None)
    refused = client.post("/api/training", json=body)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")
    run = tmp_path / "runs" / "mine-tiny-2"
    words = [str(corpus), "--preset", "tiny", "--minutes", "2.5", "-o", str(run)]
    assert wait_for_log(client, len(words))["log"] == words
    stopped = client.post("/api/training/stop").json()["training"]
    assert (stopped["code"], stopped["log"][-1], stopped["run"]) == (0, "saved", "mine-tiny-2")
    for change, status in (
        ({"corpus": "0" * 16}, 404),
        ({"preset": "vocoder"}, 422),
        ({"preset": "../x"}, 422),
        ({"minutes": 0}, 422),
        ({"model": "0" * 16}, 404),
        ({"model": "../x"}, 422),
    ):
        assert client.post("/api/training", json=body | change).status_code == status
    piano = next(one for one in client.get("/api/models").json() if one["name"] == "piano")
    client.post("/api/training", json=body | {"model": piano["id"]})
    words = ["--from", str(pretrained_file("piano"))]
    assert wait_for_log(client, 9)["log"][-2:] == words


def test_a_training_that_does_not_stop_is_killed(tmp_path, monkeypatch, client, studio):
    stand_in(monkeypatch, "signal.SIG_IGN")
    monkeypatch.setattr(training, "STOP_S", 0.1)
    studio.trainer.start(tmp_path, "tiny", 1.0)
    wait_for_log(client, 7)
    studio.close()
    assert studio.trainer.training.process.returncode == -9


def test_the_page_trains_and_plays_previews(browser, studio, tmp_path, monkeypatch):
    stand_in(monkeypatch, STOPS)
    make_corpus(tmp_path / "corpora" / "mine")
    folder = tmp_path / "runs" / "done" / "previews" / "step-00000040"
    folder.mkdir(parents=True)
    (folder / "clip-0.wav").write_bytes(wav_bytes(np.zeros(RATE, np.float32), RATE))
    shutil.copy(pretrained_file("voice"), tmp_path / "runs" / "done" / "weights.safetensors")
    page = browser.new_context().new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    with serving(create_studio(studio, TOKEN)) as url:
        page.goto(f"{url}/?token={TOKEN}")
        page.locator("#model option", has_text="runs/done").wait_for(state="attached")
        page.locator("#model").select_option("runs/done")
        page.get_by_label("Play the preview of step 40").click()
        page.locator("#previews .playing").wait_for()
        page.locator("#from").select_option("piano")
        page.locator("#minutes").fill("3")
        page.locator("#train").click()
        page.locator("#log", has_text="mine-small-16bit-1").wait_for()
        assert "--from" in page.locator("#log").text_content()
        page.get_by_text("mine-small-16bit-1: training").wait_for()
        page.get_by_role("button", name="Stop").click()
        page.get_by_text("mine-small-16bit-1: finished").wait_for()
        assert page.locator("#train").text_content() == "Train"
    page.context.close()
    assert not errors
