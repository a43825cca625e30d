"""The rows of Kalchbrenner et al. 2018: what they are, and that each kind trains and is scored."""

import pytest

from samplewise.experiments.experiment import Budget, shrink
from samplewise.experiments.run import run_experiment
from samplewise.experiments.wavernn import EXPERIMENTS
from dataclasses import replace

TABLE3, FIGURE2 = EXPERIMENTS["wavernn.table3"], EXPERIMENTS["wavernn.figure2"]


@pytest.mark.parametrize("index", range(10))
def test_x(setting, index):
    s = replace(setting, size="small", budget=Budget(steps=2))
    r = run_experiment(replace(TABLE3, rows=TABLE3.rows[index : index + 1]), s, print)
    for n, x in r["rows"].items():
        print(
            n,
            x["parameters"],
            x["kept_weights"],
            x["sparsity"],
            x["scores"]["test"]["bits_per_sample"],
        )
