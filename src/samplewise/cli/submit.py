"""`samplewise submit`: a command as a SLURM job, on several nodes or as an array."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

COMMANDS = ("train", "generate", "evaluate", "prepare", "search", "experiment")
"""What may be submitted; each goes on where it was interrupted, if it is given again."""


@dataclass(frozen=True)
class SubmitArgs:
    """Submit a command to SLURM: samplewise submit [OPTIONS] COMMAND ARGUMENTS.

    Options come before the command. A training has one task for each GPU of each node. When the
    time of a job is over, it saves and is queued again; training goes on.
    """

    nodes: int = 1
    """Machines of a training."""
    gpus: int = 0
    """GPUs, and tasks, for each node; 0: one task, on CPUs."""
    cpus: int = 8
    """CPU cores for each task."""
    memory: int | None = None
    """Memory for each node, GB; default: that of the cluster."""
    minutes: int = 24 * 60
    """Time limit of a job."""
    requeues: int = 100
    """How often a job that has reached its limit is queued again at most."""
    parts: int = 1
    """Split generate --count by clip index into so many jobs of one array; each writes a folder
    part-NNNN in the output."""
    partition: str | None = None
    """Partition of the cluster."""
    account: str | None = None
    """Account that is charged."""
    logs: Path = Path("slurm-logs")
    """Folder of what jobs print; on a file system that all nodes share."""
    cluster: Literal["slurm", "local", "debug"] = "slurm"
    """slurm; local: processes of this machine; debug: this process."""


@dataclass(frozen=True)
class Job:
    """A command that runs on a node."""

    argv: tuple[str, ...]
    """Command and arguments."""

    def __call__(self) -> None:
        """Run the command as one of the tasks of the job."""
        from submitit import JobEnvironment
        from submitit.helpers import TorchDistributedEnvironment

        from samplewise.cli.main import main

        if JobEnvironment().num_tasks > 1:
            TorchDistributedEnvironment().export(set_cuda_visible_devices=False)
        if code := main(list(self.argv)):
            raise RuntimeError(f"samplewise {self.argv[0]} ended with exit code {code}")

    def checkpoint(self) -> Any:
        """Return what a job that is queued again runs: the same command."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def main(argv: list[str]) -> int:
    """Run `samplewise submit` with ``argv`` and return the exit code."""
    start = next((place for place, word in enumerate(argv) if word in COMMANDS), len(argv))
    args = tyro.cli(SubmitArgs, args=argv[:start], prog="samplewise submit")
    if start == len(argv):
        print(f"error: name a command to submit: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    jobs = parts_of(argv[start:], args.parts)
    try:
        import submitit
    except ImportError:
        print("error: submitit is not installed; pip install 'samplewise[slurm]'", file=sys.stderr)
        return 1
    executor = submitit.AutoExecutor(
        folder=args.logs, cluster=args.cluster, slurm_max_num_timeout=args.requeues
    )
    executor.update_parameters(**_parameters(args, argv[start]))
    with executor.batch():
        submitted = [executor.submit(Job(tuple(job))) for job in jobs]
    for job in submitted:
        print(f"job {job.job_id}: {job.paths.stdout}", flush=True)
    return 0 if args.cluster == "slurm" else wait(submitted)


def wait(submitted: Sequence[Any]) -> int:
    """Wait for jobs of this machine, and return the exit code."""
    from submitit.core.utils import FailedJobError, UncompletedJobError

    code = 0
    for job in submitted:
        try:
            job.results()
        except (FailedJobError, UncompletedJobError):
            print(f"error: job {job.job_id} failed; see {job.paths.stderr}", file=sys.stderr)
            code = 1
    return code


def parts_of(argv: list[str], parts: int) -> list[list[str]]:
    """Return the commands of the jobs: ``generate`` is split by clip index.

    Raises:
        ValueError: If another command is to be split, or there are fewer clips than parts.
    """
    if parts == 1:
        return [argv]
    if argv[0] != "generate":
        raise ValueError(f"parts = {parts}, but only generate is split; leave --parts out")
    from samplewise.cli.generate import DEFAULT_COUNT, GenerateArgs
    from samplewise.generate.clip_folder import default_folder
    from samplewise.generate.uniforms import pick_seed

    args = tyro.cli(GenerateArgs, args=argv[1:], prog="samplewise generate")
    count, first = args.count or DEFAULT_COUNT, args.index or 0
    if not 1 < parts <= count:
        raise ValueError(f"parts = {parts} must lie in 1 to the {count} clips")
    output = args.output or default_folder(args.model, args.step)
    seed = pick_seed(args.seed)
    jobs = []
    for part in range(parts):
        begin, end = part * count // parts, (part + 1) * count // parts
        own = ["--index", f"{first + begin}", "--count", f"{end - begin}", "--seed", f"{seed}"]
        folder = output / f"part-{part:04d}"
        jobs.append([*argv, *own, "--resume", "-o", str(folder)])
    return jobs


def _parameters(args: SubmitArgs, command: str) -> dict[str, Any]:
    """Return the parameters of submitit's executor."""
    is_training = command == "train"
    parameters: dict[str, Any] = {
        "name": f"samplewise-{command}",
        "timeout_min": args.minutes,
        "cpus_per_task": args.cpus,
        "nodes": args.nodes if is_training else 1,
        "tasks_per_node": max(1, args.gpus) if is_training else 1,
        "gpus_per_node": args.gpus,
    }
    chosen = {
        "mem_gb": args.memory,
        "slurm_partition": args.partition,
        "slurm_account": args.account,
    }
    return parameters | {name: value for name, value in chosen.items() if value is not None}
