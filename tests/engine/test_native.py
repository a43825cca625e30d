"""The compiled module: absent, given nonsense, interrupted, used by several at once."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from tests.engine.conftest import EXTRA
from tests.generate.conftest import make_model

import samplewise
from samplewise import native
from samplewise.engine.sampler import NativeSampler
from samplewise.engine.weights import pack
from samplewise.errors import EngineError
from samplewise.generate.backend import Backend
from samplewise.generate.uniforms import uniforms


@pytest.fixture
def without_module(monkeypatch):
    monkeypatch.setitem(sys.modules, "samplewise._native", None)
    monkeypatch.delattr(samplewise, "_native", raising=False)
    native.has_native.cache_clear()
    yield
    native.has_native.cache_clear()


def test_without_the_module_the_reference_takes_over_and_says_so(
    without_module, model, monkeypatch, caplog
):
    monkeypatch.delenv(native.REQUIRE, raising=False)
    for _ in range(3):
        assert Backend().resolve(model).name == "reference"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "install samplewise on a machine with a C++20 compiler" in caplog.text
    with pytest.raises(EngineError, match="the native engine is not there"):
        Backend("native").resolve(model)


def test_where_it_is_required_its_absence_is_an_error(without_module, model, monkeypatch):
    monkeypatch.setenv(native.REQUIRE, "1")
    with pytest.raises(EngineError, match="the native engine is not there"):
        Backend().resolve(model)


def test_what_it_cannot_run_goes_to_the_reference(model):
    import copy

    double = copy.deepcopy(model).double()
    assert Backend().resolve(model).name == "native"
    assert Backend().resolve(double).name == "reference"
    with pytest.raises(EngineError, match=r"float32 models on the CPU, not torch.float64 on cpu"):
        Backend("native").resolve(double)


@pytest.mark.parametrize(("limit", "threads"), [("1", 1), ("", 2), ("8", 2), ("0", 2), ("x", 2)])
def test_threads_are_the_cores_that_may_be_used(monkeypatch, limit, threads):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5})
    monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert native.default_threads() == threads


@pytest.mark.parametrize(
    ("text", "threads"),
    [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 8), ("", 8), ("900000 100000", 8)],
)
def test_a_containers_share_of_the_machine_is_kept(monkeypatch, tmp_path, text, threads):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(native, "CPU_LIMIT", tmp_path / "cpu.max")
    (tmp_path / "cpu.max").write_text(text)
    assert native.default_threads() == threads


def built(arguments, **changes):
    return native.native_module().Model(**({"format": "f32"} | arguments | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "f64"}, "format = f64 must be f32, f16, int8 or int8x16"),
        ({"isa": "avx3"}, "isa = avx3 must be baseline, avx2, avx512, neon or neon-i8mm"),
        ({"cell": "rnn"}, "cell = rnn must be gru, gru-reset-after or lstm"),
        ({"dim": 0}, r"dim = 0 must lie in \[1, 65536\]"),
        ({"dim": 34}, r"tier2.frame is 297 x 4, not 306 x 4"),
        ({"n_rnn": 65}, r"n_rnn = 65 must lie in \[1, 64\]"),
        ({"frame_sizes": [4]}, r"tiers = 1 must lie in \[2, 16\]"),
        ({"frame_sizes": [4, 4, 4]}, "frame size 4 must be a larger multiple of 4"),
        ({"frame_sizes": [4, 0, 4]}, "frame size = 0 must lie in"),
        ({"q_levels": 64}, r"real_values = 100 must lie in \[64, 64\]"),
        ({"silence": 100}, r"silence = 100 must lie in \[0, 99\]"),
        ({"arrays": {}}, "array tier2.frame is missing"),
    ],
)
def test_a_description_that_does_not_fit_itself_is_refused(model, changes, message):
    with pytest.raises(ValueError, match=message):
        built(pack(model), **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dilations": []}, r"dilations = 0 must lie in \[1, 1024\]"),
        ({"dilations": [1] * 1025}, r"dilations = 1025 must lie in \[1, 1024\]"),
        ({"dilations": [1, 0]}, r"dilation = 0 must lie in \[1, 1048576\]"),
        ({"dilations": [1] * 13}, r"stack.residual.11 is missing"),
        (
            {"dilations": [2**20] * 1000},
            r"dilations x channels = \d+ must lie in \[1, 1073741824\]",
        ),
        ({"channels": 0}, r"channels = 0 must lie in \[1, 65536\]"),
        ({"channels": 69}, r"stack.embedding is 100 x 70, not 100 x 69"),
        ({"dim": 91}, r"stack.skip.0 is 90 x 70, not 91 x 70"),
    ],
)
def test_a_stack_of_layers_that_does_not_fit_itself_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        built(pack(make_model(EXTRA["wavenet-wide"])), **changes)


def test_a_baseline_whose_table_of_codes_does_not_fit_is_refused():
    arguments = pack(make_model(EXTRA["rnn-after"]))
    with pytest.raises(ValueError, match=r"tier2.codes is 36 x 99, not 38 x 99"):
        built(arguments, q_levels=38, real_values=np.zeros(38, np.float32))
    with pytest.raises(ValueError, match=r"array tier2.frame is missing"):
        built(arguments, frame_sizes=[0, 2])


def test_a_baseline_too_large_to_fold_goes_to_the_reference(monkeypatch):
    small = make_model(EXTRA["rnn-after"])
    monkeypatch.setattr("samplewise.engine.weights.MAX_TABLE", 36 * 3 * 33)
    assert Backend().resolve(small).name == "native"
    monkeypatch.setattr("samplewise.engine.weights.MAX_TABLE", 36 * 3 * 33 - 1)
    assert Backend().resolve(small).name == "reference"
    with pytest.raises(EngineError, match="does not run rnn models with this head or of this size"):
        pack(small)


NUMBERS = ("dim", "n_rnn", "q_levels", "silence", "channels", "condition_width", "hold")


@pytest.mark.parametrize("kind", ["skips", "rnn-lstm", "wavenet-wide", "wavernn-odd"])
def test_random_damage_to_a_description_never_crashes(kind):
    arguments, chance = pack(make_model(EXTRA[kind])), random.Random(0)  # noqa: S311
    refused = 0
    for _ in range(150):
        changed = arguments | {"arrays": dict(arguments["arrays"])}
        changed["format"] = chance.choice(["f32", "f16", "int8", "int8x16"])
        kind = chance.choice(["number", "drop", "shape", "value"])
        name = chance.choice(sorted(changed["arrays"]))
        array = changed["arrays"][name]
        if kind == "number":
            key = chance.choice([key for key in NUMBERS if key in arguments])
            changed[key] = chance.choice([-1, 0, 1, 2**20, 2**31 - 1, int(changed[key]) + 1])
        elif kind == "drop":
            del changed["arrays"][name]
        elif kind == "shape":
            changed["arrays"][name] = np.ascontiguousarray(
                array[: chance.randrange(array.shape[0]), : chance.randrange(array.shape[1])]
            )
        else:
            changed["arrays"][name] = array.copy()
            bad = chance.choice([np.nan, np.inf, 1e38])
            changed["arrays"][name].flat[chance.randrange(array.size)] = bad
        try:
            made = built(changed)
        except ValueError:
            refused += 1
            continue
        module = native.native_module()
        state, codes = module.State(made, 1), np.zeros((1, 40), np.int32)
        numbers = np.full((1, 40), 0.5, np.float32)
        module.Engine(made, 1, 1).run(state, 40, uniforms=numbers, codes=codes)
        assert 0 <= codes.min() <= codes.max() < changed["q_levels"]
    assert refused > 75


def test_arrays_of_the_wrong_shape_and_codes_out_of_range_are_refused(model):
    sampler = NativeSampler(model, 2)
    state = sampler.start(2).state
    numbers, codes = np.zeros((2, 5), np.float32), np.zeros((2, 5), np.int32)
    run = sampler.engine.run
    with pytest.raises(TypeError):  # results must not go into a copy
        run(state, 5, uniforms=numbers, codes=codes.astype(np.int64))
    with pytest.raises(ValueError, match="pace = slow must be adaptive, all or alternate"):
        NativeSampler(model, pace="slow")
    with pytest.raises(ValueError, match="uniforms has 5 entries along axis 1, not 6"):
        run(state, 6, uniforms=numbers, codes=codes)
    with pytest.raises(ValueError, match="drawing needs uniforms and a place for codes"):
        run(state, 5, uniforms=numbers)
    with pytest.raises(ValueError, match=r"code 100 is not within \[0, 100\)"):
        run(state, 5, forced=codes + 100)
    with pytest.raises(ValueError, match="batch = 3 exceeds max_batch = 2"):
        sampler.draw(sampler.start(3), np.zeros((3, 5), np.float32))
    with pytest.raises(ValueError, match="the state belongs to another model"):
        run(NativeSampler(model).start(1).state, 5, forced=codes[:1])
    with pytest.raises(ValueError, match="codes range from 0 to 100"):
        sampler.prefill(np.array([0, 100]))


def other_model():
    return make_model(EXTRA["narrow"])


def test_two_generations_at_once_do_not_disturb_each_other(model):
    sampler = NativeSampler(model, 1, threads=2, pace="all")
    numbers = uniforms(1, [0], 0, 2000)
    expected, _, _ = sampler.draw(sampler.start(1), numbers)
    results = []

    def draw():
        results.append(sampler.draw(sampler.start(1), numbers)[0])

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for result in results:
        np.testing.assert_array_equal(result, expected)


ENDLESS = """
import numpy as np
from tests.engine.test_native import other_model
from samplewise.engine.sampler import NativeSampler
sampler = NativeSampler(other_model(), 1, threads=2)
print("ready", flush=True)
sampler.draw(sampler.start(1), np.zeros((1, 200_000_000), np.float32))
"""


def test_ctrl_c_ends_a_long_chunk_at_once():
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that starts us in the background has it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    try:
        _, error = process.communicate(timeout=20)
    finally:
        process.kill()
    assert "KeyboardInterrupt" in error


def test_more_threads_than_rows_are_not_started():
    model = other_model()  # one block of hidden units, eight panels of the output
    sampler = NativeSampler(model, 1, threads=100, pace="all")
    assert sampler.engine.threads == 8
    numbers = uniforms(1, [0], 0, 50)
    codes, _, _ = sampler.draw(sampler.start(1), numbers)
    alone = NativeSampler(model, 1, threads=1)
    np.testing.assert_array_equal(codes, alone.draw(alone.start(1), numbers)[0])


def test_states_of_models_that_look_alike_are_told_apart(model):
    samplers = [NativeSampler(model, 1) for _ in range(2)]
    numbers = uniforms(1, [0], 0, 5)
    with pytest.raises(ValueError, match="the state belongs to another model"):
        samplers[0].draw(samplers[1].start(1), numbers)
