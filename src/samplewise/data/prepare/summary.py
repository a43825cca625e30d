"""Figures and warnings about a corpus."""

import math
from collections import defaultdict
from collections.abc import Sequence

from samplewise.audio.level import peak_gain
from samplewise.data.index import (
    SPLITS,
    CorpusIndex,
    Recording,
    Settings,
    Skipped,
    SourceFile,
    Summary,
)
from samplewise.data.splits import BY_FOLDER, LEAST_OF_SHARE

LITTLE_TRAINING_MIN = 10.0
"""Minutes of training audio below which a warning is given."""
MUCH_SILENCE = 0.5
"""Share of silent windows above which a warning is given."""
LOUD_PEAK = 1.5
"""Peak amplitude above which a warning is given, because it makes other recordings quieter."""
SILENT_SHARE = 0.99
"""Share of silent windows from which a recording is silent."""
SILENT_PEAK = 1e-3
"""Peak amplitude, -60 dBFS, up to which a part of a recording is silent."""
LITTLE_HELD_OUT_S = 60.0
"""Seconds below which a held-out split is small, if folders name the splits."""
DC_SHARE = 0.1
"""Share of the RMS about the mean (-20 dB) above which a mean gives a warning."""
LEAST_DC = 8 / 32768
"""Smallest mean, as an amplitude, that gives a warning."""
DC_GAIN = 1.1
"""Factor between the gains with and without DC from which a warning names both."""
NAMES_SHOWN = 3
DC_NAMES_SHOWN = 10


def summarise(
    settings: Settings,
    files: Sequence[SourceFile],
    recordings: Sequence[Recording],
    skipped: Sequence[Skipped],
) -> Summary:
    """Compute the figures that are printed and stored in corpus.json."""
    minutes: dict[str, float] = {"train": 0.0, "valid": 0.0, "test": 0.0}
    for recording in recordings:
        minutes[recording.split] += recording.samples / settings.sample_rate / 60
    samples = sum(file.samples for file in files)
    windows = sum(file.windows for file in files)
    mean_square = sum(_power(file) for file in files) / max(samples, 1)
    return Summary(
        recordings=len(files),
        minutes={name: round(value, 4) for name, value in minutes.items()},
        peak_dbfs=_db(max((file.level(settings) for file in files), default=0.0)),
        loudness_rms_dbfs=_db(math.sqrt(mean_square)),
        silence_share=round(sum(file.silent_windows for file in files) / max(windows, 1), 4),
        resampled=sum(file.rate != settings.sample_rate for file in files),
        mixed=sum(file.channels > 1 for file in files),
        over_full_scale=sum(file.scale > 1 for file in files),
        skipped=len(skipped),
    )


def warnings_about(
    settings: Settings,
    summary: Summary,
    files: Sequence[SourceFile],
    recordings: Sequence[Recording],
    skipped: Sequence[Skipped],
    use_folders: bool,
) -> list[str]:
    """Return the warnings about a corpus that a user should read before training."""
    warnings = []
    minutes = summary.minutes
    if (train := minutes["train"]) < LITTLE_TRAINING_MIN:
        amount = f"{train:.1f} minutes" if train >= 0.1 else f"{60 * train:.1f} seconds"
        warnings.append(
            f"only {amount} to train on: enough to try the commands; "
            "a model will echo these recordings and learn little beyond them. "
            f"Aim for {LITTLE_TRAINING_MIN:.0f} minutes at least, for hours if there are any"
        )
    warnings += [
        f"no audio for {name}: {'evaluation' if name == 'test' else 'early stopping'} needs some"
        for name in ("valid", "test")
        if not minutes[name]
    ]
    warnings += _cut(files, recordings)
    warnings += _small_splits(settings, files, recordings, use_folders)
    warnings += _upsampled(settings.sample_rate, files)
    warnings += [] if settings.remove_dc else _dc(files, settings.peak)
    loudest = max(files, key=lambda file: file.level(settings))
    if loudest.level(settings) > LOUD_PEAK:
        warnings.append(
            f"{loudest.source} exceeds full scale, at {_db(loudest.level(settings))} dBFS: the "
            "gain of the whole corpus is set by it; turn that file down or leave it out"
        )
    cancelled = [f.source for f in files if any("channels cancel" in note for note in f.notes)]
    cancelled += [s.source for s in skipped if "; all channels cancel" in s.reason]
    warnings += [f"all channels cancel: {source} mixes to silence" for source in cancelled]
    if summary.loudness_rms_dbfs is None:
        warnings.append("everything is digital silence: there is nothing to learn")
    elif summary.silence_share > MUCH_SILENCE:
        warnings.append(
            f"{summary.silence_share:.0%} of the audio is silence (below -60 dBFS): "
            "a model will learn to be silent; cut the pauses"
        )
    return warnings


