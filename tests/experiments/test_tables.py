import json

import pytest

from samplewise.cli.main import main
from samplewise.config.presets import PRESETS
from samplewise.errors import SamplewiseError
from samplewise.evaluate.speakers import Share
from samplewise.experiments.experiment import Experiment, Row
from samplewise.experiments.tables import read_results, to_markdown, write_rendered

CONFIG = PRESETS["tiny"]
TABLE = Experiment(
    "test.table",
    "A title",
    "a paper, Table 9",
    "bits per sample",
    (Row("A", CONFIG, {"Music": 1.5}), Row("B", CONFIG, {"Music": 1.25}), Row("C", CONFIG, {})),
)


def row(bits):
    score = {"bits_per_sample": bits, "label": "LABEL", "baselines": {"uniform": 8.0}}
    facts = {"parameters": 2_500_000, "samples_seen": 7_000_000, "commit": None, "minutes": 3.0}
    return facts | {"scores": {"test": score}, "machine": {"cpu": "CPU", "threads": 2}}


def results(name, **bits):
    return {
        "experiment": "test.table",
        "corpus": {"name": name, "minutes": {"train": 25.1}},
        "size": "small",
        "budget": "3 min",
        "seed": 0,
        "rows": {key: row(value) for key, value in bits.items()},
    }


def write(folder, *found):
    (folder / "test.table").mkdir()
    for one in found:
        path = folder / "test.table" / f"{one['corpus']['name']}.json"
        path.write_text(json.dumps(one))


def test_the_distance_of_a_rows_clips_stands_beside_its_training(tmp_path):
    found = results("piano", A=2.0, B=3.0)
    distance = {"value": 0.5, "low": 0.25, "high": 0.75}
    sound = {"log_mel_distance": distance, "count": 8, "seconds": 5.0}
    found["rows"]["A"]["sound"] = sound | {"references": {"white noise": 2.5}}
    write(tmp_path, found, results("voice", A=4.0))
    lines = write_rendered(tmp_path, TABLE)[0].read_text().splitlines()
    [head] = [line for line in lines if "parameters, M" in line]
    assert head.endswith("| log-mel distance: piano | log-mel distance: voice |")
    assert "| A | 2.50 | 7 in 3.0 min | 7 in 3.0 min | 0.50 [0.25, 0.75] | — |" in lines
    assert "| B | 2.50 | 7 in 3.0 min | — | — | — |" in lines
    assert "- piano, log-mel distance of 8 clips of 5 s; beside it white noise 2.50" in lines


def test_the_table_comes_from_the_files_alone(tmp_path):
    write(tmp_path, results("piano", A=2.0, B=3.0), results("voice", A=4.5, B=4.25, C=4.0))
    table, picture = write_rendered(tmp_path, TABLE)
    lines = table.read_text().splitlines()
    assert "| Model | Music (paper) | piano (ours) | voice (ours) |" in lines
    assert "| A | 1.500 | **2.000** | 4.500 |" in lines
    assert "| B | **1.250** | 3.000 | 4.250 |" in lines
    assert "| C | — | — | **4.000** |" in lines
    assert "| C | 2.50 | — | 7 in 3.0 min |" in lines
    assert any(
        "LABEL" in line and "25.1 min" in line and "3 min for each" in line for line in lines
    )
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_memory_figure_is_told_with_what_it_takes_to_read_it():
    share = Share(28, 33).to_json()
    memory = {
        "same": share,
        "by_chance": 0.86,
        "unvoiced_before": {"count": 3},
        "unvoiced_after": {"count": 92},
        "plan": {"count": 128},
    }
    one = results("two")
    one["rows"]["A"] = {**row(1.0), "memory": memory}
    del one["rows"]["A"]["scores"]
    text = to_markdown(Experiment("test.table", "", "", "", TABLE.rows, kind="memory"), [one])
    assert "0.848" in text
    assert "same speaker in 28 of 33 judged clips [69%, 93%], by chance 86%" in text
    assert "no voice before in 3, after in 92 of 128" in text


def test_files_that_hold_no_results_are_refused(tmp_path):
    with pytest.raises(SamplewiseError, match="holds no results"):
        read_results(tmp_path, TABLE)
    (tmp_path / "test.table").mkdir()
    for words in ("{", "[]", '{"rows": []}', '{"rows": {}, "experiment": "other"}'):
        (tmp_path / "test.table" / "x.json").write_text(words)
        with pytest.raises(SamplewiseError, match="not a file of results"):
            read_results(tmp_path, TABLE)


def test_experiments_are_listed_and_unknown_ones_refused(capsys):
    assert main(["experiment"]) == 0
    assert "samplernn.table1" in capsys.readouterr().out
    assert main(["experiment", "samplernn.table9"]) == 1
    assert "known: samplernn.table1" in capsys.readouterr().err
