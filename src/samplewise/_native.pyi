"""The compiled module (native/ and engine/bindings.cc)."""

from typing import overload

import numpy as np

PANEL: int
"""Rows of a panel: each half of a WaveRNN's units is padded to whole panels."""

class Model:
    bytes: int
    bytes_per_sample: float
    macs_per_sample: float
    logits: int
    isa: str
    @overload
    def __init__(  # SampleRNN, RNN
        self,
        *,
        frame_sizes: list[int],
        dim: int,
        n_rnn: int,
        cell: str,
        skip: bool,
        real_values: np.ndarray,
        q_levels: int,
        silence: int,
        arrays: dict[str, np.ndarray],
        predictor: dict[str, list[float]] | None = None,
        amplitudes: np.ndarray | None = None,
        components: int = 0,
        gaussian: bool = False,
        condition_width: int = 0,
        hold: int = 1,
        format: str,
        isa: str = "",
    ) -> None: ...
    @overload
    def __init__(  # WaveNet
        self,
        *,
        dilations: list[int],
        channels: int,
        dim: int,
        condition_width: int = 0,
        hold: int = 1,
        q_levels: int,
        silence: int,
        arrays: dict[str, np.ndarray],
        format: str,
        isa: str = "",
    ) -> None: ...
    @overload
    def __init__(  # WaveRNN
        self,
        *,
        dim: int,
        condition_width: int,
        hold: int,
        q_levels: int,
        silence: int,
        arrays: dict[str, np.ndarray],
        format: str,
        isa: str = "",
    ) -> None: ...

class State:
    batch: int
    clock: int
    @overload
    def __init__(self, model: Model, batch: int) -> None: ...
    @overload
    def __init__(self, other: State, clip: int, batch: int) -> None: ...
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

def run_recurrence(cell: str, back: bool, tensors: dict[str, np.ndarray], threads: int) -> None: ...
def run_filters(
    windows: np.ndarray, fade: np.ndarray | None, weights: np.ndarray, noise: float, threads: int
) -> None: ...
def run_levinson(lags: np.ndarray, weights: np.ndarray, power: np.ndarray) -> None: ...
def run_synthesis(weights: np.ndarray, sound: np.ndarray) -> None: ...
def isas() -> list[str]: ...
def roofline(threads: int, bytes_per_thread: int) -> dict[str, float]: ...
def time_product(
    weights: np.ndarray, x: np.ndarray, *, format: str, threads: int, runs: int, run_seconds: float
) -> tuple[list[float], list[float], dict[str, float]]: ...
