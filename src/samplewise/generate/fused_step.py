"""Samples of a whole part with few operators: weights are prepared for it once.

What the reference computes anew at every sample is folded into tables and biases: maps without a
non-linearity between them become one, and codes select rows. Codes are written where the next
samples read them. The results are those of the reference up to rounding.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

from samplewise.generate import step_operators as operators
from samplewise.generate.reference import SamplerState
from samplewise.generate.step_operators import Products
from samplewise.heads.categorical import CategoricalHead
from samplewise.models.samplernn import FrameLevelModule, SampleRNN
from samplewise.models.step_model import StepModel
from samplewise.models.wavernn import WaveRNN, WaveRNNState
from samplewise.nn.linear import Linear
from samplewise.nn.matmul import linear
from samplewise.nn.rnn import RecurrentLayer, RecurrentStack
from samplewise.nn.wavernn_cell import SCALARS
from samplewise.quantizers import FINE_LEVELS

WIDE_FRAME = 16
"""Samples of a frame from which on its product with the weights is a product of matrices."""


class _Map:
    """y = w x + b, in the precision that was asked for."""

    def __init__(self, weight: Tensor, bias: Tensor | None, products: Products):
        # A GPU rounds operands itself: see GraphedSampler.draw.
        self.rounds = products == "tf32" and weight.device.type == "cpu"
        self.weight = operators.round_to_tf32(weight) if self.rounds else weight
        self.bias = bias

    def __call__(self, x: Float[Tensor, "rows inputs"]) -> Float[Tensor, "rows outputs"]:
        return linear(self._operand(x), self.weight, self.bias)

    def relu(self, x: Float[Tensor, "rows inputs"]) -> Float[Tensor, "rows outputs"]:
        """Return the ReLU of the result."""
        assert self.bias is not None
        return operators.relu_product(self._operand(x), self.weight, self.bias)

    def _operand(self, x: Tensor) -> Tensor:
        return operators.round_to_tf32(x) if self.rounds else x


def _map_of(layer: Linear, products: Products) -> _Map:
    return _Map(layer.weight(), layer.bias, products)


class _Layer:
    """One step of a recurrent layer."""

    def __init__(self, layer: RecurrentLayer, products: Products):
        self.layer, self.cell, units = layer, layer.cell, layer.dim
        self.input = _map_of(layer.input, products)
        weight = layer.recurrent()
        parts = (weight[: 2 * units], weight[2 * units :]) if self.cell == "gru" else (weight,)
        self.recurrent = [_Map(part, None, products) for part in parts]

    def __call__(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output, and the state after it."""
        if self.cell == "lstm":
            output, state = self.layer(x.unsqueeze(1), h)
            return output.squeeze(1), state
        after = self.after_gates(self.input(x), h)
        return after, after

    def after_gates(self, gates: Tensor, h: Tensor) -> Tensor:
        """Return the next state of a GRU, given what its inputs add to the gates."""
        if self.cell == "gru":
            to_gates, to_candidate = self.recurrent
            products = to_gates(h)
            candidate = to_candidate(operators.reset(gates, products, h))
            return operators.update(gates, products, candidate, h)
        bias, out = self.layer.candidate_bias, gates.new_empty(h.shape)
        assert bias is not None
        operators.reset_after(gates, self.recurrent[0](h), bias, h, out, slice(None))
        return out


class _Tier:
    """One frame of a frame-level tier."""

    def __init__(self, tier: FrameLevelModule, upsample: _Map, products: Products):
        self.size, self.upsample = tier.frame_size, upsample
        stack: RecurrentStack = tier.rnn
        self.layers = [_Layer(layer, products) for layer in stack.layers]  # pyright: ignore[reportArgumentType]
        self.skips = [_map_of(skip, products) for skip in stack.skips]  # pyright: ignore[reportArgumentType]
        self.takes_gates = takes_gates(tier)
        self.bias = self.layers[0].layer.input.bias
        self.frame_weights: Tensor | None = None
        weight = self.layers[0].layer.input.weight()
        if tier.input is not None:
            own = tier.input.weight()
            weight = _product(weight, own) if self.takes_gates else own
        if self.takes_gates or tier.input is not None:
            self.frame_weights = weight.t().contiguous()

    def __call__(
        self,
        codes: Int64[Tensor, "size rows"],
        values: Float[Tensor, " q_levels"],
        above: Float[Tensor, "rows units"] | None,
        vector: Float[Tensor, "rows width"] | None,
        states: list[Tensor],
    ) -> Float[Tensor, "rows dim"]:
        """Return h of a frame; replace the layers' states.

        Args:
            codes: The frame.
            values: Real values of codes.
            above: What the tier above adds to the gates, or to the inputs; None in the top tier.
            vector: Conditions the tier.
            states: Of the layers.
        """
        if self.takes_gates:
            base = self.bias if above is None else above
            h = states[0] = self.layers[0].after_gates(
                self._add_frame(codes, values, base), states[0]
            )
            for index, layer in list(enumerate(self.layers))[1:]:
                h, states[index] = layer(h, states[index])
            return h
        x = values[codes.t()] if above is None else self._add_frame(codes, values, above)
        if vector is not None:
            x = torch.cat([x, vector], -1)
        h, outputs = x, []
        for index, layer in enumerate(self.layers):
            inputs = torch.cat([h, x], -1) if index and self.skips else h
            h, states[index] = layer(inputs, states[index])
            if self.skips:
                outputs.append(self.skips[index](h))
        return torch.stack(outputs).sum(0) if outputs else h

    def _add_frame(self, codes: Tensor, values: Tensor, base: Tensor | None) -> Tensor:
        assert base is not None
        assert self.frame_weights is not None
        if self.size < WIDE_FRAME:
            return operators.add_values(codes, values, self.frame_weights, base)
        return torch.addmm(base, values[codes.t()], self.frame_weights)


