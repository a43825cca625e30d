"""The test likelihood of a model, with the label that makes it comparable."""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from samplewise.config.models import conditioning_of
from samplewise.data.corpus import Corpus
from samplewise.data.excerpts import Excerpt, cut
from samplewise.data.labels import read_labels
from samplewise.engine.sampler import WeightFormat
from samplewise.errors import CorpusError
from samplewise.evaluate.baselines import baselines
from samplewise.evaluate.nll import Scores, score
from samplewise.evaluate.nll_native import score_natively
from samplewise.evaluate.predictor_baseline import fit_factor, predictor_alone
from samplewise.heads.base import check_log_probs
from samplewise.models.io import LoadedModel
from samplewise.models.samplernn import SampleRNN
from samplewise.progress import ProgressBar, ProgressCallback

DEFAULT_CLIP_SECONDS = 8.0
"""Clip length of the paper, in seconds, for a model without a record of its training."""
STATE_POLICY = "state carried within a clip, reset at its start"


@dataclass(frozen=True)
class RecordingScore:
    """The score of one recording."""

    source: str
    """Path within the prepared folder."""
    samples: int
    """Number of samples scored."""
    bits_per_sample: float
    """Mean bits per sample of the recording."""


@dataclass(frozen=True, repr=False)
class Score:
    """The likelihood of recordings under a model; evaluation.json holds it."""

    split: str
    """Name of the split: train, valid or test."""
    bits_per_sample: float
    """Mean bits per sample over all samples."""
    label: str
    """The NLL label; only figures with the same label may be compared."""
    samples: int
    """Number of samples scored."""
    baselines: dict[str, float]
    """Bits per sample of each baseline; empty if not requested."""
    recordings: tuple[RecordingScore, ...]
    """Scores of the recordings, in the order of the corpus."""
    device: str
    """Device of the model."""
    backend: str
    """Back end: reference, or native and its weight format."""
    seconds: float
    """Seconds of scoring."""

    @property
    def log_likelihood(self) -> float:
        """Log-likelihood of all samples together, in nats."""
        return -self.bits_per_sample * self.samples * math.log(2)

    def __repr__(self) -> str:
        return f"Score({self.bits_per_sample:.3f} bits per sample · {self.label})"

    @property
    def beaten(self) -> list[str]:
        """Names of the baselines that need more bits than the model."""
        return [name for name, bits in self.baselines.items() if self.bits_per_sample < bits]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "recordings": [asdict(item) for item in self.recordings]}


def evaluate_split(
    loaded: LoadedModel,
    corpus: Corpus,
    split: str = "test",
    clip_seconds: float | None = None,
    *,
    labels: Mapping[str, str] | None = None,
    with_baselines: bool = True,
    lanes: int | None = None,
    seq_len: int | None = None,
    weights: WeightFormat | None = None,
    bar: ProgressBar | None = None,
) -> Score:
    """Score one split of a corpus, every sample exactly once.

    Args:
        loaded: The model, on its device.
        corpus: A corpus at the sample rate of the model.
        split: train, valid or test.
        clip_seconds: Length of a clip, through which state is carried, in seconds; 0 for whole
            recordings; None for the length of the training.
        labels: Class of each recording by its source, for a model that is conditioned on it.
        with_baselines: Count the baselines on the training split and score them too.
        lanes: Number of clips side by side; None for a bound by memory.
        seq_len: Samples in a pass; None for a bound by memory.
        weights: Weight format of the native engine; None to score with the reference.
        bar: Opens a progress bar.

    Raises:
        CorpusError: If the sample rates differ or the split is empty.
        ValueError: If an argument is impossible.
    """
    if corpus.sample_rate != loaded.audio.sample_rate:
        raise CorpusError(
            f"{corpus.folder} has a sample rate of {corpus.sample_rate} Hz, but the model was "
            f"trained at {loaded.audio.sample_rate} Hz; prepare the recordings with "
            f"--sample-rate {loaded.audio.sample_rate}"
        )
    recordings = corpus.split(split)
    if not recordings:
        raise CorpusError(
            f"{corpus.folder} has nothing in its {split} split; choose another with --split, or "
            "prepare a corpus with more recordings"
        )
    if clip_seconds is None:
        trained = loaded.provenance.get("clip_seconds", DEFAULT_CLIP_SECONDS)
        clip_seconds = trained if isinstance(trained, float | int) else DEFAULT_CLIP_SECONDS
    clip_samples = clip_length(clip_seconds, corpus.sample_rate)
    clips, level = cut(recordings, clip_samples), loaded.audio.level
    started = time.perf_counter()
    with _open(bar, f"scoring the {split} split, samples", clips) as progress:
        if weights is None:
            scores = score(
                loaded.model,
                corpus,
                clips,
                level,
                labels,
                lanes=lanes,
                seq_len=seq_len,
                progress=progress,
            )
        else:
            scores = score_natively(
                loaded.model, corpus, clips, level, weights, labels=labels, progress=progress
            )
    check_log_probs(np.array(scores.nats))
    seconds = time.perf_counter() - started
    to_beat = {}
    if with_baselines and not loaded.model.head.is_density:
        train = cut(corpus.split("train"), clip_samples)
        with _open(bar, "counting baselines, samples", [*train, *clips]) as progress:
            to_beat = baselines(corpus, train, clips, level, loaded.model.quantizer, progress)
        if isinstance(loaded.model, SampleRNN) and loaded.model.predictor is not None:
            with _open(bar, "scoring the linear predictor alone, samples", clips) as progress:
                log_factor = fit_factor(loaded.model, corpus, train, level)
                bits = predictor_alone(loaded.model, corpus, clips, level, log_factor, progress)
            to_beat["predictor_alone"] = bits
    device = loaded.model.real_values.device
    is_gpu = device.type == "cuda" and weights is None
    return Score(
        split=split,
        bits_per_sample=scores.bits_per_sample,
        label=label(loaded, corpus, clip_seconds, scores),
        samples=scores.samples,
        baselines=to_beat,
        recordings=_by_recording(scores),
        device=torch.cuda.get_device_name(device) if is_gpu else "cpu",
        backend="reference" if weights is None else f"native {weights}",
        seconds=seconds,
    )


