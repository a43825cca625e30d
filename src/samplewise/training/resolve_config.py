"""Settings that depend on the corpus: moments of the amplitude, classes, code frequencies."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import compress
from typing import Any

import numpy as np
from jaxtyping import Int64
from numpy.lib.stride_tricks import sliding_window_view

from samplewise.audio.lpc import WHITE_NOISE, levinson
from samplewise.audio.noise import is_sounding, power_spectra
from samplewise.config.conditioning import LPC_ORDER, ConditioningConfig, MelConfig
from samplewise.config.models import (
    RNNConfig,
    SampleRNNConfig,
    WaveNetConfig,
    WaveRNNConfig,
    conditioning_of,
)
from samplewise.config.training import TrainConfig
from samplewise.data.corpus import Corpus
from samplewise.data.excerpts import cut, evenly_spaced, moments
from samplewise.data.reader import ClipReader
from samplewise.errors import CorpusError
from samplewise.generate import starts
from samplewise.models.build import build_model
from samplewise.models.step_model import StepModel
from samplewise.quantizers import Quantizer, make_quantizer

COUNTED_CLIPS, COUNTED_SECONDS = 64, 4.0
"""Clips in which codes are counted, evenly spread, and their length at most: time and memory do not
grow with the corpus."""
TILT_ORDER, TILT_WINDOW = 16, 2048
"""Order of the predictor of the average spectrum, and the samples of its frames."""
LARGEST_PEAK = 0.7
"""Of recordings for a 16-bit SampleRNN, relative to full scale."""
SILENT_SHARE = 16
"""An excerpt that spans at most 1/16 of the codes is silent."""


def with_moments(config: TrainConfig, corpus: Corpus) -> TrainConfig:
    """Return ``config`` with the moments that a gmm head normalises amplitudes with."""
    model = config.model
    if not isinstance(model, SampleRNNConfig | RNNConfig):
        return config
    if model.head != "gmm" or model.moments is not None:
        return config
    clips = cut(corpus.split("train"), round(config.clip_seconds * corpus.sample_rate))
    return replace(config, model=replace(model, moments=moments(corpus, clips, config.level)))


def with_tilt(config: TrainConfig, corpus: Corpus) -> TrainConfig:
    """Return ``config`` with the fixed predictor of a SampleRNN whose predictor is Burg's.

    It is the predictor of the average spectrum; every frame that is not silent counts alike.
    """
    model = config.model
    if not isinstance(model, SampleRNNConfig) or not model.lp_order:
        return config
    if model.lp_method != "burg" or model.lp_tilt is not None:
        return config
    clips = cut(corpus.split("train"), round(COUNTED_SECONDS * corpus.sample_rate))
    quantizer = make_quantizer(model.quantizer, model.q_levels)
    reader = ClipReader(corpus, config.level, quantizer)
    power = np.zeros(TILT_WINDOW // 2 + 1)
    for clip in evenly_spaced(clips, COUNTED_CLIPS):
        wave = quantizer.decode(reader.read(clip).codes)
        if len(wave) < TILT_WINDOW:
            continue
        frames = sliding_window_view(wave.astype(np.float64), TILT_WINDOW)[:: TILT_WINDOW // 2]
        powers = power_spectra(frames[is_sounding(frames)])
        power += (powers / powers.sum(1, keepdims=True)).sum(0)
    lags = np.fft.irfft(power)[: TILT_ORDER + 1]
    if not lags[0] > 0:  # nothing but silence
        return replace(config, model=replace(model, lp_tilt=()))
    lags[0] *= 1 + WHITE_NOISE
    tilt = levinson(lags[None]).weights[0]
    return replace(config, model=replace(model, lp_tilt=tuple(tilt.tolist())))


def level_warning(config: TrainConfig, corpus: Corpus) -> str | None:
    """Return a warning if a 16-bit SampleRNN would clip what it draws; None if there is room."""
    model, peak = config.model, corpus.index.settings.peak
    if not isinstance(model, SampleRNNConfig) or model.head != "mol":
        return None
    if config.level == "keep" and peak <= LARGEST_PEAK:
        return None
    found = f"peaks are at {peak:g} of" if config.level == "keep" else "every clip reaches"
    return (
        f"{found} full scale, and this model needs room above the recordings: what it draws "
        "clips, and a burst of noise follows. Prepare the recordings with --peak 0.5"
    )


def code_counts(
    config: TrainConfig, corpus: Corpus, quantizer: Quantizer, labels: Mapping[str, str] | None
) -> Int64[np.ndarray, " q_levels"]:
    """Return how often each code occurs in a sample of the training split.

    Args:
        config: How clips are cut and read.
        corpus: Where they lie.
        quantizer: Quantiser of the model.
        labels: Class of each recording by its source; None: no classes.
    """
    seconds = min(config.clip_seconds or COUNTED_SECONDS, COUNTED_SECONDS)
    clips = cut(corpus.split("train"), max(1, round(seconds * corpus.sample_rate)))
    reader = ClipReader(corpus, config.level, quantizer, conditioning_of(config.model), labels)
    counts = np.zeros(quantizer.q_levels, np.int64)
    for clip in evenly_spaced(clips, COUNTED_CLIPS):
        counts += np.bincount(reader.read(clip).codes, minlength=len(counts))
    return counts


def with_conditioning(
    config: TrainConfig, labels: Mapping[str, str] | None, trained: Collection[str] | None = None
) -> TrainConfig:
    """Return ``config`` with the conditioning of its model, names of classes included.

    Args:
        config: Settings as they were asked for.
        labels: Class of each recording by its source; None: no classes.
        trained: Sources of the training split; None: all.

    Raises:
        ValueError: If the family of the model takes no conditioning.
    """
    if config.mel and config.level == "paper":
        raise ValueError("level = paper hides the true level from a mel: give --level keep")
    if not config.mel and labels is None and conditioning_of(config.model) is None:
        return config
    model = config.model
    if not isinstance(model, SampleRNNConfig | RNNConfig | WaveNetConfig | WaveRNNConfig):
        raise ValueError(  # noqa: TRY004
            f"a {model.family} model cannot be told anything: drop --mel and --labels"
        )
    names = tuple(sorted(set((labels or {}).values())))
    learned = {name for source, name in (labels or {}).items() if not trained or source in trained}
    if set(names) - learned:
        unheard = sorted(set(names) - learned)[0]
        raise CorpusError(
            f"{unheard!r} has no recording in the training split, so nothing could be learned of "
            "it; split the corpus otherwise"
        )
    if not config.mel and not names:  # --no-mel, where a preset has it
        return replace(config, model=replace(model, conditioning=None))
    order = LPC_ORDER if isinstance(model, WaveRNNConfig) else 0
    conditioning = model.conditioning or ConditioningConfig(MelConfig(), names, lpc_order=order)
    if config.mel:
        conditioning = replace(conditioning, mel=conditioning.mel or MelConfig(), classes=names)
    else:
        conditioning = replace(conditioning, mel=None, classes=names, lpc_order=0)
    return replace(config, model=replace(model, conditioning=conditioning))


def describe_starts(
    config: TrainConfig, corpus: Corpus, labels: Mapping[str, str] | None = None
) -> dict[str, Any] | None:
    """Return excerpts of the training split that are not silent, evenly spread, of each class.

    None for a model conditioned on mel spectrograms or very many classes, or one that draws whole
    segments.
    """
    model = build_model(config.model, seed=None)
    conditioning = conditioning_of(config.model)
    if not isinstance(model, StepModel) or (conditioning and conditioning.mel is not None):
        return None
    classes = conditioning.classes if conditioning else ()
    if len(classes) > 2 * starts.MOST:
        return None
    count = min(starts.COUNT, max(1, starts.MOST // max(1, len(classes))))
    samples = round(starts.SECONDS * corpus.sample_rate)
    reader = ClipReader(corpus, config.level, model.quantizer)
    chosen, names, training = [], [], corpus.split("train")
    for name in classes or (None,):
        recordings = training
        if name is not None and labels is not None:
            recordings = [each for each in training if labels[each.source] == name]
        excerpts = evenly_spaced(cut(recordings, samples, whole=True), 4 * count)
        codes = [reader.read(excerpt).codes for excerpt in excerpts]
        is_loud = [np.ptp(own) > model.q_levels // SILENT_SHARE for own in codes]
        own = evenly_spaced(list(compress(codes, is_loud)), count)
        chosen += own
        names += [name] * len(own)
    if not chosen:
        return None
    named = tuple(name for name in names if name is not None)
    return starts.Starts(np.stack(chosen), named).to_json(model.q_levels)