def takes_gates(tier: FrameLevelModule) -> bool:
    """Return whether frames and the tier above are inputs of nothing but a GRU's gates."""
    first = tier.rnn.layers[0]
    assert isinstance(first, RecurrentLayer)
    is_alone = first.input.weight.v.shape[1] == (
        tier.frame_size if tier.input is None else tier.dim
    )
    return is_alone and not tier.rnn.skips and first.cell != "lstm"


def _product(first: Tensor, second: Tensor) -> Tensor:
    """Multiply two matrices in double precision; return the type of the first."""
    return (first.double() @ second.double()).to(first.dtype)


class FusedSampleRNN:
    """Parts of clips of a SampleRNN over codes, without a linear predictor.

    The first map of the MLP is part of the table of codes and of tier 2's upsampling. What a tier
    adds to the gates of the tier below is one map.
    """

    def __init__(self, model: SampleRNN, products: Products):
        self.model = model
        *first, hidden, last = (part for part in model.sample_level.mlp if isinstance(part, Linear))
        self.hidden, self.last = _map_of(hidden, products), _map_of(last, products)
        assert model.sample_level.folded is not None
        self.table = model.sample_level.folded
        self.tiers: list[_Tier] = []
        for index, tier in enumerate(model.tiers):
            weight, bias = tier.upsample.weight(), tier.upsample.bias
            assert bias is not None
            if index:
                below = model.tiers[index - 1]
                assert below.input is not None
                assert below.input.bias is not None
                bias = bias + below.input.bias.repeat(tier.ratio)
                if takes_gates(below):
                    layer = below.rnn.layers[0]
                    assert isinstance(layer, RecurrentLayer)
                    weight, bias = _continue(weight, bias, layer.input)
            elif first:
                self.table = _product(self.table, first[0].weight().t())
                weight, bias = _continue(weight, bias, first[0])
            self.tiers.append(_Tier(tier, _Map(weight, bias, products), products))

    def draw(
        self,
        sampler_state: SamplerState,
        numbers: Float32[Tensor, "samples rows"],
        temperatures: Float64[Tensor, "samples rows"] | None,
        vectors: Float[Tensor, "samples rows width"] | None,
        min_p: float,
    ) -> tuple[
        Int64[Tensor, "rows samples"], Float[Tensor, "rows samples parameters"], SamplerState
    ]:
        """Draw a part that begins and ends with a frame of the top tier.

        Returns:
            Codes, the parameters of the head, and the state after them.
        """
        config, state, values = self.model.config, sampler_state.model, self.model.real_values
        (samples, rows), lookback = numbers.shape, config.lookback
        codes = sampler_state.previous.new_empty(lookback + samples, rows)
        codes[: lookback - 1] = state.history.t()
        codes[lookback - 1] = sampler_state.previous
        h = [list(part.unbind(1)) for part in state.h]
        outputs: list[Tensor] = [values] * len(h)
        conditions: list[Tensor] = [values] * len(h)
        window, q_levels, params = config.frame_sizes[0], self.model.q_levels, []
        for t in range(samples):
            now = lookback + t
            for index, tier in reversed(list(enumerate(self.tiers))):
                if t % tier.size:
                    continue
                above = None
                if tier is not self.tiers[-1]:
                    place = t % self.tiers[index + 1].size // tier.size
                    above = conditions[index + 1][:, place]
                vector = None if vectors is None else vectors[t]
                frame = codes[now - tier.size : now]
                outputs[index] = tier(frame, values, above, vector, h[index])
                ratio = self.model.tiers[index].ratio
                conditions[index] = tier.upsample(outputs[index]).unflatten(-1, (ratio, -1))
            condition = conditions[0][:, t % self.tiers[0].size]
            x = operators.add_rows(codes[now - window : now], self.table, q_levels, condition)
            logits = self.last(self.hidden.relu(x))
            own = None if temperatures is None else temperatures[t]
            operators.draw_code(logits, numbers[t], own, min_p, codes[now])
            params.append(logits)
        after = replace(
            state,
            h=tuple(torch.stack(part, 1) for part in h),
            conditions=tuple(
                tier.conditions(output.unsqueeze(1))
                for tier, output in zip(self.model.tiers, outputs, strict=True)
            ),
            history=codes[samples:-1].t(),
            clock=state.clock + samples,
        )
        after = SamplerState(after, codes[-1], sampler_state.clips)
        return codes[lookback:].t(), torch.stack(params, 1), after


