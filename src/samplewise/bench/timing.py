"""Timing of functions that take turns, medians, and a description of the machine."""

import datetime
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch


def machine(device: str) -> dict[str, Any]:
    """Return a description of the machine, to be stored with every speed."""
    info = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": device,
    }
    if torch.device(device).type == "cuda":
        info["gpu"] = torch.cuda.get_device_name(device)
    return info


def interleave(
    contestants: Mapping[str, Callable[[], object]],
    runs: int,
    device: str = "cpu",
    after_run: Callable[[], None] | None = None,
) -> dict[str, list[float]]:
    """Return the seconds of each run of each contestant; they take turns, so that load is shared.

    One unmeasured run of each comes first.

    Args:
        contestants: Functions to time, by name.
        runs: Number of measured runs of each.
        device: Device that is synchronised before the clock is read.
        after_run: Called after every run, including unmeasured ones.

    Raises:
        ValueError: If ``runs`` is not positive.
    """
    if runs < 1:
        raise ValueError(f"runs = {runs} must be at least 1")
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for run in range(runs + 1):
        for name, contestant in contestants.items():
            synchronize(device)
            start = time.perf_counter()
            contestant()
            synchronize(device)
            if run:
                seconds[name].append(time.perf_counter() - start)
            if after_run is not None:
                after_run()
    return seconds


def median_rate(samples: int, seconds: list[float]) -> float:
    """Return samples per second of the median run."""
    return samples / statistics.median(seconds)


def synchronize(device: str) -> None:
    """Wait until ``device`` has finished all work."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
