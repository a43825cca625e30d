"""The reference back end: PyTorch eager on any device, the truth that others are compared with."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int, Int64
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
        for start in range(0, len(prompt), PROMPT_CHUNK):
            stop = min(start + PROMPT_CHUNK, len(prompt))
            following = prefix[start + 1 : stop + 1].unsqueeze(0)
            vectors = self._expand_vectors(conditioning, 0, start, stop - start, 1)
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
        codes, scores, clock = [], [], sampler_state.model.clock
        for start in range(0, uniforms.shape[1], SCORE_CHUNK):
            part = slice(start, start + SCORE_CHUNK)
            temperatures = None if temperature is None else temperature[..., part]
            size = len(uniforms[0, part])
            vectors = self._expand_vectors(
                conditioning, clock, clock + start, size, len(sampler_state.previous)
            )
            drawn, log_prob, sampler_state = self._draw_part(
                sampler_state, uniforms[:, part], temperatures, vectors
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
        by_time = torch.from_numpy(rows.T.astype(np.int64)).to(sampler_state.previous.device)
        previous, state = sampler_state.previous, sampler_state.model
        vectors = self._expand_vectors(
            conditioning, state.clock, state.clock, len(by_time), len(previous)
        )
        for t, column in enumerate(by_time):
            own = None if vectors is None else vectors[:, t]
            _, state = self.model.step(previous, state, column, own)
            previous = column
        return SamplerState(state, previous, sampler_state.clips)

    def _expand_vectors(
        self,
        conditioning: ConditioningVectors | None,
        first: int,
        clock: int,
        samples: int,
        rows: int,
    ) -> Float[Tensor, "rows samples width"] | None:
        """Return the vectors in force at ``samples`` samples from ``clock`` on.

        Args:
            conditioning: Vectors, beginning with the one in force at ``first``.
            first: Clock of the first vector.
            clock: Clock of the first sample.
            samples: Number of samples.
            rows: Number of rows: clips, and rows that only fill up the batch.
        """
        self.model.check_conditioning(conditioning)
        if conditioning is None:
            return None
        hold = self.model.conditioner.config.hold  # pyright: ignore[reportOptionalMemberAccess]
        place = np.arange(clock, clock + samples) // hold - first // hold
        if samples and place[-1] >= conditioning.shape[1]:
            raise ValueError(
                f"{conditioning.shape[1]} vectors of conditioning are not enough: "
                f"{place[-1] + 1} are in force, each for {hold} samples"
            )
        vectors = np.pad(conditioning, ((0, rows - len(conditioning)), (0, 0), (0, 0)))
        return torch.from_numpy(vectors[:, place]).to(self.model.real_values)

    def _draw_part(
        self,
        sampler_state: SamplerState,
        uniforms: Float32[np.ndarray, "clips samples"],
        temperature: Float64[np.ndarray, "*clips samples"] | None,
        vectors: Float[Tensor, "rows samples width"] | None,
    ) -> tuple[Tensor, Tensor, SamplerState]:
        rows, device = len(sampler_state.previous), sampler_state.previous.device
        padding = ((0, rows - sampler_state.clips), (0, 0))
        by_time = torch.from_numpy(np.pad(uniforms, padding).T.copy()).to(device)
        temperatures = None
        if temperature is not None and not (temperature == 1).all():
            whole = np.broadcast_to(temperature, uniforms.shape)
            whole = np.pad(whole, padding, constant_values=1.0).T.copy()
            temperatures = torch.from_numpy(whole).to(device)
        previous, state, codes, params = sampler_state.previous, sampler_state.model, [], []
        for t, uniform in enumerate(by_time):
            own = None if temperatures is None else temperatures[t]
            vector = None if vectors is None else vectors[:, t]
            previous, state, step = self.model.sample(
                previous, state, uniform, own, vector, self.min_p
            )
            codes.append(previous)
            params.append(step)
        drawn = torch.stack(codes, 1)
        scores = self.model.head.log_prob(torch.stack(params, 1).flatten(0, 1), drawn.flatten())
        return drawn, scores.view_as(drawn), SamplerState(state, previous, sampler_state.clips)
