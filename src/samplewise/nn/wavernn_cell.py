"""The cell of WaveRNN, whose halves make the coarse and the fine 8 bits of a sample.

Kalchbrenner et al. 2018, section 2: what the plain, the subscale and other models share.
"""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from samplewise.nn.init import Initializer
from samplewise.nn.linear import Linear, Weight
from samplewise.nn.rnn import RecurrentLayer, RecurrentStack
from samplewise.quantizers import FINE_LEVELS

SCALARS = 3
"""Inputs c_(t-1), f_(t-1) and c_t; further ones condition."""
ZOOM = 32.0
"""Initial weights of the scalars are scaled by 1 to this, evenly in their logarithm."""


def masked_gru(dim: int, learn_h0: bool, init: Initializer, width: int = 0) -> RecurrentStack:
    """Return the GRU with I*: its coarse half does not see the coarse code that it makes.

    Args:
        dim: Units, even, coarse half first.
        learn_h0: Learn the initial state.
        init: Draws the weights.
        width: Further inputs, which every gate of every unit sees: they enter additively.
    """
    rnn = RecurrentStack(
        inputs=SCALARS + width,
        dim=dim,
        n_rnn=1,
        cell="gru-reset-after",
        skip=False,
        weight_norm=False,
        learn_h0=learn_h0,
        init=init,
    )
    layer = rnn.layers[0]
    assert isinstance(layer, RecurrentLayer)
    weight = layer.input.weight
    if init.has_values:
        columns = [_scalar_columns(3 * dim, init)]
        if width:  # as if they were alone: three scalars among many would be lost
            columns.append(init.input_map(3 * dim, width))
        weight.v = torch.nn.Parameter(torch.cat(columns, 1))
    mask = torch.ones(3, dim, SCALARS + width, dtype=torch.bool)  # gates, units, inputs
    mask[:, : dim // 2, 2] = False
    weight.mask = mask.flatten(0, 1)
    return rnn


def _scalar_columns(rows: int, init: Initializer) -> Float[Tensor, "{rows} 3"]:
    """Return what c_(t-1), f_(t-1) and c_t are multiplied by at first.

    Chosen: f is what c leaves of a sample, so with a weight 1 / 256 of c's the sum is the sample
    itself; drawn apart, f would be noise that has to be unlearned first. And gates look at
    amplitudes of different size: most sounds are quiet, and their c is near 0.
    """
    columns = init.input_map(rows, SCALARS)
    columns *= ZOOM ** ((init.lecun(rows, 1) / math.sqrt(3) + 1) / 2)
    columns[:, 1] = columns[:, 0] / FINE_LEVELS
    return columns


def cell_weights(layer: RecurrentLayer, *outputs: Linear) -> Iterator[tuple[Weight, int]]:
    """Yield R, whose gates are ranked apart when blocks are pruned (section 3.1), and O1 to O4.

    Chosen: O1 to O4 too. The paper only says "each sparsified layer"; in the weights that its
    authors published later they are as sparse as R.
    """
    yield layer.recurrent, 3
    for output in outputs:
        yield output.weight, 1


def byte_inputs(
    previous: Int[Tensor, "*lead"], coarse: Int[Tensor, "*lead"], like: Tensor
) -> Float[Tensor, "*lead 3"]:
    """Return x_t = [c_(t-1), f_(t-1), c_t], each scaled to [-1, 1], in the type of ``like``."""
    codes = torch.stack([previous // FINE_LEVELS, previous % FINE_LEVELS, coarse], -1)
    return codes.to(like.dtype) * (2 / (FINE_LEVELS - 1)) - 1


def gru_units(
    layer: RecurrentLayer,
    gates: Float[Tensor, "batch gates"],
    products: Float[Tensor, "batch gates"],
    h: Float[Tensor, "batch dim"],
    units: slice,
) -> Float[Tensor, "batch units"]:
    """Return h_t of some units, by the paper's equations for u, r, e and h.

    Args:
        layer: The GRU.
        gates: What its inputs add to r, u and e of all units, biases included.
        products: R h_(t-1).
        h: h_(t-1).
        units: Which.
    """
    gates = gates.unflatten(-1, (3, -1))[..., units]
    products = products.unflatten(-1, (3, -1))[..., units]
    bias = layer.candidate_bias
    assert bias is not None
    r, u = torch.sigmoid(gates[:, :2] + products[:, :2]).unbind(1)
    e = torch.tanh(gates[:, 2] + r * (products[:, 2] + bias[units]))
    return u * h[:, units] + (1 - u) * e
