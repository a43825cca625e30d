"""A model as one self-describing, verified file: weights, sizes, sample rate, codec, provenance.

The format is safetensors; its metadata holds a JSON description and a SHA-256 over description and
weights, so that a flipped bit is refused. Nothing is unpickled, and nothing is allocated that the
file's own size does not pay for.
"""

import hashlib
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Size, Tensor

from samplewise.atomic_io import write_bytes
from samplewise.audio.level import LARGEST_GAIN
from samplewise.config.codec import from_json, to_json
from samplewise.config.models import Level, ModelConfig
from samplewise.errors import NOT_FINITE, CheckpointError
from samplewise.kinds import MODEL, mistaken
from samplewise.models.base import AutoregressiveModel
from samplewise.models.block_sparse_io import BLOCKS, KEPT, expand, pruned_weights, to_blocks
from samplewise.models.build import FAMILIES, build_model
from samplewise.models.memory import MAX_MEMORY, check_memory
from samplewise.models.pretrained import pretrained_file
from samplewise.nn.linear import Weight
from samplewise.strict_json import parse_object, to_text

FORMAT = 3
"""Of files that are written; older ones are read. 2 stores pruned matrices in blocks
(:mod:`samplewise.models.block_sparse_io`). 3 does as well, and its `mulaw` is torchaudio's."""
WEIGHTS = "weights.safetensors"
NAME_ONE = "name a run folder, an exported model, or one that `samplewise models` lists"
MAX_HEADER = 16 * 2**20
"""Bytes of a safetensors header beyond which a file is not ours."""
MAX_WEIGHT = 1e18
"""The product of two such numbers is near the largest one of single precision."""
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1}
"""Types of tensors that are understood; a model has F32 or F16, and I32 for places of blocks."""


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

    model: AutoregressiveModel
    audio: AudioFormat
    provenance: dict[str, Any]
    path: Path


def save_model(
    path: Path,
    model: AutoregressiveModel,
    audio: AudioFormat,
    provenance: dict[str, Any],
    half: bool = False,
) -> None:
    """Write ``model`` to ``path``, whole or not at all; of pruned matrices, what is left.

    Args:
        path: File.
        model: Weights and sizes.
        audio: Format of its sound.
        provenance: Where it comes from.
        half: Round weights to half precision, which halves the file.
    """
    from safetensors.torch import save

    stored = _stored(model)
    description = to_text(
        {
            "format": FORMAT,
            "family": model.config.family,
            "model": to_json(model.config),
            "audio": to_json(audio),
            "provenance": provenance,
        },
        ascii_only=True,
    )
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in stored.items()}
    if half:
        floats = {name: tensor for name, tensor in weights.items() if tensor.is_floating_point()}
        weights |= {name: tensor.half() for name, tensor in floats.items()}
    metadata = {"samplewise": description, "sha256": _digest(description, weights)}
    write_bytes(path, save(weights, metadata))


def load_model(
    path: Path,
    device: torch.device | str = "cpu",
    fold: bool = True,
    max_memory: int | float = MAX_MEMORY,
) -> LoadedModel:
    """Load a run folder or an exported file.

    Args:
        path: ``runs/mine`` or ``mine.safetensors``.
        device: Where the weights go.
        fold: Compute once what depends on the weights alone, for inference.
        max_memory: Bytes that the model may take; see :mod:`models.memory`.

    Raises:
        CheckpointError: If there is no model, or it is damaged, not one of ours, too large, or
            its folded weights are not finite.
    """
    file = model_file(path)
    try:
        stored = read_description(file)
        check_memory(stored.config, max_memory)
        model = _skeleton(stored)
        fill_model(model, _read_weights(file, stored))
    except (ValueError, OSError, CheckpointError) as error:
        raise CheckpointError(f"{file} cannot be used as a model: {error}") from error
    model = for_inference(model, device, fold, file)
    return LoadedModel(model, stored.audio, stored.provenance, path if path.exists() else file)


