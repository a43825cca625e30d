"""Commands as jobs of submitit; its debug cluster runs them in this process."""

import gc
import sys
from types import SimpleNamespace

import pytest
import tyro

from samplewise.cli import main as main_module
from samplewise.cli.generate import GenerateArgs
from samplewise.cli.main import main
from samplewise.cli.submit import Job, parts_of, wait

pytest.importorskip("submitit")
from submitit.core.utils import FailedJobError


@pytest.fixture
def ran(monkeypatch):
    """Command lines that jobs have run."""
    commands, run = [], main_module._run

    def noted(command, arguments):
        if command == "submit":
            return run(command, arguments)
        commands.append([command, *arguments])
        return 0

    monkeypatch.setattr(main_module, "_run", noted)
    return commands


def submit(tmp_path, *arguments):
    return main(["submit", "--cluster", "debug", "--logs", str(tmp_path), *arguments])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_job_runs_the_command_and_the_same_again_when_it_is_queued_again(ran, tmp_path, capsys):
    words = ["train", "corpora/mine", "-o", "runs/mine", "--ranks", "1"]
    assert submit(tmp_path, "--minutes", "5", *words) == 0
    assert ran == [words]
    assert capsys.readouterr().out.startswith("job DEBUG_")
    assert Job(tuple(words)).checkpoint().function == Job(tuple(words))
    gc.collect()  # submitit's debug cluster leaves files open


def test_a_job_of_this_machine_that_fails_is_named(capsys, monkeypatch):
    def fail():
        raise FailedJobError("its traceback")

    paths = SimpleNamespace(stderr="logs/7_0_log.err")
    jobs = [SimpleNamespace(job_id=number, paths=paths, results=list) for number in (6, 7)]
    jobs[1].results = fail
    assert wait(jobs) == 1
    assert capsys.readouterr().err == "error: job 7 failed; see logs/7_0_log.err\n"
    monkeypatch.setattr(main_module, "main", lambda arguments: 2)
    monkeypatch.setattr("submitit.JobEnvironment", lambda: SimpleNamespace(num_tasks=1))
    with pytest.raises(RuntimeError, match="samplewise train ended with exit code 2"):
        Job(("train",))()


def test_a_generation_is_split_by_index_into_the_clips_of_one_command():
    words = ["generate", "runs/mine", "--count", "10", "--index", "100", "-o", "clips"]
    jobs = parts_of([*words, "--seed", "7"], 3)
    found = [tyro.cli(GenerateArgs, args=job[1:]) for job in jobs]
    assert [(args.index, args.count) for args in found] == [(100, 3), (103, 3), (106, 4)]
    assert {args.seed for args in found} == {7}
    assert [str(args.output) for args in found] == [f"clips/part-000{part}" for part in range(3)]
    assert all(args.resume for args in found)
    seeds = {tyro.cli(GenerateArgs, args=job[1:]).seed for job in parts_of(words, 3)}
    assert len(seeds) == 1
    assert None not in seeds
    assert parts_of(words, 1) == [words]


def test_mistakes_of_a_submission(tmp_path, capsys, monkeypatch):
    assert submit(tmp_path) == 2
    assert "name a command to submit: train, generate" in capsys.readouterr().err
    assert submit(tmp_path, "--parts", "2", "train", "x", "-o", "y") == 1
    assert "parts = 2, but only generate is split" in capsys.readouterr().err
    assert submit(tmp_path, "--parts", "20", "generate", "x") == 1
    assert "parts = 20 must lie in 1 to the 16 clips" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert submit(tmp_path, "train", "x", "-o", "y") == 1
    assert "pip install 'samplewise[slurm]'" in capsys.readouterr().err
