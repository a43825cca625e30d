"""The drawing loop: uniforms, temperature, conditioning and lookahead are wired here alone."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64, Int, Int64

from samplewise.engine.sampler import ConditioningVectors
from samplewise.generate.backend import Sampler
from samplewise.generate.class_conditioning import ClassConditioning
from samplewise.generate.temperature import CONSTANT, Envelope
from samplewise.generate.temperature_control import TemperatureControl
from samplewise.generate.uniforms import uniforms
from samplewise.progress import ProgressCallback

Chunk = tuple[Int64[np.ndarray, "clips samples"], Float64[np.ndarray, "clips samples"]]
"""Codes, and the log-probability of each at temperature 1, in nats."""


class Drawing:
    """Clips that are drawn side by side, chunk by chunk.

    Args:
        sampler: What computes the draws.
        seed: In [0, 2**64).
        indices: Index of each clip, in [0, 2**64).
        sample_rate: Hertz.
        temperature: Its time 0 is the first sample after the prompt.
        conditioning: Vectors of the clips; None for a model without, or if :meth:`draw` gets them.
        prompt: Codes that every clip continues; it has the conditioning of the first clip.
        prefilled: State after the prompt, if it is known from a drawing with the same prompt.
        starts: Codes after which each clip begins, in place of a prompt.
        control: What changes the temperature of each clip; None leaves it as it is.
        prompt_progress: Called with samples of the prompt done, and their total.
    """

    def __init__(
        self,
        sampler: Sampler,
        seed: int,
        indices: Sequence[int],
        sample_rate: int,
        temperature: Envelope = CONSTANT,
        conditioning: ClassConditioning | None = None,
        prompt: Int[np.ndarray, " samples"] | None = None,
        prefilled: Any = None,
        prompt_progress: ProgressCallback | None = None,
        starts: Int[np.ndarray, "clips samples"] | None = None,
        control: TemperatureControl | None = None,
    ):
        self._sampler, self._seed, self._indices = sampler, seed, indices
        self._rate, self._temperature = sample_rate, temperature
        self._conditioning, self._prompted = conditioning, 0 if prompt is None else len(prompt)
        self.prefilled = prefilled
        """State after the prompt; None without a prompt."""
        if prompt is not None and prefilled is None:
            vectors = None if conditioning is None else conditioning.at(0, len(prompt))
            first = None if vectors is None else vectors[:1]
            self.prefilled = sampler.prefill(prompt, prompt_progress, first)
        self._state = sampler.start(len(indices), self.prefilled)
        if starts is not None:
            self._prompted = starts.shape[1]
            vectors = None if conditioning is None else conditioning.at(0, self._prompted)
            self._state = sampler.teacher_force(self._state, starts, vectors)
        self._control = control
        self.time = 0
        """Samples of each clip so far, without the prompt."""

    def draw(self, samples: int, vectors: ConditioningVectors | None = None) -> Chunk:
        """Draw the next ``samples`` samples of every clip.

        Args:
            samples: How many.
            vectors: Conditioning vectors in force at these samples; None: those of the clips.
        """
        if self._control is not None:
            return self._draw_controlled(samples, self._control)
        if vectors is None:
            vectors = self._vectors(samples)
        return self._draw(samples, vectors)

    def _draw_controlled(self, samples: int, control: TemperatureControl) -> Chunk:
        parts = []
        while samples:
            part = min(samples, control.left)
            factor = control.factor[:, None]
            parts.append(self._draw(part, self._vectors(part), factor))
            control.observe(*parts[-1])
            samples -= part
        codes, log_probs = zip(*parts, strict=True)
        return np.concatenate(codes, 1), np.concatenate(log_probs, 1)

    def _draw(
        self,
        samples: int,
        vectors: ConditioningVectors | None,
        factor: Float64[np.ndarray, "clips 1"] | None = None,
    ) -> Chunk:
        count = samples + self._sampler.lookahead
        temperature = self._temperature.at(self.time, count, self._rate)
        codes, log_probs, self._state = self._sampler.draw(
            self._state,
            uniforms(self._seed, self._indices, self.time, count),
            temperature if factor is None else factor * temperature,
            vectors,
        )
        self.time += samples
        return codes, log_probs

    def chunks(self, samples: int | None, chunk_seconds: float) -> Iterator[Chunk]:
        """Draw ``samples`` samples, or without end if None, ``chunk_seconds`` at a time."""
        chunk = max(1, round(chunk_seconds * self._rate))
        end = None if samples is None else self.time + samples
        while end is None or self.time < end:
            yield self.draw(chunk if end is None else min(chunk, end - self.time))

    def teacher_force(self, codes: Int[np.ndarray, "clips samples"]) -> None:
        """Feed codes to the clips as if they had been drawn."""
        vectors = self._vectors(codes.shape[1])
        self._state = self._sampler.teacher_force(self._state, codes, vectors)
        self.time += codes.shape[1]

    def _vectors(self, samples: int) -> ConditioningVectors | None:
        if self._conditioning is None:
            return None
        return self._conditioning.at(self._prompted + self.time, samples)
