"""A SampleRNN as the native engine wants it: weight norm, embedding and linear maps folded.

Everything is folded in double precision and handed over in single precision. Between the
conditions of tier 2 and the first map of the MLP, and between a tier's real-valued frame and its
gates, there is no non-linearity (Mehri et al. 2017, Eqs. 4-9), so each pair of maps is one map.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from samplewise.errors import EngineError
from samplewise.models.base import Model
from samplewise.models.samplernn import FrameLevelModule, SampleRNN
from samplewise.nn.linear import Linear
from samplewise.nn.rnn import RecurrentLayer

Array = Float64[np.ndarray, "rows columns"]


def can_pack(model: Model) -> bool:
    """Return whether the engine knows models of this kind."""
    return isinstance(model, SampleRNN) and model.config.head == "categorical"


@torch.no_grad()
def pack(model: Model) -> dict[str, Any]:
    """Return the arguments of ``_native.Model`` but for the format of the weights.

    Raises:
        EngineError: If the engine does not know models of this kind.
    """
    if not (isinstance(model, SampleRNN) and can_pack(model)):
        raise EngineError(
            f"the native engine does not run {model.config.family} models with this head; use "
            "--backend reference"
        )
    config = model.config
    arrays: dict[str, Array] = {}
    for index, tier in enumerate(model.tiers):
        for name, array in _pack_tier(tier).items():
            arrays[f"tier{index + 2}.{name}"] = array
    arrays |= _pack_sample_level(model)
    # The first map of the MLP goes into tier 2, so that it is computed once a frame.
    first, bias = _linear(model.sample_level.mlp[0])
    up = arrays["tier2.upsample"].reshape(-1, config.dim, config.dim)
    arrays["tier2.upsample"] = (first @ up).reshape(-1, config.dim)
    biases = arrays["tier2.upsample_bias"].reshape(-1, config.dim)
    arrays["tier2.upsample_bias"] = (biases @ first.T + bias).reshape(1, -1)
    return {
        "frame_sizes": list(config.frame_sizes),
        "dim": config.dim,
        "n_rnn": config.n_rnn,
        "cell": config.cell,
        "skip": config.skip,
        "q_levels": config.q_levels,
        "silence": model.quantizer.silence,
        "real_values": _array(model.real_values).astype(np.float32),
        "arrays": {name: _single(array) for name, array in arrays.items()},
    }


def _pack_tier(tier: FrameLevelModule) -> dict[str, Array]:
    arrays, frame, above, biases = {}, [], [], []
    stack = tier.rnn
    for index, layer in enumerate(stack.layers):
        assert isinstance(layer, RecurrentLayer)
        weight, bias = _linear(layer.input)
        if index:  # the first columns are for the layer below
            arrays[f"input.{index}"] = weight[:, : tier.dim]
            weight = weight[:, tier.dim :]
        if weight.shape[1]:  # this layer sees the tier's input
            if tier.input is None:
                frame.append(weight)
            else:
                of_frame, bias_of_frame = _linear(tier.input)
                frame.append(weight @ of_frame)
                above.append(weight)
                bias = bias + weight @ bias_of_frame
        biases.append(bias)
        arrays[f"recurrent.{index}"] = _array(layer.recurrent())
        if layer.candidate_bias is not None:
            arrays[f"candidate.{index}"] = _array(layer.candidate_bias)[None]
    arrays |= {"frame": np.concatenate(frame), "bias": np.concatenate(biases)[None]}
    if above:
        arrays["above"] = np.concatenate(above)
    arrays["h0"] = _array(stack.h0)
    if stack.skips:
        skips = [_linear(skip) for skip in stack.skips]
        arrays |= {f"skip.{index}": weight for index, (weight, _) in enumerate(skips)}
        arrays["skip_bias"] = np.sum([bias for _, bias in skips], axis=0)[None]
    weight, bias = _linear(tier.upsample)
    return arrays | {"upsample": weight, "upsample_bias": bias[None]}


def _pack_sample_level(model: SampleRNN) -> dict[str, Array]:
    level = model.sample_level
    if level.input is None:  # Multi-Softmax: nothing of the window is seen
        table = np.zeros((level.frame_size * model.q_levels, model.config.dim))
    elif level.is_real:
        weight = _array(level.input())  # (dim, FS(1))
        table = np.einsum("q,dp->pqd", _array(model.real_values), weight).reshape(-1, len(weight))
    else:
        table = _array(level.table() if level.folded is None else level.folded)
    first, _ = _linear(level.mlp[0])
    arrays = {"sample.table": table @ first.T}
    for name, layer in zip(("hidden", "output"), level.mlp[1:], strict=True):
        weight, bias = _linear(layer)
        arrays |= {f"sample.{name}": weight, f"sample.{name}_bias": bias[None]}
    return arrays


def _linear(layer: torch.nn.Module) -> tuple[Array, Float64[np.ndarray, " rows"]]:
    assert isinstance(layer, Linear)
    weight = _array(layer.weight())
    return weight, np.zeros(len(weight)) if layer.bias is None else _array(layer.bias)


def _array(tensor: Tensor) -> Float64[np.ndarray, "*shape"]:
    return tensor.detach().double().cpu().numpy()


def _single(array: Array) -> Float32[np.ndarray, "rows columns"]:
    return np.ascontiguousarray(array, dtype=np.float32)
