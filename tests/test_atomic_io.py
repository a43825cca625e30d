"""Output folders: what killed processes left, what is not ours, and two processes at once."""

import os

import pytest

from samplewise.atomic_io import atomic_writer, claim, contents, lock, sweep_temporaries
from samplewise.errors import SamplewiseError


def claimed(folder):
    return claim(folder, "generate", "index.json", "a folder of clips")


def test_only_what_dead_writers_left_is_swept(tmp_path):
    (tmp_path / "below").mkdir()
    for name in (".tmp-abcd_123", "below/.tmp-zzzzzzzz", ".tmp-notes.txt", ".tmp-mine"):
        (tmp_path / name).touch()
    with atomic_writer(tmp_path / "whole") as file:
        file.write(b"data")
        assert sweep_temporaries(tmp_path) == 2
    assert contents(tmp_path) == [".tmp-mine", ".tmp-notes.txt", "below", "whole"]
    assert (tmp_path / "whole").read_bytes() == b"data"


def test_a_folder_of_leftovers_alone_is_empty_and_one_of_other_things_is_untouched(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / ".tmp-abcd_123").touch()
    with claimed(tmp_path / "new"):
        assert [path.name for path in (tmp_path / "new").iterdir()] == [".lock"]
    (tmp_path / "mine").mkdir()
    for name in ("thesis.txt", ".tmp-abcd_123"):
        (tmp_path / "mine" / name).touch()
    with (
        pytest.raises(SamplewiseError, match=r"holds 'thesis.txt' and no index.json: it is not a "),
        claimed(tmp_path / "mine"),
    ):
        pass
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {"thesis.txt", ".tmp-abcd_123"}


def test_who_holds_a_folder_is_named_until_it_is_free(tmp_path):
    with (
        lock(tmp_path, "vocode"),
        pytest.raises(
            SamplewiseError, match=rf"another vocode \(process {os.getpid()} on .*, since 2.*\) is"
        ),
        lock(tmp_path, "generate"),
    ):
        pass
    with lock(tmp_path, "generate"):
        pass
