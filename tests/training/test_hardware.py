"""Training and draws with the fewest instructions; tests/soak/hardware.py is the long form."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.soak.hardware import NUMERIC

from samplewise.cli import generate
from samplewise.config.codec import to_json, with_fields
from samplewise.training.interrupts import Interrupts
from samplewise.training.loop import fit
from samplewise.training.run import start

LEAST = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "SAMPLEWISE_ISA": "baseline",
    "OMP_NUM_THREADS": "1",
}
CHILD = """
import json, sys, torch
from pathlib import Path
from samplewise.cli import generate
from samplewise.config.codec import from_json
from samplewise.data.corpus import Corpus
from samplewise.config.training import TrainConfig
from samplewise.training.interrupts import Interrupts
from samplewise.training.loop import fit
from samplewise.training.ranks import Ranks
from samplewise.training.run import start
config, corpus, folder, *options = sys.argv[1:]
config = from_json(TrainConfig, json.loads(config), "argv")
run = start(config, Corpus.open(corpus), Path(folder), Ranks(0, 1, torch.device("cpu")))
fit(run, None, Interrupts())
print(run.progress.best_bits)
generate.main([folder, "-o", f"{folder}/native", *options, "--backend", "native"])
"""
CLIP = "--count 1 --seconds 0.02 --seed 0 --weights f32 --device cpu --threads 1"


def test_the_least_of_processors_learns_and_draws_the_same(config, corpus, tmp_path, alone):
    # Wide enough for oneDNN; Muon, because its products were once made for AVX-512.
    config = with_fields(config, model=replace(config.model, dim=192), optimizer="muon", steps=3)
    options = CLIP.split()
    plain = start(config, corpus, tmp_path / "plain", alone)
    fit(plain, None, Interrupts())
    run = tmp_path / "least"
    command = [sys.executable, "-c", CHILD, json.dumps(to_json(config)), str(corpus.folder)]
    done = subprocess.run(
        [*command, str(run), *options], env=os.environ | LEAST, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[0]) == pytest.approx(plain.progress.best_bits, rel=1e-5)
    generate.main([str(run), "-o", str(run / "reference"), *options, "--backend", "reference"])
    native, reference = (run / name / "clip-0000.wav" for name in ("native", "reference"))
    assert native.read_bytes() == reference.read_bytes()


def test_the_numeric_tests_of_the_long_form_exist():
    paths = [path.removeprefix("--ignore=") for path in NUMERIC]
    assert [path for path in paths if not Path(__file__).parents[2].joinpath(path).exists()] == []
