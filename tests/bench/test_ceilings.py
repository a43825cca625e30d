from samplewise.bench.ceilings import step_operations
from samplewise.config.models import RNNConfig


def test_the_operations_of_a_step_are_those_of_its_products():
    lanes, seq_len, dim, emb, q = 2, 8, 16, 4, 32
    config = RNNConfig(dim=dim, n_rnn=1, emb_size=emb, q_levels=q, weight_norm=False)
    recurrent = 3 * dim * dim
    maps = 3 * dim * emb + 2 * dim * dim + dim * q
    # Two operations a weight forward, two for each of both gradients.
    expected = 6 * lanes * seq_len * (recurrent + maps)
    assert step_operations(config, lanes, seq_len) == expected
