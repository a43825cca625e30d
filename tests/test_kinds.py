"""What a path is, who may write over it, and what is said of one thing named for another."""

import pytest

from samplewise.kinds import CORPUS, MODEL, RECORDINGS, RUN, check_target, kind_of, mistaken


@pytest.fixture
def places(tmp_path):
    """One of each: empty files with the names that matter."""
    for name in (
        "corpus/corpus.json",
        "run/metrics.jsonl",
        "run/config.json",
        "run/state/step-00000004/state.json",
        "run/generated/generation.json",
        "search/study.jsonl",
        "search/trials/trial-0000/metrics.jsonl",
        "sounds/album/a.WAV",
        "demo/run/config.json",
        "demo/corpus/corpus.json",
        "model.safetensors",
        "notes/thesis.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("mine")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "wanted", "message"),
    [
        ("corpus", MODEL, "corpus is a corpus, not a run folder or a model file: train a model on"),
        ("run/generated", MODEL, "name the run that they were generated with, such as {}/run"),
        ("search", MODEL, "name one of its trials, such as {}/search/trials/trial-0000"),
        ("demo", MODEL, "name {}/demo/run"),
        (
            "sounds",
            MODEL,
            "make a corpus with `samplewise prepare {}/sounds -o CORPUS`, then",
        ),
        ("model.safetensors", RUN, "name the run folder that it was exported from"),
        ("corpus", RUN, "corpus is a corpus, not a run folder: train a model on it with"),
        (
            "run",
            CORPUS,
            "run is a run folder, not a corpus: name the corpus that it was",
        ),
        ("model.safetensors", CORPUS, "is a model file, not a corpus: name the corpus"),
        ("sounds", CORPUS, "make a corpus with `samplewise prepare {}/sounds -o CORPUS`"),
        ("sounds/album/a.WAV", CORPUS, "a.WAV is a sound file, not a corpus: make a corpus with"),
        ("demo", CORPUS, "name {}/demo/corpus"),
        ("corpus", RECORDINGS, "name the folder of the recordings that it was made of"),
        ("run", RECORDINGS, "its clips are the model's own"),
    ],
)
def test_one_thing_in_place_of_another_is_named(places, path, wanted, message):
    said = mistaken(places / path, wanted)
    assert said is not None
    assert message.format(places) in said


def test_what_is_right_or_unknown_is_not_mistaken(places):
    assert kind_of(places / "notes") is None
    for path, wanted in [
        ("run", MODEL),
        ("model.safetensors", MODEL),
        ("corpus", CORPUS),
        ("sounds", RECORDINGS),
        ("sounds/album/a.WAV", RECORDINGS),
        ("notes", RUN),
        ("absent", CORPUS),
    ]:
        assert mistaken(places / path, wanted) is None


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        ("run/config.json", "is part of {}/run, a run folder, and is never overwritten"),
        ("run/state/step-00000004/state.json", "is part of {}/run, a run folder"),
        ("link", "is part of {}/run, a run folder, and is never overwritten"),
        ("corpus/corpus.json", "is part of {}/corpus, a corpus, and is never overwritten"),
        ("search/study.jsonl", "is part of {}/search, the folder of a search"),
        ("model.safetensors", "is an input; name another"),
        ("sounds", "is a folder; name a file"),
    ],
)
def test_what_others_need_is_not_overwritten_even_with_force(places, target, fault):
    (places / "link").symlink_to(places / "run" / "config.json")
    with pytest.raises(ValueError, match=fault.format(places)):
        check_target(places / target, True, [places / "model.safetensors"])


def test_a_file_that_is_not_ours_takes_force(places):
    with pytest.raises(ValueError, match=r"thesis.txt exists, and is not known to be made by th"):
        check_target(places / "notes" / "thesis.txt", False)
    check_target(places / "notes" / "thesis.txt", True)
    check_target(places / "notes" / "thesis.txt", False, is_ours=lambda path: True)
    check_target(places / "notes" / "new.txt", False)
