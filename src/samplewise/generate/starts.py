"""Starts: short excerpts of the training split after which clips begin.

A clip without a prompt would begin in silence, where training recordings hardly ever begin. A model
that was trained on excerpts from the middle of recordings then stays silent, or needs long to
leave silence. The excerpts are too short to be recognised, and they are not part of the clip.
"""

import base64
from typing import Any

import numpy as np
from jaxtyping import Int, Integer

from samplewise.errors import CheckpointError

COUNT, SECONDS = 16, 0.25
"""Excerpts in a model file, and the length of each."""
MAX_BYTES = 2**22
"""Length of the text beyond which it is not ours."""


def to_text(codes: Integer[np.ndarray, "starts samples"], q_levels: int) -> dict[str, Any]:
    """Return starts as a model file holds them."""
    kind = np.dtype("<u1" if q_levels <= 256 else "<u2")
    text = base64.b64encode(codes.astype(kind).tobytes()).decode()
    return {"count": len(codes), "codes": text}


def from_text(stored: Any, q_levels: int) -> Int[np.ndarray, "starts samples"] | None:
    """Return the starts that a model file holds, or None.

    Raises:
        CheckpointError: If they are damaged.
    """
    if stored is None:
        return None
    try:
        kind = np.dtype("<u1" if q_levels <= 256 else "<u2")
        count, text = stored["count"], stored["codes"]
        if not (type(count) is int and count > 0 and len(text) <= MAX_BYTES):
            raise ValueError(f"count = {count!r}")  # noqa: TRY301
        codes = np.frombuffer(base64.b64decode(text, validate=True), kind)
        codes = codes.reshape(count, -1).astype(np.int64)
        if codes.size == 0 or codes.max() >= q_levels:
            raise ValueError(f"{codes.size} codes, some beyond {q_levels}")  # noqa: TRY301
    except (TypeError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"the starts in the model file are damaged ({error}); generate with --start silence"
        ) from None
    return codes


def choose(
    starts: Int[np.ndarray, "starts samples"], seed: int, indices: Any
) -> Int[np.ndarray, "clips samples"]:
    """Return the start of each clip, which its seed and its index determine."""
    draws = [np.random.default_rng((seed, index)).integers(len(starts)) for index in indices]
    return starts[draws]
