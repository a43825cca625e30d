"""Several softmaxes a sample, each over one symbol of its code, given the symbols before.

The parameters of a sample are the logits of its symbols, in the order of sampling. A model can
compute the logits of a symbol only after the symbols before it were drawn.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from samplewise.heads.base import Head
from samplewise.heads.categorical import CategoricalHead, invert_cdf


class StagedSoftmaxHead(Head):
    """A code of ``stages`` symbols in [0, levels), highest first.

    Args:
        stages: Symbols of a code.
        levels: Values of a symbol.
    """

    def __init__(self, stages: int, levels: int):
        super().__init__()
        self.stages, self.levels = stages, levels
        self.softmax = CategoricalHead()

    def nll(
        self, params: Float[Tensor, "batch time parameters"], target: Int[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time"]:
        """Return -ln p(target), the sum over the symbols, in nats per sample."""
        stages = zip(params.chunk(self.stages, -1), self.symbols(target).unbind(-1), strict=True)
        return torch.stack([self.softmax.nll(logits, symbol) for logits, symbol in stages]).sum(0)

    def log_prob(
        self, params: Float[Tensor, "batch parameters"], code: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Return ln p(code), in nats, in double precision."""
        stages = zip(params.chunk(self.stages, -1), self.symbols(code).unbind(-1), strict=True)
        return torch.stack([self.softmax.log_prob(logits, part) for logits, part in stages]).sum(0)

    def symbols(self, code: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape {self.stages}"]:
        """Return the symbols of a code, highest first."""
        return code[..., None] // self._places(code) % self.levels

    def join(self, symbols: Int[Tensor, "*shape {self.stages}"]) -> Int[Tensor, "*shape"]:
        """Return the code of all its symbols."""
        return (symbols * self._places(symbols)).sum(-1)

    def sample_stage(
        self,
        logits: Float[Tensor, "batch levels"],
        uniform: Float[Tensor, " batch"],
        temperature: Float[Tensor, " batch"] | None = None,
        min_p: float = 0.0,
    ) -> tuple[Int[Tensor, " batch"], Float[Tensor, " batch"]]:
        """Draw one symbol per row, and return the random number for the next symbol.

        The position of the random number within the share of the symbol is uniform again, in
        [0, 1). So a sample takes one random number, however many stages it has.

        Args:
            logits: Of this symbol.
            uniform: The random number that makes each symbol, in [0, 1).
            temperature: As for :meth:`OneStageHead.sample`.
            min_p: As for :meth:`OneStageHead.sample`.
        """
        symbol, cdf, value = invert_cdf(logits, uniform, temperature, min_p)
        return symbol.squeeze(-1), next_uniform(symbol, cdf, value)

    def _places(self, like: Tensor) -> Int[Tensor, " {self.stages}"]:
        """Return the value of one step of each symbol."""
        places = torch.arange(self.stages - 1, -1, -1, device=like.device)
        return self.levels**places


def next_uniform(
    symbol: Int[Tensor, "batch 1"],
    cdf: Float[Tensor, "batch levels"],
    value: Float[Tensor, "batch 1"],
) -> Float[Tensor, " batch"]:
    """Return the position within the share of a symbol that :func:`invert_cdf` has drawn."""
    below = torch.where(symbol > 0, cdf.gather(-1, (symbol - 1).clamp(min=0)), 0.0)
    share = cdf.gather(-1, symbol) - below
    # Rounding may give 1, which is no random number: the result stays a little below.
    return ((value - below) / share).clamp(0.0, 1.0 - 2.0**-50).squeeze(-1)
