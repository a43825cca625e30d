"""Prompts: any sound file, brought to the rate and the level that the model was trained on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from samplewise.audio.files import probe, read_audio
from samplewise.audio.level import paper_min_max
from samplewise.models.io import AudioFormat

PROMPT_PEAK = 0.99
"""Peak of a prompt that would exceed full scale at the corpus's level."""


@dataclass(frozen=True)
class Prompt:
    """What every clip continues."""

    wave: Float32[np.ndarray, " samples"]
    """Amplitude at the model's rate and level, full scale ±1."""
    notices: tuple[str, ...]
    """What is damaged or missing in the file, and what was changed about it, in words."""


def read_prompt(path: Path, audio: AudioFormat) -> Prompt:
    """Read a sound file as a prompt: resampled, mixed down and levelled, and it says so.

    Raises:
        AudioError: If the file cannot be read as sound, or holds no samples.
    """
    info = probe(path)
    notices: list[str] = []
    wave, _ = read_audio(path, audio.sample_rate, notices)
    if info.sample_rate != audio.sample_rate:
        notices.append(f"resampled from {info.sample_rate} Hz to {audio.sample_rate} Hz")
    if info.channels > 1:
        notices.append(f"its {info.channels} channels are averaged to one")
    levelled, factor = level_prompt(wave, audio)
    if audio.level == "paper":
        notices.append("stretched to the full range, as the training clips were")
    elif factor != 1:
        notices.append(
            f"{-20 * np.log10(factor):.1f} dB softer than in the corpus, where it would clip"
        )
    return Prompt(levelled, tuple(notices))


def to_wave(
    prompt: str | Path | Float[np.ndarray, " samples"] | Prompt | None, audio: AudioFormat
) -> Float32[np.ndarray, " samples"] | None:
    """Return a prompt at the model's rate and level: of a sound file, or of samples at its rate."""
    if prompt is None or isinstance(prompt, Prompt):
        return None if prompt is None else prompt.wave
    if isinstance(prompt, str | Path):
        return read_prompt(Path(prompt), audio).wave
    return level_prompt(np.asarray(prompt, np.float32), audio)[0]


def level_prompt(
    wave: Float32[np.ndarray, " samples"], audio: AudioFormat
) -> tuple[Float32[np.ndarray, " samples"], float]:
    """Bring a prompt to the level of the training clips.

    Level policy ``keep``: times the corpus's gain, but never above full scale; ``paper``:
    stretched to the whole range.

    Returns:
        The wave, and the factor by which it is softer than the corpus would have it: 1 unless it
        would have exceeded full scale.

    Raises:
        ValueError: If the prompt is empty or not finite.
    """
    if not len(wave) or not np.isfinite(wave).all():
        raise ValueError("the prompt must hold at least one sample, and neither NaN nor infinity")
    if audio.level == "paper":
        return paper_min_max(wave), 1.0
    peak = float(np.abs(wave).max()) * audio.gain
    factor = 1.0 if peak <= 1 else PROMPT_PEAK / peak
    return (wave * np.float32(audio.gain * factor)).astype(np.float32), factor