def _continue(weight: Tensor, bias: Tensor, following: Linear) -> tuple[Tensor, Tensor]:
    """Return an upsampling each of whose vectors goes through the map that follows."""
    assert following.bias is not None
    by = following.weight().double()
    weights = by @ weight.double().unflatten(0, (-1, by.shape[1]))
    biases = bias.double().unflatten(0, (-1, by.shape[1])) @ by.t() + following.bias.double()
    return weights.flatten(0, 1).to(weight.dtype), biases.flatten().to(bias.dtype)


class FusedWaveRNN:
    """Parts of clips of a WaveRNN."""

    def __init__(self, model: WaveRNN, products: Products):
        self.model, layer = model, model.layer
        self.recurrent = _Map(layer.recurrent(), None, products)
        weight, self.bias = layer.input.weight(), layer.input.bias
        # Few columns of codes: in float32 also where a GPU would round them in a product.
        self.scalars = weight[:, :SCALARS].t().contiguous()
        self.conditioning = None
        if model.conditioner is not None:
            self.conditioning = _Map(weight[:, SCALARS:].contiguous(), self.bias, products)
        maps = (model.o1, model.o2, model.o3, model.o4)
        self.o1, self.o2, self.o3, self.o4 = (_map_of(part, products) for part in maps)

    def draw(
        self,
        sampler_state: SamplerState,
        numbers: Float32[Tensor, "samples rows"],
        temperatures: Float64[Tensor, "samples rows"] | None,
        vectors: Float[Tensor, "samples rows width"] | None,
        min_p: float,
    ) -> tuple[
        Int64[Tensor, "rows samples"], Float[Tensor, "rows samples parameters"], SamplerState
    ]:
        """Draw a part, as :meth:`FusedSampleRNN.draw` does."""
        state, previous = sampler_state.model, sampler_state.previous
        coarse, fine, h = previous // FINE_LEVELS, previous % FINE_LEVELS, state.h[:, 0]
        middle, bias = self.model.middle, self.model.layer.candidate_bias
        gates = self.bias
        assert bias is not None
        assert gates is not None
        drawn: tuple[list[Tensor], list[Tensor]] = [], []
        params: tuple[list[Tensor], list[Tensor]] = [], []
        for t, number in enumerate(numbers):
            own = None if temperatures is None else temperatures[t]
            if self.conditioning is not None and vectors is not None:
                gates = self.conditioning(vectors[t])
            products, after = self.recurrent(h), torch.empty_like(h)
            inputs: Sequence[Tensor] = (coarse, fine)
            rest = number
            halves = (slice(0, middle), self.o1, self.o2), (slice(middle, None), self.o3, self.o4)
            for stage, (units, to_hidden, to_logits) in enumerate(halves):
                operators.reset_after(
                    gates, products, bias, h, after, units, self.scalars, tuple(inputs)
                )
                logits = to_logits(to_hidden.relu(after[:, units]))
                symbol, rest = operators.draw_symbol(logits, rest, own, min_p)
                inputs = (coarse, fine, symbol)
                drawn[stage].append(symbol)
                params[stage].append(logits)
            coarse, fine, h = drawn[0][-1], drawn[1][-1], after
        codes = torch.stack(drawn[0], 1) * FINE_LEVELS + torch.stack(drawn[1], 1)
        logits = torch.cat([torch.stack(part, 1) for part in params], -1)
        later = WaveRNNState(h.unsqueeze(1), state.clock + len(numbers))
        return codes, logits, SamplerState(later, codes[:, -1], sampler_state.clips)


def fuse(model: StepModel, products: Products = "float32") -> FusedSampleRNN | FusedWaveRNN | None:
    """Return what draws samples of a folded model with few operators; None if nothing does.

    Args:
        model: In evaluation mode. Its weights must not change from now on.
        products: Precision of the products.
    """
    values = model.real_values
    if values.is_cuda and values.dtype != torch.float32:
        return None
    if isinstance(model, WaveRNN):
        return FusedWaveRNN(model, products)
    if (
        isinstance(model, SampleRNN)
        and isinstance(model.head, CategoricalHead)
        and model.predictor is None
        and model.sample_level.folded is not None
    ):
        return FusedSampleRNN(model, products)
    return None
