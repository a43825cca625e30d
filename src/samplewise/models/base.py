"""What every autoregressive model is: states as values, one step, one draw."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor, nn

from samplewise.config.models import (
    ModelConfig,
    RNNConfig,
    SampleRNNConfig,
    conditioning_of,
)
from samplewise.heads.base import CategoricalHead, GaussianMixtureHead, Head
from samplewise.nn.conditioning import Conditioner, ConditioningInputs
from samplewise.nn.init import Initializer
from samplewise.nn.linear import Linear, Weight, fold_weight_norm
from samplewise.quantizers import make_quantizer

Config = TypeVar("Config", bound=ModelConfig, covariant=True)
State = Any
"""A frozen dataclass of tensors, batch first, and ``clock``, the samples predicted so far."""
OFFICIAL_MOMENTS = (0.0, 0.5)
"""Mean and deviation by which amplitudes become real values in [-2, 2], as in the official code."""


CONDITIONER_SEED = 1_000_003
"""Added to a model's: its other weights do not depend on whether it is told something."""
MIXTURE_SCALE = 0.01
"""Of the initial map to a mixture: it begins as one Gaussian of the data's own moments. Otherwise a
deviation near its floor gives some first samples a cost of hundreds of bits."""
OUTPUT_SCALE = 0.1
"""Of the initial maps to logits, where a model starts at the distribution of the training split."""
COUNT_SMOOTHING = 0.1
"""Added to how often each symbol occurs: those that never did can still come."""


def output_mlp(config: SampleRNNConfig | RNNConfig, init: Initializer) -> nn.ModuleList:
    """Return the three maps from conditioning vectors to what the head takes (Eqs. 3 and 9)."""
    dim, norm = config.dim, config.weight_norm
    hidden = [Linear(init.he(dim, dim), weight_norm=norm) for _ in range(2)]
    last = init.input_map(config.head_width, dim)
    if config.head == "gmm" and init.has_values:
        last = last * MIXTURE_SCALE
    return nn.ModuleList([*hidden, Linear(last, weight_norm=norm)])


@dataclass(frozen=True)
class Prunable:
    """A matrix of which blocks may be set to zero (Kalchbrenner et al. 2018, section 3.1)."""

    name: str
    """Where it is in the model, as files name it."""
    weight: Weight
    """The matrix."""
    bands: int
    """Parts of equal height that are ranked apart: the gates of a recurrent layer."""


