"""Tables 2 and 4 of Kalchbrenner et al. 2018, as data: what is timed on this machine."""

from samplewise.engine.sampler import WeightFormat
from samplewise.experiments.speeds import SpeedExperiment, SpeedRow

BLOCKS: tuple[tuple[WeightFormat, str], ...] = (("f16", "16x1"), ("int8", "16x4"))
"""Formats of the engine, and the blocks that each of them skips."""
PHONES = "SD 808", "SD 835"
"""Snapdragon, two big cores."""
GFLOPS, PRODUCTS = "GFLOP/s", "1000 products/s"

TABLE_2 = {"4x4": (19_800.0, 29_100.0), "16x1": (21_600.0, 31_400.0)}
"""By block: samples per second on each phone."""
TABLE_4 = {
    (224, 0.0, "dense"): ((9.6, 95.4), (11.0, 95.4)),
    (384, 0.0, "dense"): ((9.6, 32.6), (11.0, 32.6)),
    (1024, 0.0, "dense"): ((3.8, 1.8), (8.0, 3.8)),
    (512, 0.8, "1x1"): ((2.1, 20.1), (3.8, 36.5)),
    (1024, 0.95, "1x1"): ((1.8, 17.2), (3.4, 32.2)),
    (2048, 0.964, "1x1"): ((2.0, 6.5), (3.7, 12.1)),
    (512, 0.8, "4x4"): ((8.9, 85.2), (14.3, 136.6)),
    (1024, 0.95, "4x4"): ((8.0, 75.6), (12.4, 118.2)),
    (2048, 0.964, "4x4"): ((8.5, 28.1), (12.8, 42.2)),
    (512, 0.8, "16x1"): ((9.8, 94.0), (14.5, 138.1)),
    (1024, 0.95, "16x1"): ((9.0, 85.5), (13.4, 127.4)),
    (2048, 0.964, "16x1"): ((9.0, 30.0), (12.6, 41.8)),
}
"""By size, sparsity and block: GFLOP/s and thousands of products per second on each phone."""


def _sampling_rows() -> tuple[SpeedRow, ...]:
    rows = [
        SpeedRow(
            f"{units} units, 95% zero, {block}, {weights}",
            units,
            0.95,
            block,
            weights,
            _estimates(block) if units == 512 else {},
        )
        for units in (512, 1024)
        for weights, block in BLOCKS
    ]
    name = "512 units, 95% zero, 4x4, f16"
    return (SpeedRow(name, 512, 0.95, "4x4", None, _estimates("4x4")), *rows)


def _estimates(block: str) -> dict[str, float]:
    """Return the paper's figures of a block; none for a block that it does not have."""
    if block not in TABLE_2:
        return {}
    return dict(zip((f"{phone}: samples/s" for phone in PHONES), TABLE_2[block], strict=True))


def _product_rows() -> tuple[SpeedRow, ...]:
    rows = []
    for (units, sparsity, block), figures in TABLE_4.items():
        columns = (f"{phone}: {unit}" for phone in PHONES for unit in (GFLOPS, PRODUCTS))
        paper = dict(zip(columns, (figure for pair in figures for figure in pair), strict=True))
        ours = "f16" if block in ("dense", "16x1") else None
        name = f"{units}, dense" if block == "dense" else f"{units}, {sparsity:.1%} zero, {block}"
        # The dense ones are multiplied whole, whatever the block.
        tile = "16x4" if block == "dense" else block
        rows.append(SpeedRow(f"{name}, f16", units, sparsity, tile, ours, paper))
    sizes = dict.fromkeys((units, sparsity) for units, sparsity, _ in TABLE_4)
    for units, sparsity in sizes:
        name = f"{units}, {sparsity:.1%} zero, 16x4" if sparsity else f"{units}, dense"
        rows.append(SpeedRow(f"{name}, int8", units, sparsity, "16x4", "int8"))
    return tuple(rows)


TABLE2 = SpeedExperiment(
    name="wavernn.table2",
    title="Sampling speed of the sparse WaveRNN, one clip",
    source="Kalchbrenner et al. 2018, Table 2",
    rows=_sampling_rows(),
    measures="samples",
    note=(
        "The paper's figures are estimates, sums of the times of single operations, for two cores "
        "of a phone; its rows say 512 units, its caption 1024, blocks of 4x4. Ours are of whole "
        "models that draw, with blocks zeroed at random in R and in O1 to O4, and made-up weights. "
        "Other hardware, other years: this is a place in a landscape, not a race."
    ),
)

TABLE4 = SpeedExperiment(
    name="wavernn.table4",
    title="Products of an h x h matrix and a vector",
    source="Kalchbrenner et al. 2018, Table 4",
    rows=_product_rows(),
    measures="products",
    note=(
        "GFLOP/s count two operations for each weight that is kept. The paper stores weights in 16 "
        "bits and computes in 32, as f16 does; int8 is another format. Making a vector's 8-bit "
        "form, and the meeting of threads after each product, are within our times. Blocks of 1x1 "
        "and 4x4 have no product of their own here: the engine would read them as 16x1 or 16x4. "
        "The paper's products/s of dense 224 and 384 on the SD 835 do not fit its GFLOP/s."
    ),
)

EXPERIMENTS = {experiment.name: experiment for experiment in (TABLE2, TABLE4)}
