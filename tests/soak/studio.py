"""Long checks of the studio: malformed requests, hostile uploads, and a training.

    python -m tests.soak.studio fuzz --cases 2000        # needs the schemathesis command
    python -m tests.soak.studio uploads --data FOLDER    # FOLDER/nasty holds damaged sound files
    python -m tests.soak.studio training
    python -m tests.soak.studio turned                   # needs Chromium

Each prints its figures and exits 1 if something is wrong.
"""

import argparse
import contextlib
import http.client
import json
import re
import resource
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from tests.soak.api_fuzz import ACCESS, schema_of, schemathesis
from tests.web.studies import KEEP_WHAT_IS_RECEIVED, TOKEN, browsing, serving

import samplewise
from samplewise.audio.write import pcm16, wav_bytes, write_wav
from samplewise.web.studio.library import Library
from samplewise.web.studio.prompts import MAX_UPLOAD
from samplewise.web.studio.routes import Studio, create_studio, make_router
from samplewise.web.studio.takes import Take, Takes
from samplewise.web.studio.training import Trainer

NOTHING = "0" * 16
OTHERS_S = 5.0
"""Seconds in which another request must be answered meanwhile, on a busy machine."""


@contextlib.contextmanager
def serving_studio(folder):
    """Serve a studio; give it, its address and its port."""
    studio = Studio(
        Library([folder], 1), Takes(folder / "takes"), Trainer([folder], folder / "runs")
    )
    with serving(create_studio(studio, TOKEN)) as url:
        yield studio, url, int(url.rpartition(":")[2])
    studio.close()


def request(port, method, path, body=b"", headers=None):
    """Return status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, body, {"cookie": ACCESS} | (headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()


def fuzz(folder, arguments):
    """Send malformed and unexpected requests, also about models and takes that exist."""
    with serving_studio(folder) as (studio, url, port):
        wave = np.zeros(4000, np.float32)
        ids = ["1" * 16, "2" * 16]
        for id in ids:
            studio.takes.add(Take(id, "take", "piano", 16000, 4000, 0.0, {"seed": 1}), wave)
        models = [entry.id for entry in studio.library.entries()]
        schema = schema_of(make_router(studio))
        for methods in schema["paths"].values():
            for operation in methods.values():
                for parameter in operation.get("parameters", []):
                    if parameter["name"] == "id":
                        parameter["schema"] = {"type": "string", "enum": [*ids, NOTHING]}
        properties = schema["components"]["schemas"]["NewTake"]["properties"]
        properties["model"] = {"type": "string", "enum": [*models, NOTHING]}
        passed = schemathesis(folder, schema, url, arguments)
        alive = request(port, "GET", "/api/models")[0]
    print(f"the server afterwards: {alive}")
    return passed and alive == 200


def uploads(folder, arguments):
    """Upload every hostile file, too large and slow bodies; others must be answered meanwhile."""
    slowest, stop = [0.0], threading.Event()
    with serving_studio(folder) as (_, _, port):

        def others():
            while not stop.is_set():
                began = time.perf_counter()
                assert request(port, "GET", "/api/takes")[0] == 200
                slowest[0] = max(slowest[0], time.perf_counter() - began)
                time.sleep(0.05)

        watcher = threading.Thread(target=others)
        watcher.start()
        counts = {}
        for path in sorted((arguments.data / "nasty").iterdir()):
            if path.is_file():
                status, body = request(port, "PUT", "/api/prompts", path.read_bytes())
                assert status in (201, 422), (path.name, status)
                assert status == 201 or json.loads(body)["error"], path.name
                counts[status] = counts.get(status, 0) + 1
        before = memory_mib()
        refused = [oversized(port) for _ in range(100)]
        slow = [slowly(port) for _ in range(8)]
        time.sleep(2)
        busy, _ = request(port, "PUT", "/api/prompts", wav_bytes(np.zeros(999, np.float32), 8000))
        stop.set()
        watcher.join()
        for connection in slow:
            connection.close()
        grown = memory_mib() - before
    print(
        f"hostile files {counts}, oversized {set(refused)}, an upload beside 8 slow ones {busy}, "
        f"slowest other request {slowest[0]:.2f} s, memory {grown:+.0f} MiB"
    )
    return set(refused) == {413} and busy == 429 and slowest[0] < OTHERS_S and grown < 50


def memory_mib():
    """Memory of this process, which serves too, from Linux's /proc."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def training(folder, arguments):
    """Train from the page's requests until there is a validation, stop, and draw from the run."""
    rng = np.random.default_rng(1)
    (folder / "sounds").mkdir()
    for number in range(8):
        tone = 0.3 * np.sin(np.arange(64_000) * rng.uniform(0.03, 0.3))
        write_wav(folder / "sounds" / f"{number}.wav", tone.astype(np.float32), 16_000)
    samplewise.prepare(folder / "sounds", folder / "corpora" / "tones", sample_rate=16_000)
    with serving_studio(folder) as (_, _, port):

        def ask(method, path, body=None):
            status, answer = request(
                port,
                method,
                path,
                json.dumps(body).encode() if body else b"",
                {"content-type": "application/json"},
            )
            assert status < 300, answer
            return json.loads(answer)

        def run():
            found = [one for one in ask("GET", "/api/models") if one["name"].startswith("runs/")]
            return found[0] if found and found[0]["usable"] and found[0]["curve"] else None

        [corpus] = ask("GET", "/api/training")["corpora"]
        body = {"corpus": corpus["id"], "preset": "tiny", "minutes": 10.0}
        state = ask("POST", "/api/training", body)
        while run() is None and state["training"]["code"] is None:
            time.sleep(1)
            state = ask("GET", "/api/training")
        began = time.monotonic()
        state = ask("POST", "/api/training/stop")["training"]
        took = time.monotonic() - began
        print("\n".join(state["log"][-4:]))
        found = run()
        assert found is not None, state["log"]
        take = ask("POST", "/api/takes", {"model": found["id"], "seconds": 0.5, "seed": 1})
        while not ask("GET", f"/api/live/{take['id']}")["finished"]:
            time.sleep(0.1)
        [kept] = ask("GET", "/api/takes")
    print(
        f"stopped in {took:.1f} s with code {state['code']}; {found['name']}: {found['bits']:.2f} "
        f"bits, {len(found['curve'])} validations, previews {found['previews']}; a take of "
        f"{kept['samples']} samples"
    )
    return state["code"] == 0 and kept["samples"] == 8000


