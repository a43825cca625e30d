"""The check of the persistent WaveRNN on a GPU, tried out by Triton's interpreter."""

import json

import experiments.persistent_check as check
import pytest


def test_the_kernel_is_right_and_timed(tmp_path, capsys):
    pytest.importorskip("triton")
    output = tmp_path / "persistent.json"
    assert check.main(["-o", str(output), "--device", "cpu", "--tiny"]) == 0
    (row,) = json.loads(output.read_text())
    assert row["equal"] == 1.0
    assert row["repeats"]
    assert row["log_prob_error"] < 1e-5
    assert row["state_error"] < 1e-6
    assert f"{row['us_a_step']:.2f} us a step" in capsys.readouterr().out
