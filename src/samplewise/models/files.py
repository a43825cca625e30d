"""A model as one self-describing, verified file: weights, sizes, sample rate, codec, provenance.

The format is safetensors; its metadata holds a JSON description and a SHA-256 over description and
weights, so that a flipped bit is refused. Nothing is unpickled, and nothing is allocated that the
file's own size does not pay for.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from samplewise.audio.level import LARGEST_GAIN
from samplewise.config.codec import from_json, to_json
from samplewise.data.clips import Level
from samplewise.durable import write_bytes
from samplewise.errors import CheckpointError
from samplewise.models.base import Model
from samplewise.models.blocks import BLOCKS, KEPT, expand, pruned_weights, to_blocks
from samplewise.models.build import FAMILIES, build_model
from samplewise.models.configs import ModelConfig
from samplewise.nn.linear import Weight

FORMAT = 3
"""Of files that are written; older ones are read. 2 stores pruned matrices in blocks
(:mod:`samplewise.models.blocks`). 3 does as well, and its `mulaw` is torchaudio's."""
WEIGHTS = "weights.safetensors"
MAX_HEADER = 16 * 2**20
"""Bytes of a safetensors header beyond which a file is not ours."""


@dataclass(frozen=True)
class AudioFormat:
    """What turns codes into sound; it travels with the model."""

    sample_rate: int
    """Hertz."""
    gain: float
    """Gain that the corpus was given before it was quantised (level policy ``keep``)."""
    level: Level
    """Level policy of the training clips."""

    def __post_init__(self) -> None:
        """Check what a stranger's file may claim."""
        if not 1000 <= self.sample_rate <= 768_000:
            raise ValueError(f"sample_rate = {self.sample_rate} must lie in 1000 to 768000 Hz")
        if not 0 < self.gain <= LARGEST_GAIN:
            raise ValueError(f"gain = {self.gain} must be positive and at most {LARGEST_GAIN:.0f}")


@dataclass(frozen=True)
class LoadedModel:
    """A model ready for use, and where it comes from."""

    model: Model
    audio: AudioFormat
    provenance: dict[str, Any]
    path: Path


def save_model(path: Path, model: Model, audio: AudioFormat, provenance: dict[str, Any]) -> None:
    """Write ``model`` to ``path``, whole or not at all; of pruned matrices, what is left."""
    from safetensors.torch import save

    stored = _stored(model)
    description = json.dumps(
        {
            "format": FORMAT,
            "family": model.config.family,
            "model": to_json(model.config),
            "audio": to_json(audio),
            "provenance": provenance,
        },
        allow_nan=False,
    )
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in stored.items()}
    metadata = {"samplewise": description, "sha256": _digest(description, weights)}
    write_bytes(path, save(weights, metadata))


def load_model(path: Path, device: torch.device | str = "cpu", fold: bool = True) -> LoadedModel:
    """Load a run folder or an exported file.

    Args:
        path: ``runs/mine`` or ``mine.safetensors``.
        device: Where the weights go.
        fold: Compute once what depends on the weights alone, for inference.

    Raises:
        CheckpointError: If there is no model, or it is damaged, or not one of ours.
    """
    file = path / WEIGHTS if path.is_dir() else path
    if not file.is_file():
        hint = "train it first" if path.is_dir() else "name a run folder or an exported model"
        raise CheckpointError(f"{file} does not exist: {hint}")
    try:
        description, weights = read_verified(file)
        audio = from_json(AudioFormat, description["audio"], "audio")
        fields = description["model"]
        if description["format"] < FORMAT:
            fields = rename_old_mulaw(fields)
        config = from_json(FAMILIES[description["family"]][0], fields, "model")
        model = _assemble(config, weights)
        provenance = dict(description["provenance"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{file} cannot be used as a model: {error}") from error
    model = model.to(device).eval().requires_grad_(False)
    if fold:
        model.fold()
    return LoadedModel(model, audio, provenance, path)


def read_verified(file: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the description and the tensors of a file whose digest is right.

    Raises:
        ValueError: If the file is damaged or not written by :func:`save_model`.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    data = file.read_bytes()
    header = _header(data)
    try:
        weights = load(data)
    except SafetensorError as error:
        raise ValueError(f"it is not a safetensors file ({error})") from error
    metadata = header.get("__metadata__", {})
    if "samplewise" not in metadata:
        raise ValueError("it was not written by samplewise")
    if metadata.get("sha256") != _digest(metadata["samplewise"], weights):
        raise ValueError("its SHA-256 does not match: the file is damaged")
    description = json.loads(metadata["samplewise"])
    kind = (description.get("format"), description.get("family"))
    if kind[0] not in range(1, FORMAT + 1) or kind[1] not in FAMILIES:
        raise ValueError(
            f"it is {kind[1]} of format {kind[0]}; this version reads formats 1 to {FORMAT} "
            f"of {', '.join(FAMILIES)}"
        )
    return description, weights


def rename_old_mulaw(model: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a configuration from before `mulaw` was torchaudio's, renamed."""
    return model | ({"quantizer": "mulaw-midtread"} if model.get("quantizer") == "mulaw" else {})


def _header(data: bytes) -> dict[str, Any]:
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(MAX_HEADER, len(data) - 8):
        raise ValueError("its header is longer than the file or than any of ours")
    try:
        header = json.loads(data[8 : 8 + size], object_pairs_hook=_without_duplicates)
    except RecursionError:
        raise ValueError("its header is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"its header is not JSON ({error})") from None
    if not isinstance(header, dict):
        raise ValueError("its header is not an object")  # noqa: TRY004
    return header


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError("its header names something twice")
    return dict(pairs)


def _digest(description: str, weights: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(description.encode())
    for name in sorted(weights):
        tensor = weights[name]
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _weights(model: Model) -> dict[str, Tensor]:
    return dict(model.named_parameters())


def _stored(model: Model) -> dict[str, Tensor]:
    stored = _weights(model)
    for name, weight in pruned_weights(model).items():
        assert weight.kept is not None
        blocks, places = to_blocks(stored.pop(name), weight.kept)
        stored |= {name + BLOCKS: blocks, name + KEPT: places}
    return stored


def _assemble(config: ModelConfig, weights: dict[str, Tensor]) -> Model:
    model = build_model(config, seed=None)  # takes no memory until the weights are known to fit
    if not any(name.endswith(".g") for name in weights):
        for part in model.modules():
            if isinstance(part, Weight):
                part.g = None  # the file was folded
    wanted = {name: parameter.shape for name, parameter in _weights(model).items()}
    weights, masks = expand(weights, wanted)
    found = {name: tensor.shape for name, tensor in weights.items()}
    if wanted != found:
        wrong = sorted(name for name in wanted | found if wanted.get(name) != found.get(name))
        first = wrong[0]
        raise ValueError(
            f"{len(wrong)} weights do not fit the description, first {first}: "
            f"{tuple(found[first]) if first in found else 'absent'} instead of "
            f"{tuple(wanted[first]) if first in wanted else 'none'}"
        )
    wrong_types = [name for name, tensor in weights.items() if tensor.dtype != torch.float32]
    if wrong_types:
        raise ValueError(f"{wrong_types[0]} is {weights[wrong_types[0]].dtype}, not float32")
    broken = [name for name, tensor in weights.items() if not tensor.isfinite().all()]
    if broken:
        raise ValueError(f"{broken[0]} holds NaN or infinity: training went wrong")
    model.load_state_dict(weights, assign=True)
    for name, kept in masks.items():
        part = model.get_submodule(name.removesuffix(".v"))
        assert isinstance(part, Weight)
        part.restrict(kept)
    return model