class Model(nn.Module, Generic[Config]):
    """Base of the models: codes in, the distribution of the next code out.

    A family defines ``initial_state``, ``reset`` and ``forward``; nothing of a sequence lives on
    the module.
    """

    config: Config
    is_stepwise: bool = True
    """Whether a sample depends on earlier ones alone: it can be drawn, and a subsequence can be of
    any length. Else ``step``, ``sample`` and ``draw`` do not exist, subsequences are whole top
    frames, and there is ``draw_segment`` (see :class:`SegmentModel`)."""
    min_p: float = 0.0
    """Codes at most so many times as probable as the most probable one are not drawn."""

    def __init__(self, config: Config, seed: int | None):
        super().__init__()
        self.config = config
        told = conditioning_of(config)
        self.conditioner = None
        if told is not None:
            own = None if seed is None else seed + CONDITIONER_SEED
            self.conditioner = Conditioner(told, Initializer(own))
        self.q_levels = config.q_levels
        self.quantizer = make_quantizer(config.quantizer, config.q_levels)
        self.real_values: Tensor
        self.register_buffer("real_values", torch.from_numpy(self._values()), persistent=False)
        self.head: Head = CategoricalHead()
        if isinstance(config, SampleRNNConfig | RNNConfig) and config.head == "gmm":
            self.head = GaussianMixtureHead(self.real_values)

    def initial_state(self, batch: int) -> State:
        """Return the state before the first sample: silence behind."""
        raise NotImplementedError

    def reset(self, state: State, mask: Bool[Tensor, " batch"]) -> State:
        """Start new sequences in the rows of ``mask``; the others go on.

        Raises:
            ValueError: In the middle of a frame, where rows cannot start.
        """
        raise NotImplementedError

    def forward(
        self,
        previous: Int[Tensor, "batch time"],
        state: State,
        target: Int[Tensor, "batch time"] | None = None,
        conditioning: Float[Tensor, "batch time width"] | None = None,
    ) -> tuple[Float[Tensor, "batch time parameters"], State]:
        """Teacher-forced pass over a subsequence of any length; ``previous[:, t]`` precedes t.

        Args:
            previous: The codes before those to predict.
            state: After the codes before ``previous``.
            target: The codes to predict. Only a model that draws a sample in stages looks at it,
                and only for the stages after the first.
            conditioning: The vector in force at each sample, from :attr:`conditioner`; None for a
                model that is told nothing.

        Returns:
            What the head takes, for each sample, and the state after it.
        """
        raise NotImplementedError

    def step(
        self,
        previous: Int[Tensor, " batch"],
        state: State,
        target: Int[Tensor, " batch"] | None = None,
        conditioning: Float[Tensor, "batch width"] | None = None,
    ) -> tuple[Float[Tensor, "batch parameters"], State]:
        """One sample; equal to :meth:`forward` on a subsequence of one."""
        targets = None if target is None else target.unsqueeze(1)
        vectors = None if conditioning is None else conditioning.unsqueeze(1)
        params, state = self(previous.unsqueeze(1), state, targets, vectors)
        return params.squeeze(1), state

    def sample(
        self,
        previous: Int[Tensor, " batch"],
        state: State,
        uniforms: Float[Tensor, " batch"],
        temperature: Float[Tensor, " batch"] | None = None,
        conditioning: Float[Tensor, "batch width"] | None = None,
    ) -> tuple[Int[Tensor, " batch"], State, Float[Tensor, "batch parameters"]]:
        """Draw one sample; return it, the state after it, and what :meth:`step` gives for it."""
        params, state = self.step(previous, state, conditioning=conditioning)
        return self.head.sample(params, uniforms, temperature, self.min_p), state, params

    def draw(
        self,
        previous: Int[Tensor, " batch"],
        state: State,
        uniforms: Float[Tensor, " batch"],
        temperature: Float[Tensor, " batch"] | None = None,
        conditioning: Float[Tensor, "batch width"] | None = None,
    ) -> tuple[Int[Tensor, " batch"], State, Float[Tensor, " batch"]]:
        """Draw one sample; the log-probability is that of the model at temperature 1, in nats."""
        code, state, params = self.sample(previous, state, uniforms, temperature, conditioning)
        return code, state, self.head.log_prob(params, code)

    def fold(self) -> None:
        """Compute once what depends on the weights alone, in place; the function is unchanged.

        The model can no longer be trained.
        """
        fold_weight_norm(self)

    def condition_width(self) -> int:
        """Return the width of the vectors that the model is told; 0 if it is told nothing."""
        return 0 if self.conditioner is None else self.conditioner.config.width

    def conditioning_vectors(
        self, conditioning_inputs: ConditioningInputs | None, samples: int
    ) -> Float[Tensor, "batch {samples} width"] | None:
        """Return the vectors in force at each sample; None for a model that is told nothing."""
        if self.conditioner is None or conditioning_inputs is None:
            return None
        return self.conditioner(conditioning_inputs, samples)

    def nll(
        self,
        params: Float[Tensor, "batch time params"],
        target: Int[Tensor, "batch time"],
        conditioning_inputs: ConditioningInputs | None = None,
    ) -> Float[Tensor, "batch time"]:
        """Return the cost of each sample of the sound, in nats.

        That is the cost of its code, unless the codes are those of an excitation, whose steps are
        finer or coarser than the sound's: an upper bound then.

        Args:
            params: As :meth:`forward` gives them.
            target: Codes.
            conditioning_inputs: Of the subsequence, at least as long as it.
        """
        nats = self.head.nll(params, target)
        if conditioning_inputs is None or conditioning_inputs.log_steps is None:
            return nats
        return nats + conditioning_inputs.log_steps[:, : nats.shape[1]]

    def check_conditioning(self, conditioning: Any) -> None:
        """Refuse to run without the vectors that the model needs, or with some that it does not."""
        if (conditioning is None) != (self.conditioner is None):
            needs = "needs" if conditioning is None else "takes no"
            raise ValueError(
                f"this model {needs} conditioning: a mel spectrogram or a class, as it was trained"
            )

    def prunable(self) -> list[Prunable]:
        """Return every matrix whose blocks may be pruned; empty for a family that has none."""
        names = {part: name for name, part in self.named_modules() if isinstance(part, Weight)}
        return [Prunable(names[weight], weight, bands) for weight, bands in self.wide_weights()]

    def wide_weights(self) -> Iterator[tuple[Weight, int]]:
        """Yield the matrices that take nearly all of a sample's time, and the gates in each."""
        yield from ()

    def prepare_to_prune(self) -> None:
        """Give a model that is not trained yet the form in which pruning makes it faster."""

    def output_maps(self) -> Iterator[tuple[Linear, int]]:
        """Yield the maps that make logits, and the place of what they predict in the symbols."""
        yield from ()

    @torch.no_grad()
    def start_at(self, counts: Int64[np.ndarray, " q_levels"]) -> None:
        """Let an untrained model predict about the distribution of some codes, whatever precedes.

        Biases of the output maps become the logarithms of the frequencies of each symbol; their
        matrices shrink, so that training begins with small corrections. A density is left as it is.

        Args:
            counts: How often each code occurs.
        """
        symbols = self.head.symbols(torch.arange(self.q_levels))
        weights = torch.from_numpy(counts).double()
        for linear, place in self.output_maps():
            assert linear.bias is not None
            occurred = torch.zeros(len(linear.bias), dtype=torch.double)
            occurred.index_add_(0, symbols[:, place], weights)
            occurred += COUNT_SMOOTHING
            linear.bias.copy_((occurred / occurred.sum()).log())
            linear.weight.scale(OUTPUT_SCALE)

    def check_boundary(self, state: State) -> None:
        """Refuse to start a sequence in the middle of a frame."""
        if state.clock % self.config.top_frame:
            raise ValueError(
                f"clock = {state.clock} must be a multiple of the top frame "
                f"({self.config.top_frame}) to start a sequence"
            )

    def _values(self) -> np.ndarray:
        """Return the real value of each code: what a model sees in place of an embedding."""
        config = self.config
        is_code = getattr(config, "frame_values", "amplitude") == "code"
        values = self.quantizer.scaled_codes if is_code else self.quantizer.inputs
        mean, deviation = getattr(config, "moments", None) or OFFICIAL_MOMENTS
        return ((values - mean) / deviation).astype(np.float32)
