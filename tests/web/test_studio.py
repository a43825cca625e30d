"""The studio: what streams is what is kept, and can be drawn again."""

import csv
import io
import json
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tests.web.studies import KEEP_WHAT_IS_RECEIVED, TOKEN, climbing, serving

import samplewise
from samplewise.audio.write import pcm16, wav_bytes
from samplewise.cli.main import main
from samplewise.errors import AudioError
from samplewise.generate.temperature import Envelope, to_envelope
from samplewise.web.guard import Access
from samplewise.web.studio import decoding
from samplewise.web.studio.library import Library, curve
from samplewise.web.studio.live import MOST_READERS, LiveEnvelope, LiveTake
from samplewise.web.studio.map import places
from samplewise.web.studio.prompts import MOST_PROMPTS, MOST_UPLOADS, Prompts
from samplewise.web.studio.routes import create_studio
from samplewise.web.studio.takes import Take, Takes

RATE = 16000


@pytest.fixture(scope="module")
def piano():
    return samplewise.load("piano", threads=1)


@pytest.fixture
def client(studio, client_of):
    return client_of(create_studio(studio, TOKEN))


def wait(client, id):
    """Wait until a take is finished; return its status."""
    while not (state := client.get(f"/api/live/{id}").json())["finished"]:
        time.sleep(0.02)
    assert not state["error"]
    return state


def piano_id(client):
    return next(one["id"] for one in client.get("/api/models").json() if one["name"] == "piano")


# --- the knob


def test_a_turned_temperature_changes_what_comes_after_and_nothing_before(piano):
    knob = LiveEnvelope(1.0)
    stream = piano.stream(0.2, seed=3, temperature=knob, chunk_seconds=0.02)
    parts = [next(stream) for _ in range(4)]
    knob.turn(0.4)
    parts += [next(stream) for _ in range(2)]
    knob.turn(1.3)
    turned = np.concatenate([*parts, *stream])
    [fixed] = piano.generate(1, 0.2, seed=3, temperature=1.0)
    change = 4 * round(0.02 * RATE)
    assert (turned[:change] == fixed.samples[:change]).all()
    assert (turned[change:] != fixed.samples[change:]).any()
    record = str(knob.recorded())
    [again] = piano.generate(1, 0.2, seed=3, temperature=record)
    assert (again.samples == turned).all()
    assert to_envelope(record).at(change - 1, 2, RATE).tolist() == [1.0, 0.4]


def test_a_knob_settles_what_was_asked_for():
    knob = LiveEnvelope(1.0)
    knob.turn(0.5)
    assert knob.at(0, 10, 100).tolist() == [0.5] * 10
    knob.turn(0.7)
    assert knob.at(5, 10, 100).tolist() == [0.5] * 5 + [0.7] * 5  # 5 to 9 were asked for before
    knob.turn(0.8)
    knob.turn(0.7)
    assert knob.at(15, 1, 100).tolist() == [0.7]
    assert knob.recorded() == Envelope((0.0, 0.09, 0.1), (0.5, 0.5, 0.7))
    with pytest.raises(ValueError, match="must be above 0 and at most 10"):
        knob.turn(0.0)


def test_an_error_while_drawing_is_kept_and_readers_end():
    def fail():
        yield np.zeros(4, np.float32)
        raise RuntimeError("broken")

    take = LiveTake("x", RATE, LiveEnvelope(1.0), fail, lambda live, wave: None, {})
    assert b"".join(take.pcm()) == bytes(8)
    take.thread.join()
    assert (take.error, take.is_finished) == ("broken", True)


def test_a_take_has_a_few_readers_at_once(client, studio):
    chunks = [np.zeros(4, np.float32)]
    take = LiveTake("1" * 16, RATE, LiveEnvelope(1.0), lambda: iter(chunks), print, {})
    studio._live[take.id] = take
    readers = [take.pcm() for _ in range(MOST_READERS)]
    assert {next(reader) for reader in readers} == {bytes(8)}
    assert client.get(f"/api/live/{take.id}/pcm").status_code == 429
    readers.pop().close()
    assert client.get(f"/api/live/{take.id}/pcm").content == bytes(8)


# --- takes


