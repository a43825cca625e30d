import pytest

from samplewise.config.conditioning import ConditioningConfig
from samplewise.config.models import SampleRNNConfig, SubscaleWaveRNNConfig, WaveRNNConfig


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frame_sizes": (2, 2, 9)}, r"frame_sizes\[2\] = 9 must be a larger multiple of frame_si"),
        ({"frame_sizes": (2, 4, 4)}, r"frame_sizes\[2\] = 4 must be a larger multiple"),
        ({"frame_sizes": (2,)}, "must have 2 to 16 tiers"),
        ({"frame_sizes": (0, 2)}, r"frame_sizes\[0\] = 0 must lie in \[1, "),
        ({"n_rnn": 6}, r"n_rnn = 6 must lie in \[1, 5\]"),
        ({"dim": 10**9}, r"dim = 1000000000 must lie in \[1, 65536\]"),
        (
            {"frame_sizes": (2**14, 2**14), "q_levels": 2**16},
            "the table of embeddings would not fit",
        ),
        ({"q_levels": 255}, "q_levels = 255 must be even"),
        ({"skip": True}, "skip = True needs n_rnn > 1"),
    ],
)
def test_impossible_sizes_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        SampleRNNConfig(**changes)


def test_ratios_are_those_of_the_clocks():
    config = SampleRNNConfig(frame_sizes=(3, 2, 4, 12))
    assert [config.ratio(tier) for tier in (2, 3, 4)] == [2, 2, 3]
    assert (config.top_frame, config.lookback) == (12, 12)


@pytest.mark.parametrize(
    "claim",
    [
        lambda: WaveRNNConfig(
            dim=65536, conditioning=ConditioningConfig(classes=("a",), width=8192)
        ),
        lambda: SubscaleWaveRNNConfig(dim=65536, residual_channels=16000),
    ],
)
def test_a_mask_that_no_file_pays_for_is_refused(claim):
    """It is made before a file's weights are seen."""
    with pytest.raises(ValueError, match=r"3 x dim x inputs = \d+ must lie in"):
        claim()
