"""Clips: drawn in batches or as a stream, with likelihood and flags."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Float64, Integer

from samplewise.audio.level import LevelRange
from samplewise.audio.loops import Loop, close_loop
from samplewise.audio.noise import NOISE_VERSION, NoiseRange
from samplewise.audio.write import write_audio, write_wav
from samplewise.config.codec import from_json
from samplewise.config.models import SampleRNNConfig
from samplewise.config.validation import MAX_TEMPERATURE
from samplewise.generate.artifacts import Flag, find_artifacts
from samplewise.generate.backend import Backend
from samplewise.generate.class_conditioning import class_conditioning
from samplewise.generate.drawing import Drawing
from samplewise.generate.level_control import LevelControl
from samplewise.generate.starts import Starts
from samplewise.generate.surprise import SurpriseControl
from samplewise.generate.temperature import CONSTANT, Envelope, to_envelope
from samplewise.generate.temperature_control import TemperatureControl
from samplewise.models.io import LoadedModel
from samplewise.models.step_model import StepModel
from samplewise.progress import ProgressCallback

BATCH = 64
"""Default number of clips drawn together."""
AUTO = Backend()
CHUNK_S = 0.25
"""Seconds between two calls of ``progress``."""
STREAM_CHUNK_S = 0.1
"""Default seconds per chunk of a stream: its latency."""
Start = Literal["corpus", "silence"]
"""What a clip without a prompt follows."""
TargetBits = float | Literal["auto"] | None
"""Bits per sample near which clips are kept, the model's own choice, or None: none."""
MAX_SECONDS = 31_536_000.0
"""Seconds of a clip; a year."""


@dataclass(frozen=True, repr=False, eq=False)
class Clip:
    """A generated clip at the level of the corpus."""

    index: int
    """i: with seed, temperature, label and prompt it determines the clip."""
    seed: int
    """Seed of the uniforms."""
    samples: Float32[np.ndarray, " samples"]
    """Amplitude, full scale ±1; begins with the quantised prompt if that was to be kept."""
    sample_rate: int
    """Hertz."""
    codes: Integer[np.ndarray, " drawn"]
    """Codes that were drawn, without the prompt."""
    log_likelihood: float
    """ln p of ``codes`` under the model at temperature 1, whatever they were drawn at, in nats."""
    flags: tuple[Flag, ...] = ()
    """Artifacts: silence, noise, hiss, loops; see :mod:`samplewise.generate.artifacts`."""
    label: str | None = None
    """Class of the clip, for a model that is conditioned on classes."""
    flag_reasons: tuple[str, ...] = ()
    """Reason of each flag: what was measured, and what is usual."""
    retries: int = 0
    """How often it was drawn again because of a flag; ``seed`` is that of the take that was kept.
    """
    loop: Loop | None = None
    """The loop that ``samples`` hold; None if they are what was drawn."""

    @property
    def bits_per_sample(self) -> float:
        """Negative log2-likelihood per drawn sample at temperature 1: lower is likelier."""
        return -self.log_likelihood / math.log(2) / max(1, len(self.codes))

    def looped(self) -> "Clip":
        """Return the clip as a loop, whose end joins its beginning (:mod:`audio.loops`).

        Raises:
            ValueError: If it is too short.
        """
        loop = close_loop(self.samples, self.sample_rate)
        return replace(self, samples=loop.wave, loop=loop)

    def save(self, path: str | Path) -> None:
        """Write the samples as .wav, .flac (both 16 bit) or .ogg, whole or not at all.

        Raises:
            ValueError: If the name has another ending.
            OSError: If the file cannot be written; ``path`` is then as it was before.
        """
        write = write_wav if Path(path).suffix.lower() == ".wav" else write_audio
        write(Path(path), self.samples, self.sample_rate)

    def __repr__(self) -> str:
        parts = [
            f"{len(self.samples) / self.sample_rate:.2f} s at {self.sample_rate} Hz",
            f"seed {self.seed}, index {self.index}",
            f"{self.bits_per_sample:.3f} bits per sample",
            *([] if self.label is None else [f"label {self.label!r}"]),
            *self.flags,
        ]
        return f"Clip({', '.join(parts)})"


