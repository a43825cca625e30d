"""Models whose samples depend on later samples too: they are drawn a segment at a time.

Within a segment of ``config.top_frame`` samples a model may draw its samples in any order. Its
density is the product over that order. No sample depends on a later segment.
"""

from abc import abstractmethod

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor
from torch.nn import functional as F

from samplewise.models.base import AutoregressiveModel, Config, State


class SegmentModel(AutoregressiveModel[Config]):
    """Base of the models that draw a segment at a time; ``forward`` takes whole segments."""

    @abstractmethod
    def draw_segment(
        self,
        state: State,
        uniforms: Float[Tensor, "batch samples"],
        temperature: Float[Tensor, "batch samples"] | None = None,
        known: Int[Tensor, "batch known"] | None = None,
        min_p: float = 0.0,
    ) -> tuple[Int[Tensor, "batch samples"], State, Float64[Tensor, "batch samples"]]:
        """Draw a segment, one sample after the other in the order of their dependence.

        Args:
            state: At the start of a segment.
            uniforms: The random number that makes each sample, in time order, in [0, 1).
            temperature: Of each sample; None means 1.
            known: The first codes of the segment, which are not drawn.
            min_p: Codes (of a symbol) at most ``min_p`` times as probable as the most probable one
                are not drawn; 0 cuts off none.

        Returns:
            Codes in time order, the state after them, and ln p of each at temperature 1, in nats.
        """

    def check_segments(self, target: Int[Tensor, "batch time"] | None) -> Int[Tensor, "batch time"]:
        """Return the target of a pass after checking it.

        Raises:
            ValueError: If there is none, or it is not a number of whole segments.
        """
        if target is None:
            raise ValueError(
                f"a {self.config.family} model needs the target: samples depend on later ones"
            )
        time, segment = target.shape[1], self.config.top_frame
        if time % segment:
            raise ValueError(
                f"time = {time} must be a multiple of the top frame ({segment}): samples of a "
                "segment depend on later ones"
            )
        return target

    @abstractmethod
    def probe(self, clips: int) -> Float[Tensor, "steps {clips} numbers"]:
        """Return numbers from some steps of sampling, with the same clip in every row of a batch.

        Rows that differ show that rounding depends on the batch, on this machine.
        """


def given(
    known: Int[Tensor, "batch known"] | None, samples: int, like: Tensor
) -> tuple[Int[Tensor, "batch {samples}"], Bool[Tensor, "batch {samples}"]]:
    """Return known codes followed by zeros, and a mask of the known positions."""
    if known is None:
        known = like.new_zeros(len(like), 0, dtype=torch.int64)
    codes = F.pad(known, (0, samples - known.shape[1]))
    return codes, torch.arange(samples, device=like.device).expand_as(codes) < known.shape[1]
