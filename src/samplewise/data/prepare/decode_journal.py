"""The journal of an unfinished ``prepare``: the files that it has decoded so far."""

from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from samplewise.atomic_io import named_failures
from samplewise.data.prepare.decode import Decoded
from samplewise.strict_json import parse, to_text


class DecodeJournal:
    """Outcomes of decoding, one JSON line each; an incomplete last line is ignored."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.outcomes: dict[str, Decoded | str] = {}
        self._file: BinaryIO | None = None

    def __enter__(self) -> "DecodeJournal":
        if self._path.exists():
            for line in self._path.read_bytes().split(b"\n"):
                self._read(line)
        self._file = self._path.open("ab", buffering=0)
        with named_failures(self._path):
            self._file.write(b"\n")  # ends an incomplete line
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, key: str, outcome: Decoded | str) -> None:
        """Append an outcome, so that it survives a kill of this process."""
        assert self._file is not None
        record = outcome if isinstance(outcome, str) else asdict(outcome)
        with named_failures(self._path):
            self._file.write(to_text([key, record], ascii_only=True).encode() + b"\n")

    def _read(self, line: bytes) -> None:
        try:
            key, record = parse(line)
            if isinstance(record, dict):
                record = Decoded(**{**record, "notes": tuple(record["notes"])})
        except (ValueError, TypeError, KeyError):
            return
        self.outcomes[str(key)] = record
