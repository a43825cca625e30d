"""Endless generation: chunks of clip 0, and the bytes of a pipe; memory does not grow."""

from collections.abc import Iterator
from itertools import count

import numpy as np
from jaxtyping import Float32

from samplewise.generate.backend import Backend, Progress
from samplewise.generate.class_conditioning import class_conditioning
from samplewise.generate.clips import AUTO
from samplewise.generate.temperature import CONSTANT, Envelope
from samplewise.generate.uniforms import uniforms
from samplewise.models.io import LoadedModel

CHUNK_S = 0.1
"""Seconds per chunk: the delay before something is heard."""


def stream_chunks(
    loaded: LoadedModel,
    seed: int,
    *,
    samples: int | None = None,
    index: int = 0,
    temperature: Envelope = CONSTANT,
    prompt: Float32[np.ndarray, " samples"] | None = None,
    keep_prompt: bool = True,
    chunk_s: float = CHUNK_S,
    on_prompt: Progress | None = None,
    backend: Backend = AUTO,
    label: str | None = None,
) -> Iterator[Float32[np.ndarray, " chunk"]]:
    """Draw clip ``index`` of ``seed`` chunk by chunk: the same samples as the clip, without end.

    Args:
        loaded: The model.
        seed: In [0, 2**64).
        samples: How many to draw; None goes on for ever.
        index: Number of the clip.
        temperature: Its time 0 is the first sample that is drawn; held after the last point.
        prompt: Amplitude at the model's rate and level.
        keep_prompt: Begin with the prompt, as the model heard it.
        chunk_s: Seconds per chunk, above 0.
        on_prompt: Called with samples of the prompt that were heard, and their total.
        backend: What computes.
        label: Class of the clip, for a model that is told one; None: by ``index``, in turn.

    Yields:
        Amplitude, full scale ±1, at most ``chunk_s`` at a time (the prompt comes at once).
    """
    if not chunk_s > 0:
        raise ValueError(f"chunk_s = {chunk_s:g} must be above 0 seconds")
    rate, quantizer = loaded.audio.sample_rate, loaded.model.quantizer
    codes = None if prompt is None else quantizer.encode(prompt)
    sampler = backend.sampler(loaded.model, 1)
    told, prefilled = (
        class_conditioning(loaded.model, label, [index]),
        0 if codes is None else len(codes),
    )
    prompted = None if codes is None else sampler.prefill(codes, on_prompt, told.at(0, prefilled))
    sampler_state = sampler.start(1, prompted)
    if codes is not None and keep_prompt:
        yield quantizer.decode(codes)
    chunk = max(1, round(chunk_s * rate))
    for start in count(0, chunk):
        size = chunk if samples is None else min(chunk, samples - start)
        if size <= 0:
            return
        numbers = uniforms(seed, [index], start, size + sampler.lookahead)
        temperatures = temperature.at(start, size + sampler.lookahead, rate)
        drawn, _, sampler_state = sampler.draw(
            sampler_state, numbers, temperatures, told.at(prefilled + start, size)
        )
        yield quantizer.decode(drawn[0])