def find_labels(labels: str | None, loaded: LoadedModel, corpus: Corpus) -> dict[str, str] | None:
    """Return the class of each recording, for a model that is conditioned on classes; else None.

    Args:
        labels: A CSV file, or ``folders``; None: as the model was trained.
        loaded: The model.
        corpus: Where the recordings are.
    """
    conditioning = conditioning_of(loaded.model.config)
    if conditioning is None or not conditioning.classes:
        return None
    labels = labels or loaded.provenance.get("labels")
    return read_labels(labels, corpus) if isinstance(labels, str) else None


def clip_length(clip_seconds: float, sample_rate: int) -> int:
    """Return the length of a clip in samples; 0 means whole recordings.

    Raises:
        ValueError: If it is negative or not finite, or so short that no sample is left.
    """
    if not 0 <= clip_seconds < float("inf"):
        raise ValueError(f"clip_seconds = {clip_seconds} must be 0 or positive, and finite")
    samples = round(clip_seconds * sample_rate)
    if clip_seconds > 0 and samples == 0:
        raise ValueError(
            f"clip_seconds = {clip_seconds} is less than one sample at {sample_rate} Hz"
        )
    return samples


def label(loaded: LoadedModel, corpus: Corpus, clip_seconds: float, scores: Scores) -> str:
    """Return the NLL label, one line that must be equal before two figures are compared."""
    quantizer, level = loaded.model.quantizer, loaded.audio.level
    scaling = f"gain {corpus.gain:.4g}" if level == "keep" else "each clip to full scale"
    clips = f"clips of {clip_seconds:g} s" if clip_seconds else "whole recordings"
    return " · ".join(
        [
            f"{quantizer.name} q={quantizer.q_levels}",
            f"level {level} ({scaling})",
            f"split {corpus.split_rule}",
            clips,
            STATE_POLICY,
            *_excitation(loaded),
            f"{scores.samples} samples",
            *([_density(loaded, scores)] if loaded.model.head.is_density else []),
        ]
    )


def _excitation(loaded: LoadedModel) -> list[str]:
    conditioner = loaded.model.conditioner
    if conditioner is None or not conditioner.config.lpc_order:
        return []
    return [
        f"upper bound, from the excitation of a prediction of order {conditioner.config.lpc_order}"
    ]


def _density(loaded: LoadedModel, scores: Scores) -> str:
    """Describe the unit of a density; p(code) is about p(x) times the step between codes."""
    values = loaded.model.real_values
    step = (values[-1].double() - values[0].double()).item() / (len(values) - 1)
    per_code = scores.bits_per_sample - math.log2(step)
    return (
        f"a density over amplitudes in units of {2 / len(values) / step:.4g}, not comparable with "
        f"codes ({scores.bits_per_sample * math.log(2):.3f} nats; about {per_code:.3f} bits per "
        "code)"
    )


def _by_recording(scores: Scores) -> tuple[RecordingScore, ...]:
    return tuple(
        RecordingScore(part.clips[0].recording.source, part.samples, part.bits_per_sample)
        for part in scores.by_recording()
    )


def _open(
    bar: ProgressBar | None, description: str, clips: Sequence[Excerpt]
) -> AbstractContextManager[ProgressCallback | None]:
    return bar(description, sum(clip.samples for clip in clips)) if bar else nullcontext()
