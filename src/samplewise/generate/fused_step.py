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
    """One frame of a frame-level tier, whose biases are part of the conditions from above."""

    def __init__(self, tier: FrameLevelModule, upsample: _Map, products: Products):
        self.size, self.ratio, self.dim = tier.frame_size, tier.ratio, tier.dim
        self.upsample = upsample
        self.is_top = tier.input is None
        stack: RecurrentStack = tier.rnn
        self.layers = [_Layer(layer, products) for layer in stack.layers]  # pyright: ignore[reportArgumentType]
        self.skips = [_map_of(skip, products) for skip in stack.skips]  # pyright: ignore[reportArgumentType]
        first = self.layers[0]
        # The top tier's frames are inputs of its first layer.
        source = first.input if tier.input is None else _map_of(tier.input, products)
        self.frame_weights = source.weight.t()[: self.size].contiguous()

    def __call__(
        self,
        codes: Int64[Tensor, "size rows"],
        values: Float[Tensor, " q_levels"],
        above: Float[Tensor, "rows dim"] | None,
        vector: Float[Tensor, "rows width"] | None,
        states: list[Tensor],
    ) -> Float[Tensor, "rows dim"]:
        """Return h of a frame; replace the layers' states."""
        first, outputs = self.layers[0], []
        x = gates = None
        is_narrow = self.size < WIDE_FRAME
        if above is not None:
            if is_narrow:
                x = operators.add_values(codes, values, self.frame_weights, above)
            else:
                x = torch.addmm(above, values[codes.t()], self.frame_weights)
        elif is_narrow and vector is None and not self.skips and first.cell != "lstm":
            assert first.input.bias is not None
            gates = operators.add_values(codes, values, self.frame_weights, first.input.bias)
        else:
            x = values[codes.t()]
        if vector is not None and x is not None:
            x = torch.cat([x, vector], -1)
        h = x
        for index, layer in enumerate(self.layers):
            if index == 0 and gates is not None:
                h = states[0] = layer.after_gates(gates, states[0])
                continue
            assert h is not None
            inputs = torch.cat([h, x], -1) if index and self.skips and x is not None else h
            h, states[index] = layer(inputs, states[index])
            if self.skips:
                outputs.append(self.skips[index](h))
        assert h is not None
        return torch.stack(outputs).sum(0) if outputs else h

    def condition(self, conditions: Float[Tensor, "rows units"], place: int) -> Tensor:
        """Return the conditioning vector of one frame of the tier below."""
        return conditions[:, place * self.dim : (place + 1) * self.dim]


class FusedSampleRNN:
    """Parts of clips of a SampleRNN over codes, without a linear predictor.

    The first map of the MLP is part of the table of codes and of tier 2's upsampling.
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
                below = model.tiers[index - 1].input
                assert below is not None
                assert below.bias is not None
                bias = bias + below.bias.repeat(tier.ratio)
            elif first:
                weight, bias = self._fold(first[0], weight, bias)
            self.tiers.append(_Tier(tier, _Map(weight, bias, products), products))

    def _fold(self, first: Linear, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Multiply the table by the MLP's first map; return the upsampling multiplied by it."""
        assert first.bias is not None
        by, dim = first.weight().double(), self.model.config.dim
        self.table = (self.table.double() @ by.t()).to(self.table.dtype)
        blocks = by @ weight.double().view(-1, dim, dim)
        biases = bias.double().view(-1, dim) @ by.t() + first.bias.double()
        return blocks.flatten(0, 1).to(weight.dtype), biases.flatten().to(bias.dtype)

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
                if not tier.is_top:
                    upper = self.tiers[index + 1]
                    place = t % upper.size // tier.size
                    above = upper.condition(conditions[index + 1], place)
                vector = None if vectors is None else vectors[t]
                frame = codes[now - tier.size : now]
                outputs[index] = tier(frame, values, above, vector, h[index])
                conditions[index] = tier.upsample(outputs[index])
            lowest = self.tiers[0]
            condition = lowest.condition(conditions[0], t % lowest.size)
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