def test_what_streams_is_what_is_kept(client, studio, piano):
    body = {"model": piano_id(client), "seconds": 0.3, "seed": 7, "temperature": 0.9}
    started = client.post("/api/takes", json=body).json()
    heard = client.get(f"/api/live/{started['id']}/pcm").content
    state = wait(client, started["id"])
    assert state["samples"] == round(0.3 * RATE)
    [take] = client.get("/api/takes").json()
    wav = client.get(f"/api/takes/{take['id']}/wav")
    assert wav.content[44:] == heard
    assert "attachment" in wav.headers["content-disposition"]
    [clip] = piano.generate(1, 0.3, seed=7, temperature=take["settings"]["temperature"])
    assert pcm16(clip.samples).tobytes() == heard
    assert take["bits_per_sample"] == pytest.approx(clip.bits_per_sample, abs=1e-9)
    assert tuple(take["flags"]) == clip.flags
    flac, rate = soundfile.read(
        io.BytesIO(client.get(f"/api/takes/{take['id']}/flac").content), dtype="int16"
    )
    assert (flac.tobytes(), rate) == (heard, RATE)
    record = client.get(f"/api/takes/{take['id']}/json").json()
    assert {name: record[name] for name in take} == take
    looped = client.post(f"/api/takes/{take['id']}/loop").json()
    assert looped["samples"] < take["samples"]
    assert looped["settings"]["loop_of"] == take["id"]
    changed = client.patch(f"/api/takes/{take['id']}", json={"name": "Rain", "star": True}).json()
    assert (changed["name"], changed["star"]) == ("Rain", True)
    assert client.delete(f"/api/takes/{take['id']}").json() == {"removed": True}
    assert [one["id"] for one in client.get("/api/takes").json()] == [looped["id"]]


def test_takes_that_sound_alike_are_near_each_other_on_the_map(client, studio):
    rng = np.random.default_rng(1)
    sounds = {
        "1": 0.1 * rng.normal(size=8000),
        "2": 0.1 * rng.normal(size=8000),
        "3": 0.2 * np.sin(np.arange(8000) / 9),
        "4": 0.2 * np.sin(np.arange(8000) / 9.2),
    }
    for name, wave in sounds.items():
        take = Take(name * 16, name, "piano", RATE, 8000, float(name), {"seed": 1})
        studio.takes.add(take, wave.astype(np.float32))
    studio.takes.add(Take("5" * 16, "5", "piano", RATE, 50, 5.0), np.zeros(50, np.float32))
    found = {id[0]: np.array([x, y]) for id, x, y in client.get("/api/map").json()}
    assert set(found) == set(sounds)
    assert np.stack(list(found.values())).min(0).tolist() == [0, 0]
    assert np.stack(list(found.values())).max(0).tolist() == [1, 1]
    near = [abs(found["1"] - found["2"])[0], abs(found["3"] - found["4"])[0]]
    assert max(near) < 0.1 < 0.9 < abs(found["1"] - found["3"])[0]
    assert client.get("/api/map").json() == [[id * 16, *found[id].tolist()] for id in "4321"]
    assert "spectrum" not in client.get("/api/takes").json()[0]


def test_a_place_does_not_depend_on_order_and_needs_a_difference():
    rng = np.random.default_rng(2)
    spectra = rng.normal(size=(6, 80))
    there = places(spectra.tolist())
    assert places(spectra[::-1].tolist())[::-1] == pytest.approx(there)
    assert places(spectra[:1].tolist()).tolist() == [[0.5, 0.5]]
    assert places([spectra[0].tolist()] * 3).tolist() == [[0.5, 0.5]] * 3


def test_a_stopped_take_is_kept_and_a_crowd_waits(client, studio):
    body = {"model": piano_id(client), "seconds": 60.0}
    ids = [client.post("/api/takes", json=body).json()["id"] for _ in range(2)]
    refused = client.post("/api/takes", json=body)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    while not client.get(f"/api/live/{ids[0]}").json()["samples"]:
        time.sleep(0.02)
    assert (
        client.put(f"/api/live/{ids[0]}/temperature", json={"temperature": 0.5}).status_code == 200
    )
    for id in ids:
        assert client.post(f"/api/live/{id}/stop").json()["finished"]
    [kept] = [take for take in client.get("/api/takes").json() if take["id"] == ids[0]]
    assert 0 < kept["samples"] < 60 * RATE


