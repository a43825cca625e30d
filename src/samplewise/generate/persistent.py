"""The persistent back end: on a GPU one kernel draws thousands of samples of a WaveRNN.

Launching operators takes longer than computing them, and so does reading 3 million weights for each
sample. The kernel of :mod:`samplewise.nn.triton_wavernn` holds them in registers.
"""

from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec

import torch
from torch import Tensor

from samplewise.generate.reference import ReferenceSampler, SamplerState
from samplewise.models.base import AutoregressiveModel
from samplewise.models.wavernn import WaveRNN
from samplewise.nn.wavernn_cell import SCALARS

CLIPS = 4
"""Clips that are drawn together, at most: registers hold the states of all beside the weights."""
SAMPLES = 4096
"""Samples of all clips that a launch draws, at most: their logits are kept until its end."""


def obstacle(model: AutoregressiveModel) -> str | None:
    """Return why the persistent back end cannot draw ``model``, None if it can."""
    if not isinstance(model, WaveRNN):
        return f"it draws models of the family wavernn, not {model.config.family}"
    values = model.real_values
    if values.device.type != "cuda" or values.dtype != torch.float32:
        return f"it runs float32 models on GPUs, not {values.dtype} on {values.device}"
    if find_spec("triton") is None:
        return "it needs Triton, which is not installed"
    from samplewise.nn.triton_recurrence import multiprocessors
    from samplewise.nn.triton_wavernn import divide

    programs = multiprocessors(values.device)
    if not divide(model.config.dim, programs).fits:
        return f"weights of {model.config.dim} units do not fit into {programs} multiprocessors"
    return None


class PersistentSampler(ReferenceSampler):
    """Draws as the reference does, up to 4 clips of a WaveRNN, all samples in a few launches.

    Args:
        model: Folded.
        clips: As for the reference.
        min_p: As for the reference.
    """

    name = "persistent"

    def __init__(self, model: WaveRNN, clips: int = 1, min_p: float = 0.0):
        from samplewise.nn.triton_recurrence import multiprocessors
        from samplewise.nn.triton_wavernn import WaveRNNWeights, divide

        super().__init__(model, min(clips, CLIPS), min_p)
        layer, values = model.layer, model.real_values
        bias = layer.candidate_bias
        assert bias is not None
        with torch.inference_mode():
            columns = layer.input.weight().t().contiguous()
            self._conditions = columns[SCALARS:]
            outputs = []
            for output in (model.o1, model.o2, model.o3, model.o4):
                assert output.bias is not None
                outputs += [output.weight().contiguous(), output.bias]
            self._weights = WaveRNNWeights(
                layer.recurrent().contiguous(), columns[:SCALARS], bias, tuple(outputs)
            )
            self._log_min_p = torch.tensor(min_p, dtype=torch.float64).log().to(values.device)
        self._input_bias = layer.input.bias
        self._division = divide(model.config.dim, multiprocessors(values.device))

    def _parts(self, clock: int, samples: int) -> Iterator[int]:
        size = SAMPLES // self.max_batch // 16 * 16  # so that parts are aligned
        for start in range(0, samples, size):
            yield min(size, samples - start)

    def _draw_part(
        self,
        sampler_state: SamplerState,
        numbers: Tensor,
        temperatures: Tensor | None,
        vectors: Tensor | None,
    ) -> tuple[Tensor, Tensor, SamplerState]:
        from samplewise.nn.triton_wavernn import draw_wavernn

        previous, state = sampler_state.previous, sampler_state.model
        assert self._input_bias is not None
        base = self._input_bias.expand(1, len(previous), -1)
        if vectors is not None:
            base = base + vectors @ self._conditions
        with torch.cuda.device_of(previous):
            codes, params, h = draw_wavernn(
                self._weights,
                base.contiguous(),
                state.h[:, 0],
                previous,
                numbers,
                temperatures,
                self._log_min_p,
                self._division,
            )
        drawn = codes.t().contiguous()
        flat = params.transpose(0, 1).flatten(0, 1)
        scores = self.model.head.log_prob(flat, drawn.flatten()).view_as(drawn)
        after = replace(state, h=h[:, None], clock=state.clock + len(numbers))
        return drawn, scores, SamplerState(after, codes[-1], sampler_state.clips)
