"""A training run: its state, how it starts or resumes, and what its folder holds."""

import copy
import logging
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from samplewise import __version__
from samplewise.atomic_io import LOCK, refuse_others, write_json
from samplewise.config.codec import differences, from_json, nest_fields, to_json
from samplewise.config.models import conditioning_of
from samplewise.config.training import RESUMABLE, TrainConfig
from samplewise.data.corpus import Corpus
from samplewise.data.excerpts import Excerpt, cut, evenly_spaced
from samplewise.data.labels import labels_digest, located, read_labels
from samplewise.data.lanes import LaneStream, StreamCursor
from samplewise.data.reader import ClipReader, mel_statistics
from samplewise.data.tiles import training_level, training_noise
from samplewise.errors import CheckpointError, CorpusError
from samplewise.models.base import AutoregressiveModel, State
from samplewise.models.build import build_model
from samplewise.models.io import WEIGHTS, AudioFormat, rename_old_mulaw, save_model
from samplewise.models.pruning import apply_masks, check_blocks, masks_of
from samplewise.nn.matmul import Library, faster_library
from samplewise.nn.state import from_tensors, map_tensors, to_tensors
from samplewise.strict_json import read_object
from samplewise.training.allocator import keep_freed_memory
from samplewise.training.checkpoint import load_latest, save_checkpoint
from samplewise.training.memory import check_training_memory
from samplewise.training.optimizers import make_optimizer
from samplewise.training.prefetch import Prefetch
from samplewise.training.ranks import Agreement, Ranks
from samplewise.training.resolve_config import (
    code_counts,
    describe_starts,
    with_conditioning,
    with_moments,
    with_tilt,
)
from samplewise.training.warm_start import load_source, take_weights, with_source

CONFIG, STATE = "config.json", "state"
KIND = "a run folder"
FORMAT = 3
"""Format of config.json. Formats 1 and 2, whose settings are flat, are read too; in format 1
`mulaw` is not torchaudio's."""
MEASURED = ("mel", "starts", "noise", "level")
"""Figures of the training split in config.json: statistics of spectrograms, the excerpts after
which clips begin, how noisy it is and how loud."""
logger = logging.getLogger(__name__)


@dataclass
class Progress:
    """Counters and scores of a run; a checkpoint holds all of them."""

    step: int = 0
    seconds: float = 0.0
    samples_seen: int = 0
    best_bits: float | None = None
    best_step: int = 0
    bad_validations: int = 0
    sparsity: float = 0.0
    """Share of the blocks that the last pruning zeroed."""


@dataclass
class RunState:
    """Everything that a step of training reads or changes."""

    config: TrainConfig
    corpus: Corpus
    folder: Path
    ranks: Ranks
    model: AutoregressiveModel
    averaged: AutoregressiveModel | None
    optimizer: torch.optim.Adam
    stream: LaneStream | Prefetch
    state: State
    labels: dict[str, str] | None
    measured: dict[str, Any] = field(default_factory=dict)
    """Figures of the training split that the model takes along, as config.json holds them."""
    progress: Progress = field(default_factory=Progress)
    agreed: Agreement = field(default_factory=Agreement)
    """Used with several ranks alone; one rank looks at its clock and at its requests."""

    @property
    def audio(self) -> AudioFormat:
        """Format that turns the model's codes into sound."""
        return AudioFormat(self.corpus.sample_rate, self.corpus.gain, self.config.level)

    @property
    def usable(self) -> AutoregressiveModel:
        """The weights that are validated and used: averaged ones if there are any."""
        return self.averaged or self.model

    def save(self) -> None:
        """Write a checkpoint; every rank must call this."""
        lanes = map_tensors(self.state, self.ranks.gather)
        if not self.ranks.is_first:
            return
        tensors = {f"model.{name}": value for name, value in self.model.named_parameters()}
        if self.averaged is not None:
            named = self.averaged.named_parameters()
            tensors |= {f"averaged.{name}": value for name, value in named}
        for name, parameter in self.model.named_parameters():
            moments = self.optimizer.state.get(parameter, {})
            tensors |= {f"adam.{name}.{moment}": value for moment, value in moments.items()}
        tensors |= {f"lanes.{name}": value for name, value in to_tensors(lanes).items()}
        tensors |= {f"mask.{name}": kept for name, kept in masks_of(self.model).items()}
        values = {
            "progress": asdict(self.progress),
            "cursor": to_json(self.stream.cursor),
            "clock": self.state.clock,
        }
        keep = self.config.keep
        save_checkpoint(self.folder / STATE, self.progress.step, tensors, values, keep)

    def save_model(self) -> None:
        """Write the usable weights as the run's model."""
        corpus = _describe_corpus(self.corpus)
        origin = provenance(
            self.folder.name,
            self.config,
            self.progress,
            corpus,
            self.model,
            self.measured,
        )
        save_model(self.folder / WEIGHTS, self.usable, self.audio, origin)