def generate_clips(
    loaded: LoadedModel,
    count: int,
    seconds: float,
    seed: int,
    first_index: int = 0,
    temperature: Envelope | None = None,
    prompt: Float32[np.ndarray, " samples"] | None = None,
    keep_prompt: bool = True,
    batch: int = BATCH,
    progress: ProgressCallback | None = None,
    backend: Backend = AUTO,
    label: str | None = None,
    start: Start = "corpus",
    target_bits: TargetBits = "auto",
) -> list[Clip]:
    """Draw clips and return all of them; see :func:`iterate_clips`."""
    return list(
        iterate_clips(
            loaded,
            range(first_index, first_index + count),
            seconds,
            seed,
            temperature=temperature,
            prompt=prompt,
            keep_prompt=keep_prompt,
            batch=batch,
            progress=progress,
            backend=backend,
            label=label,
            start=start,
            target_bits=target_bits,
        )
    )


def iterate_clips(
    loaded: LoadedModel,
    indices: Sequence[int],
    seconds: float,
    seed: int,
    *,
    temperature: Envelope | None = None,
    prompt: Float32[np.ndarray, " samples"] | None = None,
    keep_prompt: bool = True,
    batch: int = BATCH,
    progress: ProgressCallback | None = None,
    prompt_progress: ProgressCallback | None = None,
    backend: Backend = AUTO,
    label: str | None = None,
    start: Start = "corpus",
    target_bits: TargetBits = "auto",
) -> Iterator[Clip]:
    """Draw clips in batches and yield them, in order, as soon as a batch is complete.

    On one machine and device, a clip is the same alone or in any batch.

    Args:
        loaded: The model.
        indices: Index of each clip, in [0, 2**64).
        seconds: Length of what is drawn, without the prompt; at least one sample.
        seed: In [0, 2**64).
        temperature: Its time 0 is the first sample that is drawn; None: the model's own.
        prompt: Amplitude at the model's rate and level (see :mod:`generate.prompts`); every clip
            continues it.
        keep_prompt: Begin each clip with the quantised prompt.
        batch: Largest number of clips drawn together.
        progress: Called with samples drawn of all clips together, and their total.
        prompt_progress: Called with samples of the prompt done, and their total.
        backend: What computes the draws.
        label: Class of every clip, for a model that is conditioned on classes; None: each class
            in turn.
        start: What a clip without a prompt follows: corpus, a short excerpt of the training split
            if the model file has any (:mod:`generate.starts`), or silence.
        target_bits: Bits per sample near which the temperature keeps each clip; see
            :func:`control_of`.

    Raises:
        ValueError: If there is nothing to draw, or the prompt exceeds full scale.
        SamplewiseError: If the model does not know the class, or needs mel spectrograms.
    """
    rate, quantizer = loaded.audio.sample_rate, loaded.model.quantizer
    total = samples_of(seconds, rate)
    if not len(indices):
        raise ValueError("count = 0 must be at least 1")
    codes = None if prompt is None else quantizer.encode(prompt)
    kept = codes if keep_prompt else None
    groups = even_groups(indices, batch)
    sampler = backend.sampler(loaded.model, max(len(group) for group in groups))
    temperature = temperature or temperature_of(loaded.provenance)
    if codes is not None and len(set(class_conditioning(loaded.model, label, indices).labels)) > 1:
        raise ValueError("a prompt has one class: name it (--label)")
    starts = starts_of(loaded) if start == "corpus" and codes is None else None
    silence = quantizer.silence
    prefilled, done = None, 0
    for group in even_groups(indices, sampler.max_batch):
        conditioning = class_conditioning(loaded.model, label, group)
        drawing = Drawing(
            sampler,
            seed,
            group,
            rate,
            temperature,
            conditioning,
            codes,
            prefilled,
            prompt_progress,
            None if starts is None else starts.choose(seed, group, conditioning.labels, silence),
            control_of(loaded, target_bits, len(group)),
        )
        prefilled = drawing.prefilled
        drawn = np.empty((len(group), total), np.min_scalar_type(loaded.model.q_levels - 1))
        log_likelihoods = np.zeros(len(group))
        for chunk, log_probs in drawing.chunks(total, CHUNK_S):
            drawn[:, drawing.time - chunk.shape[1] : drawing.time] = chunk
            log_likelihoods += log_probs.sum(1)
            if progress:
                progress(done + drawing.time * len(group), total * len(indices))
        done += total * len(group)
        rows = zip(group, drawn, log_likelihoods, conditioning.labels, strict=True)
        for index, row, log_likelihood, name in rows:
            yield make_clip(loaded, index, seed, row, float(log_likelihood), kept, name)


