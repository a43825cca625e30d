from samplewise.data.prepare.decode import Decoded
from samplewise.data.prepare.decode_journal import DecodeJournal

DECODED = Decoded(5, "ab", 1.0, 0.5, 0.1, 0, 1, 16000, 1, ("a note",), 0.0, 0.5, 5)


def test_a_line_is_in_the_file_as_soon_as_it_is_added(tmp_path):
    path = tmp_path / "journal.jsonl"
    with DecodeJournal(path) as journal:
        journal.add("first", DECODED)
        journal.add("second", "a reason")
        with DecodeJournal(path) as other:  # what a successor reads if this process is killed here
            assert other.outcomes == {"first": DECODED, "second": "a reason"}


def test_lines_of_rubbish_are_passed_over(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'["k", {"samples": 5}]\n[1\n\xff\n{}\n["k2", "reason"]\n["torn')
    with DecodeJournal(path) as journal:
        assert journal.outcomes == {"k2": "reason"}
