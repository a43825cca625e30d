"""Requests of the studio: routes parse and call. Models, prompts and takes are named by ids."""

import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect

from samplewise.audio.files import read_audio
from samplewise.config.validation import MAX_TEMPERATURE
from samplewise.errors import AudioError
from samplewise.evaluate.nll import nats_to_bits
from samplewise.generate.clips import find_flags, samples_of, stream_chunks
from samplewise.generate.prompts import to_wave
from samplewise.web.app import RequestError, create_app, guarded
from samplewise.web.guard import Access, BodyError, Guard
from samplewise.web.studio.library import Library, read_preview
from samplewise.web.studio.live import CHUNK_S, MOST_READERS, LiveEnvelope, LiveTake
from samplewise.web.studio.prompts import MAX_UPLOAD, Prompts
from samplewise.web.studio.takes import Take, Takes
from samplewise.web.studio.training import IsTrainingError, Trainer, describe_corpus, presets

FILES = {
    "/": "studio.html",
    "/static/studio.css": "studio.css",
    "/static/studio.js": "studio.js",
    "/static/base.css": "base.css",
}
UPLOADS = (("/api/prompts", MAX_UPLOAD),)
MOST_LIVE = 2
"""Takes that are drawn at once."""
MAX_SECONDS, MAX_MINUTES = 300.0, 7 * 24 * 60.0
Id = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]
Temperature = Annotated[float, Field(gt=0, le=MAX_TEMPERATURE)]


class Strict(BaseModel):
    """A body without unknown keys or converted types."""

    model_config = ConfigDict(extra="forbid", strict=True)


class NewTake(Strict):
    """What is to be drawn."""

    model: str = Field(pattern=r"^[0-9a-f]{16}$")
    seconds: float = Field(30.0, gt=0, le=MAX_SECONDS)
    temperature: Temperature = 1.0
    seed: int | None = Field(None, ge=0, lt=2**53)
    prompt: str | None = Field(None, pattern=r"^[0-9a-f]{16}$")
    label: str | None = Field(None, max_length=100)


class NewTemperature(Strict):
    """Another temperature."""

    temperature: Temperature


class TakeChange(Strict):
    """Another name or star."""

    name: str | None = Field(None, min_length=1, max_length=100)
    star: bool | None = None


class NewTraining(Strict):
    """What is to be trained."""

    corpus: str = Field(pattern=r"^[0-9a-f]{16}$")
    preset: str = Field(max_length=60)
    minutes: float = Field(gt=0, le=MAX_MINUTES)
    model: str | None = Field(None, pattern=r"^[0-9a-f]{16}$")
    """With whose weights it begins."""


