"""One session of training: from the lock on a run folder until training stops."""

from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from samplewise.atomic_io import claim
from samplewise.config.training import TrainConfig
from samplewise.data.corpus import Corpus
from samplewise.errors import is_out_of_memory
from samplewise.generate.backend import torch_threads
from samplewise.nn.device import use_device
from samplewise.training.interrupts import Interrupts
from samplewise.training.logger import RunLogger
from samplewise.training.loop import INTERRUPTED, STOPPED_EARLY, fit
from samplewise.training.ranks import Ranks
from samplewise.training.run import CONFIG, KIND, RunState, discard, start


@dataclass(frozen=True)
class Outcome:
    """Result of a session of training."""

    run: RunState
    """The run as it was saved."""
    reason: str
    """Why training stopped, in words."""

    @property
    def is_interrupted(self) -> bool:
        """Whether somebody asked the session to stop; the run can be resumed."""
        return self.reason == INTERRUPTED

    @property
    def is_stopped_early(self) -> bool:
        """Whether ``should_stop`` ended the run before its budget was used up."""
        return self.reason == STOPPED_EARLY


def train_run(
    config: TrainConfig,
    corpus: Corpus,
    folder: Path,
    *,
    say: Callable[[str], None],
    ranks: Ranks | None = None,
    interrupts: Interrupts | None = None,
    fresh: bool = False,
    on_start: Callable[[RunState], None] | None = None,
    should_stop: Callable[[RunState, float], bool] | None = None,
) -> Outcome:
    """Train a run until its budget is used up or somebody stops it.

    A run that is in ``folder`` is resumed. Every rank calls this function; the first one locks the
    folder, writes the log and calls ``say``, ``on_start`` and ``should_stop``.

    Args:
        config: How to train.
        corpus: Recordings to train on and to validate on.
        folder: Run folder; made if it does not exist.
        say: Called with each line of progress.
        ranks: This process among those that train together; None: it trains alone.
        interrupts: Requests to stop, entered by the caller; None: Ctrl-C and SIGTERM are handled
            while the session lasts.
        fresh: Whether to remove a run that is in the folder and start again.
        on_start: Called with the run before its first step.
        should_stop: Called after each validation with the run and its bits per sample; True saves
            the run and ends it.

    Raises:
        CheckpointError: If the folder holds a run with other settings, or no sound checkpoint.
        CorpusError: If there is nothing to train on, or the corpus is not the run's.
        SamplewiseError: If the folder holds something else, or another process trains in it.
        TrainingError: If the cost or its gradient is not finite, or has exploded.
    """
    ranks = ranks or Ranks(0, 1, use_device(config.device))
    threads = config.threads or max(1, torch.get_num_threads() // config.ranks)
    own = nullcontext(interrupts) if interrupts else Interrupts()
    alone = claim(folder, "training", CONFIG, KIND) if ranks.is_first else nullcontext()
    with own as requests, alone, torch_threads(threads):
        if fresh and ranks.is_first:
            discard(folder)
        ranks.wait()
        run = start(config, corpus, folder, ranks)
        if not ranks.is_first:
            return Outcome(run, fit(run, None, requests))
        if on_start is not None:
            on_start(run)
        step = run.progress.step
        try:
            with closing(RunLogger(folder, step, say)) as logger:
                stop = None if should_stop is None else partial(should_stop, run)
                return Outcome(run, fit(run, logger, requests, stop))
        except (MemoryError, RuntimeError) as error:
            if is_out_of_memory(error) and not run.progress.step:
                discard(folder)  # so that a corrected configuration can use the folder
            raise