def test_a_prompt_is_continued(client, piano):
    wave = (0.1 * np.sin(np.arange(4000) / 9)).astype(np.float32)
    prompt = client.put("/api/prompts", content=wav_bytes(wave, RATE)).json()
    assert (prompt["seconds"], prompt["notes"]) == (0.25, [])
    body = {"model": piano_id(client), "seconds": 0.1, "seed": 1, "prompt": prompt["id"]}
    started = client.post("/api/takes", json=body).json()
    heard = np.frombuffer(client.get(f"/api/live/{started['id']}/pcm").content, "<i2")
    assert len(heard) == 4000 + 1600
    assert np.corrcoef(heard[:4000], wave)[0, 1] > 0.99


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"model": "../../etc/passwd"}, 422),
        ({"model": "0" * 16}, 404),
        ({"prompt": "0" * 16}, 404),
        ({"seconds": 1e9}, 422),
        ({"temperature": 0.0}, 422),
        ({"seed": -1}, 422),
        ({"label": "x"}, 422),
        ({"path": "/etc/passwd"}, 422),
    ],
)
def test_a_malformed_take_is_refused(client, change, status):
    answer = client.post("/api/takes", json={"model": piano_id(client)} | change)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_names_of_takes_lead_nowhere(client, tmp_path):
    (tmp_path / "secret.json").write_text("{}")
    for name in ("../secret", "..%2fsecret", "%2e%2e", "0" * 15, "G" * 16, "a" * 3000, "0" * 16):
        for form in ("wav", "json", "../json", "exe"):
            assert client.get(f"/api/takes/{name}/{form}").status_code in (404, 405, 422)
    for path in climbing("/", "/static/", "/api/takes/", "/api/models/", name="secret.json"):
        assert client.get(path).status_code in (404, 405, 422), path
    takes = Takes(tmp_path / "takes")
    assert takes.find("../secret") is None
    (takes.folder / f"{'1' * 16}.json").write_text("not JSON")
    assert takes.all() == []


# --- uploads


def test_an_upload_is_bounded_and_what_is_no_sound_is_refused(client, studio, monkeypatch):
    refused = client.put("/api/prompts", content=b"no sound")
    assert refused.status_code == 422
    assert refused.json()["error"].startswith("the file cannot be used: Format not recognised")
    big = client.put("/api/prompts", headers={"content-length": str(60 * 2**20)}, content=b"x")
    assert big.status_code == 413
    parts = (bytes(2**20) for _ in range(60))
    assert client.put("/api/prompts", content=parts).status_code == 413
    assert not list(Access("x" * 16).uploads)


def test_a_decoder_that_fails_or_hangs_refuses_its_own_file_alone(client, monkeypatch):
    wave = wav_bytes(np.zeros(1600, np.float32), RATE)
    monkeypatch.setattr(decoding, "WORKER", ("-c", "import os; os.kill(os.getpid(), 11)"))
    failed = client.put("/api/prompts", content=wave)
    assert (failed.status_code, failed.json()["error"]) == (
        422,
        "the file cannot be used: the decoder failed",
    )
    monkeypatch.setattr(decoding, "WORKER", ("-c", "import time; time.sleep(60)"))
    with pytest.raises(AudioError, match=r"decoding it took more than 0\.1 s"):
        decoding.decode_apart(Path("x"), Path("y"), timeout_s=0.1)
    monkeypatch.undo()
    assert client.put("/api/prompts", content=wave).json()["seconds"] == 0.1


def test_a_crowd_of_uploads_is_asked_to_wait(client, studio):
    for _ in range(MOST_UPLOADS):
        studio.prompts.places.acquire()
    refused = client.put("/api/prompts", content=b"x")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    studio.prompts.places.release()
    assert client.put("/api/prompts", content=b"x").status_code == 422


@pytest.fixture
def decoding_here(monkeypatch):
    """Decode in this process, which is faster."""
    monkeypatch.setattr("samplewise.web.studio.prompts.decode_apart", decoding.decode)


