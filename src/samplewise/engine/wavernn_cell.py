"""The cell of Subscale WaveRNN in the compiled engine: all rows of all clips as one batch."""

import numpy as np
from jaxtyping import Float32, Float64, Int64

from samplewise.engine.sampler import WeightFormat
from samplewise.engine.weights import pack_cell
from samplewise.models.subscale_wavernn import SubscaleWaveRNN
from samplewise.native import default_threads, native_module

DRAW = -1
"""In place of a code that is not given."""


class NativeCell:
    """Steps rows of a Subscale WaveRNN; what a row remembers is an argument and a result.

    Args:
        model: On the CPU.
        rows: Most rows that are stepped together.
        weights: How weights are stored.
        threads: CPU threads; None takes every core that this process may use.
        min_p: As of :class:`samplewise.engine.sampler.NativeSampler`.

    Raises:
        EngineError: If there is no compiled module.
    """

    def __init__(
        self,
        model: SubscaleWaveRNN,
        rows: int,
        weights: WeightFormat = "int8",
        threads: int | None = None,
        min_p: float = 0.0,
    ):
        self._module = native_module()
        description = pack_cell(model)
        self.packed = self._module.Model(**description, format=weights)
        self.engine = self._module.Engine(self.packed, rows, threads or default_threads())
        self.min_p = min_p
        self.is_conditioned = description["condition_width"] > 0

    def run(
        self,
        last: Int64[np.ndarray, " rows"],
        h: Float32[np.ndarray, "rows dim"],
        said: Float32[np.ndarray, "rows columns width"],
        uniforms: Float32[np.ndarray, "rows columns"],
        temperature: Float64[np.ndarray, "rows columns"] | None,
        given: Int64[np.ndarray, "rows columns"],
    ) -> tuple[
        Int64[np.ndarray, "rows columns"],
        Float64[np.ndarray, "rows columns"],
        Float32[np.ndarray, "rows dim"],
    ]:
        """Draw some columns of every row.

        Args:
            last: The code before, of each row.
            h: State of each row.
            said: What the conditioning network says to each sample; of no width without one.
            uniforms: The random number that makes each sample, in [0, 1).
            temperature: Of each sample; None means 1.
            given: Codes that are given, :data:`DRAW` elsewhere.

        Returns:
            Codes; ln p of each at temperature 1, in nats; h after them.
        """
        (rows, columns), (_, dim) = uniforms.shape, h.shape
        state = self._module.State(self.packed, rows)
        state.write(self._padded(h), last[:, None].astype(np.int32))
        codes, scores = np.zeros((rows, columns), np.int32), np.zeros((rows, columns))
        self.engine.run(
            state,
            columns,
            uniforms=np.ascontiguousarray(uniforms),
            temperature=None if temperature is None else np.ascontiguousarray(temperature),
            min_p=self.min_p,
            forced=np.ascontiguousarray(given, dtype=np.int32),
            conditioning=np.ascontiguousarray(said) if self.is_conditioned else None,
            codes=codes,
            log_probs=scores,
        )
        after = self._padded(h)
        state.read(after)
        halves = after.reshape(rows, 2, -1)[:, :, : dim // 2]
        return codes.astype(np.int64), scores, halves.reshape(rows, dim).copy()

    def _padded(self, h: Float32[np.ndarray, "rows dim"]) -> Float32[np.ndarray, "rows padded"]:
        """Return h as the engine keeps it: each half filled up to whole panels."""
        rows, dim = h.shape
        spare = -(dim // 2) % self._module.PANEL
        halves = np.pad(h.reshape(rows, 2, -1), ((0, 0), (0, 0), (0, spare)))
        return np.ascontiguousarray(halves.reshape(rows, -1), dtype=np.float32)
