"""The class of each clip, and its conditioning vectors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32

from samplewise.engine.sampler import ConditioningVectors
from samplewise.errors import SamplewiseError
from samplewise.models.base import AutoregressiveModel


@dataclass(frozen=True)
class ClassConditioning:
    """The conditioning of the clips of a batch, the same over their whole length."""

    labels: tuple[str | None, ...]
    """Class of each clip; None for a model without classes."""
    vectors: Float32[np.ndarray, "clips width"] | None
    """Conditioning vector of each clip; None for an unconditional model."""
    hold: int = 1
    """Samples that a vector stays in force for."""

    def at(self, start: int, samples: int) -> ConditioningVectors | None:
        """Return the vectors in force at ``samples`` samples from sample ``start`` on."""
        if self.vectors is None:
            return None
        count = (start + max(1, samples) - 1) // self.hold - start // self.hold + 1
        return np.repeat(self.vectors[:, None], count, 1)


@torch.inference_mode()
def class_conditioning(
    model: AutoregressiveModel, label: str | None, indices: Sequence[int]
) -> ClassConditioning:
    """Return the conditioning of clips: the class of that name, or each of the classes in turn.

    Args:
        model: Any model.
        label: Name of a class; None: clip i is of class i modulo their number.
        indices: Index of each clip.

    Raises:
        SamplewiseError: If the model does not know the class, or needs mel spectrograms.
    """
    if model.conditioner is None:
        class_index(model, label)
        return ClassConditioning((None,) * len(indices), None)
    config = model.conditioner.config
    if config.mel is not None:
        raise SamplewiseError(
            "this model is conditioned on mel spectrograms, so it does not draw by itself: "
            "give it a sound, or a spectrogram, with `samplewise vocode`"
        )
    names = [config.classes[i % len(config.classes)] if label is None else label for i in indices]
    numbers = torch.tensor([class_index(model, name) for name in names])
    vectors = model.conditioner.vectors(None, numbers.to(model.real_values.device))
    return ClassConditioning(tuple(names), vectors[:, 0].float().cpu().numpy(), config.hold)


def class_index(model: AutoregressiveModel, label: str | None) -> int:
    """Return the index of a class in the model's list; 0 for a model without classes.

    Raises:
        SamplewiseError: If there is no such class, or none was named.
    """
    names = () if model.conditioner is None else model.conditioner.config.classes
    if not names and label is None:
        return 0
    if label not in names:
        known = f"it knows {', '.join(names)}" if names else "it knows no classes"
        if label is None:
            raise SamplewiseError(f"the model needs a class: name it with --label; {known}")
        raise SamplewiseError(f"the model does not know the class {label!r} (--label): {known}")
    return names.index(label)
