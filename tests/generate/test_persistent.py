"""The persistent WaveRNN: interpreted against the reference, compiled for an H100, run on a GPU."""

import json
import math
import re
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.generate.conftest import make_model
from tests.generate.test_graphed import vectors_of
from tests.interpreted import run_interpreted
from tests.models.conftest import CONFIGS
from tests.nn.test_triton_recurrence import Recorder, cuda, h100, stack_bytes  # noqa: F401

from samplewise.config.models import WaveRNNConfig
from samplewise.errors import EngineError
from samplewise.generate.backend import Backend
from samplewise.generate.batch_invariance import RowPlan
from samplewise.generate.persistent import PersistentSampler
from samplewise.generate.reference import ReferenceSampler
from samplewise.generate.uniforms import uniforms
from samplewise.models.build import build_model

CASES = {
    "one clip": ("wavernn", 8, 1, 1, 0.0),
    "three clips, told": ("told-wavernn", 8, 3, 1, 0.05),
    "three programs": ("wavernn", 20, 1, 3, 0.0),
}
"""Family, units, clips, programs, and the least probability; clips have temperatures if several."""
LENGTHS = (1, 2)
PROMPT = np.array([700, 40_000, 123])
INTERPRETED = """
import sys, torch
from tests.generate.test_persistent import CASES, interpret
torch.save({name: interpret(*case) for name, case in CASES.items()}, sys.argv[1])
"""


def draws(kind, family, units, clips, least):
    """Codes and scores of two draws after a prompt, and the state after them."""
    model = make_model(replace(CONFIGS[family], dim=units))
    model.fold()
    sampler, total = kind(model, clips, least), sum(LENGTHS)
    sampler.plan = RowPlan(clips, clips)
    vectors, hold = vectors_of(model, clips, len(PROMPT) + total)
    first = None if vectors is None else vectors[:1]
    state, done, parts = sampler.start(clips, sampler.prefill(PROMPT, None, first)), 0, []
    numbers = uniforms(4, range(clips), 0, total)
    colder = np.linspace(0.6, 1.2, clips * total).reshape(clips, total) if clips > 1 else None
    for length in LENGTHS:
        part = slice(done, done + length)
        own = None if vectors is None else vectors[:, (len(PROMPT) + done) // hold :]
        temperature = None if colder is None else colder[:, part]
        codes, log_probs, state = sampler.draw(state, numbers[:, part], temperature, own)
        parts.append((codes, log_probs))
        done += length
    codes, log_probs = (np.concatenate(column, 1) for column in zip(*parts, strict=True))
    return codes, log_probs, state.model.h.numpy(), state.model.clock, state.previous.numpy()


class Processes:
    """A kernel each of whose programs is interpreted in a process of its own, at the same time."""

    def __init__(self, kernel):
        self.kernel = kernel

    def __getitem__(self, grid):
        return lambda *args, **options: self.run(grid[0], args, options)

    def run(self, programs, args, options):
        import multiprocessing

        for group in args[:5]:
            for tensor in group:
                tensor.share_memory_()
        context = multiprocessing.get_context("fork")
        workers = [
            context.Process(target=self.program, args=(i, programs, args, options), daemon=True)
            for i in range(programs)
        ]
        for worker in workers:
            worker.start()
        end = time.monotonic() + 60
        while any(worker.exitcode is None for worker in workers) and time.monotonic() < end:
            assert not any(worker.exitcode for worker in workers)
            time.sleep(0.01)
        assert [worker.exitcode for worker in workers] == [0] * programs

    def program(self, index, programs, args, options):
        from triton.runtime import interpreter

        builder = interpreter.interpreter_builder
        set_dim, set_place = builder.set_grid_dim, builder.set_grid_idx
        builder.set_grid_dim = lambda *_: set_dim(programs, 1, 1)
        builder.set_grid_idx = lambda *_: set_place(index, 0, 0)
        # It would copy arrays, which others are writing, onto themselves.
        interpreter.GridExecutor._restore_args_dev = lambda *_: None
        self.kernel[(1,)](*args, **options)


def interpret(family, units, clips, programs, least):
    from samplewise.nn import triton_recurrence, triton_wavernn

    triton_recurrence.multiprocessors = lambda device: programs
    kernel = triton_wavernn.draw_samples
    if programs > 1:
        triton_wavernn.draw_samples = Processes(kernel)
    with torch.inference_mode():
        found = draws(PersistentSampler, family, units, clips, least)
    triton_wavernn.draw_samples = kernel
    return found


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory):
    """Results of Triton's interpreter."""
    target = tmp_path_factory.mktemp("interpreted") / "results.pt"
    run_interpreted(INTERPRETED, target)
    return torch.load(target, weights_only=False)