def for_inference(
    model: AutoregressiveModel, device: torch.device | str, fold: bool, file: Path
) -> AutoregressiveModel:
    """Return a model of ``file`` on its device, without gradients, folded and checked if asked.

    Raises:
        CheckpointError: If its folded weights are not finite.
    """
    model = model.to(device).eval().requires_grad_(False)
    if fold:
        model.fold()
        try:
            check_weights(model)
        except CheckpointError as error:
            raise CheckpointError(f"{file}: {error}") from None
    return model


@dataclass(frozen=True)
class StoredModel:
    """What a model file says about itself; its weights have not been read."""

    config: ModelConfig
    audio: AudioFormat
    provenance: dict[str, Any]
    text: str
    """The description as it is stored."""
    sha256: str
    """Digest of description and weights, as claimed."""
    tensors: dict[str, tuple[str, Size]]
    """Type and shape of each tensor."""


def read_description(file: Path) -> StoredModel:
    """Return what a model file says about itself, without reading its weights.

    Raises:
        ValueError: If the file is not one of ours, or its header, its tensors and its size do not
            fit each other.
    """
    header, size = _header(file)
    metadata = header.pop("__metadata__", None)
    text = metadata.get("samplewise") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(text, str):
        raise ValueError("it was not written by samplewise")  # noqa: TRY004
    tensors = _tensors(header, size)
    description = parse_object(text)
    family, version = description.get("family"), description.get("format")
    if version not in range(1, FORMAT + 1) or family not in tuple(FAMILIES):
        raise ValueError(
            f"it is {family} of format {version}; this version reads formats 1 to {FORMAT} "
            f"of {', '.join(FAMILIES)}"
        )
    provenance = description.get("provenance")
    if not isinstance(provenance, dict):
        raise ValueError("its provenance is no object")  # noqa: TRY004
    audio = from_json(AudioFormat, description.get("audio"), "audio")
    fields = description.get("model")
    if version != FORMAT and isinstance(fields, dict):
        fields = rename_old_mulaw(fields)
    config = from_json(FAMILIES[family][0], fields, "model")
    return StoredModel(config, audio, provenance, text, str(metadata.get("sha256")), tensors)


