import numpy as np
import pytest

from samplewise.bench.products import block_sparse, product_speed
from samplewise.native import native_module


@pytest.mark.parametrize("block", [(16, 1), (16, 4), (4, 4), (1, 1)])
def test_the_share_of_zero_blocks_is_exact(block):
    matrix = block_sparse(64, 0.75, block)
    tiles = matrix.reshape(64 // block[0], block[0], 64 // block[1], block[1])
    zero = (tiles == 0).all(axis=(1, 3))
    assert zero.mean() == 0.75
    assert (matrix == 0).mean() == 0.75  # nothing else is zero


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("weights", "error"), [("f32", 1e-6), ("f16", 1e-3), ("int8", 0.03)])
def test_what_is_timed_is_the_product(threads, weights, error):
    matrix = block_sparse(96, 0.75, (16, 4))
    x = np.random.default_rng(3).standard_normal(96).astype(np.float32)
    y, seconds, facts = native_module().time_product(
        matrix, x, format=weights, threads=threads, runs=2, run_seconds=1e-5
    )
    size = np.linalg.norm(matrix, axis=1) * np.linalg.norm(x)
    assert (np.abs(np.array(y) - matrix.astype(float) @ x) <= error * size).all()
    assert len(seconds) == 2
    assert min(seconds) > 0
    assert facts["density"] == pytest.approx(0.25)


def test_the_figures_fit_each_other():
    found = product_speed(64, 0.75, (16, 4), "int8", 1, runs=3, run_seconds=1e-4)
    assert sorted(found["runs"])[1] == pytest.approx(found["products_per_s"], abs=0.06)
    assert found["gflop_s"] == pytest.approx(2e-9 * 1024 * found["products_per_s"])
    assert found["gb_s"] == pytest.approx(1e-9 * found["bytes"] * found["products_per_s"])
    assert found["skips"]
    assert not product_speed(64, 0.0, (16, 4), "int8", 1, 1, 1e-4)["skips"]


def test_what_cannot_be_timed_is_refused():
    with pytest.raises(ValueError, match="block = 16x1 must tile 40 x 40"):
        product_speed(40, 0.5, (16, 1), "f16", 1)
    with pytest.raises(ValueError, match=r"sparsity = 1.0 must lie in \[0, 1\)"):
        product_speed(32, 1.0, (16, 1), "f16", 1)
    with pytest.raises(ValueError, match="threads = 0 must be 1 to 256"):
        product_speed(32, 0.5, (16, 1), "f16", 0)
    with pytest.raises(ValueError, match="x has 3 numbers, not 32"):
        native_module().time_product(
            block_sparse(32, 0.5, (16, 1)),
            np.ones(3, np.float32),
            format="f16",
            threads=1,
            runs=1,
            run_seconds=0.1,
        )
