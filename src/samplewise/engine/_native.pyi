"""What native/ and bindings.cc give to Python; sampler.py is its only user."""

from typing import Any

import numpy as np

PANEL: int
"""Rows of a panel: each half of a WaveRNN's units is filled up to whole ones."""

class Model:
    bytes: int
    bytes_per_sample: float
    macs_per_sample: float
    logits: int
    isa: str
    def __init__(
        self,
        *,
        frame_sizes: list[int],
        dilations: list[int] = ...,
        channels: int = 0,
        dim: int,
        n_rnn: int,
        cell: str,
        skip: bool,
        is_wavernn: bool = False,
        condition_width: int = 0,
        hold: int = 0,
        q_levels: int,
        silence: int,
        real_values: np.ndarray,
        arrays: dict[str, np.ndarray],
        format: str,
        isa: str = "",
    ) -> None: ...

class State:
    batch: int
    clock: int
    def __init__(self, *arguments: Any) -> None: ...
    def copy(self) -> State: ...
    def read(self, h: np.ndarray) -> None: ...
    def write(self, h: np.ndarray, last: np.ndarray) -> None: ...

class Engine:
    threads: int
    threads_used: float
    def __init__(
        self, model: Model, max_batch: int, threads: int, pace: str = "adaptive"
    ) -> None: ...
    def run(
        self,
        state: State,
        samples: int,
        *,
        uniforms: np.ndarray | None = None,
        temperature: np.ndarray | None = None,
        forced: np.ndarray | None = None,
        codes: np.ndarray | None = None,
        log_probs: np.ndarray | None = None,
        logits: np.ndarray | None = None,
        conditioning: np.ndarray | None = None,
        min_p: float = 0.0,
    ) -> int: ...

def isas() -> list[str]: ...
def roofline(threads: int, bytes_per_thread: int) -> dict[str, float]: ...
def time_product(
    weights: np.ndarray, x: np.ndarray, *, format: str, threads: int, runs: int, run_seconds: float
) -> tuple[list[float], list[float], dict[str, float]]: ...
