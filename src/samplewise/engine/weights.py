"""Models as the native engine wants them: weight norm, embedding and linear maps folded.

Everything is folded in double precision and handed over in single precision. Between the
conditions of tier 2 and the first map of the MLP, and between a tier's real-valued frame and its
gates, there is no non-linearity (Mehri et al. 2017, Eqs. 4-9), so each pair of maps is one map.
The RNN baseline (Eqs. 2-3) is a single tier whose frames are codes, without a window below it.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor, nn

from samplewise.config.models import RNNConfig, SampleRNNConfig
from samplewise.config.validation import MAX_TABLE
from samplewise.errors import NOT_FINITE, EngineError
from samplewise.models.base import AutoregressiveModel
from samplewise.models.memory import table_size
from samplewise.models.rnn import RNN
from samplewise.models.samplernn import FrameLevelModule, SampleRNN
from samplewise.models.subscale_wavernn import SubscaleWaveRNN
from samplewise.models.wavenet import WaveNet
from samplewise.models.wavernn import WaveRNN
from samplewise.nn.causal_conv import GatedLayer
from samplewise.nn.linear import Linear
from samplewise.nn.rnn import RecurrentLayer, RecurrentStack

Array = Float64[np.ndarray, "_ _"]
Vector = Float64[np.ndarray, " _"]


def can_pack(model: AutoregressiveModel) -> bool:
    """Return whether the engine knows models of this kind.

    It knows SampleRNN and the RNN baseline with any head, WaveNet and WaveRNN, each of them
    conditioned or not.
    """
    is_known = isinstance(model, SampleRNN | RNN | WaveNet | WaveRNN)
    return is_known and table_size(model.config) <= MAX_TABLE


@torch.no_grad()
def pack(model: AutoregressiveModel) -> dict[str, Any]:
    """Return the arguments of ``_native.Model`` but for the format of the weights.

    Raises:
        EngineError: If the engine does not know models of this kind.
    """
    if not can_pack(model):
        raise EngineError(
            f"the native engine does not run {model.config.family} models with this head or of "
            "this size; use --backend reference"
        )
    if isinstance(model, SampleRNN):
        description = _pack_samplernn(model)
    elif isinstance(model, RNN):
        description = _pack_rnn(model)
    elif isinstance(model, WaveRNN):
        description = _pack_wavernn(model)
    else:
        assert isinstance(model, WaveNet)
        description = _pack_wavenet(model)
    return _completed(model, description)


@torch.no_grad()
def pack_cell(model: SubscaleWaveRNN) -> dict[str, Any]:
    """Return the same of the cell of all rows: a WaveRNN that the other rows condition."""
    return _completed(model, _pack_wavernn(model))


def _completed(model: AutoregressiveModel, description: dict[str, Any]) -> dict[str, Any]:
    arrays = {name: _single(array) for name, array in description.pop("arrays").items()}
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise EngineError(f"{NOT_FINITE}: products of its weights overflow. Train it again")
    return {
        **_conditioning(model),
        **description,
        "q_levels": model.q_levels,
        "silence": model.quantizer.silence,
        "arrays": arrays,
    }


def _conditioning(model: AutoregressiveModel) -> dict[str, int]:
    """Return the sizes of the conditioning vectors, of a conditioned model."""
    if model.conditioner is None:
        return {}
    return {"condition_width": model.condition_width(), "hold": model.conditioner.config.hold}


def _pack_samplernn(model: SampleRNN) -> dict[str, Any]:
    config = model.config
    arrays: dict[str, Array] = {}
    for index, tier in enumerate(model.tiers):
        for name, array in _pack_tier(tier, model.condition_width()).items():
            arrays[f"tier{index + 2}.{name}"] = array
    # The first map of the MLP goes into tier 2, so that it is computed once a frame.
    first = np.eye(config.dim)
    if config.mlp_maps == 3:
        first, bias = _linear(model.sample_level.mlp[0])
        up = arrays["tier2.upsample"].reshape(-1, config.dim, config.dim)
        arrays["tier2.upsample"] = (first @ up).reshape(-1, config.dim)
        biases = arrays["tier2.upsample_bias"].reshape(-1, config.dim)
        arrays["tier2.upsample_bias"] = (biases @ first.T + bias).reshape(1, -1)
    arrays |= _pack_mlp(model.sample_level.mlp[-2:])
    frame_sizes = list(config.frame_sizes)
    if model.sample_level.input is None:  # Multi-Softmax: nothing of the window is seen
        frame_sizes[0] = 0
    elif model.sample_level.is_real:
        assert model.sample_level.input is not None
        arrays["sample.window"] = first @ _array(model.sample_level.input())
    else:
        arrays["sample.table"] = _window_table(model) @ first.T
    predictor = {}
    if config.lp_order:
        predictor = _pack_predictor(model)
        arrays |= predictor.pop("arrays")
        arrays["sample.features"] = first @ arrays["sample.features"]
    return {
        **predictor,
        "frame_sizes": frame_sizes,
        "dim": config.dim,
        "n_rnn": config.n_rnn,
        "cell": config.cell,
        "skip": config.skip,
        "real_values": _array(model.real_values).astype(np.float32),
        **_mixture(config),
        "arrays": arrays,
    }


def _mixture(config: SampleRNNConfig | RNNConfig) -> dict[str, Any]:
    is_softmax = config.head == "categorical"
    return {"components": 0 if is_softmax else config.components, "gaussian": config.head == "gmm"}


def _pack_predictor(model: SampleRNN) -> dict[str, Any]:
    config, level = model.config, model.sample_level
    assert level.features is not None
    arrays = {"features": _array(level.features())}
    if level.logistic is not None:
        weight, bias = _linear(level.logistic)
        arrays |= {"logistic": weight, "logistic_bias": bias[None]}
    return {
        "predictor": {
            "order": [config.lp_order],
            "window": [config.lp_window],
            "hop": [config.predictor_hop],
            "errors": [config.lp_errors],
            "noise": [config.lp_noise],
            "burg": [float(config.lp_method == "burg")],
            "damping": [config.lp_damping],
            "largest_error": [config.lp_largest_error],
            "tilt": list(config.lp_tilt or ()),
            "companded": [float(config.frame_values == "companded")],
        },
        "amplitudes": model.quantizer.amplitudes,
        "arrays": {f"sample.{name}": array for name, array in arrays.items()},
    }


def _pack_rnn(model: RNN) -> dict[str, Any]:
    config = model.config
    arrays, seen, biases = _pack_recurrent(model.rnn, model.condition_width())
    arrays["bias"] = np.concatenate(biases)[None]
    if model.embedding is None:
        arrays["frame"] = np.concatenate(seen)
    else:
        embedding = _array(model.embedding)
        arrays["codes"] = np.concatenate([embedding @ weight.T for weight in seen], axis=1)
    first, bias = _linear(model.mlp[0])
    arrays |= {"upsample": first, "upsample_bias": bias[None]}
    arrays = {f"tier2.{name}": array for name, array in arrays.items()}
    return {
        "frame_sizes": [0, 1],
        "dim": config.dim,
        "n_rnn": config.n_rnn,
        "cell": config.cell,
        "skip": config.skip,
        "real_values": _array(model.real_values).astype(np.float32),
        **_mixture(config),
        "arrays": arrays | _pack_mlp(model.mlp[1:]),
    }


def _pack_wavenet(model: WaveNet) -> dict[str, Any]:
    config = model.config
    arrays = {"stack.embedding": _array(model.embedding)}
    skip_bias = np.zeros(config.skip_channels)
    for index, layer in enumerate(model.stack.layers):
        assert isinstance(layer, GatedLayer)
        weight, bias = _linear(layer.taps)
        arrays |= {f"stack.taps.{index}": weight, f"stack.bias.{index}": bias[None]}
        if layer.residual is not None:
            weight, bias = _linear(layer.residual)
            arrays[f"stack.residual.{index}"] = weight
            arrays[f"stack.residual_bias.{index}"] = bias[None]
        arrays[f"stack.skip.{index}"], bias = _linear(layer.skip)
        skip_bias += bias
        if layer.condition is not None:
            arrays[f"stack.condition.{index}"], _ = _linear(layer.condition)
    return {
        "dilations": list(config.dilations),
        "channels": config.channels,
        "dim": config.skip_channels,
        "arrays": arrays | {"stack.skip_bias": skip_bias[None]} | _pack_mlp(model.mlp),
    }


def _pack_wavernn(model: WaveRNN | SubscaleWaveRNN) -> dict[str, Any]:
    layer, middle = model.layer, model.middle
    inputs, bias = _linear(layer.input)
    by_gate = inputs.reshape(3, -1, inputs.shape[1])
    assert layer.candidate_bias is not None
    arrays = {
        "input": inputs[:, :2],
        "current": by_gate[:, middle:, 2].reshape(-1, 1),
        "bias": bias[None],
        "candidate": _array(layer.candidate_bias)[None],
        "recurrent": _array(layer.recurrent()),
        "h0": _array(model.rnn.h0),
    }
    for index, maps in enumerate(((model.o1, model.o2), (model.o3, model.o4))):
        for name, linear in zip(("hidden", "output"), maps, strict=True):
            weight, bias = _linear(linear)
            arrays |= {f"{name}.{index}": weight, f"{name}_bias.{index}": bias[None]}
    width, hold = inputs.shape[1] - 3, 0
    if width:
        arrays["condition"] = inputs[:, 3:]
        hold = 1 if model.conditioner is None else model.conditioner.config.hold
    return {
        "dim": model.config.dim,
        "condition_width": width,
        "hold": hold,
        "arrays": {f"wavernn.{name}": array for name, array in arrays.items()},
    }


def _pack_tier(tier: FrameLevelModule, condition_width: int) -> dict[str, Array]:
    arrays, seen, biases = _pack_recurrent(tier.rnn, condition_width)
    if tier.input is not None:
        arrays["above"] = np.concatenate(seen)
        of_frame, bias_of_frame = _linear(tier.input)
        for index, weight in enumerate(seen):
            biases[index] = biases[index] + weight @ bias_of_frame
        seen = [weight @ of_frame for weight in seen]
    arrays |= {"frame": np.concatenate(seen), "bias": np.concatenate(biases)[None]}
    weight, bias = _linear(tier.upsample)
    return arrays | {"upsample": weight, "upsample_bias": bias[None]}


def _pack_recurrent(
    stack: RecurrentStack, condition_width: int
) -> tuple[dict[str, Array], list[Array], list[Vector]]:
    """Return arrays, the maps of those layers that see the stack's input, every layer's bias.

    The last ``condition_width`` columns of the input are conditioning vectors: an array apart.
    """
    arrays, seen, of_vectors, biases = {"h0": _array(stack.h0)}, [], [], []
    for index, layer in enumerate(stack.layers):
        assert isinstance(layer, RecurrentLayer)
        weight, bias = _linear(layer.input)
        if index:  # the first columns are for the layer below
            arrays[f"input.{index}"] = weight[:, : stack.dim]
            weight = weight[:, stack.dim :]
        if weight.shape[1]:
            inputs = weight.shape[1] - condition_width
            seen.append(weight[:, :inputs])
            of_vectors.append(weight[:, inputs:])
        biases.append(bias)
        arrays[f"recurrent.{index}"] = _array(layer.recurrent())
        if layer.candidate_bias is not None:
            arrays[f"candidate.{index}"] = _array(layer.candidate_bias)[None]
    if condition_width:
        arrays["condition"] = np.concatenate(of_vectors)
    if stack.skips:
        skips = [_linear(skip) for skip in stack.skips]
        arrays |= {f"skip.{index}": weight for index, (weight, _) in enumerate(skips)}
        arrays["skip_bias"] = np.sum([bias for _, bias in skips], axis=0)[None]
    return arrays, seen, biases


def _pack_mlp(layers: nn.ModuleList) -> dict[str, Array]:
    arrays = {}
    for name, layer in zip(("hidden", "output"), layers, strict=True):
        weight, bias = _linear(layer)
        arrays |= {f"sample.{name}": weight, f"sample.{name}_bias": bias[None]}
    return arrays


def _window_table(model: SampleRNN) -> Array:
    """Return what each code at each place of the window adds, before the MLP."""
    level = model.sample_level
    return _array(level.table() if level.folded is None else level.folded)


def _linear(layer: torch.nn.Module) -> tuple[Array, Vector]:
    assert isinstance(layer, Linear)
    weight = _array(layer.weight())
    return weight, np.zeros(len(weight)) if layer.bias is None else _array(layer.bias)


def _array(tensor: Tensor) -> Float64[np.ndarray, "*shape"]:
    return tensor.detach().double().cpu().numpy()


def _single(array: Array) -> Float32[np.ndarray, "rows columns"]:
    return np.ascontiguousarray(array, dtype=np.float32)
