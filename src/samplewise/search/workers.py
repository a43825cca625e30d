"""Workers: each trains trials of the study until none is left; several may share a machine."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

import optuna

from samplewise.data.corpus import Corpus
from samplewise.errors import SamplewiseError
from samplewise.nn.device import choose_device
from samplewise.search.liveness import Liveness
from samplewise.search.settings import Search
from samplewise.search.storage import open_study, storage_error
from samplewise.search.trial import Say, TrialRunner
from samplewise.search.trial_queue import TrialQueue
from samplewise.training.interrupts import Interrupts

POLL_S = 0.5
"""Seconds between two checks of trials whose worker may be dead."""


def run_search(search: Search, workers: int, say: Say) -> bool:
    """Train trials until all are done, or until the process is asked to stop.

    Args:
        search: Settings of the search.
        workers: Number of processes on this machine; each gets its share of the cores.
        say: Takes one line of progress; can be sent to another process.

    Returns:
        Whether the process was asked to stop.

    Raises:
        SamplewiseError: If the storage fails, or a worker died.
    """
    if workers < 1:
        raise ValueError(f"workers = {workers} must be at least 1")
    choose_device(search.base.device)  # a wrong name is refused before the first trial
    if workers == 1:
        return _run_worker(search, say)
    with storage_errors():  # created here, so that the workers do not create it at once
        open_study(search, Corpus.open(search.corpus).digest)
    return _run_workers(search, workers, say)


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn an error of the storage into one line."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
        raise SamplewiseError(
            f"the study cannot be reached: {storage_error(error.__cause__ or error)}; nothing that "
            "was told is lost, the same command goes on"
        ) from error


def _run_worker(search: Search, say: Say) -> bool:
    """Train trials in this process; return whether it was asked to stop."""
    with storage_errors(), Interrupts() as interrupts, Liveness(search.folder) as liveness:
        corpus = Corpus.open(search.corpus)
        study = open_study(search, corpus.digest)
        runner = TrialRunner(search, study, corpus, interrupts, say)
        queue = TrialQueue(study, search, liveness)
        while not interrupts.requested:
            queue.requeue()
            trial = queue.next_trial()
            if trial is not None:
                runner.run(trial)
            elif queue.is_settled():
                break
            else:
                time.sleep(POLL_S)
        return interrupts.requested


def _run_workers(search: Search, workers: int, say: Say) -> bool:
    if search.base.threads is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        threads = max(1, (cores or 1) // workers)
        search = replace(search, base=replace(search.base, threads=threads))
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_enter, args=(search, say)) for _ in range(workers)]
    for process in processes:
        process.start()
    signals: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        for process in processes:
            if number == signal.SIGTERM:  # a terminal sends Ctrl-C to the workers itself
                process.terminate()

    handlers = {
        number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        for process in processes:
            process.join()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    codes = [str(process.exitcode) for process in processes if process.exitcode]
    if codes and not signals:
        raise SamplewiseError(
            f"{len(codes)} of {workers} workers died (exit codes {', '.join(codes)}); the same "
            "command goes on with what is left"
        )
    return bool(signals)


def _enter(search: Search, say: Say) -> None:
    try:
        _run_worker(search, say)
    except SamplewiseError as error:
        raise SystemExit(f"error: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
