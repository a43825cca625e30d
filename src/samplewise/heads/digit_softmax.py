"""16 bits as four softmaxes over 4 bits, highest first (Kalchbrenner et al. 2018, section 4.4).

The parameters of a sample are the logits of its four digits, each given those before it.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from samplewise.heads.categorical import categorical_log_prob, categorical_nll

DIGITS, DIGIT_LEVELS = 4, 16


def split_digits(code: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape 4"]:
    """Return the four digits of 4 bits, highest first."""
    shifts = torch.arange(DIGITS - 1, -1, -1, device=code.device) * 4
    return (code[..., None] >> shifts) & (DIGIT_LEVELS - 1)


def join_digits(digits: Int[Tensor, "*shape 4"]) -> Int[Tensor, "*shape"]:
    """Return the code of four digits."""
    shifts = torch.arange(DIGITS - 1, -1, -1, device=digits.device) * 4
    return (digits << shifts).sum(-1)


def digit_nll(
    params: Float[Tensor, "batch time 64"], target: Int[Tensor, "batch time"]
) -> Float[Tensor, "batch time"]:
    """Return -ln p(target), in nats per sample."""
    parts = zip(params.chunk(DIGITS, -1), split_digits(target).unbind(-1), strict=True)
    return torch.stack([categorical_nll(logits, digit) for logits, digit in parts]).sum(0)


def digit_log_prob(
    params: Float[Tensor, "batch 64"], code: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Return ln p(code), in nats, in double precision."""
    parts = zip(params.chunk(DIGITS, -1), split_digits(code).unbind(-1), strict=True)
    return torch.stack([categorical_log_prob(logits, digit) for logits, digit in parts]).sum(0)
