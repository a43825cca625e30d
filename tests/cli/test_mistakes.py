"""Whatever a user gets wrong: no traceback, and a message that names what was wrong and the fix."""

import shlex

import pytest

from samplewise.cli.main import main

FAILURES = {  # exit code 1: command -> what the message must say
    "prepare nowhere -o new": "nowhere is not a folder or a file; name the folder that holds",
    "prepare empty -o new": "there is no sound file in the folder; WAV, FLAC, OGG, MP3 and AIFF",
    "prepare text.txt -o new": "the only sound file cannot be used (text.txt: Format not recog",
    "prepare not-sound -o new": "the only sound file cannot be used (a.wav: Format not recog",
    "prepare RECORDINGS -o text.txt": "text.txt: a file is where a folder should be; name another",
    "prepare RECORDINGS -o RECORDINGS": "must not be the folder of the recordings itself",
    "prepare RECORDINGS -o new --sample-rate 16": "sample_rate = 16 must lie in 1000 to 192000 Hz",
    "prepare RECORDINGS -o new --valid 0.7 --test 0.5": "valid, test = 0.7, 0.5 must not be",
    "prepare RECORDINGS -o new --jobs 0": "jobs = 0 must be at least 1",
    "train nowhere -o new": "make one with `samplewise prepare FOLDER -o nowhere`",
    "train empty -o new": "empty holds no corpus (corpus.json is missing)",
    "train CORPUS -o text.txt": "text.txt: a file is where a folder should be",
    "train CORPUS -o new --preset small --seq-len 100": "must be a multiple of the top frame (32); "
    "try 96",
    "train CORPUS -o new --lanes 0": "lanes = 0 must be at least 1",
    "train CORPUS -o new --lanes 30 --accumulate 4": "lanes = 30 must be a multiple of accumulate",
    "train CORPUS -o new --lanes 8 --ranks 3": "must be a multiple of accumulate x ranks = 1 x 3",
    "train CORPUS -o new --learning-rate -1": "learning_rate = -1.0 must be positive",
    "train CORPUS -o new --ema 1": "ema = 1.0 must lie in [0, 1)",
    "train CORPUS -o new --cooldown 0": "cooldown = 0.0 must lie in (0, 1]",
    "train CORPUS -o new --clip-seconds -1": "clip_seconds = -1.0 must not be negative",
    "train CORPUS -o new --steps 0": "steps = 0 must be positive; None means no limit",
    "train CORPUS -o new --minutes -1": "minutes = -1.0 must be positive",
    "train CORPUS -o new --threads 0": "threads = 0 must be at least 1",
    "train CORPUS -o new --device gpu0": "device = 'gpu0' must be auto, cpu, cuda or cuda:N",
    "train CORPUS -o new --device cuda:99": "device = 'cuda:99', but torch sees",
    "train CORPUS -o RUN --preset small --lanes 2": "holds a run with other settings (",
    "generate nowhere": "nowhere does not exist: name a run folder, an exported model",
    "generate empty": "empty/weights.safetensors does not exist: name a run folder, an exported",
    "generate CORPUS": "corpus is a corpus, not a run folder or a model file: train a model on it",
    "report CORPUS": "corpus is a corpus, not a run folder: train a model on it",
    "train RUN -o new": "run is a run folder, not a corpus: name the corpus that it was trained on",
    "train RECORDINGS -o new": "is a folder of recordings, not a corpus: make a corpus",
    "experiment samplernn.table1 -o RUN": "run is a run folder; choose another folder with -o",
    "search CORPUS -o RUN": "run is a run folder; choose another folder with -o",
    "generate text.txt": "its header is longer than the file",
    "generate zeros.safetensors": "its header cannot be read: it is not JSON",
    "generate RUN --count 0": "count = 0 must be at least 1",
    "generate RUN --batch 0": "batch = 0 must be at least 1",
    "generate RUN --seconds 0": "seconds = 0 must be at least one sample (1/4000 s)",
    "generate RUN --temperature 0": "temperature: 0 in '0' must be above 0 and at most 10",
    "generate RUN --temperature hot": "temperature: 'hot' in 'hot' is not a number",
    "generate RUN --temperature 5:1,0:1": "temperature: 0 s comes after 5 s; put times in order",
    "generate RUN --prompt nowhere.wav": "cannot read nowhere.wav: No such file or directory",
    "generate RUN --prompt text.txt": "cannot read text.txt: Format not recognised",
    "generate RUN --seed -1": "seed = -1 must lie in [0, 2**64)",
    "generate RUN --index -1": "index = -1 must lie in [0, 2**64)",
    "generate RUN --threads 0": "threads = 0 must be at least 1",
    "generate RUN --backend reference --device tpu": "device = 'tpu' must be auto, cpu, cuda",
    "generate RUN --device tpu": "device = 'tpu' must be auto, cpu, cuda or cuda:N",
    "generate RUN -o not-sound": "not-sound holds 'a.wav' and no generation.json: it is not a",
    "generate RUN --stream - --chunk inf": "chunk = inf must lie in (0, 60] seconds",
    "generate RUN --stream - --count 4": "a stream is one clip: leave out --count",
    "evaluate nowhere": "nowhere does not exist: name a run folder, an exported model",
    "evaluate RUN --corpus nowhere": "nowhere holds no corpus",
    "evaluate RUN --clip-seconds -1": "clip_seconds = -1.0 must be 0 or positive",
    "evaluate RUN --device tpu": "device = 'tpu' must be auto",
    "report nowhere": "nowhere is no run folder (it has neither config.json nor metrics.jsonl)",
    "export nowhere new.safetensors": "nowhere does not exist",
    "export RUN empty": "empty is a folder; name a file",
    "export RUN missing/new.safetensors": "cannot write missing/new.safetensors: No such file",
    "bench --preset musik": "preset = 'musik' must be of tiny",
    "bench --runs 0": "runs = 0 must be at least 1",
    "demo --minutes -1": "minutes = -1.0 must be positive",
    "demo -o text.txt": "text.txt: a file is where a folder should be",
}

