"""Processes that share lanes equal one process."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from tests.forked import start_command, start_process, start_ranks
from tests.training.test_resume import assert_same_bits, command, tensors_of, wait_for_a_step
from torch import distributed as dist

from samplewise.atomic_io import lock
from samplewise.cli.main import main
from samplewise.cli.train import train
from samplewise.config.codec import with_fields
from samplewise.training import ranks as ranks_module
from samplewise.training.interrupts import Interrupts
from samplewise.training.loop import fit
from samplewise.training.ranks import Ranks, first_host, is_launched, joined
from samplewise.training.run import start

# Muon's bfloat16 makes much of a rounding difference.
SPAWNED = {"steps": "6", "save_every": "3", "valid_every": "6", "optimizer": "adam"}


@pytest.fixture
def forked_ranks(monkeypatch):
    monkeypatch.setattr(ranks_module, "spawn_processes", start_ranks)


def validations(folder):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line["bits"] for line in lines if line["event"] == "valid" and line["step"] == 6]


def assert_close(left, right):
    """Compare runs whose sums over lanes have another order."""
    a, b = tensors_of(left), tensors_of(right)
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=2e-3, atol=2e-5, msg=name)
    assert validations(left)
    assert validations(left) == pytest.approx(validations(right), rel=1e-5)


def train_on(corpus, folder, ranks, **changes):
    arguments = command(corpus, folder, **(SPAWNED | changes), ranks=ranks)
    train(arguments[1:], with_report=False)


@pytest.mark.slow
@pytest.mark.usefixtures("forked_ranks")
def test_ranks_equal_one_process_and_resume_with_any_number_of_ranks(corpus, tmp_path):
    one, two, parts, fewer, more = (
        tmp_path / name for name in ("one", "two", "parts", "fewer", "more")
    )
    train_on(corpus, one, "1")
    train_on(corpus, two, "2")
    assert_close(one, two)
    # The two ranks go on after a stop, with their lanes' states where they were.
    train_on(corpus, parts, "2", steps="3")
    for folder in (fewer, more):
        shutil.copytree(parts, folder)
    train_on(corpus, parts, "2")
    assert_same_bits(two, parts)
    # One process, and four, go on where two stopped.
    train_on(corpus, fewer, "1")
    train_on(corpus, more, "4")
    assert_close(one, fewer)
    assert_close(one, more)


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
    assert_ends_within_a_minute(
        process, output, "rank 1 died (process 1 terminated with signal SIG"
    )


def assert_ends_within_a_minute(process, output, message):
    process.join(60)
    assert process.exitcode == 1
    with output:
        assert message in output.read()


def exit_with(arguments):
    sys.exit(main(arguments))


@pytest.mark.slow
def test_a_rank_that_somebody_else_started_says_that_another_is_gone(corpus, tmp_path):
    """As under torchrun and srun: nobody watches the ranks but they themselves."""
    store = dist.TCPStore(  # pyright: ignore[reportPrivateImportUsage]
        "127.0.0.1", 0, is_master=True, wait_for_workers=False
    )
    arguments = command(corpus, tmp_path / "run", steps="100000", save_every="None")
    (first, output), (second, silent) = (
        start_process(ranks_module._enter, rank, 2, store.port, exit_with, (arguments,))
        for rank in range(2)
    )
    wait_for_a_step(output)
    second.kill()
    silent.close()
    assert_ends_within_a_minute(first, output, "error: rank 0 lost another rank, whose own message")


def test_a_step_has_one_small_all_reduce_beside_the_gradients(corpus, config, tmp_path):
    """The profiler counts those of the gradients (one bucket here) too."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        # The other rank is missing: sums over ranks lack its part, and exchanges are as many.
        run = start(config, corpus, tmp_path / "run", Ranks(0, 2, torch.device("cpu")))
        with torch.profiler.profile() as profile, Interrupts() as interrupts:
            run.config = with_fields(config, steps=3, valid_every=100, save_every=None)
            with pytest.MonkeyPatch.context() as patch:
                for name in ("validate", "RunState.save"):
                    patch.setattr(f"samplewise.training.loop.{name}", lambda *args: None)
                fit(run, None, interrupts)
    finally:
        dist.destroy_process_group()
    counts = {event.key: event.count for event in profile.key_averages()}
    assert counts["gloo:all_reduce"] == 2 * 3


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