def stream_chunks(
    loaded: LoadedModel,
    seed: int,
    *,
    samples: int | None = None,
    index: int = 0,
    temperature: Envelope | None = None,
    prompt: Float32[np.ndarray, " samples"] | None = None,
    keep_prompt: bool = True,
    chunk_s: float = STREAM_CHUNK_S,
    prompt_progress: ProgressCallback | None = None,
    backend: Backend = AUTO,
    label: str | None = None,
    start: Start = "corpus",
    target_bits: TargetBits = "auto",
    observe: Callable[[Float64[np.ndarray, " chunk"]], None] | None = None,
) -> Iterator[Float32[np.ndarray, " chunk"]]:
    """Draw clip ``index`` of ``seed`` chunk by chunk, without end, in constant memory.

    The samples are those that :func:`iterate_clips` gives.

    Args:
        loaded: The model.
        seed: In [0, 2**64).
        samples: How many to draw; None: without end.
        index: Index of the clip.
        temperature: Its time 0 is the first sample that is drawn; held after the last point; None:
            the model's own.
        prompt: Amplitude at the model's rate and level.
        keep_prompt: Begin with the quantised prompt.
        chunk_s: Seconds per chunk, above 0.
        prompt_progress: Called with samples of the prompt done, and their total.
        backend: What computes the draws.
        label: Class of the clip, for a model that is conditioned on classes; None: by ``index``,
            each class in turn.
        start: As for :func:`iterate_clips`.
        target_bits: As for :func:`iterate_clips`.
        observe: Called before each chunk with the log-probability of its samples at temperature 1,
            in nats.

    Yields:
        Amplitude, full scale ±1, at most ``chunk_s`` at a time; the prompt is one chunk.
    """
    if not chunk_s > 0:
        raise ValueError(f"chunk_s = {chunk_s:g} must be above 0 seconds")
    quantizer = loaded.model.quantizer
    codes = None if prompt is None else quantizer.encode(prompt)
    starts = starts_of(loaded) if start == "corpus" and codes is None else None
    conditioning = class_conditioning(loaded.model, label, [index])
    own = None
    if starts is not None:
        own = starts.choose(seed, [index], conditioning.labels, quantizer.silence)
    drawing = Drawing(
        backend.sampler(loaded.model, 1),
        seed,
        [index],
        loaded.audio.sample_rate,
        temperature or temperature_of(loaded.provenance),
        conditioning,
        codes,
        prompt_progress=prompt_progress,
        starts=own,
        control=control_of(loaded, target_bits, 1),
    )
    if codes is not None and keep_prompt:
        yield quantizer.decode(codes)
    for chunk, log_probs in drawing.chunks(samples, chunk_s):
        if observe is not None:
            observe(log_probs[0])
        yield quantizer.decode(chunk[0])


def make_clip(
    loaded: LoadedModel,
    index: int,
    seed: int,
    codes: Integer[np.ndarray, " drawn"],
    log_likelihood: float,
    prompt: Integer[np.ndarray, " prompt"] | None = None,
    label: str | None = None,
) -> Clip:
    """Return the clip of drawn codes, with flags; it begins with the prompt if there is one."""
    quantizer, rate = loaded.model.quantizer, loaded.audio.sample_rate
    wave = quantizer.decode(codes)
    flags = find_flags(loaded, wave)
    if prompt is not None:
        wave = np.concatenate([quantizer.decode(prompt), wave])
    reasons = tuple(flags.values())
    return Clip(index, seed, wave, rate, codes, log_likelihood, tuple(flags), label, reasons)


def find_flags(loaded: LoadedModel, wave: Float32[np.ndarray, " samples"]) -> dict[Flag, str]:
    """Return what is wrong with a sound that a model drew, with the reasons."""
    quantizer = loaded.model.quantizer
    silence = float(quantizer.amplitudes[quantizer.silence])
    return find_artifacts(wave, loaded.audio.sample_rate, silence, noise_of_recordings(loaded))


