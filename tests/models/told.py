"""Vectors for models that are told something."""

import torch

from samplewise.data.reader import frames_across
from samplewise.nn.conditioning import ConditioningInputs


def cues_of(model, batch, time):
    conditioning, generator = model.config.conditioning, torch.Generator().manual_seed(4)
    frames = frames_across(time, conditioning.mel.hop) + 2 * conditioning.context
    return ConditioningInputs(
        torch.randn(batch, frames, conditioning.mel.n_mels, generator=generator),
        torch.randint(conditioning.mel.hop, (batch,), generator=generator),
        torch.randint(len(conditioning.classes), (batch,), generator=generator),
    )


def told(model, batch, time):
    """What is in force at each sample; None for a model that is told nothing."""
    if model.conditioner is None:
        return None
    conditioning_inputs = cues_of(model, batch, time)
    return model.conditioner(
        conditioning_inputs.map(
            lambda x: x.to(model.real_values.dtype) if x.is_floating_point() else x
        ),
        time,
    )
