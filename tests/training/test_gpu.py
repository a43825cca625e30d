"""Training on a GPU: repeatable, resumed in the same bits, and portable to the CPU and back."""

from dataclasses import replace

import pytest
import torch
from tests.training.test_resume import assert_same_bits, tensors_of, train

from samplewise.config.codec import with_fields
from samplewise.training.ranks import Ranks

pytestmark = pytest.mark.gpu
CELLS = ("gru", "gru-reset-after", "lstm")


@pytest.fixture(params=[(cell, kind) for cell in CELLS for kind in ("auto", "float32")])
def any_config(config, gpu, request):
    cell, precision = request.param
    model = replace(config.model, cell=cell, n_rnn=2)
    return replace(
        config,
        model=model,
        precision=precision,
        device=str(gpu),
        seq_len=16,
        clip_seconds=0.02,
        valid_every=100,  # on a GPU the clock may leave validations out
    )


def test_two_runs_are_the_same_bits_also_if_one_was_stopped(any_config, corpus, tmp_path, gpu):
    alone = Ranks(0, 1, gpu)
    for name in ("one", "other"):
        train(with_fields(any_config, steps=12), corpus, tmp_path / name, alone)
    for cut in (1, 7, 12):
        train(with_fields(any_config, steps=cut), corpus, tmp_path / "parts", alone)
    assert_same_bits(tmp_path / "one", tmp_path / "other")
    assert_same_bits(tmp_path / "one", tmp_path / "parts")


def test_steps_of_a_graph_are_those_of_their_operators(any_config, corpus, tmp_path, gpu):
    results = []
    for cuda_graph in (True, False):
        config = replace(any_config, cuda_graph=cuda_graph)
        folder = tmp_path / str(cuda_graph)
        train(with_fields(config, steps=12), corpus, folder, Ranks(0, 1, gpu))
        results.append(folder)
    assert_same_bits(*results)


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_a_run_moves_to_the_cpu_and_back(config, corpus, tmp_path, gpu, alone, optimizer):
    there = Ranks(0, 1, gpu)
    # Wide enough for Muon; at a low rate, so that rounding stays rounding.
    config = with_fields(
        config,
        model=replace(config.model, dim=16),
        optimizer=optimizer,
        muon_every=2,
        learning_rate=1e-5,
        precision="float32",
    )
    for steps, ranks in ((3, there), (6, alone), (9, there)):
        train(with_fields(config, steps=steps), corpus, tmp_path / "moved", ranks)
    train(with_fields(config, steps=9), corpus, tmp_path / "stayed", alone)
    moved, stayed = tensors_of(tmp_path / "moved"), tensors_of(tmp_path / "stayed")
    for name in ("model.", "averaged.", "lanes."):
        parts = [
            {key: value for key, value in tensors.items() if key.startswith(name)}
            for tensors in (moved, stayed)
        ]
        torch.testing.assert_close(*parts, rtol=1e-3, atol=1e-4)
