"""Small folders of recordings and a short way to prepare them."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import soundfile as sf
from tests.data.sounds import noise

from samplewise.data.index import Settings
from samplewise.data.prepare.decode import decode_to
from samplewise.data.prepare.decode_pool import Job, Outcome
from samplewise.data.prepare.prepare import Prepared, prepare
from samplewise.data.remote import Folder, on_this_machine
from samplewise.errors import AudioError


class InlinePool:
    """Decodes in this process: starting workers takes most of the time of a small prepare."""

    done_bytes = 0

    def __init__(self, workers: int, sample_rate: int, timeout_s: float) -> None:
        self._sample_rate = sample_rate

    def __enter__(self) -> "InlinePool":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def run(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        for job in jobs:
            try:
                with on_this_machine(job.path, job.output) as path:
                    decoded = decode_to(path, self._sample_rate, job.output)
                yield Outcome(job, decoded)
            except AudioError as error:
                yield Outcome(job, None, str(error))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of eight recordings of one to two seconds at 16 kHz."""
    place = tmp_path / "recordings"
    (place / "nested").mkdir(parents=True)
    for i in range(8):
        name = place / ("nested" if i % 2 else "") / f"r{i}.wav"
        sf.write(name, noise(16000 + 2000 * i, i), 16000)
    return place


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[..., Prepared]:
    """Prepare a folder into ``corpus`` beside it; keywords replace settings."""

    def run(
        folder: Folder,
        output: Folder | None = None,
        jobs: int = 1,
        processes: bool = False,
        **changes,
    ) -> Prepared:
        facts = {"sample_rate": 16000, "valid": 0.06, "test": 0.06, "seed": 0, "split": "auto"}
        limit, verify = changes.pop("timeout_s", 60.0), changes.pop("verify", False)
        shard_bytes = changes.pop("shard_bytes", None)
        settings = Settings(**(facts | changes))
        with pytest.MonkeyPatch.context() as patch:
            if not processes:
                patch.setattr("samplewise.data.prepare.prepare.DecodingPool", InlinePool)
            output = output or tmp_path / "corpus"
            return prepare(
                folder,
                output,
                settings,
                jobs,
                timeout_s=limit,
                verify=verify,
                shard_bytes=shard_bytes,
            )

    return run