def turned(folder, arguments):
    """Turn the temperature in Chromium while it plays; nothing before changes.

    The samples that the page received are those of the file, and of a clip that is drawn again with
    the recorded temperature.
    """
    with serving_studio(folder) as (studio, url, _), browsing() as browser:
        page = browser.new_context().new_page()
        page.add_init_script(KEEP_WHAT_IS_RECEIVED)
        page.goto(f"{url}/?token={TOKEN}")
        page.locator("#model option", has_text="piano").wait_for(state="attached")
        page.locator("#model").select_option("piano")
        page.locator("#seconds").fill("6")
        page.locator("#seed").fill("11")
        page.locator("#go").click()
        page.get_by_text(re.compile(r"^[1-4]\.\d of 6 s")).wait_for(timeout=120_000)
        page.locator("#temperature").fill("0.6")
        page.locator(".take").wait_for(timeout=120_000)
        received = np.frombuffer(bytes(page.evaluate("window.received")), "<i2")
        [take] = studio.takes.all()
        kept = np.frombuffer(studio.takes.sound(take).read_bytes()[44:], "<i2")
    record = str(take.settings["temperature"])
    model = samplewise.load("piano", threads=1)
    again, fixed = (
        pcm16(model.generate(1, 6.0, seed=11, temperature=temperature)[0].samples)
        for temperature in (record, 1.0)
    )
    change = round(float(record.split(",")[-1].split(":")[0]) * model.sample_rate)
    before = bool((kept[:change] == fixed[:change]).all())
    after = bool((kept[change:] != fixed[change:]).any())
    same = np.array_equal(received, kept) and np.array_equal(kept, again)
    print(
        f"turned after {change / model.sample_rate:.2f} s: what came before is unchanged {before}, "
        f"what came after changed {after}; received, kept and drawn again are the same {same}"
    )
    return before and after and same


def oversized(port):
    """Send a chunked body that is too large; return the status."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        head = f"PUT /api/prompts HTTP/1.1\r\nHost: localhost\r\nCookie: {ACCESS}\r\n"
        connection.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        part = b"100000\r\n" + bytes(2**20) + b"\r\n"
        with contextlib.suppress(OSError):  # it stops reading
            for _ in range(MAX_UPLOAD // 2**20 + 1):
                connection.sendall(part)
        return int(connection.recv(1000).split()[1])


def slowly(port):
    """Begin an upload and send nothing more."""
    connection = socket.create_connection(("127.0.0.1", port))
    head = f"PUT /api/prompts HTTP/1.1\r\nHost: localhost\r\nCookie: {ACCESS}\r\n"
    connection.sendall(head.encode() + b"Content-Length: 1000000\r\n\r\nRIFF")
    return connection


def main():
    """Run one check; exit 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    checks = {check.__name__: check for check in (fuzz, uploads, training, turned)}
    parser.add_argument("check", choices=checks)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--schemathesis", help="the command, if it is not on the path")
    parser.add_argument("--data", type=Path, help="the folder of the larger packs of tests")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return 0 if checks[arguments.check](Path(folder), arguments) else 1


if __name__ == "__main__":
    sys.exit(main())