USAGE = {  # exit code 2
    "": "usage: samplewise COMMAND",
    "prepar x": "there is no command 'prepar'; did you mean 'prepare'?",
    "frobnicate": "there is no command 'frobnicate'; commands: demo, prepare",
    "prepare": "(required)",
    "prepare RECORDINGS -o new --sample-rat 8000": "Perhaps you meant",
    "prepare RECORDINGS -o new --sample-rate 16k": "invalid literal for int() with base 10: '16k'",
    "train": "-o PATH",
    "train CORPUS": "Run folder; made if it does not exist, resumed if it does. (required)",
    "train CORPUS -o new --preset musik": "there is no preset 'musik'; presets: tiny",
    "train CORPUS -o new --preset": "there is no preset ''",
    "train CORPUS -o new --model.frame-sizes 2": "frame_sizes = (2,) must have 2 to 16 tiers",
    "train CORPUS -o new --model.frame-sizes 2 3 8": "frame_sizes[2] = 8 must be a larger multiple",
    "train CORPUS -o new --model.q-levels 255": "q_levels = 255 must be even",
    "train CORPUS -o new --model.n-rnn 9": "n_rnn = 9 must lie in [1, 5]",
    "train CORPUS -o new --model.n-rnn 1 --model.skip": "skip = True needs n_rnn > 1",
    "train CORPUS -o new --model.cell gruu": "invalid choice 'gruu' for argument '--model.cell'",
    "generate RUN --backend warp": "invalid choice 'warp'",
    "evaluate RUN --split dev": "invalid choice 'dev' for argument '--split'",
    "bench trane": "invalid choice 'trane'",
}


@pytest.fixture
def say(tmp_path, monkeypatch, request, capsys):
    """Run a command line among the things that users point at; return the code and the words."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "not-sound").mkdir()
    (tmp_path / "not-sound" / "a.wav").write_text("hello")
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "zeros.safetensors").write_bytes(bytes(100))

    def run(line):
        names = {"RECORDINGS": "recordings", "CORPUS": "corpus", "RUN": "run_folder"}
        words = [
            str(request.getfixturevalue(names[word])) if word in names else word
            for word in shlex.split(line)
        ]
        capsys.readouterr()
        try:
            code = main(words)
        except SystemExit as end:  # the option parser ends the process itself
            code = end.code
        out, err = capsys.readouterr()
        return code, " ".join((out + err).split())

    return run


@pytest.mark.parametrize("line", FAILURES)
def test_a_failure_names_what_was_wrong_and_what_to_do(line, say, tmp_path):
    code, words = say(line)
    assert "error: " in words
    assert " ".join(FAILURES[line].split()) in words
    assert "Traceback" not in words
    assert code == 1
    assert not (tmp_path / "new").exists() or not any((tmp_path / "new").glob("*.safetensors"))


@pytest.mark.parametrize("line", USAGE)
def test_a_wrong_command_line_is_explained(line, say):
    code, words = say(line)
    assert USAGE[line] in words
    assert "Traceback" not in words
    assert code == 2
