import subprocess
import sys

from tests.report.conftest import line

from samplewise.cli.main import main

HELP = """
import sys
from samplewise.cli.main import main
try:
    main(["report", "--help"])
except SystemExit as stop:
    assert stop.code == 0
print(sorted({"torch", "matplotlib", "numpy"} & set(sys.modules)))
"""


def test_report_writes_the_page_and_prints_where_it_is(tmp_path, capsys):
    (tmp_path / "metrics.jsonl").write_text(line("train", 10, bits=3.0, lr=0.1))
    assert main(["report", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'report.html'}\n"
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


def test_a_folder_without_a_run_is_one_line_and_code_1(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "is no run folder" in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_help_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
    assert "run folder" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
