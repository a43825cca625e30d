"""The tables and figures of Mehri et al. 2017, as data."""

from dataclasses import replace

from samplewise.config.presets import PRESETS
from samplewise.evaluate.memory import PAPER_SHARE
from samplewise.experiments.experiment import Experiment, Row

WEEK_MINUTES = 7 * 24 * 60.0
"""How long the paper trained its WaveNet (section 3.1)."""

RNN = Row(
    "RNN (Eq. 2)",
    PRESETS["paper-rnn"],
    {"Blizzard": 1.434, "Onomatopoeia": 2.034, "Music": 1.410},
)
WAVENET = Row(
    "WaveNet (re-impl.)",
    PRESETS["paper-wavenet"],
    {"Blizzard": 1.480, "Onomatopoeia": 2.285, "Music": 1.464},
    WEEK_MINUTES,
)
TWO_TIER = Row(
    "SampleRNN (2-tier)",
    PRESETS["paper-2tier"],
    {"Blizzard": 1.392, "Onomatopoeia": 2.026, "Music": 1.076},
)
THREE_TIER = Row(
    "SampleRNN (3-tier)",
    PRESETS["paper-3tier"],
    {"Blizzard": 1.387, "Onomatopoeia": 1.990, "Music": 1.159},
)
SUBSEQUENCES = {32: 1.575, 64: 1.468, 128: 1.412, 256: 1.391, 512: 1.364}
"""Table 3: length in samples, and validation bits on Blizzard."""

EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            name="samplernn.table1",
            title="Test NLL of four systems",
            source="Mehri et al. 2017, Table 1",
            unit="bits per sample",
            rows=(RNN, WAVENET, TWO_TIER, THREE_TIER),
        ),
        Experiment(
            name="samplernn.table2",
            title="Test NLL of real-valued models",
            source="Mehri et al. 2017, Table 2",
            unit="bits per sample, of a density",
            rows=(
                Row("RNN-GMM", PRESETS["paper-rnn-gmm"], {"Blizzard": -2.415}),
                Row("SampleRNN-GMM (2-tier)", PRESETS["paper-2tier-gmm"], {"Blizzard": -2.782}),
            ),
            note=(
                "The paper does not say whether its densities are in bits or nats, and a density "
                "depends on the scale of the data: only the order of rows can be compared."
            ),
        ),
        Experiment(
            name="samplernn.table3",
            title="Effect of the subsequence length",
            source="Mehri et al. 2017, Table 3",
            unit="validation bits per sample",
            rows=tuple(
                Row(
                    f"{length} samples",
                    replace(PRESETS["paper-3tier"], seq_len=length),
                    {"Blizzard": bits},
                )
                for length, bits in SUBSEQUENCES.items()
            ),
            splits=("valid",),
            note="The paper does not say of which model; three tiers are trained here.",
        ),
        Experiment(
            name="samplernn.table4",
            title="What the embedding and the sample-level module contribute",
            source="Mehri et al. 2017, Table 4",
            unit="bits per sample",
            rows=(
                Row(
                    TWO_TIER.name,
                    TWO_TIER.config,
                    {"Blizzard": 1.392, "Blizzard, validation": 1.369},
                ),
                Row(
                    "Without Embedding",
                    PRESETS["paper-no-embedding"],
                    {"Blizzard": 1.566, "Blizzard, validation": 1.539},
                ),
                Row(
                    "Multi-Softmax",
                    PRESETS["paper-multi-softmax"],
                    {"Blizzard": 1.685, "Blizzard, validation": 1.656},
                ),
            ),
            splits=("test", "valid"),
        ),
        Experiment(
            name="samplernn.hybrids",
            title="SampleRNN-WaveNet hybrids",
            source="Mehri et al. 2017, appendix A, which gives no figures",
            unit="bits per sample",
            rows=(
                Row("RNN-WaveNet", PRESETS["paper-rnn-wavenet"], {}, WEEK_MINUTES),
                Row("Fully convolutional", PRESETS["paper-conv-wavenet"], {}, WEEK_MINUTES),
            ),
        ),
        Experiment(
            name="samplernn.memory",
            title="Same speaker after 1 s of silence",
            source="Mehri et al. 2017, section 3.3",
            unit="share of clips",
            rows=(
                Row(THREE_TIER.name, THREE_TIER.config, {"two audio books": PAPER_SHARE}),
                Row(WAVENET.name, WAVENET.config, {"two audio books": 0.5}, WEEK_MINUTES),
            ),
            kind="memory",
            note=(
                "The paper's 50% for WaveNet is an argument, not a measurement: its field is "
                "shorter than the silence."
            ),
        ),
        Experiment(
            name="samplernn.figure2",
            title="Waveforms of 2 s and 100 ms",
            source="Mehri et al. 2017, Figure 2",
            unit="",
            rows=(TWO_TIER, THREE_TIER),
            kind="figure",
        ),
    )
}
