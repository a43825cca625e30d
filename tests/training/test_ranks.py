"""Two processes on the same lanes equal one process."""

import json
import os
import shutil
import signal
import subprocess

import pytest
import torch
from tests.forked import run_command, start_command, start_ranks
from tests.training.test_resume import assert_same_bits, command, tensors_of, wait_for_a_step
from torch import distributed as dist

from samplewise.atomic_io import lock
from samplewise.cli.main import main
from samplewise.config.codec import with_fields
from samplewise.training import ranks as ranks_module
from samplewise.training.interrupts import Interrupts
from samplewise.training.loop import fit
from samplewise.training.ranks import Ranks, first_host, is_launched, joined
from samplewise.training.run import start

# Muon's bfloat16 makes much of a rounding difference.
SPAWNED = {"steps": "20", "save_every": "5", "valid_every": "10", "optimizer": "adam"}


@pytest.fixture
def forked_ranks(monkeypatch):
    monkeypatch.setattr(ranks_module, "spawn_processes", start_ranks)


@pytest.mark.slow
@pytest.mark.usefixtures("forked_ranks")
def test_two_processes_equal_one_on_the_same_lanes_and_resume_bit_for_bit(corpus, tmp_path):
    assert run_command(command(corpus, tmp_path / "one", **SPAWNED)) == 0
    assert main(command(corpus, tmp_path / "two", **SPAWNED, ranks="2")) == 0
    one, two = tensors_of(tmp_path / "one"), tensors_of(tmp_path / "two")
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=2e-3, atol=2e-5, msg=name)
    bits = [
        [row["bits"] for row in map(json.loads, text.splitlines()) if row["event"] == "valid"]
        for text in ((tmp_path / name / "metrics.jsonl").read_text() for name in ("one", "two"))
    ]
    assert bits[0]
    assert bits[0] == pytest.approx(bits[1], rel=1e-5)
    # The two ranks go on after a stop, with their lanes' states where they were.
    for steps in ("7", "20"):
        parts = command(corpus, tmp_path / "parts", **(SPAWNED | {"steps": steps}), ranks="2")
        assert main(parts) == 0
        if steps == "7":
            shutil.copytree(tmp_path / "parts", tmp_path / "fewer")
    assert_same_bits(tmp_path / "two", tmp_path / "parts")
    # One process goes on where two stopped.
    assert run_command(command(corpus, tmp_path / "fewer", **SPAWNED)) == 0
    fewer = tensors_of(tmp_path / "fewer")
    for name in one:
        torch.testing.assert_close(one[name], fewer[name], rtol=2e-3, atol=2e-5, msg=name)


@pytest.mark.slow
@pytest.mark.usefixtures("forked_ranks")
def test_what_stopped_the_first_rank_is_what_is_told(corpus, tmp_path, capfd):
    with lock(tmp_path / "run", "training"):
        assert main(command(corpus, tmp_path / "run", **SPAWNED, ranks="2")) == 1
    assert "rank 0 failed: another training (process" in capfd.readouterr().err


@pytest.mark.slow
def test_when_one_rank_dies_the_others_end_too(corpus, tmp_path):
    arguments = command(corpus, tmp_path / "run", ranks="2", steps="100000", save_every="None")
    process, output = start_command(arguments)
    wait_for_a_step(output)
    children = subprocess.run(
        ["pgrep", "-P", str(process.pid), "-f", "spawn_main"],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    os.kill(int(children[-1]), signal.SIGKILL)
    with output:
        output.read()
    process.join(60)
    assert process.exitcode == 1


def test_a_step_has_one_small_all_reduce_beside_the_gradients(corpus, config, tmp_path):
    """The profiler counts those of the gradients (one bucket here) too."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        # The other rank is missing: sums over ranks lack its part, and exchanges are as many.
        run = start(config, corpus, tmp_path / "run", Ranks(0, 2, torch.device("cpu")))
        with torch.profiler.profile() as profile, Interrupts() as interrupts:
            run.config = with_fields(config, steps=5, valid_every=100, save_every=None)
            with pytest.MonkeyPatch.context() as patch:
                for name in ("validate", "RunState.save"):
                    patch.setattr(f"samplewise.training.loop.{name}", lambda *args: None)
                fit(run, None, interrupts)
    finally:
        dist.destroy_process_group()
    counts = {event.key: event.count for event in profile.key_averages()}
    assert counts["gloo:all_reduce"] == 2 * 5


def test_lanes_are_divided_among_ranks():
    ranks = [Ranks(rank, 4, torch.device("cpu")) for rank in range(4)]
    rows = [range(8)[rank.rows(8)] for rank in ranks]
    assert [row for part in rows for row in part] == list(range(8))
    with pytest.raises(ValueError, match="lanes = 6 must be a multiple of the 4 ranks"):
        ranks[0].rows(6)


def test_srun_and_torchrun_are_recognised(monkeypatch):
    assert not is_launched()
    with joined("cpu") as ranks:
        assert (ranks.rank, ranks.world) == (0, 1)
    for name, value in {"PROCID": "0", "NTASKS": "2", "JOB_ID": "7"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert not is_launched()  # sbatch's own script, or a shell of salloc
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    assert is_launched()
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    assert not is_launched()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert is_launched()


@pytest.mark.parametrize(
    ("hosts", "first"),
    [("a02", "a02"), ("a[02-04,7],b1", "a02"), ("a[7,9]-ib", "a7-ib"), ("x1,y[2-3]", "x1")],
)
def test_the_first_host_of_a_list(hosts, first):
    assert first_host(hosts) == first


def test_nccl_is_told_which_gpu_a_rank_has(monkeypatch):
    gpu, groups = torch.device("cuda", 1), []
    monkeypatch.setattr(ranks_module, "use_device", lambda name, local_rank: gpu)
    for name in ("init_process_group", "barrier", "destroy_process_group"):
        monkeypatch.setattr(
            ranks_module.dist, name, lambda *args, **options: groups.append((args, options))
        )
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    with joined("cuda") as ranks:
        assert (ranks.rank, ranks.world, ranks.device) == (1, 2, gpu)
    assert groups[0] == (("nccl",), {"device_id": gpu})
