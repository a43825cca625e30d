"""The check of recurrent layers on a GPU, tried out by Triton's interpreter."""

import json
from time import monotonic

import experiments.recurrence_check as check
import pytest


def test_every_way_is_right_and_timed(tmp_path, capsys):
    pytest.importorskip("triton")
    output = tmp_path / "recurrence.json"
    assert check.main(["-o", str(output), "--device", "cpu", "--tiny"]) == 0
    rows = json.loads(output.read_text())["rows"]
    assert [row["way"] for row in rows] == ["eager", "phases", "persistent"]
    assert rows[2]["equals_phases"]
    table = capsys.readouterr().out
    assert all(f"{row['forward_us']:.1f}" in table for row in rows)


def test_a_row_that_hangs_or_ends_its_process_does_not_end_the_others(tmp_path, monkeypatch):
    args = check.RecurrenceArgs(tmp_path / "x.json", "cpu")
    ways = ("good", "breaks", "dies", "hangs", "good", "hangs")
    rows = [check.Row("gru", 3, 12, way) for way in ways]
    program = """
import json, os, sys, time
for row in json.loads(sys.argv[1]):
    if row["way"] == "dies":
        os._exit(9)
    time.sleep(60 * (row["way"] == "hangs"))
    print(json.dumps({"way": row["way"]}), flush=True)
    if row["way"] == "breaks":
        os._exit(3)
"""
    monkeypatch.setattr(check, "START_SECONDS", 1.0)
    monkeypatch.setattr(
        check,
        "command",
        lambda args, kind, rows: [
            *(check.sys.executable, "-c", program),
            json.dumps([check.asdict(row) for row in rows]),
        ],
    )
    found = [(row.way, result) for row, result in check.results_of(args, rows, monotonic() + 30)]
    assert found == [
        ("good", {"way": "good"}),
        ("breaks", {"way": "breaks"}),
        ("dies", {"failed": "the process ended: 9"}),
        ("hangs", {"failed": "no result within 1 s"}),
        ("hangs", {"failed": "skipped: another hung"}),
        ("good", {"way": "good"}),
    ]
