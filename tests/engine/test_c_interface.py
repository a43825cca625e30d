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

from samplewise.engine.model_file import ALIGNMENT, is_engine_file, write_engine_file
from samplewise.engine.sampler import NativeSampler
from samplewise.errors import EngineError
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


@pytest.mark.parametrize("kind", ["predictor", "rnn-lstm", "wavenet", "wavernn-odd", "gmm"])
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


def with_lines(whole, lines):
    """Return a model file with more lines in its header."""
    end = whole.index(b"\ndata\n") + 1
    header = whole[:end] + lines + b"data\n"
    begin = -(-(end + 5) // ALIGNMENT) * ALIGNMENT
    return header + bytes(-len(header) % ALIGNMENT) + whole[begin:]


def test_a_program_in_c_is_told_what_is_wrong_with_a_file(draw, tmp_path):
    file, sound = tmp_path / "mine.engine", tmp_path / "sound.wav"
    assert "cannot be opened" in draw(file, sound).stderr
    write_engine_file(file, make_model(ALL["narrow"]), RATE)
    whole = file.read_bytes()
    for broken, what in [
        (whole[:-4], "may be cut off"),
        (whole[:100], 'has no line "data"'),
        (whole.replace(b"engine 1", b"engine 3", 1), 'with "samplewise engine 1 or 2"'),
        (with_lines(whole, b"number condition_width 4\nnumber hold 1\n"), "is conditioned"),
        (whole.replace(b"number dim", b"nombre dim", 1), "has a wrong line: nombre dim"),
        (whole.replace(b"number dim", b"number din", 1), "the number dim is absent"),
        (whole.replace(b"array tier2.bias 1 21", b"array tier2.bias 21 1", 1), "tier2.bias"),
    ]:
        file.write_bytes(broken)
        done = draw(file, sound)
        assert done.returncode == 1
        assert what in done.stderr
    assert not sound.exists()


@pytest.mark.parametrize("kind", ["told-samplernn", "told-rnn", "told-wavenet", "told-wavernn"])
def test_a_conditioned_model_is_no_file_of_the_engine(kind, tmp_path):
    with pytest.raises(EngineError, match="a conditioned model cannot be a file of the engine"):
        write_engine_file(tmp_path / "mine.engine", make_model(CONFIGS[kind]), RATE)


def test_the_version_of_a_file_is_the_oldest_that_can_read_it(tmp_path):
    for kind, version in (("gmm", 2), ("real-mulaw", 2), ("rnn-gmm", 2), ("predictor", 1)):
        write_engine_file(tmp_path / kind, make_model(ALL[kind]), RATE)
        assert (tmp_path / kind).read_bytes().startswith(b"samplewise engine %d\n" % version)
