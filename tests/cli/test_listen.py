"""`samplewise listen` as its users type it."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest

from samplewise.audio.write import write_wav
from samplewise.cli.main import main
from samplewise.web.listening.study import open_study
from samplewise.web.listening.votes import Vote, VoteStore, database_url


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Two folders of noise, with one long and several short recordings."""
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    for name, lengths, level in (("long", [30000], 0.1), ("short", [6000] * 4, 0.4)):
        (folder / name).mkdir()
        for number, length in enumerate(lengths):
            wave = level * rng.uniform(-1, 1, length).astype(np.float32)
            write_wav(folder / name / f"{number}.wav", wave, 8000)
    return folder


@pytest.fixture(scope="module")
def made(recordings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "test"
    sources = [f"{recordings}/long", f"other={recordings}/short"]
    options = {"seconds": 0.5, "trials": 2, "repeats": 0, "checks": 0, "anchor": "long"}
    flags = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    assert main(["listen", "create", *sources, "-o", str(folder), "--title", "Noise", *flags]) == 0
    return folder


def test_a_test_is_made_served_and_reported(made, capsys):
    study = open_study(made)
    assert [(s.name, s.clips, s.is_recordings) for s in study.systems] == [
        ("long", 7, True),
        ("other", 4, False),
    ]
    assert main(["listen", "report", str(made)]) == 1
    assert "holds no votes" in capsys.readouterr().err
    store = VoteStore(study.id, database_url(made))
    listener, _ = store.add_listener("p1")
    for number, trial in enumerate(study.trials(0)):
        shown = {"kind": trial.kind, "clips": list(trial.clips), "repeats": None}
        details = {"elapsed_ms": 9000}
        store.add_votes([Vote(listener.number, number, "none", shown, details, 0.0)])
    store.close()
    table = made.parent / "votes.csv"
    assert main(["listen", "report", str(made), "--csv", str(table)]) == 0
    assert "2 votes, 1 listeners, 0 excluded" in capsys.readouterr().out
    assert len(table.read_text().splitlines()) == 4
    assert json.loads((made / "report.json").read_text())["pairs"][0]["votes"]["neither"] == 2
    assert "Noise" in (made / "report.html").read_text()
    assert main(["listen", "report", str(made), "--csv", str(table)]) == 1
    assert main(["listen", "create", "piano", "voice", "-o", str(made)]) == 1
    assert "holds votes; choose another folder" in capsys.readouterr().err


def test_the_printed_link_opens_the_page_and_an_interrupt_ends_the_server(made):
    command = [sys.executable, "-m", "samplewise.cli.main", "listen", "serve", str(made)]
    process = subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True)
    url = process.stdout.readline().split()[-1]
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    assert url.startswith("http://127.0.0.1:")
    assert b"<title>Listening test</title>" in opener.open(url, timeout=30).read()
    with pytest.raises(urllib.error.HTTPError, match="401") as refused:
        urllib.request.urlopen(url.partition("?")[0], timeout=30)  # noqa: S310
    refused.value.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
    process.stdout.close()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("create long -o new", "a test of this kind compares 2 to 12 systems"),
        ("create long long -o new", "two systems have one name"),
        ("create long empty -o new", "empty holds no sound files, no corpus and no run"),
        ("create long short -o new --trials 0", "trials = 0 must lie in [1, 200]"),
        ("create long short -o new --repeats 21", "repeats = 21 must lie in [0, 20]"),
        ("create long short -o new --seconds 0.1", "seconds = 0.1 must lie in [0.4, 60]"),
        ("create long short -o new --loudness 0", "loudness = 0 LUFS must lie in [-33, -10]"),
        ("create long short -o new --anchor x", "anchor = 'x' must be one of long, short"),
        ("create long short -o short", "holds '0.wav' and no study.json: it is not a listening"),
        ("serve empty", "empty holds no listening test (study.json is missing)"),
        ("serve MADE --host 0.0.0.0", "other machines can reach it; choose a token with --token"),
        ("serve MADE --token x", "token must have 16 to 200 letters"),
        ("serve MADE --port 99999", "cannot listen on 127.0.0.1, port 99999"),
        ("serve MADE --database nonsense", "no such database can be used"),
        ("report empty", "empty holds no listening test"),
    ],
)
def test_what_is_wrong_is_named(words, message, made, recordings, tmp_path, monkeypatch, capsys):
    for name in ("long", "short"):
        (tmp_path / name).symlink_to(recordings / name)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["listen", *words.replace("MADE", str(made)).split()]) == 1
    assert message in capsys.readouterr().err


def test_an_unknown_action_is_bad_usage(capsys):
    assert main(["listen", "vote"]) == 2
    assert "the actions are create, serve, report" in capsys.readouterr().err
    assert main(["listen"]) == 2


def test_without_the_extra_one_line_says_what_to_install(made, monkeypatch, capsys):
    monkeypatch.setattr("samplewise.cli.listen.NEEDED", ("no_such_module",))
    assert main(["listen", "report", str(made)]) == 1
    assert capsys.readouterr().err == (
        "error: samplewise listen needs: pip install 'samplewise[web]'\n"
    )
