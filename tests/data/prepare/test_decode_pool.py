from pathlib import Path

import pytest
import soundfile as sf
from tests.data.sounds import noise

from samplewise.data.prepare import decode_pool as pool_module
from samplewise.data.prepare.decode_pool import DecodingPool, Job
from samplewise.errors import SamplewiseError

BROKEN = str(Path(__file__).parent / "broken_worker.py")


@pytest.fixture
def jobs(tmp_path):
    def make(*names):
        for i, name in enumerate(names):
            sf.write(tmp_path / name, noise(8000, i), 8000)
        return [
            Job(
                name,
                str(tmp_path / name),
                tmp_path / f"{name}.part",
                (tmp_path / name).stat().st_size,
            )
            for name in names
        ]

    return make


def outcomes(pool, jobs):
    return {o.job.key: o for o in pool.run(jobs) if o is not None}


def test_all_jobs_come_back_decoded(jobs, tmp_path):
    todo = jobs(*[f"{i}.wav" for i in range(12)])
    with DecodingPool(3, 8000) as pool:
        done = outcomes(pool, todo)
        assert pool.done_bytes == sum(job.bytes for job in todo)
    assert done.keys() == {job.key for job in todo}
    assert all(o.decoded is not None and o.decoded.samples == 8000 for o in done.values())
    assert all(job.output.stat().st_size == 16000 for job in todo)
    assert not list(tmp_path.glob(".tmp-*"))


def test_a_crash_and_a_hang_cost_one_file_each(jobs, monkeypatch):
    monkeypatch.setattr(pool_module, "WORKER", (BROKEN,))
    todo = jobs("a.wav", "crash1.wav", "b.wav", "hang.wav", "c.wav", "crash2.wav", "d.wav")
    with DecodingPool(2, 8000, timeout_s=1.5) as pool:
        done = outcomes(pool, todo)
    reasons = {key: o.reason for key, o in done.items() if o.decoded is None}
    assert reasons == {
        "crash1.wav": "the decoder crashed (status -11)",
        "crash2.wav": "the decoder crashed (status -11)",
        "hang.wav": "the decoder gave no sign of life for 2 s",
    }
    assert not any(done[key].is_final for key in reasons)
    assert all(done[f"{name}.wav"].decoded for name in "abcd")


def test_a_crash_is_tried_again_by_the_next_prepare(tmp_path, prepared, monkeypatch):
    (tmp_path / "in").mkdir()
    for i, name in enumerate(("a", "b", "crash")):
        sf.write(tmp_path / "in" / f"{name}.wav", noise(16000, i), 16000)
    monkeypatch.setattr(pool_module, "WORKER", (BROKEN,))
    first = prepared(tmp_path / "in", processes=True)
    assert [item.source for item in first.index.skipped] == ["crash.wav"]
    monkeypatch.undo()
    second = prepared(tmp_path / "in")
    assert (second.decoded, second.taken_over, second.index.skipped) == (1, 2, ())


def test_a_full_disk_ends_the_job_with_an_os_error(jobs, monkeypatch):
    monkeypatch.setattr(pool_module, "WORKER", (BROKEN,))
    with (
        DecodingPool(1, 8000) as pool,
        pytest.raises(OSError, match=r"No space left.*; solve that and run"),
    ):
        outcomes(pool, jobs("full.wav"))


def test_workers_that_cannot_start_are_an_error_not_a_list_of_skipped_files(jobs, monkeypatch):
    monkeypatch.setattr(pool_module, "WORKER", ("-c", "raise SystemExit(3)"))
    with (
        DecodingPool(1, 8000) as pool,
        pytest.raises(SamplewiseError, match="ended before its first request"),
    ):
        outcomes(pool, jobs("a.wav"))


def test_no_worker_outlives_the_pool(jobs):
    with DecodingPool(2, 8000) as pool:
        outcomes(pool, jobs("a.wav", "b.wav"))
        processes = [worker.process for worker in pool._workers]
        assert len(processes) == 2
    assert all(process.poll() is not None for process in processes)
