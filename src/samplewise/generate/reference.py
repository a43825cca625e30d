"""The reference back end: PyTorch eager on any device, the truth that others are compared with."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int, Int64, Shaped
from torch import Tensor

from samplewise.engine.sampler import ConditioningVectors
from samplewise.generate.batch_invariance import RowPlan, plan_rows
from samplewise.heads.base import check_log_probs
from samplewise.models.base import State
from samplewise.models.step_model import StepModel
from samplewise.nn.state import map_tensors
from samplewise.progress import ProgressCallback
from samplewise.quantizers import check_codes

PROMPT_CHUNK = 4096
"""Samples of a prompt per pass: bounds the memory, whatever the prompt's length."""
SCORE_CHUNK = 32
"""Samples whose logits are kept until they are scored together."""


@dataclass(frozen=True)
class SamplerState:
    """What the sampler needs to continue a batch of clips."""

    model: State
    """State of the model, one row per clip, then the rows that only fill up the batch."""
    previous: Int[Tensor, " rows"]
    """Last code of each row."""
    clips: int
    """Number of rows that are clips."""


class ReferenceSampler:
    """Draws codes with ``model.sample``; every state is an argument and a result.

    A clip's codes do not depend on how many are drawn together: see
    :mod:`samplewise.generate.batch_invariance`.
    """

    name = "reference"

    def __init__(self, model: StepModel, clips: int = 1, min_p: float = 0.0):
        """Take a model in evaluation mode.

        Args:
            model: Slow unless its weights are folded.
            clips: Largest number of clips that are drawn together; see :attr:`max_batch`.
            min_p: As for :meth:`samplewise.models.step_model.StepModel.sample`.
        """
        self.model, self.min_p = model, min_p
        self.plan: RowPlan = plan_rows(model, clips)

    @property
    def lookahead(self) -> int:
        """Random numbers that :meth:`draw` needs beyond those of the samples it returns: none."""
        return 0

    @property
    def max_batch(self) -> int:
        """How many clips :meth:`start` takes at once: about as many as asked for, or fewer."""
        return self.plan.max_batch

    @torch.inference_mode()
    def prefill(
        self,
        prompt: Int[np.ndarray, " samples"],
        progress: ProgressCallback | None = None,
        conditioning: ConditioningVectors | None = None,
    ) -> SamplerState:
        """Run a prompt through all tiers, teacher-forced; return the state of a clip after it.

        Args:
            prompt: Codes, of any number; the first drawn code follows the last of them.
            progress: Called with samples of the prompt done and in total.
            conditioning: As for :meth:`draw`, of one clip.
        """
        check_codes(prompt, self.model.q_levels)
        codes = np.concatenate([[self.model.quantizer.silence], prompt.astype(np.int64)])
        prefix = torch.from_numpy(codes).to(self.model.real_values.device)
        state = self.model.initial_state(1)
        held = self._held_vectors(conditioning, 0, len(prompt), 1) if len(prompt) else None
        for start in range(0, len(prompt), PROMPT_CHUNK):
            stop = min(start + PROMPT_CHUNK, len(prompt))
            following = prefix[start + 1 : stop + 1].unsqueeze(0)
            vectors = self._expand_vectors(held, 0, start, stop - start)
            if vectors is not None:
                vectors = vectors.transpose(0, 1)
            _, state = self.model(prefix[start:stop].unsqueeze(0), state, following, vectors)
            if progress:
                progress(stop, len(prompt))
        return SamplerState(state, prefix[-1:], 1)

    @torch.inference_mode()
    def start(self, clips: int, after: SamplerState | None = None) -> SamplerState:
        """Begin clips, at most :attr:`max_batch`, in silence or after what :meth:`prefill` gave."""
        one = after or self.prefill(np.zeros(0, np.int64))
        rows = self.plan.rows(clips)
        state = map_tensors(one.model, lambda part: part.expand(rows, *part.shape[1:]).clone())
        return SamplerState(state, one.previous.expand(rows), clips)

    @torch.inference_mode()
    def draw(
        self,
        sampler_state: SamplerState,
        uniforms: Float32[np.ndarray, "clips samples"],
        temperature: Float64[np.ndarray, "*clips samples"] | None = None,
        conditioning: ConditioningVectors | None = None,
    ) -> tuple[
        Int64[np.ndarray, "clips samples"], Float64[np.ndarray, "clips samples"], SamplerState
    ]:
        """Draw the next samples of every clip.

        Args:
            sampler_state: From :meth:`start` or from the last call; it stays valid.
            uniforms: The random number that makes each sample, in [0, 1).
            temperature: Temperature of each sample, for all clips or for each; None means 1.
            conditioning: For a conditioned model: the vector in force at the first
                sample, then those that follow it, each for ``hold`` samples of the clip's clock.

        Returns:
            Codes; ln p of each under the model at temperature 1, in nats; the state after them.
        """
        clock, samples = sampler_state.model.clock, uniforms.shape[1]
        rows = len(sampler_state.previous)
        padding = ((0, rows - sampler_state.clips), (0, 0))
        numbers = self._by_time(np.pad(uniforms, padding))
        temperatures = None
        if temperature is not None and not (temperature == 1).all():
            whole = np.broadcast_to(temperature, uniforms.shape)
            temperatures = self._by_time(np.pad(whole, padding, constant_values=1.0))
        held = self._held_vectors(conditioning, clock, clock + samples, rows)
        codes, scores = [], []
        for size in self._parts(clock, samples):
            now = sampler_state.model.clock
            part = slice(now - clock, now - clock + size)
            drawn, log_prob, sampler_state = self._draw_part(
                sampler_state,
                numbers[part],
                None if temperatures is None else temperatures[part],
                self._expand_vectors(held, clock, now, size),
            )
            codes.append(drawn[: sampler_state.clips])
            scores.append(log_prob[: sampler_state.clips])
        if not codes:
            empty = np.zeros((sampler_state.clips, 0))
            return empty.astype(np.int64), empty, sampler_state
        log_probs = torch.cat(scores, 1).cpu().numpy()
        check_log_probs(log_probs)
        return torch.cat(codes, 1).cpu().numpy(), log_probs, sampler_state

    @torch.inference_mode()
    def teacher_force(
        self,
        sampler_state: SamplerState,
        codes: Int[np.ndarray, "clips samples"],
        conditioning: ConditioningVectors | None = None,
    ) -> SamplerState:
        """Feed codes to every clip as if they had been drawn.

        Codes are fed one step at a time: drawn codes, fed again, give the same state bit for bit.

        Args:
            sampler_state: From :meth:`start`, :meth:`draw` or the last call; it stays valid.
            codes: One row per clip, of any length.
            conditioning: As for :meth:`draw`.

        Returns:
            The state after them.

        Raises:
            ValueError: If there is not one row per clip, or a code does not exist.
        """
        check_codes(codes, self.model.q_levels)
        if len(codes) != sampler_state.clips:
            raise ValueError(
                f"codes have {len(codes)} rows, but there are {sampler_state.clips} clips"
            )
        rows = np.pad(codes, ((0, len(sampler_state.previous) - sampler_state.clips), (0, 0)))
        by_time = self._by_time(rows.astype(np.int64))
        previous, state = sampler_state.previous, sampler_state.model
        end = state.clock + len(by_time)
        held = self._held_vectors(conditioning, state.clock, end, len(previous))
        vectors = self._expand_vectors(held, state.clock, state.clock, len(by_time))
        for t, column in enumerate(by_time):
            own = None if vectors is None else vectors[t]
            _, state = self.model.step(previous, state, column, own)
            previous = column
        return SamplerState(state, previous, sampler_state.clips)

    def _by_time(self, rows: np.ndarray) -> Shaped[Tensor, "samples rows"]:
        """Bring numbers, one row per clip, to the device of the model."""
        return torch.from_numpy(rows.T.copy()).to(self.model.real_values.device)

    def _held_vectors(
        self, conditioning: ConditioningVectors | None, first: int, end: int, rows: int
    ) -> Float[Tensor, "vectors rows width"] | None:
        """Check conditioning vectors, and bring them to the device of the model.

        Args:
            conditioning: Vectors, beginning with the one in force at ``first``.
            first: Clock of the first vector.
            end: Clock after the last sample.
            rows: Number of rows: clips, and rows that only fill up the batch.
        """
        self.model.check_conditioning(conditioning)
        if conditioning is None:
            return None
        hold = self._hold
        needed = (end - 1) // hold - first // hold + 1
        if end > first and needed > conditioning.shape[1]:
            raise ValueError(
                f"{conditioning.shape[1]} vectors of conditioning are not enough: "
                f"{needed} are in force, each for {hold} samples"
            )
        vectors = np.pad(conditioning, ((0, rows - len(conditioning)), (0, 0), (0, 0)))
        by_time = np.ascontiguousarray(vectors.swapaxes(0, 1))
        return torch.from_numpy(by_time).to(self.model.real_values)

    def _expand_vectors(
        self,
        held: Float[Tensor, "vectors rows width"] | None,
        first: int,
        clock: int,
        samples: int,
    ) -> Float[Tensor, "{samples} rows width"] | None:
        """Return the vectors in force at ``samples`` samples from ``clock`` on.

        Args:
            held: From :meth:`_held_vectors`.
            first: Clock of the first of them.
            clock: Clock of the first sample.
            samples: Number of samples.
        """
        if held is None:
            return None
        times = torch.arange(clock, clock + samples, device=held.device)
        return held[times // self._hold - first // self._hold]

    @property
    def _hold(self) -> int:
        """Samples for which a conditioning vector is in force."""
        return self.model.conditioner.config.hold  # pyright: ignore[reportOptionalMemberAccess]

    def _parts(self, clock: int, samples: int) -> Iterator[int]:
        """Yield how many samples to draw at once, from ``clock`` on."""
        for start in range(0, samples, SCORE_CHUNK):
            yield min(SCORE_CHUNK, samples - start)

    def _draw_part(
        self,
        sampler_state: SamplerState,
        numbers: Float32[Tensor, "samples rows"],
        temperatures: Float64[Tensor, "samples rows"] | None,
        vectors: Float[Tensor, "samples rows width"] | None,
    ) -> tuple[Int64[Tensor, "rows samples"], Float64[Tensor, "rows samples"], SamplerState]:
        """Draw some samples on the device, and score them together."""
        previous, state, codes, params = sampler_state.previous, sampler_state.model, [], []
        for t, uniform in enumerate(numbers):
            own = None if temperatures is None else temperatures[t]
            vector = None if vectors is None else vectors[t]
            previous, state, step = self.model.sample(
                previous, state, uniform, own, vector, self.min_p
            )
            codes.append(previous)
            params.append(step)
        drawn = torch.stack(codes, 1)
        scores = self.model.head.log_prob(torch.stack(params, 1).flatten(0, 1), drawn.flatten())
        return drawn, scores.view_as(drawn), SamplerState(state, previous, sampler_state.clips)
