import pytest

from samplewise.cli import progress
from samplewise.cli.progress import clock, progress_bar


@pytest.fixture
def now(monkeypatch):
    """A clock that the test turns."""
    time = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: time[0])
    return time


def test_away_from_a_terminal_there_is_a_line_every_ten_seconds(now, capsys):
    with progress_bar("decoding (MB)", 1000) as update:
        for second in range(22):
            now[0] = 100.0 + second
            update(10 * second)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "decoding (MB): 100/1000  10/s  1:30 min left",
        "decoding (MB): 200/1000  10/s  1:20 min left",
    ]


def test_the_rate_leaves_out_what_was_done_before(now, capsys):
    with progress_bar("steps", 1000) as update:
        update(900)
        now[0] += 10
        update(950)
    assert capsys.readouterr().err == "steps: 950/1000  5/s  10 s left\n"


def test_a_total_may_be_unknown_and_become_known(now, capsys):
    with progress_bar("samples", None) as update:
        now[0] += 10
        update(10)
        now[0] += 10
        update(20, 60)
    assert capsys.readouterr().err.splitlines() == [
        "samples: 10  0/s",
        "samples: 20/60  0.5/s  1:20 min left",
    ]


def test_on_a_terminal_a_bar_shows_the_description_as_it_is(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar("decoding [red]", 10) as update:
        update(4)
        update(10)
    assert "decoding [red]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (302.0, "5:02 min"), (7800.0, "2:10 h")]
)
def test_durations_fit_a_line(seconds, text):
    assert clock(seconds) == text
