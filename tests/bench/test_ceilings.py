from samplewise.bench.ceilings import step_operations
from samplewise.config.conditioning import ConditioningConfig, MelConfig
from samplewise.config.models import RNNConfig, SampleRNNConfig


def test_the_operations_of_a_step_are_those_of_its_products():
    lanes, seq_len, dim, emb, q = 2, 8, 16, 4, 32
    config = RNNConfig(dim=dim, n_rnn=1, emb_size=emb, q_levels=q, weight_norm=False)
    recurrent = 3 * dim * dim
    maps = 3 * dim * emb + 2 * dim * dim + dim * q
    # Two operations a weight forward, two for each of both gradients.
    expected = 6 * lanes * seq_len * (recurrent + maps)
    assert step_operations(config, lanes, seq_len) == expected


def test_operations_do_not_count_conditioning_and_linear_prediction():
    sizes = {"frame_sizes": (2, 4), "dim": 8, "emb_size": 4, "q_levels": 16}
    plain = SampleRNNConfig(**sizes)
    told = ConditioningConfig(MelConfig(n_mels=8, f_max=None), channels=4)
    more = SampleRNNConfig(**sizes, lp_order=8, lp_window=128, conditioning=told)
    assert step_operations(more, 2, 16) == step_operations(plain, 2, 16)