@pytest.mark.parametrize("name", CASES)
def test_codes_scores_and_state_are_those_of_the_reference(name, interpreted):
    family, units, clips, _, least = CASES[name]
    expected = draws(ReferenceSampler, family, units, clips, least)
    codes, log_probs, h, clock, previous = interpreted[name]
    assert np.array_equal(codes, expected[0])
    np.testing.assert_allclose(log_probs, expected[1], atol=1e-5)
    np.testing.assert_allclose(h, expected[2], atol=1e-6)
    assert clock == expected[3]
    assert np.array_equal(previous, expected[4])


def readers(text):
    """How many threads read each element of the loads that wait, in Triton's GPU dialect."""
    sizes = {
        name: [int(size) for group in groups for size in group.split(", ")]
        for name, *groups in re.findall(
            r"#(\w+) = #ttg.blocked<{sizePerThread = \[([\d, ]+)\], "
            r"threadsPerWarp = \[([\d, ]+)\], warpsPerCTA = \[([\d, ]+)\]",
            text,
        )
    }
    loads = re.findall(r"isVolatile = true.*tensor<(\d+)x(\d+)x!tt.ptr<i64>, #(\w+)>", text)
    found = []
    for *shape, layout in loads:
        spans = [math.prod(sizes[layout][axis::2]) for axis in (0, 1)]
        found.append(max(span // int(size) for span, size in zip(spans, shape, strict=True)))
    return found


@pytest.mark.usefixtures("h100")
@pytest.mark.parametrize(("dim", "clips"), [(896, 1), (384, 2)])
def test_compiled_for_an_h100_nothing_spills_and_one_thread_waits_for_a_word(
    dim, clips, monkeypatch, tmp_path
):
    from samplewise.nn import triton_wavernn

    monkeypatch.setattr("samplewise.generate.reference.plan_rows", lambda *_: RowPlan(clips, clips))
    kernels = []
    recorder = Recorder(triton_wavernn.draw_samples, kernels)
    monkeypatch.setattr(triton_wavernn, "draw_samples", recorder)
    monkeypatch.setattr("samplewise.nn.triton_recurrence.multiprocessors", lambda device: 132)
    sampler = PersistentSampler(build_model(WaveRNNConfig(dim=dim)), clips)
    with torch.inference_mode():
        for place in (0, 1):
            previous = torch.zeros(8, dtype=torch.int64)[place : place + clips]
            state = replace(sampler.start(clips), previous=previous)
            sampler._draw_part(state, torch.zeros(2 + place, clips), None, None)
    assert kernels[0].hash == kernels[1].hash  # nothing is compiled again
    kernel = kernels[0]
    assert kernel.metadata.launch_cooperative_grid
    assert stack_bytes(kernel, tmp_path / "kernel.cubin") == 0
    # Sums of R before the loop and twice in it, hidden layers and logits of either half; each is
    # read once and again in a loop. Else a thread could go on with a word that another lacks.
    assert readers(kernel.asm["ttgir"]) == [1] * 2 * (3 * 3 + 4)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (CONFIGS["rnn"], "models of the family wavernn, not rnn"),
        (CONFIGS["wavernn"], "float32 models on GPUs, not torch.float32 on cpu"),
    ],
)
def test_other_models_and_devices_are_refused(config, reason):
    with pytest.raises(EngineError, match=reason):
        Backend("persistent").resolve(build_model(config))


@pytest.mark.parametrize(("dim", "programs"), [(224, 56), (384, 96), (896, 112), (1024, 128)])
def test_every_program_has_rows_of_each_layer_but_the_logits(dim, programs):
    pytest.importorskip("triton")
    from samplewise.nn.triton_wavernn import divide

    division = divide(dim, 132)
    assert division.fits
    assert division.programs == programs
    assert (programs - 1) * division.units < dim <= programs * division.units
    assert division.levels * programs >= 256
    assert not divide(2048, 132).fits


@pytest.mark.gpu
def test_on_a_gpu_codes_are_those_of_float64_and_repeat_bit_for_bit(request, tmp_path):
    import experiments.persistent_check as check

    device = request.getfixturevalue("cuda")
    output = tmp_path / "persistent.json"
    # In a process that is stopped if the kernel hangs.
    assert check.main(["-o", str(output), "--device", str(device), "--rows", "2"]) == 0
    for row in json.loads(output.read_text()):
        assert row["equal"] >= 0.99
        assert row["repeats"]
        assert row["log_prob_error"] < 1e-3
        assert row["distinct_codes"] > 100
