"""Small listening tests of synthetic sounds, and servers and browsers for them."""

import asyncio
import contextlib
import os
import shutil
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import uvicorn

from samplewise.atomic_io import write_bytes
from samplewise.web.guard import Access
from samplewise.web.listening.routes import create_listening
from samplewise.web.listening.stimuli import Source
from samplewise.web.listening.study import CLIPS, Making, assemble, write_study
from samplewise.web.listening.votes import VoteStore, database_url

RATE = 8000
TOKEN = "a-token-of-the-tests"  # noqa: S105
CHROMIUM = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=user-gesture-required",
]

KEEP_WHAT_IS_RECEIVED = """
const send = window.fetch;
window.fetch = async (url, options) => {
  const response = await send(url, options);
  if (url.endsWith("/pcm")) {
    response.clone().arrayBuffer().then((bytes) => {
      window.received = Array.from(new Uint8Array(bytes));
    });
  }
  return response;
};
"""
"""Script of a page: what it receives of a live take is kept in ``window.received``."""

CLIMBING = (
    *("../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..%5c", "..\\", "....//", "..;/", "%252e%252e%252f"),
    *("..%c0%af", "..%00/", "%00", "%u002e%u002e/", "//host/share/", "%5c%5chost%5cshare%5c"),
    *("file:///", "C:%5c", "~/", "\uff0e\uff0e\uff0f", "." * 3000 + "/"),
)
"""Beginnings of paths that climb out of a folder somewhere."""


def climbing(*folders, name="study.json"):
    """Paths that climb out of the folders of a server."""
    return [f"{folder}{climb}{name}" for folder in folders for climb in CLIMBING]


def source(name, clips=6, seconds=0.6, level=0.1, rate=RATE, seed=0):
    """A system of noise in a random band."""
    rng = np.random.default_rng([seed, *name.encode()])
    waves = []
    for _ in range(clips):
        noise = np.convolve(rng.normal(size=round(seconds * rate)), np.ones(8) / 8, "same")
        waves.append((level * noise / np.abs(noise).max()).astype(np.float32))
    names = tuple(f"{name} {i}" for i in range(clips))
    return Source(name, f"/runs/{name}", tuple(waves), names, rate, is_recordings=name == "real")


def make_study(folder: Path, names=("three", "two", "real"), clips=6, **settings):
    """Write the folder of a study."""
    folder.mkdir(parents=True, exist_ok=True)
    making = Making(**({"trials": 6, "checks": 1, "repeats": 1} | settings))
    levels = np.linspace(0.05, 0.5, len(names))
    sources = [source(name, clips, level=x) for name, x in zip(names, levels, strict=True)]
    study, waves = assemble(folder, sources, making)
    (folder / CLIPS).mkdir(exist_ok=True)
    for clip, data in waves.items():
        write_bytes(study.clip_path(clip), data)
    write_study(study)
    return study


def run_apart(work):
    """Run a coroutine in a thread of its own: the browser of other tests has a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


@contextlib.contextmanager
def serving(application):
    """Serve an application on loopback; give its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        config = uvicorn.Config(application, log_level="warning", access_log=False, ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


@contextlib.contextmanager
def serving_study(study):
    """Serve a study; give its address and its votes."""
    store = VoteStore(study.id, database_url(study.folder))
    with serving(create_listening(study, store, Access(TOKEN))) as url:
        yield url, store
    store.close()


def chromium_path():
    """Where Chromium is: $CHROMIUM, or what is installed; None if nothing is."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@contextlib.contextmanager
def browsing(**options):
    """Start Chromium; give a browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_path(), args=CHROMIUM, **options
        )
        yield browser
        browser.close()
