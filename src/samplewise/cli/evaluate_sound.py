"""`samplewise evaluate --sound`: how clips sound beside the recordings of a corpus."""

import math
from typing import TYPE_CHECKING

from samplewise.report.sound import DESCRIPTORS

if TYPE_CHECKING:
    from samplewise.evaluate.sound import Comparison, Interval, SoundScore

RESULT = "sound.json"
SHOWN = {"level, dB": "level_db", "onsets a s": "onsets_per_s", "noisiness, dB": "noisiness_db"}
"""Heads and names of the descriptors that stand beside the distance of each checkpoint."""


def describe_sound(score: "SoundScore") -> str:
    """Return the figures of the sound of clips as lines."""
    distance = score.log_mel_distance
    lines = [
        f"log-mel distance {_interval(distance, '.3f')} of {score.count} clips of "
        f"{score.seconds:g} s to {score.recordings} {_recordings(score.split)} of that length",
        "; ".join(f"{name} {value:.3f}" for name, value in score.distance_parts.items()),
        "beside it " + "; ".join(f"{name} {value:.3f}" for name, value in score.references.items()),
        "",
        f"{'':<24}  {'clips':>7}  {'95%':>15}  {'recordings':>10}  {'5% to 95%':>15}  inside",
    ]
    rows = {**score.descriptors, "nearest_passage": score.nearest_passage}
    lines += [_row(name, rows[name]) for name in DESCRIPTORS]
    lines.append("")
    if score.drawn_bits is not None:
        beside = (
            ""
            if score.test_bits is None
            else f"; the {_recordings(score.split)}: {score.test_bits:.3f}"
        )
        lines.append(f"entropy of what is drawn {_interval(score.drawn_bits, '.3f')} bits{beside}")
    flagged = round(score.flagged.value * score.count)
    names = ", ".join(f"{name} {count}" for name, count in score.flags.items())
    lines.append(f"flagged {flagged} of {score.count}" + (f": {names}" if names else ""))
    return "\n".join(lines)


def step_head(score: "SoundScore") -> str:
    """Return what stands above the lines of the checkpoints of a run."""
    return (
        f"log-mel distance of {score.count} clips of {score.seconds:g} s to {score.recordings} "
        f"{_recordings(score.split)} of that length\n"
        f"{'step':>9}  {'distance':<22}" + "".join(f"{name:>15}" for name in SHOWN) + "  flagged"
    )


def step_line(step: int, score: "SoundScore") -> str:
    """Return the line of one checkpoint."""
    values = (score.descriptors[key].clips.value for key in SHOWN.values())
    figures = "".join(f"{value:15.1f}" for value in values)
    flagged = f"{score.flagged.value * score.count:.0f} of {score.count}"
    return f"{step:9d}  {_interval(score.log_mel_distance, '.3f'):<22}{figures}  {flagged}"


def _recordings(split: str) -> str:
    return {"valid": "validation", "train": "training"}.get(split, split) + " recordings"


def _row(name: str, comparison: "Comparison") -> str:
    words, digits = DESCRIPTORS[name]

    def shown(value: float) -> str:
        return "–" if math.isnan(value) else f"{value:.{digits}f}"

    clips = comparison.clips
    interval = f"{shown(clips.low)} to {shown(clips.high)}"
    span = f"{shown(comparison.low)} to {shown(comparison.high)}"
    return (
        f"{words:<24}  {shown(clips.value):>7}  {interval:>15}  {shown(comparison.median):>10}  "
        f"{span:>15}  {comparison.inside:.0%}"
    )


def _interval(figure: "Interval", digits: str) -> str:
    return f"{figure.value:{digits}} [{figure.low:{digits}}, {figure.high:{digits}}]"
