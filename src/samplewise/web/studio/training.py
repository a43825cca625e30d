"""Training that a page starts, watches and stops: `samplewise train` in a process of its own."""

import hashlib
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samplewise.config.models import conditioning_of
from samplewise.config.presets import PRESETS
from samplewise.data.prepare.decode_pool import worker_environment
from samplewise.errors import SamplewiseError
from samplewise.kinds import CORPUS, kind_of
from samplewise.strict_json import read_object

WORKER = ("-m", "samplewise.cli.main", "train")
"""Arguments to Python that start a training."""
LOG_LINES = 200
"""Lines of the output that are kept."""
STOP_S = 20.0
"""Seconds in which a training writes its last checkpoint; then it is killed."""
DEPTH = 3
"""Folders within each other in which corpora are looked for."""
MOST_FOLDERS = 200


class IsTrainingError(Exception):
    """Another training is going on."""


@dataclass
class Training:
    """A training that was started."""

    run: Path
    """Its run folder."""
    corpus: str
    preset: str
    process: subprocess.Popen[str]
    log: deque[str]
    reader: threading.Thread

    def status(self) -> dict[str, Any]:
        """Return what a page shows; ``code`` is None while it goes on."""
        return {
            "run": self.run.name,
            "corpus": self.corpus,
            "preset": self.preset,
            "code": self.process.poll(),
            "log": list(self.log),
        }


class Trainer:
    """Starts trainings, one at a time.

    Args:
        folders: Corpora, or folders with corpora below them.
        runs: Folder of the runs that are started.
    """

    def __init__(self, folders: Sequence[Path], runs: Path):
        self._folders, self._runs = folders, runs
        self._lock = threading.Lock()
        self.training: Training | None = None
        """The last one that was started."""

    def corpora(self) -> dict[str, Path]:
        """Return the corpora by their ids; a path never comes from a request."""
        found = [path for folder in self._folders for path in _corpora(folder, DEPTH)]
        return {hashlib.sha256(str(p.resolve()).encode()).hexdigest()[:16]: p for p in found}

    def start(
        self, corpus: Path, preset: str, minutes: float, model: Path | None = None
    ) -> Training:
        """Start a training into a new folder.

        Args:
            corpus: Folder of the corpus.
            preset: Name of the preset.
            minutes: Minutes of training.
            model: Run folder or model file with whose weights it begins; None: with nothing.

        Raises:
            IsTrainingError: If another one is going on.
            SamplewiseError: If it cannot be started.
        """
        with self._lock:
            if self.training is not None and self.training.process.poll() is None:
                raise IsTrainingError
            run = self._new_folder(f"{corpus.name}-{preset}")
            words = [str(corpus), "--preset", preset, "--minutes", f"{minutes:g}", "-o", str(run)]
            words += [] if model is None else ["--from", str(model)]
            try:
                process = subprocess.Popen(  # noqa: S603 - our own Python
                    [sys.executable, *WORKER, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    encoding="utf-8",
                    errors="replace",
                    env=worker_environment(),
                    start_new_session=True,  # Ctrl-C reaches the server alone, which stops it
                )
            except OSError as error:
                raise SamplewiseError(f"training cannot be started: {error.strerror}") from None
            log = deque[str](maxlen=LOG_LINES)
            reader = threading.Thread(target=_read, args=(process, log.append), daemon=True)
            reader.start()
            self.training = Training(run, corpus.name, preset, process, log, reader)
            return self.training

    def stop(self) -> None:
        """Let the training write a checkpoint and end; kill it if that takes too long."""
        training = self.training
        if training is None or training.process.poll() is not None:
            return
        training.process.send_signal(signal.SIGTERM)
        try:
            training.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            training.process.kill()
            training.process.wait()
        training.reader.join(5)

    def _new_folder(self, name: str) -> Path:
        numbers = range(1, MOST_FOLDERS * MOST_FOLDERS)
        folders = (self._runs / f"{name}-{number}" for number in numbers)
        return next(folder for folder in folders if not folder.exists())


def presets() -> list[str]:
    """Return the presets that need nothing but a corpus."""
    return [
        name
        for name, config in PRESETS.items()
        if not ((conditioning := conditioning_of(config.model)) and conditioning.mel)
    ]


def describe_corpus(id: str, path: Path) -> dict[str, Any]:
    """Return what a page shows of a corpus."""
    try:
        rate = read_object(path / "corpus.json").get("sample_rate")
    except ValueError:
        rate = None
    return {"id": id, "name": path.name, "sample_rate": rate}


def _read(process: subprocess.Popen[str], add: Callable[[str], None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        add(line.rstrip()[:500])
    process.stdout.close()


def _corpora(folder: Path, depth: int) -> list[Path]:
    if kind_of(folder) == CORPUS:
        return [folder]
    if depth == 0 or not folder.is_dir():
        return []
    below = [path for path in sorted(folder.iterdir())[:MOST_FOLDERS] if not path.is_symlink()]
    return [found for path in below for found in _corpora(path, depth - 1)]
