"""Preparation of a corpus from a folder: find, decode in parallel, split, store; resumable."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from samplewise.atomic_io import lock
from samplewise.data.corpus import Corpus, check_shards
from samplewise.data.index import (
    FORMAT,
    INDEX,
    WORK_FOLDER,
    CorpusIndex,
    Settings,
    Skipped,
    SourceFile,
    read_index,
)
from samplewise.data.parts import SAMPLE_BYTES
from samplewise.data.prepare.assemble import (
    Bar,
    Stored,
    assemble,
    finish_pending,
    shard_length,
)
from samplewise.data.prepare.decode import Decoded
from samplewise.data.prepare.decode_journal import DecodeJournal
from samplewise.data.prepare.decode_pool import TIMEOUT_S, DecodingPool, Job, Outcome
from samplewise.data.prepare.publish import check_remote, publish, staging_folder
from samplewise.data.prepare.summary import split_warnings
from samplewise.data.prepare.walk import Candidate, walk, walk_remote
from samplewise.data.remote import Folder, RemoteFolder
from samplewise.data.splits import Shares, folder_split, has_split_folders
from samplewise.data.stored import StoredSamples, damage
from samplewise.errors import CorpusError
from samplewise.kinds import RECORDINGS, mistaken

JOURNAL = "journal.jsonl"
PARTS = "parts"
SPLIT_RULES = ("auto", "recordings", "folders")
LOWEST_RATE, HIGHEST_RATE = 1_000, 192_000
"""Range of sample rates of a corpus, Hz."""
MAX_WORKERS = 8
"""Largest default number of workers: more are limited by the disk, and each takes 60 MB."""


@dataclass(frozen=True)
class Prepared:
    """The result of :func:`prepare`."""

    folder: Folder
    """Folder of the corpus."""
    index: CorpusIndex
    """Content of corpus.json."""
    decoded: int
    """Number of files decoded by this call."""
    taken_over: int
    """Number of files decoded by an earlier call."""
    is_unchanged: bool
    """Whether nothing had changed, so that nothing was written."""

    @property
    def warnings(self) -> list[str]:
        """Warnings about the corpus, including those that earlier versions did not record."""
        return list(dict.fromkeys([*self.index.warnings, *split_warnings(self.index)]))


@contextmanager
def _no_bar(description: str, total: int | None) -> Iterator[Callable[[int], None]]:
    yield lambda done: None


def prepare(
    folder: Folder,
    output: Folder,
    settings: Settings,
    jobs: int | None = None,
    bar: Bar = _no_bar,
    timeout_s: float = TIMEOUT_S,
    verify: bool = False,
    shard_bytes: int | None = None,
) -> Prepared:
    """Make the corpus ``output`` from the recordings in ``folder``, or update it.

    The process may be killed at any time; the next call resumes. Recordings that were in the corpus
    before keep their split, and unchanged files are not decoded again.

    Args:
        folder: A folder of sound files, in nested folders too; or one sound file.
        output: Folder of the corpus; created if it does not exist. A remote one is assembled in a
            folder of this machine, and uploaded.
        settings: Settings that determine the content.
        jobs: Number of worker processes; None for one per core, at most 8.
        bar: Opens progress bars.
        timeout_s: Seconds without a message after which a decoder counts as hung.
        verify: Compare the samples of an earlier corpus with their SHA-256, and decode damaged
            recordings again.
        shard_bytes: Size of the files that the samples are spread over; None: of 1 GB, as far as
            they are needed. Remote corpora are always in shards.

    Raises:
        ValueError: If a setting is out of range.
        CorpusError: If nothing is usable, the output is damaged or holds something else, or
            another prepare is at work.
        OSError: If the output cannot be written.
    """
    _check_arguments(folder, output, settings, jobs)
    if isinstance(output, RemoteFolder):
        check_remote(output)
        place = staging_folder(output)
    else:
        _check_output(output)
        place = output
    if isinstance(folder, RemoteFolder):
        candidates, skipped = walk_remote(folder, output)
    else:
        if fault := mistaken(folder, RECORDINGS):
            raise CorpusError(fault)
        candidates, skipped = walk(folder, place)
    place.mkdir(parents=True, exist_ok=True)
    with lock(place, "prepare"):
        finish_pending(place)
        if isinstance(output, RemoteFolder):
            publish(place, output, bar)  # what a killed prepare had finished
        (place / WORK_FOLDER / PARTS).mkdir(parents=True, exist_ok=True)
        earlier = _earlier(output)
        run = _Run(candidates, skipped, place, output, settings, earlier, shard_bytes)
        prepared = run.run(jobs or _default_jobs(), bar, timeout_s, verify)
        if isinstance(output, RemoteFolder):
            publish(place, output, bar)
        return prepared


def _earlier(output: Folder) -> CorpusIndex | None:
    if isinstance(output, RemoteFolder):
        return read_index(output) if INDEX in output.sizes() else None
    return read_index(output) if (output / INDEX).exists() else None


class _Run:
    """One preparation: files that are reused, decoded and skipped."""

    def __init__(
        self,
        candidates: list[Candidate],
        skipped: list[Skipped],
        place: Path,
        output: Folder,
        settings: Settings,
        earlier: CorpusIndex | None,
        shard_bytes: int | None,
    ) -> None:
        self.place, self.output, self.settings, self.earlier = place, output, settings, earlier
        self.work = place / WORK_FOLDER
        self.shard_bytes = shard_bytes
        self.skipped = skipped
        self.use_folders = _use_folders(settings.split, candidates)
        if self.use_folders:
            candidates = self._inside_folders(candidates)
        self.candidates = candidates
        self.stored: list[Stored] = []
        self.decoded = 0

    def run(self, jobs: int, bar: Bar, timeout_s: float, verify: bool) -> Prepared:
        fresh = self._take_over(verify)
        taken_over = len(self.stored)
        if self._is_unchanged(fresh):
            assert self.earlier is not None
            shutil.rmtree(self.work)
            return Prepared(self.output, self.earlier, 0, taken_over, True)
        with DecodeJournal(self.work / JOURNAL) as journal:
            todo = []
            for candidate in fresh:
                outcome = journal.outcomes.get(self._key(candidate))
                if outcome is None or not self._file_away(candidate, outcome):
                    todo.append(candidate)
            taken_over = len(self.stored)
            self._decode(todo, journal, jobs, bar, timeout_s)
        index = assemble(
            self.place,
            self.settings,
            self.stored,
            self.skipped,
            self.earlier,
            self.use_folders,
            bar,
            self._shard_samples,
        )
        return Prepared(self.output, index, self.decoded, taken_over, False)

    def _shard_samples(self, samples: int) -> int:
        """Return the length of the shards of a corpus of so many samples; 0: one file."""
        length = shard_length(samples, self.shard_bytes)
        return length or (samples if isinstance(self.output, RemoteFolder) else 0)

    def _inside_folders(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        inside = []
        for candidate in candidates:
            if folder_split(candidate.source):
                inside.append(candidate)
            else:
                reason = "outside the folders train, valid and test"
                self.skipped.append(Skipped(candidate.source, reason))
        return inside

    def _take_over(self, verify: bool) -> list[Candidate]:
        """Reuse files of the earlier corpus; return the candidates that are new."""
        if self.earlier is None or self.earlier.sample_rate != self.settings.sample_rate:
            return self.candidates
        try:
            check_shards(self.output, self.earlier)
            samples = StoredSamples(self.output, shards=self.earlier.shards, lenient=True)
        except CorpusError:
            return self.candidates  # the splits are kept
        known = [
            file
            for file in self.earlier.files
            if samples.holds(file) and not (self.settings.remove_dc and file.mean is None)
        ]
        damaged = set(samples.damaged(known) if verify else ())
        files = {(f.source, f.bytes, f.modified_ns): f for f in known if f.source not in damaged}
        refused = {(s.source, s.bytes, s.modified_ns): s for s in self.earlier.skipped}
        present = {(c.source, c.bytes, c.modified_ns) for c in self.candidates}
        kept = {key[0] for key in present & files.keys()}
        fresh = []
        for candidate in self.candidates:
            identity = (candidate.source, candidate.bytes, candidate.modified_ns)
            file, refusal = files.get(identity), refused.get(identity)
            if file is not None:
                self.stored.append(Stored(file, samples, file.start))
            elif refusal is not None and (not refusal.same_as or refusal.same_as in kept):
                self.skipped.append(refusal)
            else:
                fresh.append(candidate)
        return fresh

    def _is_unchanged(self, fresh: Sequence[Candidate]) -> bool:
        earlier = self.earlier
        return (
            earlier is not None
            and not fresh
            and earlier.settings == self.settings
            and self._has_shards(earlier)
            and {item.file.source for item in self.stored} == {f.source for f in earlier.files}
            and sorted(map(_source_and_reason, self.skipped))
            == sorted(map(_source_and_reason, earlier.skipped))
        )

    def _has_shards(self, earlier: CorpusIndex) -> bool:
        """Return whether the shards are those that were asked for, if any were."""
        if self.shard_bytes is None:
            return True
        samples = sum(file.samples for file in earlier.files)
        return self._shard_samples(samples) == (earlier.shards[0].samples if earlier.shards else 0)

    def _key(self, candidate: Candidate) -> str:
        identity = [candidate.path, candidate.bytes, candidate.modified_ns]
        text = json.dumps([FORMAT, self.settings.sample_rate, *identity])
        return hashlib.sha256(text.encode()).hexdigest()[:40]

    def _part(self, key: str) -> Path:
        return self.work / PARTS / key

    def _file_away(self, candidate: Candidate, outcome: Decoded | str) -> bool:
        """Record an outcome; return False if its samples are missing."""
        identity = (candidate.source, candidate.bytes, candidate.modified_ns)
        if isinstance(outcome, str):
            self.skipped.append(Skipped(candidate.source, outcome, *identity[1:]))
            return True
        part = self._part(self._key(candidate))
        if not part.exists() or part.stat().st_size != SAMPLE_BYTES * outcome.samples:
            return False
        file = SourceFile(
            source=candidate.source,
            bytes=candidate.bytes,
            modified_ns=candidate.modified_ns,
            start=0,
            **asdict(outcome),
        )
        self.stored.append(Stored(file, part, 0))
        return True

    def _decode(
        self,
        todo: Sequence[Candidate],
        journal: DecodeJournal,
        jobs: int,
        bar: Bar,
        timeout_s: float,
    ) -> None:
        by_key = {self._key(candidate): candidate for candidate in todo}
        # The largest files first, so that all workers end at about the same time.
        queue = [
            Job(key, candidate.path, self._part(key), candidate.bytes)
            for key, candidate in sorted(by_key.items(), key=lambda item: -item[1].bytes)
        ]
        total = sum(job.bytes for job in queue)
        workers = min(jobs, len(queue))
        with (
            bar(f"decoding {len(queue)} files (MB)", total // 10**6) as update,
            DecodingPool(workers, self.settings.sample_rate, timeout_s) as pool,
        ):
            for outcome in pool.run(queue):
                update(pool.done_bytes // 10**6)
                if outcome is not None:
                    self._accept(by_key[outcome.job.key], outcome, journal)

    def _accept(self, candidate: Candidate, outcome: Outcome, journal: DecodeJournal) -> None:
        self.decoded += 1
        if outcome.decoded is None and not outcome.is_final:
            self.skipped.append(Skipped(candidate.source, outcome.reason))
            return
        result = outcome.decoded if outcome.decoded is not None else outcome.reason
        journal.add(outcome.job.key, result)
        if not self._file_away(candidate, result):
            raise CorpusError(
                f"the samples of {candidate.source} vanished from {self.work}; "
                "is something else writing there?"
            )


def _source_and_reason(skipped: Skipped) -> tuple[str, str]:
    return skipped.source, skipped.reason


def _use_folders(rule: str, candidates: Sequence[Candidate]) -> bool:
    has_folders = has_split_folders([candidate.source for candidate in candidates])
    if rule == "folders" and not has_folders:
        raise CorpusError(
            "--split folders needs top-level folders train, valid and test that hold recordings; "
            "make them, or use --split recordings"
        )
    return has_folders and rule != "recordings"


def _check_arguments(folder: Folder, output: Folder, settings: Settings, jobs: int | None) -> None:
    Shares(settings.valid, settings.test, settings.seed)
    if settings.split not in SPLIT_RULES:
        raise ValueError(f"split = {settings.split!r} must be one of {', '.join(SPLIT_RULES)}")
    if not LOWEST_RATE <= settings.sample_rate <= HIGHEST_RATE:
        raise ValueError(
            f"sample_rate = {settings.sample_rate} must lie in {LOWEST_RATE} to {HIGHEST_RATE} Hz"
        )
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs = {jobs} must be at least 1")
    if output.resolve() == folder.resolve():
        raise ValueError(f"output = {output} must not be the folder of the recordings itself")


def _check_output(output: Path) -> None:
    """Refuse a folder with other content: a run, or the user's own files."""
    if not output.is_dir():
        return
    present = {child.name for child in output.iterdir()}
    if {INDEX, WORK_FOLDER} & present:
        return
    others = sorted(name for name in present if not name.startswith("."))
    if others:
        raise CorpusError(
            f"{output} is not empty and holds no corpus ({others[0]} is in it); "
            "choose another folder with -o"
        )


def verify_corpus(folder: Folder) -> CorpusIndex:
    """Compare all stored samples of a corpus with their SHA-256.

    Raises:
        CorpusError: If the corpus is damaged; the message names the recordings.
    """
    index = Corpus.open(folder).index
    damaged = StoredSamples(folder, shards=index.shards).damaged(index.files)
    if damaged:
        raise CorpusError(damage(folder, damaged))
    return index


def _default_jobs() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(cores or 1, MAX_WORKERS))
