"""Quantisers by name."""

from samplewise.quantize.base import Quantizer
from samplewise.quantize.dual import Dual
from samplewise.quantize.linear import Linear
from samplewise.quantize.mulaw import MuLaw, MuLawMidtread

KINDS = {
    "linear": Linear,
    "mulaw": MuLaw,
    "mulaw-midtread": MuLawMidtread,
    "dual": Dual,
}


def make_quantizer(name: str, q_levels: int) -> Quantizer:
    """Return the quantiser called ``name`` with ``q_levels`` codes.

    Raises:
        ValueError: If there is no such quantiser, or it cannot have so many codes.
    """
    if name not in KINDS:
        raise ValueError(f"quantizer = {name!r} must be one of {', '.join(KINDS)}")
    return KINDS[name](q_levels)
