"""One step of stateful truncated backpropagation through time (Mehri et al. 2017, section 2.3)."""

from collections.abc import Callable
from contextlib import nullcontext
from operator import itemgetter
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from samplewise.data.lanes import Batch
from samplewise.evaluate.nll import nats_to_bits
from samplewise.models.base import AutoregressiveModel, State
from samplewise.models.samplernn import SampleRNN
from samplewise.nn.conditioning import ConditioningInputs
from samplewise.nn.state import concatenate, detach, select

Mark = Callable[[str], None]
"""Callback that gets the name of each part of a step when that part is done."""


def no_mark(part: str) -> None:
    """Ignore the parts of a step."""


class Subsequence(nn.Module):
    """Cost of one subsequence, summed without padding; the module that is differentiated."""

    def __init__(self, model: AutoregressiveModel, stride: int = 1):
        super().__init__()
        self.model, self.stride = model, stride

    def forward(
        self,
        previous: Int[Tensor, "lanes time"],
        target: Int[Tensor, "lanes time"],
        mask: Bool[Tensor, "lanes time"],
        reset: Bool[Tensor, " lanes"],
        state: State,
        conditioning_inputs: ConditioningInputs | None = None,
    ) -> tuple[Float[Tensor, ""], State]:
        """Return the cost in nats, summed over what is not padding, and the state after it."""
        state, vectors = (
            self.model.reset(state, reset),
            self.model.conditioning_vectors(conditioning_inputs, previous.shape[1]),
        )
        if self.stride > 1:
            assert isinstance(self.model, SampleRNN)
            return self.model.strided_nll(previous, state, target, mask, self.stride, vectors)
        params, state = self.model(previous, state, target, vectors)
        nats = self.model.nll(params, target, conditioning_inputs)
        return nats.masked_fill(~mask, 0.0).sum(), state


def accumulate_gradients(
    subsequence: Subsequence | DistributedDataParallel,
    batch: Batch,
    state: State,
    *,
    groups: int = 1,
    world: int = 1,
    weight: Tensor | None = None,
    autocast: Any = None,
    mark: Mark = no_mark,
) -> tuple[Tensor, State]:
    """Add the gradient of the batch's mean cost in bits per sample, over the lanes of all ranks.

    Args:
        subsequence: The cost, wrapped for several ranks or not.
        batch: This rank's lanes.
        state: Of those lanes, before the batch.
        groups: Parts that the lanes are worked through in, one after the other.
        world: Ranks over which the wrapper averages.
        weight: world / batch.samples, if it is kept on the device.
        autocast: Context for lower precision.
        mark: Called after the forward and after the backward pass of each group.

    Returns:
        This rank's summed cost in nats, and the detached state after the batch.
    """
    size = len(batch.reset) // groups
    total, states = batch.previous.new_zeros((), dtype=torch.float64), []
    for group in range(groups):
        rows = slice(group * size, (group + 1) * size)
        conditioning_inputs = (
            None
            if batch.conditioning_inputs is None
            else batch.conditioning_inputs.map(itemgetter(rows))
        )
        is_last = group == groups - 1
        wrapped = isinstance(subsequence, DistributedDataParallel)
        waiting = subsequence.no_sync() if wrapped and not is_last else nullcontext()
        with waiting:
            with autocast or nullcontext():
                nats, after = subsequence(
                    batch.previous[rows],
                    batch.target[rows],
                    batch.mask[rows],
                    batch.reset[rows],
                    select(state, rows),
                    conditioning_inputs,
                )
            mark("forward")
            # The wrapper averages over ranks; the cost is a mean over all their samples.
            factor = world / batch.samples if weight is None else weight
            nats_to_bits(nats * factor).backward()
            mark("backward")
        total += nats.detach()
        states.append(detach(after))
    return total, states[0] if groups == 1 else concatenate(states)


def clip_gradients(parameters: list[nn.Parameter], kind: str, limit: float) -> Tensor:
    """Clip in place; return the norm of all gradients before.

    Args:
        parameters: Whose gradients to clip.
        kind: ``value`` clips every element to [-limit, limit] (paper), ``norm`` the norm of all.
        limit: The limit.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if kind == "value":
        nn.utils.clip_grad_value_(parameters, limit)
    elif kind == "norm":
        nn.utils.clip_grads_with_norm_(parameters, limit, norm)
    return norm
