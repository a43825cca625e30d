"""Negative log-likelihood of recordings under a model; only here nats become bits, or bits nats."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from samplewise.config.models import Level, ModelConfig, conditioning_of
from samplewise.data.corpus import Corpus
from samplewise.data.excerpts import Excerpt
from samplewise.data.lanes import Batch, finite_batches
from samplewise.data.reader import ClipReader
from samplewise.models.base import AutoregressiveModel, State
from samplewise.nn.state import map_tensors
from samplewise.progress import ProgressCallback

ACTIVATION_BYTES = {"cpu": 64 * 2**20, "cuda": 2 * 2**30}
"""What one batch may take; larger batches are no faster."""
CODE_BYTES = 512 * 2**20
"""What the codes of all clips that are open at once may take."""
MAX_LANES = {"cpu": 32, "cuda": 512}
MAX_SEQ_LEN = 2048


Information = TypeVar("Information", float, Tensor)


def nats_to_bits(nats: Information) -> Information:
    """Convert information in nats to bits."""
    return nats / math.log(2)


def bits_to_nats(bits: Information) -> Information:
    """Convert information in bits to nats."""
    return bits * math.log(2)


@dataclass(frozen=True)
class Scores:
    """What a model makes of a list of clips."""

    clips: tuple[Excerpt, ...]
    """What was scored."""
    nats: tuple[float, ...]
    """Negative log-likelihood of each clip, summed over its samples in double precision."""

    @property
    def samples(self) -> int:
        """Samples scored."""
        return sum(clip.samples for clip in self.clips)

    @property
    def bits_per_sample(self) -> float:
        """Mean over all samples."""
        return nats_to_bits(math.fsum(self.nats)) / self.samples

    def by_recording(self) -> list["Scores"]:
        """Return the scores of each recording, in the order of their first clips."""
        groups: dict[int, list[int]] = {}
        for index, clip in enumerate(self.clips):
            groups.setdefault(clip.recording.start, []).append(index)
        return [
            Scores(tuple(self.clips[i] for i in group), tuple(self.nats[i] for i in group))
            for group in groups.values()
        ]


def score(
    model: AutoregressiveModel,
    corpus: Corpus,
    clips: Sequence[Excerpt],
    level: Level,
    labels: Mapping[str, str] | None = None,
    *,
    lanes: int | None = None,
    seq_len: int | None = None,
    progress: ProgressCallback | None = None,
) -> Scores:
    """Score every sample of every clip exactly once, on the device of the model.

    The state is carried within a clip and reset at its start; before a clip there is silence.
    Neither ``lanes`` nor ``seq_len`` changes the result beyond rounding.

    Args:
        model: Any model; its gradients and its mode are left alone.
        corpus: Where the clips lie.
        clips: At least one; any length, one sample included.
        level: Level policy.
        labels: Class of each recording by its source, for a model that is told it.
        lanes: Clips side by side; None chooses.
        seq_len: Samples per pass, a multiple of the top frame; None chooses.
        progress: Told how many samples are done.

    Raises:
        ValueError: If there are no clips, or lanes or seq_len are impossible.
    """
    if not clips:
        raise ValueError("clips is empty: there is nothing to score")
    reader = ClipReader(corpus, level, model.quantizer, conditioning_of(model.config), labels)
    return Scores(tuple(clips), _nats_of_clips(model, clips, reader, lanes, seq_len, progress))


def schedule(
    config: ModelConfig, clips: Sequence[Excerpt], device: str, lanes: int | None = None
) -> tuple[int, int]:
    """Choose how many lanes to run and how many samples per pass.

    Lanes are as many as the codes of the longest clips fit into memory, evened out so that the
    last round of clips is not nearly empty. Samples per pass follow from what activations may take.
    """
    longest = max(clip.samples for clip in clips)
    if lanes is None:
        most = min(MAX_LANES.get(device, 32), len(clips), max(1, CODE_BYTES // (8 * longest)))
        rounds = -(-len(clips) // most)
        lanes = -(-len(clips) // rounds)
    step_bytes = 4 * config.activations_per_sample * lanes
    budget = ACTIVATION_BYTES.get(device, ACTIVATION_BYTES["cpu"]) // step_bytes
    top = config.top_frame
    return lanes, max(1, min(budget, MAX_SEQ_LEN, longest + top - 1) // top) * top


@torch.inference_mode()
def _nats_of_clips(
    model: AutoregressiveModel,
    clips: Sequence[Excerpt],
    reader: ClipReader,
    lanes: int | None,
    seq_len: int | None,
    progress: ProgressCallback | None,
) -> tuple[float, ...]:
    device = model.real_values.device
    auto_lanes, auto_seq_len = schedule(model.config, clips, device.type, lanes or None)
    lanes = auto_lanes if lanes is None else lanes
    seq_len = auto_seq_len if seq_len is None else seq_len
    if lanes < 1 or seq_len < 1 or seq_len % model.config.top_frame:
        raise ValueError(
            f"lanes = {lanes} must be positive and seq_len = {seq_len} a positive multiple of the "
            f"top frame ({model.config.top_frame})"
        )
    # Longest first: lanes then run out at nearly the same time.
    order = sorted(range(len(clips)), key=lambda index: -clips[index].samples)
    batches = finite_batches(
        [clips[index] for index in order], reader, lanes=lanes, seq_len=seq_len
    )
    nats = torch.zeros(len(clips), dtype=torch.double)
    done, total = 0, sum(clip.samples for clip in clips)
    state, running = model.initial_state(min(lanes, len(clips))), None
    for batch in batches:
        rows = [row for row, clip in enumerate(batch.clips) if clip is not None]
        if running is not None and rows != running:  # a lane that ran out costs nothing more
            state = _keep(state, [running.index(row) for row in rows])
        running = rows
        lane_nats, state = _score_batch(model, batch, rows, state)
        index = [order[clip] for clip in batch.clips if clip is not None]
        nats.index_add_(0, torch.tensor(index), lane_nats.cpu())
        done += batch.samples
        if progress is not None:
            progress(done, total)
    return tuple(nats.tolist())


def _score_batch(
    model: AutoregressiveModel, batch: Batch, rows: list[int], state: State
) -> tuple[Float64[Tensor, " lanes"], State]:
    """Return the nats of each running lane and the state after the subsequence."""
    device, top = model.real_values.device, model.config.top_frame
    mask = batch.mask[rows]
    # What is padding in every lane is left out; the clock stays at the start of a top frame.
    time = -(-int(mask.sum(1).max()) // top) * top
    mask = mask[:, :time].to(device)
    previous = batch.previous[rows, :time].to(device)
    target = batch.target[rows, :time].to(device)
    if batch.reset[rows].any():
        state = model.reset(state, batch.reset[rows].to(device))
    conditioning_inputs = None
    if batch.conditioning_inputs is not None:
        conditioning_inputs = batch.conditioning_inputs.map(lambda part: part[rows].to(device))
    params, state = model(
        previous, state, target, model.conditioning_vectors(conditioning_inputs, time)
    )
    return _masked_sum(model.nll(params, target, conditioning_inputs), mask), state


def _masked_sum(
    nats: Float[Tensor, "lanes time"], mask: Bool[Tensor, "lanes time"]
) -> Float64[Tensor, " lanes"]:
    return nats.double().masked_fill(~mask, 0).sum(1)


def _keep(state: State, rows: list[int]) -> State:
    return map_tensors(state, lambda tensor: tensor[rows])
