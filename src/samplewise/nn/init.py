"""Initial weights: orthogonal and He (paper), LeCun (official code); seeded, never global."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Scheme = Literal["paper", "official"]


class Initializer:
    """Draws every weight of a model from one generator, in the order of construction."""

    def __init__(self, seed: int | None, scheme: Scheme = "paper"):
        """Take a seed, or None for matrices without values or memory, to be loaded.

        Such matrices are made whole, not computed from others: that would load torch's compiler,
        which takes longer than everything else together when a command starts.
        """
        self.scheme = scheme
        self.generator = None if seed is None else torch.Generator().manual_seed(seed % 2**63)

    @property
    def has_values(self) -> bool:
        """Whether the matrices have values, or only shapes."""
        return self.generator is not None

    def he(self, outputs: int, inputs: int) -> Float[Tensor, "outputs inputs"]:
        """Uniform with variance 2 / inputs (He et al. 2015)."""
        return self._uniform(outputs, inputs, math.sqrt(6 / inputs))

    def lecun(self, outputs: int, inputs: int) -> Float[Tensor, "outputs inputs"]:
        """Uniform with variance 1 / inputs."""
        return self._uniform(outputs, inputs, math.sqrt(3 / inputs))

    def orthogonal(self, size: int) -> Float[Tensor, "size size"]:
        """A random orthogonal matrix: Q of a normal matrix, signs fixed by the diagonal of R."""
        if self.generator is None:
            return self.normal(size, size)
        q, r = torch.linalg.qr(self.normal(size, size).double())
        return (q * r.diagonal().sign()).float()

    def normal(self, rows: int, columns: int) -> Float[Tensor, "rows columns"]:
        """Standard normal."""
        if self.generator is None:
            return torch.empty(rows, columns, device="meta")
        return torch.randn(rows, columns, generator=self.generator)

    def input_map(self, outputs: int, inputs: int) -> Float[Tensor, "outputs inputs"]:
        """Into a recurrent layer's gates, or the softmax: He (paper), LeCun (official)."""
        return self.he(outputs, inputs) if self.scheme == "paper" else self.lecun(outputs, inputs)

    def recurrent_map(
        self, gates: int, size: int, candidate: int | None
    ) -> Float[Tensor, "{gates}*{size} {size}"]:
        """Hidden to hidden, one block per gate.

        Orthogonal in the paper; the official code draws only the GRU's candidate so.

        Args:
            gates: Number of blocks.
            size: Width of the layer.
            candidate: Index of the GRU's candidate block; None for an LSTM.
        """
        if self.generator is None:
            return self.normal(gates * size, size)
        orthogonal = range(gates) if self.scheme == "paper" else (candidate,)
        blocks = [
            self.orthogonal(size) if gate in orthogonal else self.lecun(size, size)
            for gate in range(gates)
        ]
        return torch.cat(blocks)

    def _uniform(self, outputs: int, inputs: int, bound: float) -> Tensor:
        if self.generator is None:
            return self.normal(outputs, inputs)
        return (torch.rand(outputs, inputs, generator=self.generator) * 2 - 1) * bound
