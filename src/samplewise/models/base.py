"""What every autoregressive model has: states as values, a teacher-forced pass, a head."""

from abc import ABC, abstractmethod
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
from samplewise.heads.base import Head
from samplewise.heads.categorical import CategoricalHead
from samplewise.heads.mixture import GaussianMixtureHead, LogisticMixtureHead
from samplewise.nn.conditioning import Conditioner, ConditioningInputs
from samplewise.nn.init import Initializer
from samplewise.nn.linear import Linear, Weight, fold_weight_norm
from samplewise.quantizers import compand, make_quantizer

Config = TypeVar("Config", bound=ModelConfig, covariant=True)
State = Any
"""A frozen dataclass of tensors, batch first, and ``clock``, the samples predicted so far."""
OFFICIAL_MOMENTS = (0.0, 0.5)
"""Mean and deviation by which amplitudes become real values in [-2, 2], as in the official code."""


CONDITIONER_SEED = 1_000_003
"""Seed offset of the conditioning weights, so that the other weights are the same with and without
conditioning."""
MIXTURE_SCALE = 0.01
"""Scale of the initial map to a mixture, which begins as one Gaussian of the data's own moments.
Otherwise a deviation near its floor gives some first samples a cost of hundreds of bits."""
OUTPUT_SCALE = 0.1
"""Scale of the initial maps to logits, for a model that starts at the distribution of the training
split."""
COUNT_SMOOTHING = 0.1
"""Added to the count of each symbol, so that a symbol without occurrences keeps a probability."""


def output_mlp(config: SampleRNNConfig | RNNConfig, init: Initializer) -> nn.ModuleList:
    """Return the maps from conditioning vectors to the head (Eqs. 3 and 9)."""
    dim, norm = config.dim, config.weight_norm
    hidden = [
        Linear(init.he(dim, dim), weight_norm=norm)
        for _ in range(getattr(config, "mlp_maps", 3) - 1)
    ]
    last = init.input_map(config.head_width, dim)
    if config.head != "categorical" and init.has_values:
        last = last * MIXTURE_SCALE
    return nn.ModuleList([*hidden, Linear(last, weight_norm=norm)])


@dataclass(frozen=True)
class Prunable:
    """A matrix whose blocks may be set to zero (Kalchbrenner et al. 2018, section 3.1)."""

    name: str
    """Name of the matrix in the model and in its files."""
    weight: Weight
    """The matrix."""
    bands: int
    """Parts of equal height whose blocks are ranked separately: the gates of a recurrent layer."""


