"""A run that begins with the weights of another model."""

from dataclasses import replace
from pathlib import Path

import torch

from samplewise.config.models import conditioning_of
from samplewise.config.training import TrainConfig
from samplewise.errors import CheckpointError
from samplewise.models.base import AutoregressiveModel
from samplewise.models.io import LoadedModel, load_model
from samplewise.nn.linear import Weight


def load_source(config: TrainConfig, sample_rate: int) -> LoadedModel | None:
    """Return the model whose weights a run begins with; None if it begins anew.

    Raises:
        CheckpointError: If there is no such model, or its sample rate is not the corpus's.
    """
    if config.from_model is None:
        return None
    loaded = load_model(Path(config.from_model), fold=False)
    if loaded.audio.sample_rate != sample_rate:
        raise CheckpointError(
            f"{config.from_model} was trained at {loaded.audio.sample_rate} Hz, but the corpus has "
            f"{sample_rate} Hz: prepare it with --sample-rate {loaded.audio.sample_rate}"
        )
    return loaded


def with_source(config: TrainConfig, source: LoadedModel) -> TrainConfig:
    """Return ``config`` with sizes, quantizer and level of the source.

    Conditioning that the run asks for is added to that of the source.
    """
    model = source.model.config
    asked = conditioning_of(config.model)
    if asked is not None and conditioning_of(model) is None:
        model = replace(model, conditioning=asked)  # pyright: ignore[reportCallIssue]
    return replace(config, model=model, level=source.audio.level)


@torch.no_grad()
def take_weights(model: AutoregressiveModel, source: LoadedModel) -> None:
    """Copy the weights of ``source`` into ``model``.

    Weights of inputs that the source does not have, those of conditioning, start at zero: at first
    the model does what the source did. A source without weight normalisation, as an exported model
    is, gets gains equal to the norms of its rows.

    Raises:
        CheckpointError: If a weight does not fit.
    """
    theirs = dict(source.model.named_parameters())
    for name, part in model.named_modules():
        if isinstance(part, Weight) and part.g is not None and f"{name}.g" not in theirs:
            rows = theirs.get(f"{name}.v")
            if rows is not None:
                theirs[f"{name}.g"] = torch.nn.Parameter(rows.norm(dim=1))
    for name, weight in model.named_parameters():
        if name not in theirs:
            continue  # of conditioning, which is new
        values = theirs[name]
        if weight.shape == values.shape:
            weight.copy_(values)
        elif weight.dim() == 2 and len(weight) == len(values):
            weight[:, : values.shape[1]] = values  # conditioning vectors come last
            weight[:, values.shape[1] :] = 0.0
        else:
            raise CheckpointError(
                f"{name} is {tuple(weight.shape)} in the run and {tuple(values.shape)} in "
                f"{source.path}; leave the sizes of the model to --from"
            )
