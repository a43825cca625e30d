"""The paper's figures, typed again from the paper."""

from samplewise.config.presets import PRESETS
from samplewise.experiments.experiment import shrink
from samplewise.experiments.samplernn import EXPERIMENTS


def figures(name):
    return {row.name: tuple(row.paper.values()) for row in EXPERIMENTS[name].rows}


def test_the_figures_of_the_paper():
    assert EXPERIMENTS["samplernn.table1"].columns == ["Blizzard", "Onomatopoeia", "Music"]
    assert figures("samplernn.table1") == {
        "RNN (Eq. 2)": (1.434, 2.034, 1.410),
        "WaveNet (re-impl.)": (1.480, 2.285, 1.464),
        "SampleRNN (2-tier)": (1.392, 2.026, 1.076),
        "SampleRNN (3-tier)": (1.387, 1.990, 1.159),
    }
    assert figures("samplernn.table2") == {
        "RNN-GMM": (-2.415,),
        "SampleRNN-GMM (2-tier)": (-2.782,),
    }
    assert list(figures("samplernn.table3").values()) == [
        (1.575,), (1.468,), (1.412,), (1.391,), (1.364,),
    ]  # fmt: skip
    assert figures("samplernn.table4") == {
        "SampleRNN (2-tier)": (1.392, 1.369),
        "Without Embedding": (1.566, 1.539),
        "Multi-Softmax": (1.685, 1.656),
    }
    assert figures("samplernn.memory") == {
        "SampleRNN (3-tier)": (0.83,),
        "WaveNet (re-impl.)": (0.5,),
    }


def test_what_is_scored_and_for_how_long_it_trains():
    table3 = EXPERIMENTS["samplernn.table3"]
    assert [row.config.seq_len for row in table3.rows] == [32, 64, 128, 256, 512]
    assert table3.splits == ("valid",)
    assert EXPERIMENTS["samplernn.table4"].splits == ("test", "valid")
    minutes = [row.paper_minutes for row in EXPERIMENTS["samplernn.table1"].rows]
    assert minutes == [4320, 10080, 4320, 4320]  # three days; a week


def test_the_small_size():
    wavenet = shrink(PRESETS["paper-wavenet"])
    assert (wavenet.lanes, wavenet.seq_len, wavenet.optimizer.learning_rate) == (8, 1600, 0.001)
    assert (wavenet.model.channels, wavenet.model.skip_channels) == (32, 64)
    tiers = shrink(PRESETS["paper-2tier"])
    assert (tiers.lanes, tiers.seq_len, tiers.optimizer.learning_rate) == (16, 1024, 0.001)
    assert (tiers.model.dim, tiers.model.emb_size, tiers.model.n_rnn) == (256, 64, 3)
