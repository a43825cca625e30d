"""Speed of single matrix-vector products in the engine."""

import statistics
from typing import Any

import numpy as np
from jaxtyping import Float32

from samplewise.engine.sampler import WeightFormat
from samplewise.native import native_module

RUNS, RUN_SECONDS = 101, 0.003
"""Number of runs, and their length: short, so that some are not interrupted on a busy machine."""


def product_speed(
    units: int,
    sparsity: float,
    block: tuple[int, int],
    weights: WeightFormat,
    threads: int,
    runs: int = RUNS,
    run_seconds: float = RUN_SECONDS,
) -> dict[str, Any]:
    """Time products of an h x h matrix and a vector (Kalchbrenner et al. 2018, Table 4).

    Before every product the vector is packed for the weight format, and after it all threads
    synchronise, as in a step of a model. Only weights that are kept count as work: two operations
    each.

    Args:
        units: h, rows and columns.
        sparsity: Share of the blocks that is zero, chosen at random, in [0, 1).
        block: Rows and columns of a block.
        weights: Weight format of the engine.
        threads: Threads of the engine.
        runs: Number of measured runs.
        run_seconds: Length of a run, in seconds.

    Returns:
        products_per_s and gflop_s of the median run; runs, products per second of each;
        gb_s, 1e9 bytes of weights and indices read per second; bytes; skips, whether the engine
        leaves zero blocks out.

    Raises:
        ValueError: If blocks do not tile the matrix, or a number is impossible.
        EngineError: If there is no native engine.
    """
    matrix = block_sparse(units, sparsity, block)
    vector = np.random.default_rng(1).standard_normal(units).astype(np.float32)
    _, seconds, matrix_info = native_module().time_product(
        matrix, vector, format=weights, threads=threads, runs=runs, run_seconds=run_seconds
    )
    rate = 1 / statistics.median(seconds)
    return {
        "products_per_s": rate,
        "gflop_s": 2e-9 * np.count_nonzero(matrix) * rate,
        "gb_s": 1e-9 * matrix_info["bytes"] * rate,
        "bytes": int(matrix_info["bytes"]),
        "skips": bool(matrix_info["sparse"]),
        "runs": [round(1 / value, 1) for value in seconds],
    }


def block_sparse(
    units: int, sparsity: float, block: tuple[int, int]
) -> Float32[np.ndarray, "{units} {units}"]:
    """Return a square matrix of normal random numbers with a share of zero blocks.

    Raises:
        ValueError: If blocks do not tile it, or the share is outside [0, 1).
    """
    rows, columns = block
    if units < 1 or rows < 1 or columns < 1 or units % rows or units % columns:
        raise ValueError(
            f"block = {rows}x{columns} must tile {units} x {units}; take other blocks or another "
            "width"
        )
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity = {sparsity} must lie in [0, 1)")
    generator = np.random.default_rng(0)
    matrix = generator.standard_normal((units, units)).astype(np.float32)
    grid = (units // rows, units // columns)
    zero = np.zeros(grid, dtype=bool)
    places = generator.permutation(zero.size)[: round(sparsity * zero.size)]
    zero.flat[places] = True
    matrix.reshape(grid[0], rows, grid[1], columns).transpose(0, 2, 1, 3)[zero] = 0
    return matrix
