"""Workers: each takes trials from the study until none is left; several may share a machine."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.process import BaseProcess
from types import FrameType

import optuna

from samplewise.data.corpus import Corpus
from samplewise.errors import SamplewiseError
from samplewise.nn.device import choose_device
from samplewise.search.liveness import Liveness
from samplewise.search.settings import Search
from samplewise.search.storage import open_study
from samplewise.search.trial import Say, Workplace, run_trial
from samplewise.search.trial_queue import TrialQueue
from samplewise.training.interrupts import Interrupts

POLL_S = 0.5
"""Seconds between two looks at trials that may be dead."""


def work(search: Search, workers: int, say: Say) -> bool:
    """Work on a search until all trials are done or somebody stops it.

    Args:
        search: What to search.
        workers: Processes on this machine, each with its share of the cores.
        say: Takes one line about what happens; can be sent to another process.

    Returns:
        Whether it was stopped.

    Raises:
        SamplewiseError: If the storage fails, or a worker died.
    """
    if workers < 1:
        raise ValueError(f"workers = {workers} must be at least 1")
    choose_device(search.base.device)  # a wrong name is no fault of the first trial
    if workers == 1:
        return _work_alone(search, say)
    with storage_errors():
        open_study(search, Corpus.open(search.corpus).digest)  # before they all want to make it
    return _work_together(search, workers, say)


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn what a storage raises into one line."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
        cause = error.__cause__ or error
        reason = str(getattr(cause, "orig", None) or cause).strip().splitlines()[0]
        raise SamplewiseError(
            f"the study cannot be reached: {reason}; nothing that was told is lost, the same "
            "command goes on"
        ) from error


def _work_alone(search: Search, say: Say) -> bool:
    """Work in this process; return whether it was interrupted."""
    with storage_errors(), Interrupts() as interrupts, Liveness(search.folder) as liveness:
        corpus = Corpus.open(search.corpus)
        study = open_study(search, corpus.digest)
        place = Workplace(search, study, corpus, interrupts, say)
        trial_queue = TrialQueue(study, search, liveness)
        while not interrupts.requested:
            trial_queue.mend()
            trial = trial_queue.next_trial()
            if trial is not None:
                run_trial(place, trial)
            elif trial_queue.may_end():
                break
            else:
                time.sleep(POLL_S)
        return interrupts.requested


def _work_together(search: Search, workers: int, say: Say) -> bool:
    if search.base.threads is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        threads = max(1, (cores or 1) // workers)
        search = replace(search, base=replace(search.base, threads=threads))
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_enter, args=(search, say)) for _ in range(workers)]
    for process in processes:
        process.start()
    with _passing_on(processes) as stopped:
        for process in processes:
            process.join()
    dead = [process for process in processes if process.exitcode]
    if dead and not stopped:
        raise SamplewiseError(
            f"{len(dead)} of {workers} workers died (exit codes "
            f"{', '.join(str(process.exitcode) for process in dead)}); the same command goes on "
            "with what is left"
        )
    return bool(stopped)


def _enter(search: Search, say: Say) -> None:
    try:
        _work_alone(search, say)
    except SamplewiseError as error:
        raise SystemExit(f"error: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


@contextmanager
def _passing_on(processes: Sequence[BaseProcess]) -> Iterator[list[int]]:
    """Pass requests to stop on to the workers; a terminal sends Ctrl-C to them itself."""
    received: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for process in processes:
            if number == signal.SIGTERM and process.is_alive():
                process.terminate()

    old = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
