"""Starts: short excerpts of the training split after which clips begin.

A clip without a prompt would begin in silence, where training recordings hardly ever begin. A model
that was trained on excerpts from the middle of recordings then stays silent, or needs long to
leave silence. The excerpts are too short to be recognised, and they are not part of the clip.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int, Integer

from samplewise.errors import CheckpointError

COUNT, SECONDS = 16, 0.25
"""Excerpts in a model file, of each class if there are few, and the length of each."""
MOST = 64
"""Excerpts of all classes together; more classes have one each, up to twice as many classes."""
MAX_BYTES = 2**22
"""Length of the text beyond which it is not ours."""


@dataclass(frozen=True)
class Starts:
    """The excerpts of a model file."""

    codes: Integer[np.ndarray, "starts samples"]
    labels: tuple[str, ...] = ()
    """Class of each; empty for a model without classes."""

    def to_json(self, q_levels: int) -> dict[str, Any]:
        """Return what a model file holds."""
        kind = np.dtype("<u1" if q_levels <= 256 else "<u2")
        text = base64.b64encode(self.codes.astype(kind).tobytes()).decode()
        stored = {"count": len(self.codes), "codes": text}
        return stored | {"labels": list(self.labels)} if self.labels else stored

    @classmethod
    def from_json(cls, stored: Any, q_levels: int) -> "Starts":
        """Return the excerpts that a model file holds.

        Raises:
            CheckpointError: If they are damaged.
        """
        try:
            kind = np.dtype("<u1" if q_levels <= 256 else "<u2")
            count, text, labels = stored["count"], stored["codes"], stored.get("labels", [])
            if not (type(count) is int and count > 0 and len(text) <= MAX_BYTES):
                raise ValueError(f"count = {count!r}")  # noqa: TRY301
            codes = np.frombuffer(base64.b64decode(text, validate=True), kind)
            codes = codes.reshape(count, -1).astype(np.int64)
            if codes.size == 0 or codes.max() >= q_levels:
                raise ValueError(f"{codes.size} codes, some beyond {q_levels}")  # noqa: TRY301
            if labels and (len(labels) != count or set(map(type, labels)) != {str}):
                raise ValueError(f"{len(labels)} classes of {count}")  # noqa: TRY301
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"the starts in the model file are damaged ({error}); generate with --start silence"
            ) from None
        return cls(codes, tuple(labels))

    def first(self, count: int) -> "Starts":
        """Return the first ``count`` excerpts, of each class if there are classes."""
        if not self.labels:
            return Starts(self.codes[:count])
        kept = [
            place
            for place, label in enumerate(self.labels)
            if self.labels[:place].count(label) < count
        ]
        return Starts(self.codes[kept], tuple(self.labels[place] for place in kept))

    def choose(
        self, seed: int, indices: Sequence[int], labels: Sequence[str | None], silence: int
    ) -> Int[np.ndarray, "clips samples"]:
        """Return the start of each clip, which its seed, its index and its class determine.

        Args:
            seed: Of the clips.
            indices: Index of each clip.
            labels: Class of each clip; None for a model without classes.
            silence: Code of silence, which a clip of a class without excerpts begins with.
        """
        chosen = np.full((len(indices), self.codes.shape[1]), silence, np.int64)
        for row, (index, label) in enumerate(zip(indices, labels, strict=True)):
            own = self.codes
            if label is not None:
                own = own[[known == label for known in self.labels]]
            if len(own):
                chosen[row] = own[np.random.default_rng((seed, index)).integers(len(own))]
        return chosen