def rename_old_mulaw(model: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a configuration from before `mulaw` was torchaudio's, renamed."""
    return model | ({"quantizer": "mulaw-midtread"} if model.get("quantizer") == "mulaw" else {})


def model_file(path: Path) -> Path:
    """Return the file of a model: ``path``, or the weights of a run folder.

    Raises:
        CheckpointError: If there is none.
    """
    file = path / WEIGHTS if path.is_dir() else path
    if not path.exists() and (packaged := pretrained_file(path)) is not None:
        return packaged
    if fault := mistaken(path, MODEL):
        raise CheckpointError(fault)
    if not file.is_file():
        is_run = (path / "config.json").is_file()
        hint = "it comes with the first validation" if is_run else NAME_ONE
        raise CheckpointError(f"{file} does not exist: {hint}")
    return file


def is_model_file(path: Path) -> bool:
    """Return whether a file begins as :func:`save_model` lets it begin."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        return b'"samplewise":' in file.read(min(size, MAX_HEADER))


def check_weights(model: AutoregressiveModel) -> None:
    """Refuse a folded model with a weight that is not finite, or so large that sums overflow.

    Raises:
        CheckpointError: It names the weight.
    """
    for name, weight in model.named_parameters():
        if not (weight.abs() < MAX_WEIGHT).all():
            largest = weight.abs().max().item()
            raise CheckpointError(
                f"{NOT_FINITE}: {name} reaches {largest:.3g}. Train it again, or use an older copy"
            )


def _header(file: Path) -> tuple[dict[str, Any], int]:
    """Return the header of a safetensors file, and the bytes that follow it."""
    with file.open("rb") as stream:
        whole = os.fstat(stream.fileno()).st_size
        size = int.from_bytes(stream.read(8), "little")
        if whole < 8 or size > min(MAX_HEADER, whole - 8):
            raise ValueError("its header is longer than the file or than any of ours")
        try:
            return parse_object(stream.read(size)), whole - 8 - size
        except ValueError as error:
            raise ValueError(f"its header cannot be read: {error}") from None


def _tensors(header: dict[str, Any], size: int) -> dict[str, tuple[str, Size]]:
    """Return type and shape of each tensor; together they must fill ``size`` bytes exactly."""
    tensors, parts = {}, []
    for name, entry in header.items():
        entry = entry if isinstance(entry, dict) else {}
        kind, shape, place = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
        if not isinstance(kind, str) or kind not in ITEM_BYTES:
            raise ValueError(f"{name} is of the type {kind}, which no model has")
        if not (_are_sizes(shape) and _are_sizes(place) and len(place) == 2):
            raise ValueError(f"{name} has no shape or no place in the file")
        if place[1] - place[0] != math.prod(shape) * ITEM_BYTES[kind]:
            raise ValueError(f"{name} has {place[1] - place[0]} bytes, which do not fit its shape")
        tensors[name] = kind, Size(shape)
        parts.append(place)
    end = 0
    for first, last in sorted(parts):
        if first != end:
            raise ValueError(f"its tensors leave a gap or overlap at byte {end}")
        end = last
    if end != size:
        raise ValueError(f"its tensors take {end} bytes, but {size} follow the header")
    return tensors


def _are_sizes(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(
        type(value) is int and 0 <= value < 2**48 for value in values
    )


def _read_weights(file: Path, stored: StoredModel) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        weights = load(file.read_bytes())
    except SafetensorError as error:
        raise ValueError(f"it is not a safetensors file ({error})") from error
    if stored.sha256 != _digest(stored.text, weights):
        raise ValueError("its SHA-256 does not match: the file is damaged")
    halves = {name: tensor for name, tensor in weights.items() if tensor.dtype == torch.float16}
    return weights | {name: tensor.float() for name, tensor in halves.items()}


def _digest(description: str, weights: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(description.encode())
    for name in sorted(weights):
        tensor = weights[name]
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _weights(model: AutoregressiveModel) -> dict[str, Tensor]:
    return dict(model.named_parameters())


def _stored(model: AutoregressiveModel) -> dict[str, Tensor]:
    stored = _weights(model)
    for name, weight in pruned_weights(model).items():
        assert weight.kept is not None
        blocks, places = to_blocks(stored.pop(name), weight.kept)
        stored |= {name + BLOCKS: blocks, name + KEPT: places}
    return stored


def _skeleton(stored: StoredModel) -> AutoregressiveModel:
    """Return the model without memory; the shapes in the file are those of its weights.

    Raises:
        ValueError: If they are not; nothing of the weights has been read.
    """
    model = build_model(stored.config, seed=None)
    found = {name: shape for name, (_, shape) in stored.tensors.items()}
    if not any(name.endswith(".g") for name in found):
        for part in model.modules():
            if isinstance(part, Weight):
                part.g = None  # the file was folded
    wanted = {name: parameter.shape for name, parameter in _weights(model).items()}
    blocks = [name for name in found if name.endswith((BLOCKS, KEPT))]
    for name in blocks:  # places are checked when they are known
        matrix = name.removesuffix(BLOCKS).removesuffix(KEPT)
        if matrix not in wanted:
            raise ValueError(f"{matrix} is no matrix of this model, but has blocks")
        if found.pop(name).numel() > wanted[matrix].numel():
            raise ValueError(f"{name} is larger than its matrix, {tuple(wanted[matrix])}")
    for name in {name.removesuffix(BLOCKS).removesuffix(KEPT) for name in blocks}:
        found.setdefault(name, wanted[name])
    if wanted != found:
        wrong = sorted(name for name in wanted | found if wanted.get(name) != found.get(name))
        first = wrong[0]
        raise ValueError(
            f"{len(wrong)} weights do not fit the description, first {first}: "
            f"{tuple(found[first]) if first in found else 'absent'} instead of "
            f"{tuple(wanted[first]) if first in wanted else 'none'}"
        )
    return model


def fill_model(model: AutoregressiveModel, weights: dict[str, Tensor]) -> None:
    """Give a model the weights of its file.

    Raises:
        ValueError: If blocks do not fit, or a weight is not a finite number of single precision.
    """
    wanted = {name: parameter.shape for name, parameter in _weights(model).items()}
    weights, masks = expand(weights, wanted)
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