def provenance(
    name: str,
    config: TrainConfig,
    progress: Progress,
    corpus: dict[str, Any],
    model: AutoregressiveModel,
    measured: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the provenance of weights, as a model file holds it.

    Args:
        name: Name of the run.
        config: How the model is trained.
        progress: Progress of the run when the weights were saved.
        corpus: Description of the corpus, as config.json holds it.
        model: The model.
        measured: Figures of the training split, as config.json holds them.
    """
    is_best = progress.step == progress.best_step
    return {
        "name": name,
        "preset": config.preset,
        "step": progress.step,
        "samples_seen": progress.samples_seen,
        "valid_bits": progress.best_bits if is_best else None,
        "clip_seconds": config.clip_seconds,
        "temperature": config.temperature,
        "labels": config.labels,
        **measured,
        "corpus": corpus,
        "parameters": count_parameters(model),
        "sparsity": progress.sparsity,
    }


def _describe_corpus(corpus: Corpus) -> dict[str, Any]:
    return {
        "folder": str(corpus.folder.resolve()),
        "digest": corpus.digest,
        "split_rule": corpus.split_rule,
    }


def count_parameters(model: AutoregressiveModel) -> int:
    """Return the number of trained values."""
    return sum(parameter.numel() for parameter in model.parameters())


def start(config: TrainConfig, corpus: Corpus, folder: Path, ranks: Ranks) -> RunState:
    """Begin a run in ``folder``, or resume the one that is there.

    Raises:
        CheckpointError: If the folder holds another run, or no sound checkpoint.
        SamplewiseError: If the folder holds something that is not a run.
        CorpusError: If there is nothing to train on, or the corpus is not the run's.
    """
    recordings = corpus.split("train")
    if not recordings or not corpus.split("valid"):
        raise CorpusError(
            f"{corpus.folder} has {len(recordings)} recordings to train on and "
            f"{len(corpus.split('valid'))} to validate on; prepare it again with more audio"
        )
    keep_freed_memory()
    has_begun = (folder / CONFIG).exists()
    source = None if has_begun else load_source(config, corpus.sample_rate)
    if source is not None:
        config = with_source(config, source)
    elif config.from_model is not None:
        config = _as_begun(config, folder)
    matmul = _choose_matmul(config, folder, ranks)
    config = replace(config, labels=located(config.labels), matmul=matmul)
    labels = None if config.labels is None else read_labels(config.labels, corpus)
    sources = {recording.source for recording in recordings}
    config = with_conditioning(with_tilt(with_moments(config, corpus), corpus), labels, sources)
    if config.pruning.sparsity:
        check_blocks(build_model(config.model, seed=None), config.pruning.block_size)
    config = _keep_old_mulaw(config, folder)
    described = _describe_run(config, corpus, labels)
    _check_same_run(config, corpus, described, folder, ranks)
    if ranks.device.type == "cpu":
        check_training_memory(config, described["parameters"])
    model = build_model(config.model, config.seed)
    if config.pruning.sparsity:
        model.prepare_to_prune()
    found = load_latest(folder / STATE)
    if source is not None:
        take_weights(model, source)
    elif config.output_init == "unigram" and not found:
        model.start_at(code_counts(config, corpus, model.quantizer, labels))
    model = model.to(ranks.device)
    averaged = copy.deepcopy(model).requires_grad_(False) if config.ema else None
    optimizer = make_optimizer(model, config.optimizer)
    tensors, values = found or ({}, {})
    cursor = from_json(StreamCursor, values.get("cursor"), "cursor") if values else None
    stream: LaneStream | Prefetch = LaneStream(
        recordings,
        ClipReader(corpus, config.level, model.quantizer, conditioning_of(config.model), labels),
        lanes=config.lanes,
        seq_len=config.seq_len,
        clip_samples=round(config.clip_seconds * corpus.sample_rate),
        seed=config.seed,
        random_offsets=config.random_offsets and config.level != "paper",
        rows=ranks.rows(config.lanes),
        cursor=cursor,
    )
    if ranks.device.type == "cuda":
        stream = Prefetch(stream, ranks.device)
    share = config.lanes // ranks.world
    lanes = map_tensors(model.initial_state(share), torch.detach)
    run = RunState(config, corpus, folder, ranks, model, averaged, optimizer, stream, lanes, labels)
    run.measured = {name: described[name] for name in MEASURED}
    if values:
        try:
            _restore(run, tensors, values)
        except (RuntimeError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"the checkpoint in {folder / STATE} does not fit the model that {folder / CONFIG} "
                f"describes ({str(error).splitlines()[0]}). Restore both from a copy, or start "
                "again with --fresh"
            ) from error
    if ranks.is_first:  # now that all of it is in memory
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / CONFIG, described)
    return run


def read_config(path: Path) -> dict[str, Any]:
    """Return what the config.json of a run holds, with ``train`` and ``corpus`` as objects.

    A file of an older format is returned in the terms of the current one.

    Raises:
        CheckpointError: If it is not the file of a run.
    """
    try:
        there = read_object(path)
        for part in ("train", "corpus"):
            if not isinstance(there.get(part), dict):
                raise ValueError(f"{path} holds no object {part!r}")  # noqa: TRY004, TRY301
        if there.get("format") not in range(1, FORMAT + 1):
            raise ValueError(  # noqa: TRY301
                f"{path} has format {there.get('format')!r}; this version reads 1 to {FORMAT}"
            )
    except ValueError as error:
        raise CheckpointError(
            f"{error}: it is not the {CONFIG} of a run. Restore it from a copy, or choose another "
            "folder with -o"
        ) from None
    model = there["train"].get("model")
    if there["format"] == 1 and isinstance(model, dict):
        there["train"]["model"] = rename_old_mulaw(model)
    if there["format"] < 3:
        there["train"] = nest_fields(there["train"], TrainConfig())
    return there


def discard(folder: Path) -> None:
    """Remove the run in ``folder``, if there is one.

    Raises:
        SamplewiseError: If the folder holds something that is not a run.
    """
    if not folder.exists():
        return
    refuse_others(folder, CONFIG, KIND)
    for child in folder.iterdir():
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child)
        elif child.name != LOCK:
            child.unlink()


def validation_clips(config: TrainConfig, corpus: Corpus) -> Sequence[Excerpt]:
    """Return clips spread evenly over the validation split, ``valid_seconds`` of them."""
    clips = cut(corpus.split("valid"), round(config.clip_seconds * corpus.sample_rate))
    wanted = round(config.valid_seconds * corpus.sample_rate) or sum(c.samples for c in clips)
    total = sum(clip.samples for clip in clips)
    if total <= wanted:
        return clips
    count = max(1, round(len(clips) * wanted / total))
    return evenly_spaced(clips, count)


def _as_begun(config: TrainConfig, folder: Path) -> TrainConfig:
    """Return ``config`` with the model and the level that the run in ``folder`` began with."""
    begun = from_json(TrainConfig, read_config(folder / CONFIG)["train"], f"{folder / CONFIG}")
    return replace(config, model=begun.model, level=begun.level)


def _keep_old_mulaw(config: TrainConfig, folder: Path) -> TrainConfig:
    """Return ``config`` with the older mu-law if the run in ``folder`` was begun with it."""
    model = config.model
    path = folder / CONFIG
    if model.quantizer != "mulaw" or not path.exists():
        return config
    there = read_config(path)["train"].get("model")
    if not isinstance(there, dict) or there.get("quantizer") != "mulaw-midtread":
        return config
    logger.warning("%s was begun with mulaw-midtread codes, and goes on with them", folder)
    return replace(config, model=replace(model, quantizer="mulaw-midtread"))  # pyright: ignore


def _check_same_run(
    config: TrainConfig, corpus: Corpus, described: dict[str, Any], folder: Path, ranks: Ranks
) -> None:
    """Check that the folder is free, or holds a run with the same settings, corpus and labels.

    Args:
        config: Settings of the run that is to start.
        corpus: Corpus of the run that is to start.
        described: The config.json that will be written.
        folder: Run folder.
        ranks: Only the first rank looks into a folder without a run.
    """
    path = folder / CONFIG
    if not path.exists():
        if ranks.is_first:
            refuse_others(folder, CONFIG, KIND)
        return
    there = read_config(path)
    old = from_json(TrainConfig, there["train"], f"{path}: train")
    changed = {
        name: pair for name, pair in differences(old, config).items() if name not in RESUMABLE
    }
    if changed:
        words = "; ".join(f"{name} was {a}, now {b}" for name, (a, b) in changed.items())
        raise CheckpointError(
            f"{folder} holds a run with other settings ({words}). Give the same command to go on, "
            "another -o for a new run, or --fresh to throw the old one away"
        )
    if there["corpus"].get("digest") != corpus.digest:
        raise CorpusError(
            f"{corpus.folder} is not the corpus that {folder} was trained on (it was changed or "
            "prepared anew). Choose another -o, or --fresh to start again"
        )
    if there.get("labels_sha256") != described["labels_sha256"]:
        raise CorpusError(
            f"the labels in {config.labels} are not those that {folder} was trained with. Choose "
            "another -o, or --fresh to start again"
        )
    described["starts"] = there.get("starts")
    described["train"]["output_init"] = old.output_init  # how the run began does not change


def _choose_matmul(config: TrainConfig, folder: Path, ranks: Ranks) -> Library:
    """Return the library of matrix products: the one asked for, else the one the run began with.

    Libraries round sums differently, so a run never changes its library.
    """
    if config.matmul != "auto":
        return config.matmul
    path = folder / CONFIG
    if path.exists():
        return read_config(path)["train"].get("matmul", "onednn")
    prefers_blas = ranks.device.type == "cpu" and ranks.is_first and faster_library() == "blas"
    return "blas" if ranks.sum(prefers_blas)[0] else "onednn"


def _describe_run(
    config: TrainConfig, corpus: Corpus, labels: dict[str, str] | None
) -> dict[str, Any]:
    mel = mel_statistics(corpus, conditioning_of(config.model))
    noise, level = training_noise(corpus, config.level), training_level(corpus, config.level)
    return {
        "format": FORMAT,
        "train": to_json(config),
        "audio": {"sample_rate": corpus.sample_rate, "gain": corpus.gain},
        "corpus": _describe_corpus(corpus),
        "mel": None if mel is None else to_json(mel),
        "starts": describe_starts(config, corpus, labels),
        "noise": None if noise is None else to_json(noise),
        "level": None if level is None else to_json(level),
        "labels_sha256": None if labels is None else labels_digest(labels),
        "parameters": count_parameters(build_model(config.model, seed=None)),
        "versions": {
            "samplewise": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }


def _restore(run: RunState, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    device = run.ranks.device

    def part(prefix: str) -> dict[str, Tensor]:
        named = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        return {name: tensor.to(device) for name, tensor in named.items()}

    masks = part("mask.")
    apply_masks(run.model, masks)
    run.model.load_state_dict(part("model."))
    if run.averaged is not None:
        apply_masks(run.averaged, masks)
        run.averaged.load_state_dict(part("averaged."))
    for name, parameter in run.model.named_parameters():
        moments = part(f"adam.{name}.")
        if moments:
            run.optimizer.state[parameter] = moments
    rows = run.ranks.rows(run.config.lanes)
    lanes = {name: tensor[rows].clone() for name, tensor in part("lanes.").items()}
    run.state = replace(from_tensors(run.state, lanes), clock=values["clock"])
    run.progress = from_json(Progress, values.get("progress"), "progress")
    run.agreed = Agreement(seconds=run.progress.seconds)
