"""Decoding of many files in worker processes; a crash or hang affects one file only."""

import json
import os
import selectors
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import samplewise
from samplewise.data.prepare.decode import Decoded
from samplewise.errors import SamplewiseError

WORKER = ("-m", "samplewise.data.prepare.decode_worker")
"""Arguments to Python that start a decoding process."""
TIMEOUT_S = 60.0
"""Seconds without a message after which a worker counts as hung."""


@dataclass(frozen=True)
class Job:
    """A file to decode."""

    key: str
    """Key of the job, returned with the outcome."""
    path: str
    """Path of the sound file."""
    output: Path
    """File for the raw samples."""
    bytes: int
    """Size of the sound file, for progress."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a job."""

    job: Job
    decoded: Decoded | None
    """Properties of the decoded file; None if it is skipped."""
    reason: str = ""
    """Reason why the file is skipped."""
    is_final: bool = True
    """False if the worker crashed or hung, so that decoding is tried again next time."""


def worker_environment() -> dict[str, str]:
    """Return the environment of a Python process that imports this package."""
    package = str(Path(samplewise.__file__).parent.parent)
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


class _Worker:
    """A decoding process and its current job."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - our own Python
            [sys.executable, *WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=worker_environment(),
            start_new_session=True,  # Ctrl-C reaches the parent alone, which ends the workers
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._input, self.output = self.process.stdin, self.process.stdout
        self._pending = b""
        self.job: Job | None = None
        self.done_bytes = 0
        self.is_ready = False
        self.last_message_s = time.monotonic()

    def assign(self, job: Job, sample_rate: int) -> None:
        self.job, self.done_bytes, self.last_message_s = job, 0, time.monotonic()
        request = {"path": job.path, "output": str(job.output), "sample_rate": sample_rate}
        try:
            self._input.write(json.dumps(request).encode() + b"\n")
            self._input.flush()
        except BrokenPipeError:
            pass  # the worker has ended, which :meth:`read` reports

    def read(self) -> list[dict[str, object]] | None:
        """Return the messages received; None at the end of the worker's output."""
        data = os.read(self.output.fileno(), 65536)
        if not data:
            return None
        self.last_message_s = time.monotonic()
        *lines, self._pending = (self._pending + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def end(self) -> int:
        """Kill the process and return its exit status."""
        self.process.kill()
        status = self.process.wait()
        self._input.close()
        self.output.close()
        return status


class DecodingPool:
    """A pool of decoding processes, a context manager; :meth:`run` yields the outcomes."""

    def __init__(self, workers: int, sample_rate: int, timeout_s: float = TIMEOUT_S) -> None:
        self._size, self._sample_rate = workers, sample_rate
        self._timeout_s = timeout_s
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._finished_bytes = 0

    def __enter__(self) -> "DecodingPool":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in list(self._workers):
            self._drop(worker)
        self._selector.close()

    @property
    def done_bytes(self) -> int:
        """Bytes of sound files read so far, including files in progress."""
        return self._finished_bytes + sum(worker.done_bytes for worker in self._workers)

    def run(self, jobs: Iterable[Job]) -> Iterator[Outcome | None]:
        """Yield the outcome of each job as it ends, and None between them for progress.

        Raises:
            OSError: If a worker cannot write its samples, for example because the disk is full.
        """
        waiting = deque(jobs)
        while len(self._workers) < min(self._size, len(waiting)):
            self._start()
        while waiting or any(worker.job for worker in self._workers):
            for worker in self._workers:
                if worker.job is None and waiting:
                    worker.assign(waiting.popleft(), self._sample_rate)
            yield None
            for key, _ in self._selector.select(timeout=0.5):
                outcome = self._receive(key.data)
                if outcome is not None:
                    yield outcome
            yield from self._end_hung_workers()
            while len(self._workers) < self._size and len(waiting) > len(self._workers):
                self._start()  # replaces one that crashed or hung

    def _start(self) -> None:
        worker = _Worker()
        self._workers.append(worker)
        self._selector.register(worker.output, selectors.EVENT_READ, worker)

    def _drop(self, worker: _Worker) -> int:
        self._selector.unregister(worker.output)
        self._workers.remove(worker)
        return worker.end()

    def _finish(self, worker: _Worker) -> Job:
        job = worker.job
        if job is None:
            raise SamplewiseError("a decoding process answered without a request")
        self._finished_bytes += job.bytes
        worker.job, worker.done_bytes = None, 0
        return job

    def _receive(self, worker: _Worker) -> Outcome | None:
        messages = worker.read()
        if messages is None:
            status = self._drop(worker)
            if worker.job is None or not worker.is_ready:
                raise SamplewiseError(
                    f"a decoding process ended before its first request (status {status}); "
                    f"does `{sys.executable} {' '.join(WORKER)} </dev/null` work?"
                )
            return Outcome(
                self._finish(worker), None, f"the decoder crashed (status {status})", False
            )
        for message in messages:
            if "ready" in message:
                worker.is_ready = True
            elif "tick" in message:
                worker.done_bytes = int(str(message["tick"]))
            elif "failed" in message:
                raise OSError(
                    f"{message['failed']}; solve that and run the same prepare again; it resumes"
                )
            elif "skipped" in message:
                return Outcome(self._finish(worker), None, str(message["skipped"]))
            else:
                return Outcome(self._finish(worker), _decoded(message["decoded"]))
        return None

    def _end_hung_workers(self) -> Iterator[Outcome]:
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.job is not None and now - worker.last_message_s > self._timeout_s:
                self._drop(worker)
                reason = f"the decoder gave no sign of life for {self._timeout_s:.0f} s"
                yield Outcome(self._finish(worker), None, reason, False)


def _decoded(record: object) -> Decoded:
    assert isinstance(record, dict)
    return Decoded(**{**record, "notes": tuple(record["notes"])})
