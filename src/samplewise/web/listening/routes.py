"""Requests of the listening test: routes parse and call; what is decided is in other modules.

No response names a system, and no response differs with one: clips have the name of their trial and
slot, one size, and no date.
"""

import random
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

from samplewise.web.app import RequestError, create_app, guarded, unavailable
from samplewise.web.guard import Access, Guard, cookie_of, set_cookie
from samplewise.web.listening.design import ANSWERS, Trial, right_answers
from samplewise.web.listening.study import Study
from samplewise.web.listening.votes import Listener, StoreError, Vote, VoteQueue, VoteStore

FILES = {
    "/": "listen.html",
    "/static/listen.css": "listen.css",
    "/static/listen.js": "listen.js",
    "/static/player.js": "player.js",
    "/static/base.css": "base.css",
}
HEADPHONE_ROUNDS = 3
"""Rounds of the headphone check (Woods et al. 2017), of three tones each."""
NEW_LISTENERS, NEW_LISTENERS_S = 100, 60.0
"""New listeners from one address in so many seconds; more are refused with Retry-After."""
MOST_ADDRESSES, MOST_SESSIONS = 1000, 1000
PARTICIPANT = r"^[A-Za-z0-9_.@-]{0,64}$"
Number = Annotated[int, Path(ge=0, le=1000)]


class Strict(BaseModel):
    """A body without unknown keys or converted types."""

    model_config = ConfigDict(extra="forbid", strict=True)


class NewListener(Strict):
    """Consent of a new listener."""

    consent: bool
    participant: str = Field("", pattern=PARTICIPANT)


class HeadphoneAnswers(Strict):
    """The tone of each round that seemed quietest, from 0; None for a check that was skipped."""

    answers: list[Annotated[int, Field(ge=0, le=2)]] | None = Field(max_length=HEADPHONE_ROUNDS)


class NewVote(Strict):
    """An answer, and how the clips were heard."""

    answer: str = Field(max_length=8)
    elapsed_ms: int = Field(ge=0, le=10**9)
    """From the moment when the trial was shown."""
    audible_ms: list[Annotated[int, Field(ge=0, le=10**9)]] = Field(max_length=3)
    """Time that each slot was audible."""
    switches: int = Field(0, ge=0, le=10**6)


