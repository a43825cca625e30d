"""Quantisers by name."""

from samplewise.quantize.dual import Dual
from samplewise.quantize.linear import Linear
from samplewise.quantize.mulaw import MuLaw

KINDS = {"linear": Linear, "mulaw": MuLaw, "dual": Dual}


def make_quantizer(name: str, q_levels: int) -> Linear | MuLaw | Dual:
    """Return the quantiser called ``name`` with ``q_levels`` codes.

    Raises:
        ValueError: If there is no such quantiser, or it cannot have so many codes.
    """
    if name not in KINDS:
        raise ValueError(f"quantizer = {name!r} must be one of {', '.join(KINDS)}")
    return KINDS[name](q_levels)
