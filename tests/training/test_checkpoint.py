import errno
import json
import os
import random
import shutil
from pathlib import Path

import pytest
import torch

from samplewise.errors import CheckpointError
from samplewise.training import checkpoint
from samplewise.training.checkpoint import load_latest, save_checkpoint


def tensors(step):
    return {"model.w": torch.full((5, 3), float(step)), "adam.w.step": torch.tensor(float(step))}


def save(folder, step):
    return save_checkpoint(folder, step, tensors(step), {"progress": {"step": step}})


def latest_step(folder):
    latest = load_latest(folder)
    assert latest is not None
    found, facts = latest
    step = facts["progress"]["step"]
    torch.testing.assert_close(found, tensors(step))
    return step


def test_a_checkpoint_comes_back_and_only_the_last_two_are_kept(tmp_path):
    assert load_latest(tmp_path) is None
    for step in (1, 2, 3, 10):
        save(tmp_path, step)
        assert latest_step(tmp_path) == step
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000003", "step-00000010"]


def test_leftovers_of_a_killed_save_are_swept(tmp_path):
    save(tmp_path, 1)
    shutil.copytree(tmp_path / "step-00000001", tmp_path / ".tmp-step-00000002")
    (tmp_path / ".tmp-abcd_234").write_bytes(b"half")
    assert latest_step(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def damage(path, kind, generator):
    data = bytearray(path.read_bytes())
    place = generator.randrange(len(data))
    if kind == "flip":
        data[place] ^= 1 << generator.randrange(8)
    elif kind == "truncate":
        del data[place:]
    elif kind == "remove":
        path.unlink()
        return
    else:
        data[place:place] = bytes([generator.randrange(256)])
    path.write_bytes(data)


@pytest.mark.parametrize("kind", ["flip", "truncate", "insert", "remove"])
def test_any_damage_falls_back_to_the_checkpoint_before_and_says_so(tmp_path, kind, caplog):
    generator = random.Random(kind)  # noqa: S311
    for trial in range(15):
        folder = tmp_path / str(trial)
        save(folder, 1)
        newest = save(folder, 2)
        name = generator.choice(["tensors.safetensors", "state.json", "manifest.json"])
        damage(newest / name, kind, generator)
        step = latest_step(folder)
        # A changed byte in the manifest may leave its meaning as it was.
        assert step == 1 or name == "manifest.json"
        assert step == 2 or "is damaged" in caplog.text
        caplog.clear()


def test_if_every_checkpoint_is_damaged_the_run_is_not_silently_begun_anew(tmp_path):
    for path in (save(tmp_path, 1), save(tmp_path, 2)):
        (path / "state.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"no checkpoint can be read.*--fresh"):
        load_latest(tmp_path)


def fail_at(monkeypatch, number, code):
    """Let the ``number``-th system call that writes fail; return how many there were."""
    calls, make = {"count": 0}, os.mkdir

    def failing(real):
        def call(*arguments, **options):
            if real is make and Path(arguments[0]).exists():
                return real(*arguments, **options)  # nothing would be written
            calls["count"] += 1
            if calls["count"] == number:
                raise OSError(code, os.strerror(code))
            return real(*arguments, **options)

        return call

    monkeypatch.setattr(os, "fsync", failing(os.fsync))
    monkeypatch.setattr(os, "replace", failing(os.replace))
    monkeypatch.setattr(os, "rename", failing(os.rename))
    monkeypatch.setattr(os, "mkdir", failing(os.mkdir))
    monkeypatch.setattr(os, "fdopen", _failing_writes(os.fdopen, failing))
    return calls


def _failing_writes(real, failing):
    def fdopen(*arguments, **options):
        file = real(*arguments, **options)
        return _File(file, failing(file.write))

    return fdopen


class _File:
    """A file whose ``write`` may fail."""

    def __init__(self, file, write):
        self._file, self.write = file, write

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *facts):
        self._file.close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EACCES])
def test_a_failing_write_anywhere_leaves_the_old_checkpoint_and_is_reported(
    tmp_path, monkeypatch, code
):
    save(tmp_path / "count", 1)
    with monkeypatch.context() as patch:
        total = fail_at(patch, 0, code)
        save(tmp_path / "count", 2)
        count = total["count"]
    assert count >= 10  # every file: write, fsync, replace, fsync of the folder; then the folder
    for number in range(1, count + 1):
        folder = tmp_path / str(number)
        save(folder, 1)
        with monkeypatch.context() as patch:
            fail_at(patch, number, code)
            with pytest.raises(OSError, match=os.strerror(code)) as caught:
                save(folder, 2)
        assert caught.value.errno == code
        assert str(folder) in str(caught.value)
        assert "MB free" in str(caught.value)
        assert str(caught.value).count("cannot write") == 1
        # Only when the last fsync fails is the new checkpoint already there, and whole.
        assert latest_step(folder) in ((1, 2) if number == count else (1,))
        assert save(folder, 3).exists()
        assert latest_step(folder) == 3


def test_a_manifest_is_what_is_verified(tmp_path):
    path = save(tmp_path, 1)
    manifest = json.loads((path / checkpoint.MANIFEST).read_text())
    assert set(manifest["sha256"]) == {checkpoint.TENSORS, checkpoint.VALUES}
