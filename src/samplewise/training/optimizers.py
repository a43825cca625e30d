"""Adam and Muon; under Muon all directions of a matrix move equally far.

Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks": a step is about the
nearest matrix to the momentum that has orthonormal rows or columns. The scale of a step is that of
Liu et al. 2025 ("Muon is scalable for LLM training"), so that it is about as long as one of Adam's.
Chosen: each gate of a recurrent layer is made orthonormal by itself, though one matrix holds all.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from samplewise.config.training import OptimizerConfig
from samplewise.models.base import AutoregressiveModel
from samplewise.nn.linear import Weight

MOMENTUM = 0.95
RMS = 0.2
"""Root mean square of a step's elements at a step size of 1: about that of Adam's steps."""
LEAST_SIDE = 16
"""Narrower matrices, such as maps of a few scalars, are left to Adam."""
A, B, C = 3.4445, -4.7750, 2.0315
"""Coefficients of Jordan et al.: after 5 iterations singular values lie within 0.7 to 1.2."""


class Muon(torch.optim.Adam):
    """Muon for the matrices of a model, Adam for gains, biases, embeddings and initial states.

    Args:
        model: The model that is trained.
        scale: Step size of the matrices, as a multiple of Adam's.
        decay: Share of a matrix that a step of size 1 takes away (decoupled weight decay). Without
            it, a recurrent matrix grows until the dynamics are chaotic and gradients overflow.
        iterations: Number of Newton-Schulz iterations.
        every: Steps between two moves of the matrices; their momentum is updated at each step.
        **adam: Arguments of :class:`torch.optim.Adam`.
    """

    def __init__(
        self,
        model: AutoregressiveModel,
        scale: float,
        decay: float,
        iterations: int = 5,
        every: int = 1,
        **adam: Any,
    ):
        super().__init__(model.parameters(), **adam)
        self.scale, self.decay = scale, decay
        self.iterations, self.every = iterations, every
        stacked = dict(model.wide_weights())
        self.matrices = [
            (weight, stacked.get(weight, 1))
            for weight in model.modules()
            if isinstance(weight, Weight) and min(weight.v.shape) >= LEAST_SIDE
        ]

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Make a step, and discard the gradients of the matrices."""
        rate = self.scale * self.param_groups[0]["lr"]
        for weight, parts in self.matrices:
            v = weight.v
            if v.grad is None:
                continue
            state = self.state[v]
            if not state:
                state["momentum"] = torch.zeros_like(v)
            momentum = state["momentum"]
            momentum.lerp_(v.grad, 1 - MOMENTUM)
            if self.every > 1:
                # The host decides, so the count stays there; a checkpoint may bring it to the GPU.
                made = state["step"] = state.get("step", torch.zeros(())).cpu()
                made += 1
                if made.item() % self.every:
                    v.grad = None
                    continue
            ahead = v.grad.lerp(momentum, MOMENTUM)  # Nesterov's
            direction = orthogonal(ahead.unflatten(0, (parts, -1)), self.iterations)
            size = RMS * max(direction.shape[1:]) ** 0.5
            direction = direction.flatten(0, 1)
            if weight.mask is not None:
                direction = direction * weight.mask
            v.mul_(1 - rate * self.decay).add_(direction, alpha=-rate * size)
            v.grad = None
        super().step(closure)


def orthogonal(
    matrices: Float[Tensor, "parts rows columns"], iterations: int = 5
) -> Float[Tensor, "parts rows columns"]:
    """Return about U V^T of each matrix U S V^T, by Newton-Schulz iterations.

    The iterations run in bfloat16 on GPUs and in float32 on CPUs: a processor without bfloat16
    arithmetic takes about ten times as long for it.

    Args:
        matrices: Any matrices; zeros remain zeros.
        iterations: Number of iterations; each brings the singular values nearer to 1.
    """
    x = matrices.float() if matrices.device.type == "cpu" else matrices.bfloat16()
    is_tall = x.shape[1] > x.shape[2]
    x = x.mT if is_tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(iterations):
        squared = x @ x.mT
        polynomial = torch.baddbmm(squared, squared, squared, beta=B, alpha=C)
        x = torch.baddbmm(x, polynomial, x, beta=A)
    return (x.mT if is_tall else x).to(matrices.dtype)


def make_optimizer(model: AutoregressiveModel, config: OptimizerConfig) -> torch.optim.Adam:
    """Return the optimizer of a configuration, over all parameters of the model."""
    adam = {
        "lr": config.learning_rate,
        "betas": (config.beta1, config.beta2),
        "eps": config.epsilon,
        "fused": True,
    }
    if config.name == "muon":
        of_matrices = (config.muon_scale, config.muon_decay, config.muon_iterations)
        return Muon(model, *of_matrices, config.muon_every, **adam)
    return torch.optim.Adam(model.parameters(), **adam)
