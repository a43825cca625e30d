"""Drawing from models that make their samples a segment at a time, in another order than time.

A request may end within a segment; the samples drawn beyond it are kept in the state. A sample that
is drawn early needs its random number early, so a sampler takes ``lookahead`` more random numbers
than it returns codes.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int, Int64
from torch import Tensor

from samplewise.engine.sampler import ConditioningVectors
from samplewise.generate.batch_invariance import RowPlan, plan_rows
from samplewise.heads.base import check_log_probs
from samplewise.models.base import State
from samplewise.models.segment_model import SegmentModel
from samplewise.nn.state import map_tensors
from samplewise.progress import ProgressCallback
from samplewise.quantizers import check_codes

PROMPT_CHUNK = 4096
"""Samples of a prompt per pass, about: bounds the memory."""


@dataclass(frozen=True)
class SegmentSamplerState:
    """What the sampler needs to continue a batch of clips."""

    model: State
    """State of the model at the start of the current segment, one row per clip and padding."""
    known: Int[Tensor, "rows known"]
    """Codes of the current segment that were fed or returned; fewer than a segment."""
    clips: int
    """Number of rows that are clips."""
    lookahead: Any = None
    """Samples drawn beyond ``known``, in the sampler's own form; None: none were."""


class SegmentSampler:
    """Draws whole segments with ``model.draw_segment`` and returns the requested samples.

    Args:
        model: In evaluation mode; slow unless its weights are folded.
        clips: Largest number of clips that are drawn together; see :attr:`max_batch`.
        min_p: As for :meth:`samplewise.models.segment_model.SegmentModel.draw_segment`.
    """

    name = "reference"

    def __init__(self, model: SegmentModel, clips: int = 1, min_p: float = 0.0):
        self.model, self.min_p = model, min_p
        self.segment = model.config.top_frame
        self.plan: RowPlan = plan_rows(model, clips)

    @property
    def max_batch(self) -> int:
        """How many clips :meth:`start` takes at once: about as many as asked for, or fewer."""
        return self.plan.max_batch

    @property
    def lookahead(self) -> int:
        """Random numbers that :meth:`draw` needs beyond those of the samples it returns."""
        return self.segment - 1

    @torch.inference_mode()
    def prefill(
        self,
        prompt: Int[np.ndarray, " samples"],
        progress: ProgressCallback | None = None,
        conditioning: ConditioningVectors | None = None,
    ) -> SegmentSamplerState:
        """Run a prompt through the model, teacher-forced; return the state of a clip after it.

        Args:
            prompt: Codes, of any number; the first drawn code follows the last of them.
            progress: Called with samples of the prompt done and in total.
            conditioning: None: these models take no conditioning.
        """
        self.model.check_conditioning(conditioning)
        check_codes(prompt, self.model.q_levels)
        codes = self._tensor(prompt.astype(np.int64))[None]
        state, whole = self.model.initial_state(1), len(prompt) // self.segment * self.segment
        chunk = max(1, PROMPT_CHUNK // self.segment) * self.segment
        for start in range(0, whole, chunk):
            part = codes[:, start : min(start + chunk, whole)]
            _, state = self.model(part, state, part)
            if progress:
                progress(start + part.shape[1], len(prompt))
        if progress and whole < len(prompt):
            progress(len(prompt), len(prompt))
        return SegmentSamplerState(state, codes[:, whole:], 1)

    @torch.inference_mode()
    def start(self, clips: int, after: SegmentSamplerState | None = None) -> SegmentSamplerState:
        """Begin clips, at most :attr:`max_batch`, in silence or after what :meth:`prefill` gave."""
        one = after or self.prefill(np.zeros(0, np.int64))
        rows = self.plan.rows(clips)
        state = map_tensors(one.model, lambda part: part.expand(rows, *part.shape[1:]).clone())
        return SegmentSamplerState(state, one.known.expand(rows, -1), clips)

    @torch.inference_mode()
    def draw(
        self,
        sampler_state: SegmentSamplerState,
        uniforms: Float32[np.ndarray, "clips numbers"],
        temperature: Float64[np.ndarray, " numbers"] | None = None,
        conditioning: ConditioningVectors | None = None,
    ) -> tuple[
        Int64[np.ndarray, "clips samples"],
        Float64[np.ndarray, "clips samples"],
        SegmentSamplerState,
    ]:
        """Draw the next samples of every clip, one for each random number beyond ``lookahead``.

        Args:
            sampler_state: From :meth:`start` or from the last call; it stays valid.
            uniforms: The random number that makes each sample, in [0, 1).
            temperature: Temperature of each of these samples; None means 1.
            conditioning: None: these models take no conditioning.

        Returns:
            Codes; ln p of each under the model at temperature 1, in nats; the state after them.

        Raises:
            ValueError: If there are fewer numbers than ``lookahead``.
        """
        self.model.check_conditioning(conditioning)
        count = uniforms.shape[1] - self.lookahead
        if count < 0:
            raise ValueError(
                f"uniforms has {uniforms.shape[1]} numbers per clip, but the lookahead alone takes "
                f"{self.lookahead}; give as many more as samples are wanted"
            )
        if not count:
            empty = np.zeros((sampler_state.clips, 0))
            return empty.astype(np.int64), empty, sampler_state
        rows, known = sampler_state.known.shape
        numbers = self._tensor(np.pad(uniforms, ((0, rows - sampler_state.clips), (known, 0))))
        temperatures = None
        if temperature is not None and not (temperature == 1).all():
            padded = np.pad(temperature, (known, 0), constant_values=1)
            temperatures = self._tensor(padded).expand(rows, -1)
        codes, scores, sampler_state = self._draw(sampler_state, count, numbers, temperatures)
        log_probs = scores[: sampler_state.clips].cpu().numpy()
        check_log_probs(log_probs)
        return codes[: sampler_state.clips].cpu().numpy(), log_probs, sampler_state

    @torch.inference_mode()
    def teacher_force(
        self,
        sampler_state: SegmentSamplerState,
        codes: Int[np.ndarray, "clips samples"],
        conditioning: ConditioningVectors | None = None,
    ) -> SegmentSamplerState:
        """Feed codes to every clip as if they had been drawn; samples drawn early are dropped.

        Drawn codes, fed again, give the same state bit for bit.

        Args:
            sampler_state: From :meth:`start`, :meth:`draw` or the last call; it stays valid.
            codes: One row per clip, of any length.
            conditioning: None: these models take no conditioning.

        Raises:
            ValueError: If there is not one row per clip, or a code does not exist.
        """
        self.model.check_conditioning(conditioning)
        check_codes(codes, self.model.q_levels)
        if len(codes) != sampler_state.clips:
            raise ValueError(
                f"codes have {len(codes)} rows, but there are {sampler_state.clips} clips"
            )
        if not codes.size:
            return sampler_state
        rows = np.pad(
            codes.astype(np.int64), ((0, len(sampler_state.known) - sampler_state.clips), (0, 0))
        )
        known = torch.cat([sampler_state.known, self._tensor(rows)], 1)
        state = sampler_state.model
        while known.shape[1] >= self.segment:
            state = self._pass(state, known[:, : self.segment])
            known = known[:, self.segment :]
        return SegmentSamplerState(state, known, sampler_state.clips)

    def _draw(
        self,
        sampler_state: SegmentSamplerState,
        count: int,
        numbers: Float[Tensor, "rows numbers"],
        temperatures: Float[Tensor, "rows numbers"] | None,
    ) -> tuple[Tensor, Tensor, SegmentSamplerState]:
        """Draw ``count`` samples; numbers and temperatures begin with the current segment."""
        drawn: list[tuple[Tensor, Tensor]] = []
        while count:
            begin = sampler_state.known.shape[1]
            if sampler_state.lookahead is None:
                part = slice(0, self.segment)
                own = None if temperatures is None else temperatures[:, part]
                segment = self.model.draw_segment(
                    sampler_state.model, numbers[:, part], own, sampler_state.known, self.min_p
                )
                sampler_state = replace(sampler_state, lookahead=segment)
            codes, state, scores = sampler_state.lookahead
            end = min(begin + count, self.segment)
            drawn.append((codes[:, begin:end], scores[:, begin:end]))
            count -= end - begin
            if end < self.segment:
                sampler_state = replace(sampler_state, known=codes[:, :end])
                continue
            numbers = numbers[:, self.segment :]
            temperatures = None if temperatures is None else temperatures[:, self.segment :]
            sampler_state = SegmentSamplerState(state, codes[:, :0], sampler_state.clips)
        codes, scores = (torch.cat(parts, 1) for parts in zip(*drawn, strict=True))
        return codes, scores, sampler_state

    def _pass(self, state: State, codes: Int[Tensor, "rows samples"]) -> State:
        """Return the state after a whole segment of known codes."""
        numbers = torch.zeros_like(codes, dtype=torch.float32)
        return self.model.draw_segment(state, numbers, None, codes)[1]

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self.model.real_values.device)
