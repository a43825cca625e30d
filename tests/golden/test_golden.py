"""Files written by commit 7a728db, formats 1 and 2: they load, draw the same codes, and go on.

``7a728db/models`` holds a small model of every family, ``draws.json`` what that commit drew with
them and what a stretch of codes cost; ``run`` is a run of ten steps on ``corpus``, ``run.json``
what ten more steps gave there. Only that commit can write them: they are never made again.
``int8.json`` holds what the engine of commit 265f66c drew of the same models in 8 bits: commit
8bde0a8 changed the integers.
"""

import json
import shutil
import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from samplewise.cli.main import main
from samplewise.generate.backend import Backend
from samplewise.generate.uniforms import uniforms
from samplewise.models.io import load_model

FOLDER = Path(__file__).parent / "7a728db"
DRAWS = json.loads((FOLDER / "draws.json").read_text())
INT8 = json.loads((FOLDER.parent / "int8.json").read_text())
RUN = json.loads((FOLDER / "run.json").read_text())
BACKENDS = {
    "reference": Backend("reference"),
    "f32": Backend("native", weights="f32", threads=1),
    "int8": Backend("native", weights="int8", threads=1),
}
CASES = [
    (name, backend)
    for name, recorded in DRAWS.items()
    for backend in BACKENDS
    if backend == "reference" or backend in recorded
]


@pytest.mark.parametrize(("name", "backend"), CASES)
def test_a_model_file_draws_the_codes_that_it_drew(name, backend):
    recorded = DRAWS[name]
    model = load_model(FOLDER / "models" / f"{name}.safetensors").model
    prompt, count = np.array(recorded["prompt"]), recorded["samples"]
    vectors = np.array(recorded["conditioning"], np.float32) if "conditioning" in recorded else None
    own = recorded if backend == "reference" else recorded[backend]
    own = INT8[name] if backend == "int8" else own
    for clip in range(recorded["clips"]):

        def in_force(start, samples, clip=clip):
            if vectors is None:
                return None
            hold = model.conditioner.config.hold
            return vectors[clip : clip + 1, start // hold : (start + samples - 1) // hold + 1]

        sampler = BACKENDS[backend].sampler(model, 1)
        state = sampler.start(1, sampler.prefill(prompt, None, in_force(0, len(prompt))))
        numbers = count + sampler.lookahead
        codes, log_probs, _ = sampler.draw(
            state,
            uniforms(recorded["seed"], [3 + clip], 0, numbers),
            np.full(numbers, 0.9),
            in_force(len(prompt), count),
        )
        assert codes[0].tolist() == own.get("codes", recorded["codes"])[clip]
        assert log_probs.sum() == pytest.approx(own["log_probs"][clip], rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("name", [name for name, recorded in DRAWS.items() if "nll" in recorded])
@torch.no_grad()
def test_codes_cost_what_they_cost(name):
    recorded = DRAWS[name]
    model = load_model(FOLDER / "models" / f"{name}.safetensors").model
    codes, vectors = torch.tensor(recorded["score_codes"]), None
    if "score_conditioning" in recorded:
        vectors = torch.tensor(recorded["score_conditioning"])
    previous, target = codes[:, :-1], codes[:, 1:]
    params, _ = model(previous, model.initial_state(2), target, vectors)
    nats = model.head.nll(params, target).sum(1)
    np.testing.assert_allclose(nats.numpy(), recorded["nll"], rtol=1e-5)


def test_a_run_goes_on_and_draws_as_it_did(tmp_path, capsys):
    run, corpus = tmp_path / "run", tmp_path / "corpus"
    shutil.copytree(FOLDER / "run", run)
    shutil.copytree(FOLDER / "corpus", corpus)
    flags = (
        "--preset small --model.dim 8 --model.emb-size 4 --optimizer adam --muon-scale 1 "
        "--model.mlp-maps 3 --model.lp-order 0 --model.lp-window 1024 --model.lp-noise 0.001 "
        "--sample-stride 1 "
        "--schedule constant --warmup-steps 0 --clip-seconds 0.1 --lanes 4 --seq-len 64 --ema 0.9 "
        "--valid-every 5 --valid-seconds 0 --preview-minutes 0 --threads 1 --device cpu "
        "--minutes None --precision float32 --steps 20"
    )
    assert main(["train", str(corpus), "-o", str(run), *flags.split()]) == 0
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    bits = {str(event["step"]): event["bits"] for event in events if event["event"] == "valid"}
    assert bits == pytest.approx(RUN["valid_bits"], rel=1e-4)
    capsys.readouterr()
    assert main(["evaluate", str(run), "--corpus", str(corpus), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["bits_per_sample"] == pytest.approx(RUN["test_bits"], rel=1e-4)
    command = ["generate", str(run), "--count", "2", "--seconds", "0.1", "--seed", "3"]
    assert main([*command, "--backend", "reference", "-o", str(tmp_path / "clips")]) == 0
    for index, samples in enumerate(RUN["clips"]):
        with wave.open(str(tmp_path / "clips" / f"clip-{index:04d}.wav")) as clip:
            assert np.frombuffer(clip.readframes(401), "<i2").tolist() == samples
