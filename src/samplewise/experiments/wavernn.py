"""Table 3 and Figure 2 of Kalchbrenner et al. 2018, as data: what is trained and scored."""

from dataclasses import replace

from samplewise.config.models import WaveRNNConfig
from samplewise.config.presets import PRESETS
from samplewise.config.training import PruningConfig, TrainConfig
from samplewise.experiments.experiment import Experiment, Row

SPEECH = "24 kHz speech"
"""The paper's data: one North American English voice, with linguistic features."""
PAPER_STEPS = 500_000
"""What a model of the paper is trained for (section 3.1)."""
SMALL = (
    "small size: every width a quarter of the paper's, 8 lanes, a learning rate of 0.002 after 20 "
    "steps, averages over 100 steps, prunings every 10; Subscale: segments of 2048 samples, a "
    "horizon of 28 columns, a quarter of the channels, 4 lanes"
)
CONDITIONS = (
    "The paper's models are told linguistic features, ours nothing, and ours are of the corpus's "
    "rate: only the order of rows can be compared."
)
BASE = 224
"""Units of the dense model whose number of weights Figure 2 keeps."""
WIDER = (512, 768, 1024)
"""Units of the sparse models; the paper's points lie at the same 81%, 92% and 95%."""
FIGURE_BLOCKS = ("16x1", "16x4")
"""16x1 is the paper's too; 16x4 is what our engine's int8 products skip."""


def sparse(units: int, sparsity: float, block: str) -> TrainConfig:
    """Return what to train: a WaveRNN of so many units, that share of its blocks zero.

    The schedule follows the budget; see :mod:`samplewise.training.pruning`.
    """
    config = replace(PRESETS["wavernn-896"], model=WaveRNNConfig(dim=units), preset="wavernn")
    return replace(config, pruning=PruningConfig(sparsity, block))


def equal_sparsity(units: int) -> float:
    """Return the sparsity at which 3 units^2 (1 - s) is what the dense base has.

    Rounded to five digits. The small size divides all widths by four: the share stays.
    """
    return round(1 - (BASE / units) ** 2, 5)


def _row(name: str, config: TrainConfig, nats: float) -> Row:
    return Row(name, config, {SPEECH: nats}, paper_steps=PAPER_STEPS)


DENSE = tuple(
    _row(f"WaveRNN {units}", PRESETS[f"wavernn-{units}"], nats)
    for units, nats in ((224, 5.67), (384, 5.56), (896, 5.42), (2048, 5.33))
)
CURVES = {
    "16x1 blocks": {0.0: 5.675, 0.81: 5.58, 0.92: 5.55, 0.955: 5.54, 0.97: 5.56},
    "4x4 blocks": {0.0: 5.675, 0.81: 5.60, 0.92: 5.56, 0.955: 5.52, 0.97: 5.515, 0.98: 5.54},
    "single weights": {
        **{0.0: 5.675, 0.81: 5.61, 0.92: 5.54, 0.955: 5.50, 0.97: 5.495, 0.98: 5.48},
        0.985: 5.46,
    },
}
"""Figure 2, the weights of 224 dense units: sparsity and nats, read off the plot by eye, to about
0.005. The first point is 5.67 in Table 3."""

TABLE3 = Experiment(
    name="wavernn.table3",
    title="Test NLL of dense, sparse and Subscale WaveRNNs",
    source="Kalchbrenner et al. 2018, Table 3",
    unit="nats per 16-bit sample",
    in_nats=True,
    rows=(
        *DENSE,
        _row("Sparse Mobile 1024, 95.2%, 4x4", sparse(1024, 0.952, "4x4"), 5.52),
        _row("Sparse 224 (1536 at 97.8%)", sparse(1536, 0.978, "1x1"), 5.48),
        _row("Sparse 384 (2048 at 96.4%)", sparse(2048, 0.964, "1x1"), 5.42),
        _row("Subscale 1024 (16x)", PRESETS["subscale-wavernn-16x"], 5.52),
        _row("Subscale 1024 (8x)", PRESETS["subscale-wavernn-8x"], 5.46),
        _row("Fused Subscale 896 (2x)", PRESETS["fused-subscale-wavernn-896"], 5.45),
    ),
    paper_only={"WaveNet 512, 60 layers": {SPEECH: 5.29}},
    note=(
        f"{CONDITIONS} Chosen: Sparse 224 and 384 lose single weights, since their figures are "
        "those of Figure 2's unstructured curves; O1 to O4 are pruned like R, while the paper "
        "counts R alone."
    ),
    small_note=SMALL,
)

FIGURE2 = Experiment(
    name="wavernn.figure2",
    title="NLL against sparsity, at one number of recurrent weights",
    source="Kalchbrenner et al. 2018, Figure 2, read off by eye",
    unit="nats per 16-bit sample",
    in_nats=True,
    rows=(
        DENSE[0],
        *(
            Row(
                f"{units} units, {equal_sparsity(units):.1%}, {block}",
                sparse(units, equal_sparsity(units), block),
                {SPEECH: CURVES["16x1 blocks"][near]} if block == "16x1" else {},
                paper_steps=PAPER_STEPS,
            )
            for units, near in zip(WIDER, (0.81, 0.92, 0.955), strict=True)
            for block in FIGURE_BLOCKS
        ),
    ),
    note=(
        f"{CONDITIONS} Every row keeps as many weights of R as the dense one has; of O1 to O4 it "
        "keeps fewer, since they grow less than R does."
    ),
    small_note=SMALL,
    paper_curves=CURVES,
)

EXPERIMENTS = {experiment.name: experiment for experiment in (TABLE3, FIGURE2)}
