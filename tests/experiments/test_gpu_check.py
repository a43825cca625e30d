"""The check of a GPU, tried out on the CPU."""

import json
import subprocess

import experiments.gpu_check as check
import pytest

TINY = ["--device", "cpu", "--tiny"]


@pytest.fixture
def in_this_process(monkeypatch):
    """Stages that need no process of their own; the tests marked gpu are said to pass."""
    commands = []

    def pytest_passes(command, env, **options):
        commands.append((command, env["SAMPLEWISE_GPU"]))
        return subprocess.CompletedProcess(command, 0, "..\n== 2 passed in 1.00s ==\n", "")

    monkeypatch.setattr(check.subprocess, "run", pytest_passes)
    monkeypatch.setattr(check, "run_stage", lambda name, args, limit: check.STAGES[name][0](args))
    return commands


def test_every_stage_runs_and_the_table_has_its_figures(in_this_process, tmp_path, capsys):
    output = tmp_path / "results" / "cpu.json"
    assert check.main(["-o", str(output), *TINY]) == 0
    results = json.loads(output.read_text())
    assert list(results) == ["seconds", *check.STAGES]
    ((command, device),) = in_this_process
    assert command[1:6] == ["-m", "pytest", "-q", "-m", "gpu"]
    assert device == "cpu"
    (row,) = results["training"]
    of_ceiling = row["operations_per_s"] / results["limits"]["bfloat16_operations_per_s"]
    bits = [e["bits"] for e in results["learning"]["events"] if e["event"] == "valid"]
    table = capsys.readouterr().out
    for figure in (
        "tests: 2 passed in 1.00s",
        f"{row['samples_per_s']:,.0f}",
        f"{of_ceiling:.1%}",
        f"{results['generation'][-1]['samples_per_s']:,.0f}",
        f"step 2, {results['learning']['events'][-1]['seconds']:.0f} s: {bits[-1]:.3f} bits",
    ):
        assert figure in table


def test_the_first_stage_that_fails_ends_the_check(in_this_process, tmp_path, capsys, monkeypatch):
    def fail(command, **options):
        return subprocess.CompletedProcess(command, 1, "E  assert cuda == cpu", "")

    monkeypatch.setattr(check.subprocess, "run", fail)
    assert check.main(["-o", str(tmp_path / "cpu.json"), *TINY]) == 1
    results = json.loads((tmp_path / "cpu.json").read_text())
    assert list(results) == ["seconds", "failed"]
    assert results["failed"] == {"identities": "E  assert cuda == cpu"}
    assert "identities failed:\nE  assert cuda == cpu" in capsys.readouterr().out


def test_a_stage_is_a_process_with_a_limit(tmp_path):
    args = check.CheckArgs(tmp_path / "cpu.json", device="cpu", tiny=True)
    assert check.run_stage("limits", args, 60)["device"] == "cpu"
    with pytest.raises(subprocess.TimeoutExpired):
        check.run_stage("limits", args, 0.01)
