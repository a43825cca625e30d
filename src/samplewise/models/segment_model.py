"""Models whose samples depend on later ones too: they are drawn a segment at a time.

Within a segment of ``config.top_frame`` samples a model may make its samples in any order; its
density is the product over that order. No sample depends on a later segment.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor
from torch.nn import functional as F

from samplewise.models.base import Config, Model, State


class SegmentModel(Model[Config]):
    """Base of such models: ``forward`` takes whole segments, ``draw_segment`` draws one."""

    is_stepwise = False

    def draw_segment(
        self,
        state: State,
        uniforms: Float[Tensor, "batch samples"],
        temperature: Float[Tensor, "batch samples"] | None = None,
        known: Int[Tensor, "batch known"] | None = None,
    ) -> tuple[Int[Tensor, "batch samples"], State, Float64[Tensor, "batch samples"]]:
        """Draw a segment, one sample after the other in the order in which they depend.

        Args:
            state: At the start of a segment.
            uniforms: The random number that makes each sample, in time order, in [0, 1).
            temperature: Of each sample; None means 1.
            known: The segment's first codes, which are taken as they are.

        Returns:
            Codes in time order, the state after them, and ln p of each at temperature 1, in nats.
        """
        raise NotImplementedError

    def check_segments(self, target: Int[Tensor, "batch time"] | None) -> Int[Tensor, "batch time"]:
        """Return the target of a pass.

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

    def probe(self, clips: int) -> Float[Tensor, "steps {clips} numbers"]:
        """Return what some steps of drawing give when every clip of a batch is the same.

        Rows of a batch that differ show that this machine rounds by their place or their number.
        """
        raise NotImplementedError

    def step(self, previous: Any, state: Any, target: Any = None, conditioning: Any = None) -> Any:
        """Refuse: a sample cannot be made before later ones that it depends on."""
        raise NotImplementedError(
            f"a {self.config.family} model makes its samples in another order than time; draw "
            "whole segments with draw_segment, or any chunk with generate.segments.SegmentSampler"
        )

    def sample(
        self,
        previous: Any,
        state: Any,
        uniforms: Any,
        temperature: Any = None,
        conditioning: Any = None,
    ) -> Any:
        """Refuse, as :meth:`step` does."""
        return self.step(previous, state)


def given(
    known: Int[Tensor, "batch known"] | None, samples: int, like: Tensor
) -> tuple[Int[Tensor, "batch {samples}"], Bool[Tensor, "batch {samples}"]]:
    """Return known codes followed by zeros, and where they are known."""
    if known is None:
        known = like.new_zeros(len(like), 0, dtype=torch.int64)
    codes = F.pad(known, (0, samples - known.shape[1]))
    return codes, torch.arange(samples, device=like.device).expand_as(codes) < known.shape[1]
