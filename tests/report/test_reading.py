import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.report.conftest import line
from tests.report.parsing import Page

from samplewise.report import formatting, markup, reading


def test_a_torn_last_line_of_the_metrics_is_passed_over(tmp_path):
    whole = "".join(line("train", step, bits=3.0, lr=0.1) for step in (1, 2, 3))
    torn = line("train", 4, bits=3.0, lr=0.1)
    for cut in range(1, len(torn) - 2):
        path = tmp_path / "metrics.jsonl"
        path.write_text(whole + torn[:cut])
        curve = reading.read_curve(list(reading.metrics(path)), "train", "bits")
        np.testing.assert_array_equal(curve.step, [1, 2, 3])


def test_a_step_that_was_repeated_after_a_kill_counts_once_with_its_later_figure(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(line("train", s, bits=b) for s, b in ((1, 5.0), (2, 4.0), (2, 3.0))))
    curve = reading.read_curve(list(reading.metrics(path)), "train", "bits")
    np.testing.assert_array_equal(curve.step, [1, 2])
    np.testing.assert_array_equal(curve.value, [5.0, 3.0])
    np.testing.assert_allclose(curve.hours * 3600, [0.1, 0.2])


def test_events_are_kept_apart(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(line("train", 1, bits=5.0) + line("valid", 1, bits=4.0) + '"train"\n7\n\n')
    lines = list(reading.metrics(path))
    assert reading.read_curve(lines, "valid", "bits").value.tolist() == [4.0]
    assert reading.read_curve(lines, "train", "bits").value.tolist() == [5.0]
    assert not len(reading.read_curve(lines, "train", "lr").step)


def test_a_json_file_of_unreasonable_size_is_not_read(tmp_path):
    path, notes = tmp_path / "evaluation.json", []
    with path.open("wb") as file:
        file.truncate(64 * 2**20 + 1)
    assert reading.read_json(path, notes) is None
    assert "larger than 64 MiB" in notes[0]


@given(st.text(st.characters(exclude_categories=[])))
def test_escaped_text_is_utf8_and_holds_no_tag(text):
    found = Page(f'<p title="{markup.esc(text)}">{markup.esc(text)}</p>'.encode().decode())
    assert found.tags == ["p"]
    assert found.attributes == {"title"}
    if text.isprintable():
        assert "".join(found.words[1:]) == text  # a blank stands for the tag


def test_nested_settings_become_dotted_names():
    value = {"a": {"b": [1, 2], "c": None, "d": {}}, "e": [{"f": True}], "g": 1e-8, "h": []}
    assert markup.flatten(value) == [
        ("a.b", "1, 2"),
        ("a.c", "none"),
        ("a.d", "none"),
        ("e[0].f", "yes"),
        ("g", "1e-08"),
        ("h", "none"),
    ]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (formatting.minutes(0.5), "30 seconds"),
        (formatting.minutes(2.04), "2.0 minutes"),
        (formatting.minutes(150.0), "2.5 hours"),
        (formatting.seconds(9.96), "10.0 s"),
        (formatting.seconds(125.9), "2:05 min"),
        (formatting.big(9999.0), "9 999"),
        (formatting.big(312_448.0), "312 thousand"),
        (formatting.big(999_700.0), "1 million"),
        (formatting.plural(1, "step"), "1 step"),
        (formatting.plural(2000, "step"), "2 000 steps"),
        (formatting.signed(-1.5), "−1.500"),
        (formatting.bits(None), "–"),
        (formatting.kilohertz(44_100.0), "44.1 kHz"),
    ],
)
def test_figures_are_written_as_people_say_them(written, expected):
    assert written.replace("\N{NARROW NO-BREAK SPACE}", " ") == expected


def test_text_and_numbers_are_told_apart():
    value = json.loads('{"a": {"n": 3, "x": 0.5, "t": "word", "b": true, "l": [1, {"k": 2}]}}')
    assert reading.number(value, "a", "n") == 3.0
    assert reading.number(value, "a", "b") is None
    assert reading.number(value, "a", "n", "deeper") is None
    assert [reading.text(value, "a", key) for key in "nxtb"] == ["3", "0.5", "word", None]
    assert reading.objects(value, "a", "l") == [{"k": 2}]
    assert reading.numbers(value, "a") == {"n": 3.0, "x": 0.5}
