"""From mel frames and a class to the vectors that enter a model (Chosen: neither paper has this).

Residual convolutions over frames, then ``upsampling`` linear maps that make as many vectors of each
frame, as a SampleRNN's tiers do for the tier below (Mehri et al. 2017, Eq. 6). A vector stays in
force for ``hold`` samples. A class adds a vector of its own to every one of them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from samplewise.config.conditioning import ConditioningConfig
from samplewise.nn.init import Initializer
from samplewise.nn.linear import Linear

MEL_MEAN, MEL_DEVIATION = -5.0, 4.0
"""ln of mel bands lies between -11.5 and about 3: brings it to about ±2."""


@dataclass(frozen=True)
class ConditioningInputs:
    """What the conditioning of one subsequence is computed from, a row per lane."""

    mel: Float[Tensor, "lanes frames n_mels"] | None
    """The frames that the subsequence lies in, with ``context`` more on either side."""
    offset: Int[Tensor, " lanes"]
    """Samples by which the subsequence begins after its first frame does."""
    label: Int[Tensor, " lanes"]
    """Class of each lane."""
    log_steps: Float[Tensor, "lanes time"] | None = None
    """ln of how many 16-bit steps of the sound a step of each code is, for a model that draws an
    excitation: the cost of a code plus this is the cost of a sample, in nats."""

    def map(self, function: Callable[[Tensor], Tensor]) -> "ConditioningInputs":
        """Return the inputs with ``function`` applied to each tensor."""
        mel = None if self.mel is None else function(self.mel)
        steps = None if self.log_steps is None else function(self.log_steps)
        return ConditioningInputs(mel, function(self.offset), function(self.label), steps)


class Conditioner(nn.Module):
    """What prepares the cues of a model; its output depends on ``context`` frames either side.

    Args:
        config: Sizes.
        init: Draws the weights.
    """

    def __init__(self, config: ConditioningConfig, init: Initializer):
        super().__init__()
        self.config = config
        channels = config.channels
        self.input = self.upsample = self.embedding = None
        self.layers = nn.ModuleList()
        if config.mel is not None:
            self.input = Linear(init.he(channels, 3 * config.mel.n_mels), weight_norm=False)
            self.layers.extend(
                Linear(init.he(channels, 3 * channels), weight_norm=False)
                for _ in range(config.layers)
            )
            rows = config.upsampling * config.width
            self.upsample = Linear(init.he(rows, channels), weight_norm=False)
        if config.classes:
            self.embedding = nn.Parameter(init.normal(len(config.classes), config.width))

    def forward(
        self, conditioning_inputs: ConditioningInputs, samples: int
    ) -> Float[Tensor, "lanes {samples} width"]:
        """Return the vector in force at each sample of a subsequence.

        Args:
            conditioning_inputs: Of the subsequence.
            samples: Its length.
        """
        vectors = self.vectors(conditioning_inputs.mel, conditioning_inputs.label)
        lanes, count, width = vectors.shape
        if count == 1:
            return vectors.expand(lanes, samples, width)
        steps = torch.arange(samples, device=vectors.device)
        place = (conditioning_inputs.offset[:, None] + steps) // self.config.hold
        first = torch.arange(lanes, device=vectors.device)[:, None] * count
        return F.embedding(first + place, vectors.reshape(lanes * count, width))

    def vectors(
        self, mel: Float[Tensor, "lanes frames n_mels"] | None, label: Int[Tensor, " lanes"]
    ) -> Float[Tensor, "lanes vectors width"]:
        """Return every vector that the frames are enough for; one for a class alone.

        Args:
            mel: ``context`` frames more on either side than there will be vectors for.
            label: Class of each lane; of no meaning without classes.
        """
        made = None
        if self.input is not None:
            assert mel is not None
            assert self.upsample is not None
            x = F.relu(self.input(_threes((mel - MEL_MEAN) / MEL_DEVIATION)))
            for layer in self.layers:
                x = x[:, 1:-1] + F.relu(layer(_threes(x)))
            made = self.upsample(x).reshape(len(mel), -1, self.config.width)
        if self.embedding is None:
            assert made is not None
            return made
        of_class = F.embedding(label, self.embedding).unsqueeze(1)
        return of_class if made is None else made + of_class


def _threes(
    x: Float[Tensor, "lanes frames channels"],
) -> Float[Tensor, "lanes frames-2 channels*3"]:
    """Return each frame with its neighbours beside it: a convolution over three is linear then."""
    return torch.cat([x[:, :-2], x[:, 1:-1], x[:, 2:]], -1)
