"""Figures and warnings about a corpus."""

import math
from collections import defaultdict
from collections.abc import Sequence

from samplewise.data.index import Recording, Skipped, SourceFile, Summary

LITTLE_TRAINING_MIN = 10.0
"""Less training audio than this, in minutes, earns a warning."""
MUCH_SILENCE = 0.5
"""A larger share of silent windows earns a warning."""
LOUD_PEAK = 1.5
"""A larger peak, as an amplitude, earns a warning: every other recording gets quieter for it."""
NAMES_SHOWN = 3


def summarise(
    sample_rate: int,
    files: Sequence[SourceFile],
    recordings: Sequence[Recording],
    skipped: Sequence[Skipped],
) -> Summary:
    """Compute the figures that are printed and kept in corpus.json."""
    minutes: dict[str, float] = {"train": 0.0, "valid": 0.0, "test": 0.0}
    for recording in recordings:
        minutes[recording.split] += recording.samples / sample_rate / 60
    samples = sum(file.samples for file in files)
    windows = sum(file.windows for file in files)
    mean_square = sum(file.sum_squares for file in files) / max(samples, 1)
    return Summary(
        recordings=len(files),
        minutes={name: round(value, 4) for name, value in minutes.items()},
        peak_dbfs=_db(max((file.peak for file in files), default=0.0)),
        loudness_rms_dbfs=_db(math.sqrt(mean_square)),
        silence_share=round(sum(file.silent_windows for file in files) / max(windows, 1), 4),
        resampled=sum(file.rate != sample_rate for file in files),
        mixed=sum(file.channels > 1 for file in files),
        over_full_scale=sum(file.scale > 1 for file in files),
        skipped=len(skipped),
    )


def warnings_about(
    sample_rate: int,
    summary: Summary,
    files: Sequence[SourceFile],
    recordings: Sequence[Recording],
) -> list[str]:
    """Say in words what a user should know before training on this corpus."""
    warnings = []
    minutes = summary.minutes
    if minutes["train"] < LITTLE_TRAINING_MIN:
        warnings.append(
            f"only {minutes['train']:.1f} minutes to train on: enough to try the commands; "
            "a model will echo these recordings and learn little beyond them. "
            f"Aim for {LITTLE_TRAINING_MIN:.0f} minutes at least, for hours if there are any"
        )
    warnings += [
        f"no audio for {name}: {'evaluation' if name == 'test' else 'early stopping'} needs some"
        for name in ("valid", "test")
        if not minutes[name]
    ]
    whole = {file.source: file.samples for file in files}
    cut = {part.source for part in recordings if part.samples < whole[part.source]}
    if cut:
        warnings.append(
            f"{names(sorted(cut))} was cut into parts for training, validation and test, because "
            "there are too few recordings: the score is on material like the training material"
        )
    warnings += _upsampled(sample_rate, files)
    loudest = max(files, key=lambda file: file.peak)
    if loudest.peak > LOUD_PEAK:
        warnings.append(
            f"{loudest.source} exceeds full scale, at {_db(loudest.peak)} dBFS: the gain of the "
            "whole corpus is set by it; turn that file down or leave it out"
        )
    cancelled = [f.source for f in files if any("cancel" in note for note in f.notes)]
    warnings += [f"all channels cancel: {source} mixes to silence" for source in cancelled]
    if summary.peak_dbfs is None:
        warnings.append("everything is digital silence: there is nothing to learn")
    elif summary.silence_share > MUCH_SILENCE:
        warnings.append(
            f"{summary.silence_share:.0%} of the audio is silence (below -60 dBFS): "
            "a model will learn to be silent; cut the pauses"
        )
    return warnings


def names(sources: Sequence[str]) -> str:
    """Return the first names and how many more there are."""
    more = f" and {len(sources) - NAMES_SHOWN} more" if len(sources) > NAMES_SHOWN else ""
    return ", ".join(sources[:NAMES_SHOWN]) + more


def _upsampled(sample_rate: int, files: Sequence[SourceFile]) -> list[str]:
    lower = defaultdict(list)
    for file in files:
        if file.rate < sample_rate:
            lower[file.rate].append(file.source)
    return [
        f"nothing above {rate // 2} Hz in {len(sources)} of the files, "
        f"upsampled from {rate} Hz: {names(sources)}"
        for rate, sources in sorted(lower.items())
    ]


def _db(amplitude: float) -> float | None:
    return round(20 * math.log10(amplitude), 2) if amplitude > 0 else None