@pytest.mark.usefixtures("decoding_here")
def test_hostile_files_are_accepted_or_refused_with_a_reason(client, packs):
    with (packs / "nasty" / "EXPECT.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        path = packs / "nasty" / row["file"]
        if not path.is_file():
            continue
        answer = client.put("/api/prompts", content=path.read_bytes())
        allowed = {"accept": (201,), "reject": (422,)}.get(row["expected"], (201, 422))
        assert answer.status_code in allowed, (path.name, answer.text)
        assert answer.status_code == 201 or answer.json()["error"]
    assert client.get("/api/takes").status_code == 200


@pytest.mark.usefixtures("decoding_here")
def test_prompts_are_cut_levelled_and_forgotten(tmp_path):
    prompts = Prompts()

    def upload(wave, rate=1000):
        path = tmp_path / "upload"
        soundfile.write(path, wave, rate, format="WAV", subtype="FLOAT")
        return prompts.decode(path)

    most = decoding.MAX_SECONDS
    long = upload(np.full(round(1000 * (most + 5)), 0.1, np.float32))
    assert (long["seconds"], long["notes"]) == (most, ["only the first 60 s are used"])
    assert upload(np.full(100, 2.0, np.float32))["notes"] == [
        "6.0 dB softer, because it exceeds full scale"
    ]
    with pytest.raises(AudioError, match="NaN"):
        upload(np.full(100, np.nan, np.float32))
    for _ in range(MOST_PROMPTS):
        upload(np.zeros(10, np.float32))
    assert prompts.find(long["id"]) is None
    prompts.close()


# --- models


def test_runs_are_found_with_their_curves_and_broken_ones_are_named(tmp_path):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "weights.safetensors").write_bytes(b"broken")
    lines = [{"event": "valid", "step": n, "bits": 3.0 - n / 1000} for n in range(500)]
    lines.append({"event": "train", "step": 500, "bits": 1.0})
    metrics = tmp_path / "runs" / "mine" / "metrics.jsonl"
    metrics.write_text("\n".join(map(json.dumps, lines)))
    library = Library([tmp_path])
    found = {entry.name: entry for entry in library.entries()}
    assert set(found) == {"piano", "sounds", "voice", "voice-vocoder", "runs/mine"}
    assert not library.describe(found["voice-vocoder"])["usable"]  # it needs a spectrogram
    described = library.describe(found["runs/mine"])
    assert not described["usable"]
    assert "mine cannot be used: its header is longer" in described["about"]
    points = curve(tmp_path / "runs" / "mine")
    assert len(points) == 100
    assert points[-1] == (499, 2.501)
    assert library.describe(found["piano"])["usable"]
    assert [library.describe(found[name])["temperature"] for name in ("piano", "voice")] == [
        1,
        0.97,
    ]


def test_a_folder_that_is_not_there_is_named(capsys):
    assert main(["studio", "nowhere"]) == 1
    assert "nowhere does not exist; name run folders or model files" in capsys.readouterr().err


# --- the page


def test_the_page_plays_what_the_model_draws_and_keeps_it(browser, studio, piano):
    page = browser.new_context().new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    page.add_init_script(KEEP_WHAT_IS_RECEIVED)
    with serving(create_studio(studio, TOKEN)) as url:
        page.goto(f"{url}/?token={TOKEN}")
        page.locator("#model option", has_text="piano").wait_for(state="attached")
        page.locator("#model").select_option("piano")
        page.locator("#seconds").fill("1")
        page.locator("#seed").fill("11")
        page.locator("#go").click()
        page.locator(".take").wait_for(timeout=60000)
        received = bytes(page.evaluate("window.received"))
        [take] = studio.takes.all()
        assert studio.takes.sound(take).read_bytes()[44:] == received
        [clip] = piano.generate(1, 1.0, seed=11)
        assert pcm16(clip.samples).tobytes() == received
        page.locator(".star").click()
        page.locator(".star[aria-pressed=true]").wait_for()
        page.locator(".name").fill("First")
        page.keyboard.press("Tab")
        page.locator("#map-toggle").click()
        page.locator(".point.starred").click()
        page.locator(".take.playing").wait_for()
        page.reload()
        page.locator(".star[aria-pressed=true]").wait_for()
        assert page.locator(".name").input_value() == "First"
        assert isinstance(studio.take(take.id), Take)
    page.context.close()
    assert not errors