class Studio:
    """Models, takes, prompts, training, and what is being drawn."""

    def __init__(self, library: Library, takes: Takes, trainer: Trainer):
        self.library, self.takes, self.trainer, self.prompts = library, takes, trainer, Prompts()
        self._live: dict[str, LiveTake] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Stop what is being drawn; it is kept."""
        for take in list(self._live.values()):
            take.stop()
            take.thread.join(5)
        self.trainer.stop()
        self.prompts.close()

    def live(self, id: str) -> LiveTake:
        """Return a take that is, or was, being drawn."""
        if id not in self._live:
            raise RequestError(404, "there is no such take")
        return self._live[id]

    def take(self, id: str) -> Take:
        """Return a finished take."""
        found = self.takes.find(id)
        if found is None:
            raise RequestError(404, "there is no such take")
        return found

    def draw(self, body: NewTake) -> LiveTake:
        """Begin a take."""
        entry = self.library.find(body.model)
        if entry is None:
            raise RequestError(404, "there is no such model")
        prompt_path = None if body.prompt is None else self.prompts.find(body.prompt)
        if body.prompt is not None and prompt_path is None:
            raise RequestError(404, "there is no such prompt; upload it again")
        with self._lock:
            for id, take in list(self._live.items()):
                if take.is_finished and len(self._live) > MOST_LIVE:
                    del self._live[id]
            if sum(not take.is_finished for take in self._live.values()) >= MOST_LIVE:
                raise RequestError(429, f"{MOST_LIVE} takes are being drawn; stop one", 5)
            model = self.library.load(entry)
            if body.label is not None and body.label not in model.labels:
                raise RequestError(422, f"label: must be one of {', '.join(model.labels)}")
            knob = LiveEnvelope(body.temperature)
            seed = secrets.randbelow(2**53) if body.seed is None else body.seed
            settings = {"seed": seed, "index": 0, "model_path": str(entry.path)}
            settings |= {} if body.label is None else {"label": body.label}
            settings |= {} if body.prompt is None else {"prompt": body.prompt}
            prompt = to_wave(prompt_path, model.loaded.audio)

            log_probs: list[np.ndarray] = []

            def chunks() -> Iterator[np.ndarray]:
                return stream_chunks(
                    model.loaded,
                    seed,
                    samples=samples_of(body.seconds, model.sample_rate),
                    temperature=knob,
                    prompt=prompt,
                    label=body.label,
                    chunk_s=CHUNK_S,
                    backend=model.backend_for(1, 0.0),
                    observe=log_probs.append,
                )

            def done(live: LiveTake, wave: np.ndarray) -> None:
                settings["temperature"] = str(knob.recorded())
                name, rate = f"{entry.name} {seed % 10_000:04d}", model.sample_rate
                drawn = np.concatenate(log_probs) if log_probs else np.zeros(0)
                take = Take(live.id, name, entry.name, rate, len(wave), time.time(), settings)
                if len(drawn):
                    bits = float(nats_to_bits(-drawn.mean()))
                    flags = find_flags(model.loaded, wave[len(wave) - len(drawn) :])
                    take = replace(take, bits_per_sample=bits, flags=dict(flags))
                self.takes.add(take, wave)

            id = secrets.token_hex(8)
            live = LiveTake(id, model.sample_rate, knob, chunks, done, settings)
            self._live[id] = live
        return live


def create_studio(studio: Studio, token: str | None, hosts: tuple[str, ...] = ()) -> Guard:
    """Return the application of a studio."""
    return guarded(create_app(make_router(studio), FILES), Access(token, hosts, UPLOADS))


def make_router(studio: Studio) -> APIRouter:
    """Return the routes of a studio."""
    router = APIRouter(prefix="/api")

    @router.get("/models")
    def models() -> list[dict[str, Any]]:
        return [studio.library.describe(entry) for entry in studio.library.entries()]

    @router.get("/models/{id}/previews/{step}", response_class=Response)
    def preview(id: Id, step: Annotated[int, Path(ge=0, lt=10**8)]) -> Response:
        entry = studio.library.find(id)
        sound = None if entry is None else read_preview(entry.path, step)
        if sound is None:
            raise RequestError(404, "there is no such preview")
        return Response(sound, media_type="audio/wav")

    @router.get("/training")
    def training() -> dict[str, Any]:
        return _training(studio.trainer)

    @router.post("/training", status_code=201)
    def train(body: NewTraining) -> dict[str, Any]:
        corpus = studio.trainer.corpora().get(body.corpus)
        if corpus is None:
            raise RequestError(404, "there is no such corpus")
        if body.preset not in presets():
            raise RequestError(422, f"preset: must be one of {', '.join(presets())}")
        model = None if body.model is None else studio.library.find(body.model)
        if body.model is not None and model is None:
            raise RequestError(404, "there is no such model")
        try:
            studio.trainer.start(corpus, body.preset, body.minutes, model and model.path)
        except IsTrainingError:
            raise RequestError(429, "another training is going on; stop it", 60) from None
        return _training(studio.trainer)

    @router.post("/training/stop")
    def stop_training() -> dict[str, Any]:
        studio.trainer.stop()
        return _training(studio.trainer)

    @router.get("/takes")
    def takes() -> list[dict[str, Any]]:
        return [take.public() for take in studio.takes.all()]

    @router.get("/map")
    def places() -> list[tuple[str, float, float]]:
        return studio.takes.map()

    @router.post("/takes", status_code=201)
    def draw(body: NewTake) -> dict[str, Any]:
        return _status(studio.draw(body))

    @router.get("/live/{id}")
    def status(id: Id) -> dict[str, Any]:
        return _status(studio.live(id))

    @router.get("/live/{id}/pcm", response_class=StreamingResponse)
    def pcm(id: Id) -> StreamingResponse:
        live = studio.live(id)
        if live.readers >= MOST_READERS:
            raise RequestError(429, "this take has enough readers; try again", 5)
        return StreamingResponse(live.pcm(), media_type="application/octet-stream")

    @router.put("/live/{id}/temperature")
    def turn(id: Id, body: NewTemperature) -> dict[str, Any]:
        live = studio.live(id)
        live.temperature.turn(body.temperature)
        return _status(live)

    @router.post("/live/{id}/stop")
    def stop(id: Id) -> dict[str, Any]:
        live = studio.live(id)
        live.stop()
        live.thread.join(5)
        return _status(live)

    @router.put("/prompts", status_code=201)
    async def upload(request: Request) -> dict[str, Any]:
        if not studio.prompts.places.acquire(blocking=False):
            raise RequestError(429, "other uploads are being read; try again", 5)
        try:
            path = await studio.prompts.receive(request.stream())
            return await run_in_threadpool(studio.prompts.decode, path)
        except BodyError as error:
            raise RequestError(error.status, str(error)) from None
        except ClientDisconnect:
            raise RequestError(400, "the upload ended early") from None
        except AudioError as error:
            raise RequestError(422, f"the file cannot be used: {error}") from None
        finally:
            studio.prompts.places.release()

    @router.patch("/takes/{id}")
    def change(id: Id, body: TakeChange) -> dict[str, Any]:
        changes = body.model_dump(exclude_none=True)
        return studio.takes.change(studio.take(id), **changes).public()

    @router.delete("/takes/{id}")
    def remove(id: Id) -> dict[str, bool]:
        studio.takes.remove(studio.take(id))
        return {"removed": True}

    @router.post("/takes/{id}/loop", status_code=201)
    def loop(id: Id) -> dict[str, Any]:
        take = studio.take(id)
        wave, _ = read_audio(studio.takes.sound(take), None)
        try:
            return studio.takes.loop(take, wave, secrets.token_hex(8), time.time()).public()
        except ValueError as error:
            raise RequestError(422, str(error)) from None

    @router.get("/takes/{id}/{form}", response_class=Response)
    def sound(id: Id, form: Literal["wav", "flac", "json"]) -> Response:
        take = studio.take(id)
        path = studio.takes.sound(take)
        name = "".join(c if c.isascii() and c.isalnum() else "-" for c in take.name)[:60]
        headers = {"content-disposition": f'attachment; filename="{name}-{id[:6]}.{form}"'}
        if form == "json":
            return Response(
                path.with_suffix(".json").read_bytes(), 200, headers, "application/json"
            )
        data = path.read_bytes() if form == "wav" else _flac(path)
        return Response(data, 200, headers, f"audio/{form}")

    return router


def _status(live: LiveTake) -> dict[str, Any]:
    return {
        "id": live.id,
        "sample_rate": live.sample_rate,
        "samples": live.samples,
        "speed": live.speed,
        "finished": live.is_finished,
        "error": live.error,
        "seed": live.settings["seed"],
    }


def _training(trainer: Trainer) -> dict[str, Any]:
    corpora = [describe_corpus(id, path) for id, path in trainer.corpora().items()]
    current = None if trainer.training is None else trainer.training.status()
    return {"corpora": corpora, "presets": presets(), "training": current}


def _flac(path: Any) -> bytes:
    """Return a 16-bit WAV file as FLAC, sample by sample the same."""
    import io

    import soundfile

    samples, rate = soundfile.read(path, dtype="int16")
    target = io.BytesIO()
    soundfile.write(target, samples, rate, format="FLAC", subtype="PCM_16")
    return target.getvalue()
