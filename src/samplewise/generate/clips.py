"""Clips: drawn in batches, scored, screened and ranked."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int, Integer, UInt

from samplewise.generate.artifacts import Flag, find_artifacts
from samplewise.generate.backend import Backend, Progress, Sampler
from samplewise.generate.class_conditioning import ClassConditioning, class_conditioning
from samplewise.generate.temperature import CONSTANT, Envelope
from samplewise.generate.uniforms import uniforms
from samplewise.models.io import LoadedModel

BATCH = 64
"""Clips that are drawn together unless told otherwise."""
AUTO = Backend()
CHUNK_S = 0.25
"""Seconds between two calls of ``progress``."""
MAX_SECONDS = 31_536_000.0
"""Seconds of a clip; a year."""


@dataclass(frozen=True)
class GeneratedClip:
    """One take at the level of the corpus, as the model heard it."""

    index: int
    """i: with the seed, the envelope and the prompt it determines the clip."""
    wave: Float32[np.ndarray, " samples"]
    """Amplitude, full scale ±1; begins with the prompt if that was to be kept."""
    codes: Integer[np.ndarray, " drawn"]
    """What was drawn, without the prompt."""
    nats: float
    """-ln p of ``codes`` under the model at temperature 1, whatever they were drawn at."""
    flags: tuple[Flag, ...]
    """See :mod:`samplewise.generate.artifacts`."""
    label: str | None = None
    """Its class, for a model that is told one."""

    @property
    def bits_per_sample(self) -> float:
        """Negative log2-likelihood per drawn sample at temperature 1: lower is likelier."""
        return self.nats / math.log(2) / max(1, len(self.codes))


def generate_clips(
    loaded: LoadedModel,
    count: int,
    seconds: float,
    seed: int,
    first_index: int = 0,
    temperature: Envelope = CONSTANT,
    prompt: Float32[np.ndarray, " samples"] | None = None,
    keep_prompt: bool = True,
    batch: int = BATCH,
    progress: Progress | None = None,
    backend: Backend = AUTO,
    label: str | None = None,
) -> list[GeneratedClip]:
    """Draw clips; see :func:`iterate_clips`, which does not keep them."""
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
        )
    )


def iterate_clips(
    loaded: LoadedModel,
    indices: Sequence[int],
    seconds: float,
    seed: int,
    *,
    temperature: Envelope = CONSTANT,
    prompt: Float32[np.ndarray, " samples"] | None = None,
    keep_prompt: bool = True,
    batch: int = BATCH,
    progress: Progress | None = None,
    on_prompt: Progress | None = None,
    backend: Backend = AUTO,
    label: str | None = None,
) -> Iterator[GeneratedClip]:
    """Draw clips in batches and give them out, in order, as soon as a batch is complete.

    On one machine and device, a clip is the same alone or in any batch.

    Args:
        loaded: The model.
        indices: Number of each clip, in [0, 2**64).
        seconds: How much to draw, without the prompt; at least one sample.
        seed: In [0, 2**64).
        temperature: Its time 0 is the first sample that is drawn.
        prompt: Amplitude at the model's rate and level (see :mod:`generate.prompts`); every clip
            continues it.
        keep_prompt: Begin each wave with the prompt, as the model heard it.
        batch: Most clips at once.
        progress: Called with samples drawn of all clips together, and their total.
        on_prompt: Called with samples of the prompt that were heard, and their total.
        backend: What computes.
        label: Class of every clip, for a model that is told one; None: each in turn.

    Raises:
        ValueError: If there is nothing to draw, or the prompt exceeds full scale.
        SamplewiseError: If the model does not know the class, or draws for mel spectrograms only.
    """
    total = samples_of(seconds, loaded.audio.sample_rate)
    if not len(indices):
        raise ValueError("count = 0 must be at least 1")
    codes = None if prompt is None else loaded.model.quantizer.encode(prompt)
    groups = even_groups(indices, batch)
    sampler = backend.sampler(loaded.model, max(len(group) for group in groups))
    groups = even_groups(indices, sampler.max_batch)
    told = class_conditioning(loaded.model, label, indices)
    if codes is not None and len(set(told.labels)) > 1:
        raise ValueError("a prompt has one class: name it (--label)")
    prefilled, before = None, 0
    if codes is not None:
        vectors = told.at(0, len(codes))
        before = len(codes)
        prefilled = sampler.prefill(codes, on_prompt, None if vectors is None else vectors[:1])
    done = 0
    for group in groups:
        sampler_state, own = (
            sampler.start(len(group), prefilled),
            class_conditioning(loaded.model, label, group),
        )
        take = _Take(loaded, sampler_state, group, seed, temperature, own, before)

        def report(drawn: int, earlier: int = done, clips: int = len(group)) -> None:
            if progress:
                progress(earlier + drawn * clips, total * len(indices))

        drawn, nats = take.draw(sampler, total, report)
        done += total * len(group)
        for index, row, score, name in zip(group, drawn, nats, own.labels, strict=True):
            kept = codes if keep_prompt else None
            yield replace(_finish(loaded, index, row, float(score), kept), label=name)


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
    """Cut into the fewest groups of at most ``max_batch``, all about as large.

    Raises:
        ValueError: If ``max_batch`` is not positive.
    """
    if max_batch < 1:
        raise ValueError(f"batch = {max_batch} must be at least 1")
    size = math.ceil(len(indices) / math.ceil(len(indices) / max_batch))
    return [indices[start : start + size] for start in range(0, len(indices), size)]


@dataclass
class _Take:
    """One batch in the making."""

    loaded: LoadedModel
    sampler_state: Any
    indices: Sequence[int]
    seed: int
    temperature: Envelope
    told: ClassConditioning
    prefilled: int
    """Samples of the prompt."""

    def draw(
        self, sampler: Sampler, total: int, report: Callable[[int], None]
    ) -> tuple[UInt[np.ndarray, "clips samples"], Float64[np.ndarray, " clips"]]:
        """Return codes, in the smallest type that holds them, and -ln p of each clip."""
        rate, highest = self.loaded.audio.sample_rate, self.loaded.model.q_levels - 1
        codes = np.empty((len(self.indices), total), np.min_scalar_type(highest))
        nats = np.zeros(len(self.indices))
        chunk = max(1, round(CHUNK_S * rate))
        for start in range(0, total, chunk):
            count = min(chunk, total - start)
            drawn, log_probs, self.sampler_state = sampler.draw(
                self.sampler_state,
                uniforms(self.seed, self.indices, start, count + sampler.lookahead),
                self.temperature.at(start, count + sampler.lookahead, rate),
                self.told.at(self.prefilled + start, count),
            )
            codes[:, start : start + count] = drawn
            nats -= log_probs.sum(1)
            report(start + count)
        return codes, nats


def _finish(
    loaded: LoadedModel,
    index: int,
    drawn: UInt[np.ndarray, " drawn"],
    nats: float,
    prompt: Int[np.ndarray, " samples"] | None,
) -> GeneratedClip:
    quantizer = loaded.model.quantizer
    wave = quantizer.decode(drawn)
    silence = float(quantizer.amplitudes[quantizer.silence])
    flags = find_artifacts(wave, loaded.audio.sample_rate, silence)
    if prompt is not None:
        wave = np.concatenate([quantizer.decode(prompt), wave])
    return GeneratedClip(index, wave, drawn, nats, flags)