def noise_of_recordings(loaded: LoadedModel) -> NoiseRange | None:
    """Return how noisy the training recordings of a model are; None if it does not say."""
    known = loaded.provenance.get("noise")
    try:
        found = None if known is None else from_json(NoiseRange, known, "noise")
    except ValueError:
        return None
    return found if found and found.version == NOISE_VERSION else None


def control_of(
    loaded: LoadedModel, target_bits: TargetBits, clips: int
) -> TemperatureControl | None:
    """Return what changes the temperature of ``clips`` clips; None if nothing does.

    A SampleRNN with a linear predictor drifts: with a softmax its bits are kept, see
    :func:`target_of`, with a mixture its level (:func:`level_of`).
    """
    bits, rate = target_of(loaded, target_bits), loaded.audio.sample_rate
    if bits is not None:
        return SurpriseControl(bits, clips, rate)
    level = level_of(loaded, target_bits)
    if level is None:
        return None
    return LevelControl(level, loaded.model.quantizer.amplitudes, clips, rate)


def level_of(loaded: LoadedModel, target_bits: TargetBits) -> LevelRange | None:
    """Return the range of levels that clips are kept in; None: their level is left alone.

    auto: that of the training recordings, for a SampleRNN with a linear predictor and a mixture.
    """
    config, known = loaded.model.config, loaded.provenance.get("level")
    predicts = isinstance(config, SampleRNNConfig) and config.lp_order > 0 and config.head == "mol"
    if target_bits != "auto" or not predicts or known is None:
        return None
    try:
        return from_json(LevelRange, known, "level")
    except ValueError:
        return None


def target_of(loaded: LoadedModel, target_bits: TargetBits) -> float | None:
    """Return the bits per sample near which clips are kept; None leaves them as they are.

    auto: the validation bits of a SampleRNN with a linear predictor and a softmax. With a mixture
    the bits depend on the level: a target would turn pauses into noise.

    Raises:
        ValueError: If the target is not above 0, or the model draws whole segments.
    """
    if target_bits == "auto":
        config = loaded.model.config
        predicts = isinstance(config, SampleRNNConfig) and config.lp_order > 0
        predicts = predicts and config.head == "categorical"
        found = loaded.provenance.get("valid_bits") if predicts else None
        return found if isinstance(found, float) and found > 0 else None
    if target_bits is None:
        return None
    if not (math.isfinite(target_bits) and target_bits > 0):
        raise ValueError(f"target_bits = {target_bits} must be above 0 bits per sample")
    if not isinstance(loaded.model, StepModel):
        raise ValueError(  # noqa: TRY004
            f"target_bits = {target_bits} needs a model that draws one sample after the other, not "
            f"{loaded.model.config.family}"
        )
    return target_bits


def temperature_of(provenance: Mapping[str, Any]) -> Envelope:
    """Return the temperature at which a model is drawn from by default: 1 unless it says so."""
    stored = provenance.get("temperature")
    if isinstance(stored, int | float) and 0 < stored <= MAX_TEMPERATURE:
        return to_envelope(float(stored))
    return CONSTANT


def starts_of(loaded: LoadedModel) -> Starts | None:
    """Return the starts of a model; None if it has none."""
    stored = loaded.provenance.get("starts")
    return None if stored is None else Starts.from_json(stored, loaded.model.q_levels)


def samples_of(seconds: float, sample_rate: int) -> int:
    """Return a duration in samples.

    Raises:
        ValueError: If it is not at least one sample, or not finite.
    """
    if not (math.isfinite(seconds) and round(seconds * sample_rate) >= 1):
        raise ValueError(f"seconds = {seconds:g} must be at least one sample (1/{sample_rate} s)")
    if seconds > MAX_SECONDS:
        raise ValueError(f"seconds = {seconds:g} must be at most {MAX_SECONDS:g} (a year)")
    return round(seconds * sample_rate)


def even_groups(indices: Sequence[int], max_batch: int) -> list[Sequence[int]]:
    """Cut into the fewest groups of at most ``max_batch``, of about equal size.

    Raises:
        ValueError: If ``max_batch`` is not positive.
    """
    if max_batch < 1:
        raise ValueError(f"batch = {max_batch} must be at least 1")
    size = math.ceil(len(indices) / math.ceil(len(indices) / max_batch))
    return [indices[start : start + size] for start in range(0, len(indices), size)]
