"""The native back end: the same interface as the reference sampler, tens of times faster."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Float32, Float64, Int, Int32, Int64

from samplewise.engine.weights import pack
from samplewise.heads.base import check_log_probs
from samplewise.models.base import AutoregressiveModel
from samplewise.native import default_threads, native_module
from samplewise.quantizers import check_codes

WeightFormat = Literal["f32", "f16", "int8", "int8x16"]
"""f16: exact to 4e-4; int8: 8-bit weights and activations; int8x16: 16-bit activations."""
ConditioningVectors: TypeAlias = Float32[np.ndarray, "clips vectors width"]
"""Of a conditioned model: sample t, counted from the first, is made by vector t // hold. A call is
given the vectors of its samples: the first one may have been in use before."""
PROMPT_CHUNK = 16384
"""Samples of a prompt between two calls of ``progress``."""


@dataclass(frozen=True)
class NativeSamplerState:
    """Some clips in the making."""

    state: Any
    """``_native.State``; it is never changed once it is here."""
    clips: int
    """How many."""


class NativeSampler:
    """Draws codes with the compiled engine.

    A clip's codes depend neither on how many are drawn together nor on the number of threads.

    Args:
        model: On the CPU.
        clips: Most clips that are drawn together.
        weights: How weights are stored.
        threads: CPU threads; None takes every core that this process may use.
        isa: ``baseline``, ``avx2``, ``avx512``; empty takes the best of this machine.
        min_p: Codes at most so many times as probable as the most probable one are not drawn.
        pace: ``adaptive``: as many threads work as are faster; tests fix ``all`` or ``alternate``.

    Raises:
        EngineError: If there is no compiled module.
    """

    name = "native"

    def __init__(
        self,
        model: AutoregressiveModel,
        clips: int = 1,
        weights: WeightFormat = "int8",
        threads: int | None = None,
        isa: str = "",
        pace: str = "adaptive",
        min_p: float = 0.0,
    ):
        self._module = native_module()
        self.q_levels = model.q_levels
        self.weights: WeightFormat = weights
        description = pack(model)
        self.hold: int = description.get("hold", 0)
        self.packed = self._module.Model(**description, format=weights, isa=isa)
        self.engine = self._module.Engine(self.packed, clips, threads or default_threads(), pace)
        self.max_batch, self.min_p = clips, min_p

    @property
    def lookahead(self) -> int:
        """Random numbers that :meth:`draw` needs beyond those of the samples it returns: none."""
        return 0

    def prefill(
        self,
        prompt: Int[np.ndarray, " samples"],
        progress: Callable[[int, int], None] | None = None,
        conditioning: ConditioningVectors | None = None,
    ) -> NativeSamplerState:
        """Run a prompt through all tiers, teacher-forced; return the state of a clip after it.

        Args:
            prompt: Codes, of any length; what is drawn first follows its last.
            progress: Called with samples of the prompt done and in total.
            conditioning: Of the prompt, one row.
        """
        state = self._module.State(self.packed, 1)
        codes = self._checked(prompt)[None]
        for start in range(0, len(prompt), PROMPT_CHUNK):
            part = np.ascontiguousarray(codes[:, start : start + PROMPT_CHUNK])
            vectors = conditioning
            if vectors is not None and self.hold:
                last = start + part.shape[1] - 1
                vectors = vectors[:, start // self.hold : last // self.hold + 1]
            self._run(state, part.shape[1], conditioning=vectors, forced=part)
            if progress:
                progress(start + part.shape[1], len(prompt))
        return NativeSamplerState(state, 1)

    def start(self, clips: int, after: NativeSamplerState | None = None) -> NativeSamplerState:
        """Begin clips, at most :attr:`max_batch`, in silence or after what :meth:`prefill` gave."""
        if after is None:
            return NativeSamplerState(self._module.State(self.packed, clips), clips)
        return NativeSamplerState(self._module.State(after.state, 0, clips), clips)

    def draw(
        self,
        sampler_state: NativeSamplerState,
        uniforms: Float32[np.ndarray, "clips samples"],
        temperature: Float64[np.ndarray, "*clips samples"] | None = None,
        conditioning: ConditioningVectors | None = None,
    ) -> tuple[
        Int64[np.ndarray, "clips samples"], Float64[np.ndarray, "clips samples"], NativeSamplerState
    ]:
        """Draw the next samples of every clip.

        Args:
            sampler_state: From :meth:`start` or from the last call; it stays valid.
            uniforms: The random number that makes each sample, in [0, 1).
            temperature: Of each sample, of all clips or of each; None means 1.
            conditioning: Of these samples.

        Returns:
            Codes; ln p of each under the model at temperature 1, in nats; what goes on.
        """
        codes = np.zeros(uniforms.shape, np.int32)
        log_probs = np.zeros(uniforms.shape)
        state = sampler_state.state.copy()
        self._run(
            state,
            uniforms.shape[1],
            conditioning=conditioning,
            uniforms=np.ascontiguousarray(uniforms),
            temperature=temperature,
            min_p=self.min_p,
            codes=codes,
            log_probs=log_probs,
        )
        check_log_probs(log_probs)
        return codes.astype(np.int64), log_probs, NativeSamplerState(state, sampler_state.clips)

    def teacher_force(
        self,
        sampler_state: NativeSamplerState,
        codes: Int[np.ndarray, "clips samples"],
        conditioning: ConditioningVectors | None = None,
    ) -> NativeSamplerState:
        """Feed codes to every clip as if they had been drawn; return what goes on.

        Args:
            sampler_state: From :meth:`start`, :meth:`draw` or the last call; it stays valid.
            codes: One row per clip, of any length.
            conditioning: Of these samples.

        Raises:
            ValueError: If there is not one row per clip, or a code does not exist.
        """
        state = sampler_state.state.copy()
        self._run(state, codes.shape[1], conditioning=conditioning, forced=self._checked(codes))
        return NativeSamplerState(state, sampler_state.clips)

    def logits(
        self,
        codes: Int[np.ndarray, "clips samples"],
        sampler_state: NativeSamplerState | None = None,
        conditioning: ConditioningVectors | None = None,
    ) -> Float32[np.ndarray, "clips samples logits"]:
        """Return the logits of every sample, teacher-forced; for comparison with the reference."""
        state = (sampler_state or self.start(len(codes))).state.copy()
        logits = np.zeros((*codes.shape, self.packed.logits), np.float32)
        forced = self._checked(codes)
        self._run(state, codes.shape[1], conditioning=conditioning, forced=forced, logits=logits)
        return logits

    def log_probs(
        self,
        codes: Int[np.ndarray, "clips samples"],
        sampler_state: NativeSamplerState | None = None,
        conditioning: ConditioningVectors | None = None,
    ) -> tuple[Float64[np.ndarray, "clips samples"], NativeSamplerState]:
        """Return ln p of every sample, teacher-forced, in nats; and what goes on."""
        state = (sampler_state or self.start(len(codes))).state.copy()
        log_probs = np.zeros(codes.shape)
        forced = self._checked(codes)
        self._run(
            state, codes.shape[1], conditioning=conditioning, forced=forced, log_probs=log_probs
        )
        check_log_probs(log_probs)
        return log_probs, NativeSamplerState(state, len(codes))

    def _run(
        self, state: Any, samples: int, conditioning: ConditioningVectors | None, **arrays: Any
    ) -> None:
        temperatures = arrays.get("temperature")
        if temperatures is not None:
            arrays["temperature"] = np.ascontiguousarray(
                np.broadcast_to(temperatures, (state.batch, samples)), dtype=np.float64
            )
        if conditioning is not None:
            arrays["conditioning"] = np.ascontiguousarray(conditioning, dtype=np.float32)
        self.engine.run(state, samples, **arrays)

    def _checked(self, codes: Int[np.ndarray, "*shape"]) -> Int32[np.ndarray, "*shape"]:
        check_codes(codes, self.q_levels)
        return np.ascontiguousarray(codes, dtype=np.int32)