def split_warnings(index: CorpusIndex) -> list[str]:
    """Return the warnings about small held-out splits of a corpus of any version."""
    use_folders = index.split_rule == BY_FOLDER
    return _small_splits(index.settings, index.files, index.recordings, use_folders)


def silent_files(files: Sequence[SourceFile]) -> set[str]:
    """Return the sources of the silent recordings; none if all are silent."""
    silent = {f.source for f in files if f.silent_windows >= SILENT_SHARE * f.windows}
    if len(silent) == len(files):  # a corpus below the threshold, or nothing at all
        silent = {file.source for file in files if not _power(file)}
    return silent if len(silent) < len(files) else set()


def names(sources: Sequence[str], limit: int = NAMES_SHOWN) -> str:
    """Return the first names and the number of the others."""
    more = f" and {len(sources) - limit} more" if len(sources) > limit else ""
    return ", ".join(sources[:limit]) + more


def plural(number: int, noun: str) -> str:
    """Return a number and its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _power(file: SourceFile) -> float:
    """Return the sum of the squared amplitudes about the mean; 0 for a constant."""
    power = file.sum_squares - file.samples * (file.mean or 0.0) ** 2
    return power if power > 1e-12 * file.sum_squares else 0.0


def _cut(files: Sequence[SourceFile], recordings: Sequence[Recording]) -> list[str]:
    whole = {file.source: file.samples for file in files}
    cut = sorted({part.source for part in recordings if part.samples < whole[part.source]})
    if not cut:
        return []
    sounding = whole.keys() - silent_files(files)
    share = sum(whole[source] for source in cut) / sum(whole[source] for source in sounding)
    reason = (
        f"there are too few recordings ({len(sounding)})"
        if len(sounding) < 3
        else f"the others cannot give each split its share (it is {share:.0%} of the audio)"
    )
    return [
        f"{names(cut)} was cut into parts for training, validation and test, because {reason}: "
        "the score is on material like the training material"
    ]


def _small_splits(
    settings: Settings,
    files: Sequence[SourceFile],
    recordings: Sequence[Recording],
    use_folders: bool,
) -> list[str]:
    silent = silent_files(files)
    seconds: dict[str, float] = dict.fromkeys(SPLITS, 0.0)
    for recording in recordings:
        is_silent_part = recording.offset and recording.peak < SILENT_PEAK
        if recording.source not in silent and not is_silent_part:
            seconds[recording.split] += recording.samples / settings.sample_rate
    total = sum(seconds.values())
    warnings = []
    if silent:
        verb = "is" if len(silent) == 1 else "are"
        warnings.append(
            f"{plural(len(silent), 'recording')} {verb} silent and not counted in any split: "
            f"{names(sorted(silent))}"
        )
    shares = {"valid": ("validation", settings.valid), "test": ("test", settings.test)}
    present = {recording.split for recording in recordings}
    for split, (name, share) in shares.items():
        found = seconds[split]
        is_small = found < LEAST_OF_SHARE * share * total
        if use_folders:
            is_small = is_small and found < LITTLE_HELD_OUT_S
        if split in present and (is_small or not found):
            what = f"{found:.1f} s, {found / total:.1%} of the audio" if found else "silence"
            role = "which weights are kept" if split == "valid" else "the score"
            warnings.append(
                f"the {name} split is {what} instead of {share:.0%}, and decides {role}; "
                "add recordings, or prepare into another folder with another --seed"
            )
    return warnings


def _dc(files: Sequence[SourceFile], target: float) -> list[str]:
    offset = [
        file.source
        for file in files
        if file.mean is not None
        and abs(file.mean) > max(LEAST_DC, DC_SHARE * math.sqrt(_power(file) / file.samples))
    ]
    if not offset:
        return []
    largest = max(abs(file.mean or 0.0) for file in files)
    peak = max(file.peak for file in files)
    without = max(
        file.peak if file.peak_about_mean is None else file.peak_about_mean for file in files
    )
    gains = (
        f"; without it the peak is {_db(without)} dBFS, and the gain "
        f"{peak_gain(without, target):.4g} "
        f"in place of {peak_gain(peak, target):.4g}"
        if 0 < without * DC_GAIN < peak
        else ""
    )
    return [
        f"a constant (DC) of up to {largest:.3g} lies under the sound of "
        f"{plural(len(offset), 'recording')}: {names(offset, DC_NAMES_SHOWN)}{gains}; "
        "--remove-dc subtracts the mean of each recording"
    ]


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