class AutoregressiveModel(nn.Module, ABC, Generic[Config]):
    """Base of the models: codes in, the distribution of the next code out.

    Its two kinds are :class:`StepModel` and :class:`SegmentModel`. Nothing of a sequence lives on
    the module: the state is an argument and a result.

    Args:
        config: Sizes.
        seed: Seed of the initial weights; None leaves them without values or memory, to be loaded.
    """

    config: Config
    head: Head

    def __init__(self, config: Config, seed: int | None):
        super().__init__()
        self.config = config
        conditioning = conditioning_of(config)
        self.conditioner = None
        if conditioning is not None:
            own = None if seed is None else seed + CONDITIONER_SEED
            self.conditioner = Conditioner(conditioning, Initializer(own))
        self.q_levels = config.q_levels
        self.quantizer = make_quantizer(config.quantizer, config.q_levels)
        self.real_values: Tensor
        self.register_buffer("real_values", torch.from_numpy(self._values()), persistent=False)
        self.head = CategoricalHead()
        if isinstance(config, SampleRNNConfig | RNNConfig) and config.head == "gmm":
            self.head = GaussianMixtureHead(self.real_values)
        if isinstance(config, SampleRNNConfig) and config.head == "mol":
            self.head = LogisticMixtureHead(config.q_levels)

    @abstractmethod
    def initial_state(self, batch: int) -> State:
        """Return the state before the first sample, as if silence came before it."""

    @abstractmethod
    def reset(self, state: State, mask: Bool[Tensor, " batch"]) -> State:
        """Start new sequences in the rows of ``mask``; the others go on.

        Raises:
            ValueError: In the middle of a frame, where rows cannot start.
        """

    @abstractmethod
    def forward(
        self,
        previous: Int[Tensor, "batch time"],
        state: State,
        target: Int[Tensor, "batch time"] | None = None,
        conditioning: Float[Tensor, "batch time width"] | None = None,
    ) -> tuple[Float[Tensor, "batch time parameters"], State]:
        """Teacher-forced pass over a subsequence; ``previous[:, t]`` precedes sample t.

        Args:
            previous: The codes before those to predict.
            state: After the codes before ``previous``.
            target: The codes to predict. Only a model that draws a sample in stages uses them, and
                only for the stages after the first.
            conditioning: The vector in force at each sample, from :attr:`conditioner`; None for a
                model without conditioning.

        Returns:
            The parameters of the head for each sample, and the state after it.
        """

    def fold(self) -> None:
        """Fold weight normalisation into the weights, in place; the function is unchanged.

        The model can no longer be trained.
        """
        fold_weight_norm(self)

    def condition_width(self) -> int:
        """Return the width of the conditioning vectors; 0 for a model without conditioning."""
        return 0 if self.conditioner is None else self.conditioner.config.width

    def conditioning_vectors(
        self, conditioning_inputs: ConditioningInputs | None, samples: int
    ) -> Float[Tensor, "batch {samples} width"] | None:
        """Return the vectors in force at each sample; None for a model without conditioning."""
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

        That is the cost of its code, unless the codes are those of an excitation. The steps of an
        excitation are finer or coarser than those of the sound: the cost is then an upper bound.

        Args:
            params: Parameters of the head, from :meth:`forward`.
            target: Codes.
            conditioning_inputs: Of the subsequence, at least as long as it.
        """
        nats = self.head.nll(params, target)
        if conditioning_inputs is None or conditioning_inputs.log_steps is None:
            return nats
        return nats + conditioning_inputs.log_steps[:, : nats.shape[1]]

    def check_conditioning(self, conditioning: Any) -> None:
        """Check that conditioning vectors are there if, and only if, the model takes them.

        Raises:
            ValueError: If they are missing or not wanted.
        """
        if (conditioning is None) != (self.conditioner is None):
            needs = "needs" if conditioning is None else "takes no"
            raise ValueError(
                f"this model {needs} conditioning: a mel spectrogram or a class, as it was trained"
            )

    def prunable(self) -> list[Prunable]:
        """Return every matrix whose blocks may be pruned."""
        names = {part: name for name, part in self.named_modules() if isinstance(part, Weight)}
        return [Prunable(names[weight], weight, bands) for weight, bands in self.wide_weights()]

    def wide_weights(self) -> Iterator[tuple[Weight, int]]:
        """Yield the matrices that take nearly all time of a sample, and the gates of each."""
        yield from ()

    def prepare_to_prune(self) -> None:
        """Give a model that is not trained yet the form in which pruning makes it faster."""

    def output_maps(self) -> Iterator[tuple[Linear, int]]:
        """Yield the maps to logits, and the index of the symbol that each of them predicts."""
        yield from ()

    @torch.no_grad()
    def start_at(self, counts: Int64[np.ndarray, " q_levels"]) -> None:
        """Set the output maps so that an untrained model predicts a given distribution of codes.

        Biases of the output maps become the logarithms of the frequencies of each symbol. Their
        matrices shrink, so that training begins with small corrections. A density is not
        changed.

        Args:
            counts: Number of occurrences of each code.
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
        """Check that a sequence may start here.

        Raises:
            ValueError: In the middle of a frame.
        """
        if state.clock % self.config.top_frame:
            raise ValueError(
                f"clock = {state.clock} must be a multiple of the top frame "
                f"({self.config.top_frame}) to start a sequence"
            )

    def _values(self) -> np.ndarray:
        """Return the real value of each code, the input of a model without embedding."""
        config = self.config
        kind = getattr(config, "frame_values", "amplitude")
        values = self.quantizer.scaled_codes if kind == "code" else self.quantizer.inputs
        if kind == "companded":
            values = compand(self.quantizer.amplitudes)
        mean, deviation = getattr(config, "moments", None) or OFFICIAL_MOMENTS
        return ((values - mean) / deviation).astype(np.float32)