class Arrivals:
    """Counts new listeners by address within a window of time, in bounded memory."""

    def __init__(self, most: int = NEW_LISTENERS, window_s: float = NEW_LISTENERS_S):
        self._most, self._window_s = most, window_s
        self._times: OrderedDict[str, list[float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, address: str, now: float) -> float:
        """Count an arrival; return 0, or the seconds until one is accepted."""
        with self._lock:
            times = [t for t in self._times.pop(address, []) if now - t < self._window_s]
            self._times[address] = times
            if len(self._times) > MOST_ADDRESSES:
                self._times.popitem(last=False)
            if len(times) >= self._most:
                return self._window_s - (now - times[0])
            times.append(now)
            return 0.0


@dataclass
class Session:
    """What is known of a listener."""

    listener: Listener
    trials: tuple[Trial, ...]
    answers: dict[int, str]

    @property
    def next(self) -> int:
        """The first trial without an answer; the number of trials at the end."""
        numbers = range(len(self.trials))
        return next((n for n in numbers if n not in self.answers), len(self.trials))


class Listening:
    """A study that is being served.

    Sessions are kept in memory, so that a vote is one write and no reading. Answers are never
    changed, hence a session that another server has gone on with is only behind; it is read again
    when a request does not fit it.
    """

    def __init__(self, study: Study, store: VoteStore):
        self.study, self.store = study, store
        self.cookie = f"listener-{study.id}"
        self.arrivals = Arrivals()
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def key(self, request: Request) -> str:
        """Return the key of who sent a request."""
        return cookie_of(dict(request.headers), self.cookie)

    def known(self, key: str) -> Session | None:
        """Return a session from memory."""
        with self._lock:
            if key in self._sessions:
                self._sessions.move_to_end(key)
            return self._sessions.get(key)

    def read(self, key: str) -> Session | None:
        """Return a session from the store; None if nobody has the key."""
        listener = self.store.find_listener(key)
        if listener is None:
            return None
        trials, answers = self.study.trials(listener.number), self.store.answers(listener.number)
        session = Session(listener, trials, answers)
        with self._lock:
            self._sessions[key] = session
            while len(self._sessions) > MOST_SESSIONS:
                self._sessions.popitem(last=False)
        return session

    def session(self, key: str, fits: Callable[[Session], bool] = lambda session: True) -> Session:
        """Return a session; it is read again if what is known does not fit."""
        found = self.known(key)
        if found is None or not fits(found):
            found = self.read(key)
        if found is None:
            raise RequestError(403, "the test has not been started in this browser")
        return found

    def headphone_orders(self, listener: int) -> list[list[str]]:
        """Return the three tones of each round: loud, quiet, and loud with opposite phase."""
        rng = random.Random(f"{self.study.id} headphones {listener}")  # noqa: S311
        return [rng.sample(["loud", "quiet", "opposite"], 3) for _ in range(HEADPHONE_ROUNDS)]

    def progress(self, session: Session) -> dict[str, Any]:
        """Return what the page needs to go on."""
        listener, total = session.listener, len(session.trials)
        return {
            "next": session.next,
            "trials": total,
            "headphones": listener.headphones is not None,
            "tones": self.headphone_orders(listener.number),
            "code": listener.code if session.next == total else None,
        }

    def check_vote(self, trial: Trial, number: int, vote: NewVote) -> None:
        """Refuse an unknown answer, or one that came before the clips were heard."""
        allowed = ANSWERS[self.study.plan.kind]
        if vote.answer not in allowed:
            raise RequestError(422, f"answer: must be one of {', '.join(allowed)}")
        if len(vote.audible_ms) != len(trial.clips):
            raise RequestError(422, f"audible_ms: must hold {len(trial.clips)} numbers")
        if min(vote.audible_ms) < least_audible_ms(self.study.seconds):
            raise RequestError(422, "audible_ms: every clip must be heard before the answer")
        right = right_answers(self.study.plan, self.study.pool, trial)
        if number == 0 and vote.answer not in right:
            raise RequestError(409, "practice: that is the clip with beeps; choose the other one")


def least_audible_ms(seconds: float) -> int:
    """Return how long each clip must be heard before an answer: a second, or half of it."""
    return round(min(1.0, seconds / 2) * 1000)


def create_listening(study: Study, store: VoteStore, access: Access) -> Guard:
    """Return the application of a listening test."""
    app = create_app(make_router(Listening(study, store)), FILES)
    app.add_exception_handler(StoreError, unavailable)
    return guarded(app, access)


def make_router(listening: Listening) -> APIRouter:
    """Return the routes of a listening test."""
    router, study, store = APIRouter(prefix="/api"), listening.study, listening.store
    queue = VoteQueue(store)

    @router.get("/session")
    def session(request: Request) -> dict[str, Any]:
        known = listening.read(listening.key(request))
        texts = study.texts
        return {
            "kind": study.plan.kind,
            "answers": ANSWERS[study.plan.kind],
            "title": texts.title,
            "about": texts.about,
            "question": study.question,
            "consent": texts.consent,
            "contact": texts.contact,
            "pairs": study.plan.trials + study.plan.checks + study.plan.repeats,
            "seconds": study.seconds,
            "least_audible_ms": least_audible_ms(study.seconds),
            "listener": None if known is None else listening.progress(known),
        }

    @router.post("/listeners", status_code=201)
    def begin(request: Request, response: Response, body: NewListener) -> dict[str, Any]:
        if not body.consent:
            raise RequestError(422, "consent: without it the test cannot begin")
        address = request.client.host if request.client else ""
        if wait := listening.arrivals.wait_s(address, time.monotonic()):
            raise RequestError(429, "too many listeners begin at once; try again", int(wait) + 1)
        _, key = store.add_listener(body.participant)
        cookie = set_cookie(listening.cookie, key, request.scope).decode()
        response.headers.append("set-cookie", cookie)
        return listening.progress(listening.session(key))

    @router.put("/headphones")
    def headphones(request: Request, body: HeadphoneAnswers) -> dict[str, Any]:
        key = listening.key(request)
        listener = listening.session(key).listener
        right = [order.index("quiet") for order in listening.headphone_orders(listener.number)]
        store.set_headphones(listener.number, body.answers == right)
        listening.read(key)
        return {"passed": body.answers == right}

    @router.get("/trials/{number}/{slot}", response_class=Response)
    def clip(
        request: Request, number: Number, slot: Annotated[str, Path(max_length=8)]
    ) -> Response:
        # The next one may be loaded ahead; later ones and earlier ones are no one's business.
        session = listening.session(
            listening.key(request), lambda known: known.next <= number <= known.next + 1
        )
        match = re.fullmatch(r"([abx])\.wav", slot)
        is_open = session.next <= number <= session.next + 1 and number < len(session.trials)
        if not is_open or match is None:
            raise RequestError(404, "there is no such clip now")
        trial = session.trials[number]
        if match[1] not in trial.slots:
            raise RequestError(404, "there is no such clip now")
        path = study.clip_path(trial.clips[trial.slots.index(match[1])])
        return Response(path.read_bytes(), media_type="audio/wav")

    @router.put("/trials/{number}/vote")
    async def vote(request: Request, number: Number, body: NewVote) -> dict[str, Any]:
        key = listening.key(request)
        session = listening.known(key)
        if session is None or number > session.next:
            session = await run_in_threadpool(listening.session, key, lambda known: False)
        if number not in session.answers:
            if number != session.next or number >= len(session.trials):
                raise RequestError(409, "another trial comes first; reload the page")
            trial = session.trials[number]
            listening.check_vote(trial, number, body)
            shown = {"kind": trial.kind, "clips": list(trial.clips), "repeats": trial.repeats}
            details, now = body.model_dump(exclude={"answer"}), time.time()
            new = Vote(session.listener.number, number, body.answer, shown, details, now)
            session.answers[number] = await queue.add(new)
        if session.answers[number] != body.answer:
            raise RequestError(409, "this trial has another answer already; reload the page")
        return listening.progress(session)

    return router
