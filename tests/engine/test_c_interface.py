"""The engine for programs in C: the example, built and run."""

import fcntl
import shutil
import subprocess
import wave

import numpy as np
import pytest
from tests.engine.conftest import ALL
from tests.engine.test_core import BUILDS, NATIVE, UNITY, run
from tests.generate.conftest import make_model
from tests.models.conftest import CONFIGS

from samplewise.engine.model_file import is_engine_file, write_engine_file
from samplewise.engine.sampler import NativeSampler
from samplewise.generate.uniforms import uniforms

RATE = 1000
"""Hz: the example draws so many samples."""


@pytest.fixture(scope="module")
def draw():
    """The example, a function of its arguments. Its build is kept."""
    if not (shutil.which("cmake") and shutil.which("cc") and shutil.which("c++")):
        pytest.skip("there is no cmake or no compiler")
    folder = BUILDS / "c-example"
    folder.mkdir(parents=True, exist_ok=True)
    options = ["-DSAMPLEWISE_EXAMPLE=ON", "-DCMAKE_BUILD_TYPE=None", *UNITY]
    with (folder / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # another pytest may build there
        run("cmake", "-S", NATIVE, "-B", folder, *options)
        run("cmake", "--build", folder, "-j", "2")
    return lambda *arguments: subprocess.run(
        [folder / "draw", *map(str, arguments)], capture_output=True, text=True
    )


@pytest.mark.parametrize("kind", ["predictor", "rnn-lstm", "wavenet", "wavernn-odd"])
def test_a_program_in_c_draws_the_samples_that_samplewise_draws(draw, kind, tmp_path):
    model = make_model(ALL[kind])
    file, sound, seed = tmp_path / "mine.engine", tmp_path / "sound.wav", 2**40 + 1
    write_engine_file(file, model, RATE)
    assert is_engine_file(file)
    done = draw(file, sound, seed)
    assert done.returncode == 0, done.stderr
    sampler = NativeSampler(model, 1, "int8")
    codes = sampler.draw(sampler.start(1), uniforms(seed, [0], 0, RATE))[0]
    expected = np.rint(np.float32(32767) * model.quantizer.decode(codes[0]))
    with wave.open(str(sound)) as reader:
        assert reader.getparams()[:4] == (1, 2, RATE, RATE)
        found = np.frombuffer(reader.readframes(RATE), "<i2")
    np.testing.assert_array_equal(found, expected)


def test_a_program_in_c_is_told_what_is_wrong_with_a_file(draw, tmp_path):
    file, sound = tmp_path / "mine.engine", tmp_path / "sound.wav"
    assert "cannot be opened" in draw(file, sound).stderr
    write_engine_file(file, make_model(ALL["narrow"]), RATE)
    whole = file.read_bytes()
    for broken, what in [
        (whole[:-4], "may be cut off"),
        (whole[:100], 'has no line "data"'),
        (whole.replace(b"engine 1", b"engine 2", 1), 'does not begin with "samplewise engine 1"'),
        (whole.replace(b"number dim", b"nombre dim", 1), "has a wrong line: nombre dim"),
        (whole.replace(b"number dim", b"number din", 1), "the number dim is absent"),
        (whole.replace(b"array tier2.bias 1 21", b"array tier2.bias 21 1", 1), "tier2.bias"),
    ]:
        file.write_bytes(broken)
        done = draw(file, sound)
        assert done.returncode == 1
        assert what in done.stderr
    write_engine_file(file, make_model(CONFIGS["told-wavernn"]), RATE)
    assert "is conditioned" in draw(file, sound).stderr
    assert not sound.exists()
