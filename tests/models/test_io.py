import json
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save, save_file
from tests.models.told import told

from samplewise.config.models import SampleRNNConfig
from samplewise.errors import CheckpointError
from samplewise.models.io import AudioFormat, load_model, save_model
from samplewise.models.samplernn import SampleRNN

AUDIO = AudioFormat(16000, 1.25, "keep")
TINY = SampleRNNConfig(dim=4, emb_size=3, q_levels=8)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, SampleRNN(TINY), AUDIO, {"name": "mine"})
    return path


@pytest.mark.parametrize("fold", [True, False])
def test_a_model_comes_back_with_everything_it_needs(model, tmp_path, fold):
    model = model.float()
    path = tmp_path / "model.safetensors"
    save_model(path, model, AUDIO, {"name": "mine", "step": 3})
    loaded = load_model(path, fold=fold)
    assert (loaded.audio, loaded.provenance) == (AUDIO, {"name": "mine", "step": 3})
    assert loaded.model.config == model.config
    codes = torch.randint(model.q_levels, (2, 24), generator=torch.Generator().manual_seed(1))
    expected, _ = model(codes, model.initial_state(2), codes, told(model, 2, 24))
    found, _ = loaded.model(codes, loaded.model.initial_state(2), codes, told(loaded.model, 2, 24))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert not loaded.model.training
    # What was folded can be saved and loaded again.
    save_model(tmp_path / "again.safetensors", loaded.model, loaded.audio, {})
    again = load_model(tmp_path / "again.safetensors").model
    same, _ = again(codes, again.initial_state(2), codes, told(again, 2, 24))
    torch.testing.assert_close(same, found)


def test_a_run_folder_is_a_model(file, tmp_path):
    with pytest.raises(CheckpointError, match=r"weights.safetensors does not exist: name a run"):
        load_model(tmp_path)
    file.rename(tmp_path / "weights.safetensors")
    assert load_model(tmp_path).audio == AUDIO
    with pytest.raises(CheckpointError, match="does not exist: name a run folder, an exported"):
        load_model(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("kind", ["flip", "truncate", "insert", "swap"])
def test_no_damage_is_accepted(file, kind):
    """A mutation is refused, or (in white space of the header) changes nothing."""
    original, generator = file.read_bytes(), random.Random(kind)  # noqa: S311
    expected = {name: p.clone() for name, p in load_model(file).model.named_parameters()}
    refused = 0
    for _ in range(250):
        data = bytearray(original)
        place = generator.randrange(len(data))
        if kind == "flip":
            data[place] ^= 1 << generator.randrange(8)
        elif kind == "truncate":
            del data[place:]
        elif kind == "insert":
            data[place:place] = generator.randbytes(generator.randrange(1, 9))
        else:
            other = generator.randrange(len(data))
            data[place], data[other] = data[other], data[place]
        if data == original:
            continue
        file.write_bytes(data)
        try:
            loaded = load_model(file)
        except CheckpointError:
            refused += 1
        else:
            torch.testing.assert_close(dict(loaded.model.named_parameters()), expected)
    assert refused > 200


def test_a_model_with_the_older_mulaw_keeps_it_when_it_is_saved_again(tmp_path):
    models = Path(__file__).parents[1] / "golden" / "7a728db" / "models"
    old = load_model(models / "mulaw-code.safetensors")
    assert old.model.config.quantizer == old.model.quantizer.name == "mulaw-midtread"
    save_model(tmp_path / "copy.safetensors", old.model, old.audio, {})
    assert load_model(tmp_path / "copy.safetensors").model.config == old.model.config


def rewrite(file, **changes):
    """Write a file with a right digest whose description lies."""
    from samplewise.models.io import _digest

    with file.open("rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    description = json.loads(header["__metadata__"]["samplewise"])
    for path, value in changes.items():
        *parents, last = path.split("__")
        target = description
        for parent in parents:
            target = target[parent]
        target[last] = value
    text, weights = json.dumps(description), load_file(file)
    metadata = {"samplewise": text, "sha256": _digest(text, weights)}
    file.write_bytes(save(weights, metadata))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 99}, "it is samplernn of format 99; this version reads formats 1 to 3"),
        ({"family": "tacotron"}, "it is tacotron of format 3"),
        ({"model__dim": 65536}, "the model would take 272 GiB"),
        ({"model__dim": 5}, "weights do not fit the description"),
        ({"model__dim": 10**12}, "dim = 1000000000000 must lie in"),
        ({"model__frame_sizes": [2] * 10**4}, "must have 2 to 16 tiers"),
        ({"model__q_levels": -8}, "q_levels = -8 must lie in"),
        ({"model__dim": "4"}, "model does not fit this version: dim: Input should be a valid int"),
        ({"model__os": "system"}, "os: Unexpected keyword argument"),
        ({"model": None}, "cannot be used as a model"),
        ({"model": []}, "cannot be used as a model"),
        ({"audio__sample_rate": None}, "sample_rate: Input should be a valid integer"),
        ({"audio": "loud"}, "cannot be used as a model"),
        ({"provenance": 3}, "cannot be used as a model"),
    ],
)
def test_a_description_that_lies_is_refused_before_memory_is_taken(file, changes, message):
    rewrite(file, **changes)
    with pytest.raises(CheckpointError, match=message):
        load_model(file)


def header_bytes(text):
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04 a zip",
        b"\x80\x04cposix\nsystem\n(S'touch owned'\ntR.",
        b"\xff" * 64,
        (2**62).to_bytes(8, "little"),
        header_bytes(b"[]"),
        header_bytes(b"{"),
        header_bytes(b'{"__metadata__": {}, "__metadata__": {}}'),
        header_bytes(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}') + b"\0" * 4,
        header_bytes(
            b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, '
            b'"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'
        )
        + b"\0" * 4,
        header_bytes(b'{"a": {"dtype": "F32", "shape": [9e18], "data_offsets": [0, 4]}}'),
        header_bytes(b'{"__metadata__": {"samplewise": 3}}'),
        header_bytes(b'{"__metadata__": {"samplewise": "{}", "sha256": "00"}}'),
        header_bytes(b'{"__metadata__": []}'),
        header_bytes(b"[" * 100_000),
        header_bytes(b"\xff\xfe{}"),
    ],
)
def test_what_is_not_a_model_is_refused_in_one_line_and_runs_nothing(tmp_path, data, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.safetensors"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="cannot be used as a model"):
        load_model(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["evil.safetensors"]


def test_a_pickled_checkpoint_is_not_unpickled(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "owned",))

    path = tmp_path / "model.pt"
    torch.save({"model": Evil()}, path)
    with pytest.raises(CheckpointError):
        load_model(path)
    assert not (tmp_path / "owned").exists()


def test_names_and_types_that_do_not_belong_are_refused(file, tmp_path):
    weights = load_file(file)
    for change in ({"../../escape": torch.zeros(1)}, {"extra": torch.zeros(3)}):
        save_file(weights | change, tmp_path / "plain.safetensors")
        with pytest.raises(CheckpointError, match="it was not written by samplewise"):
            load_model(tmp_path / "plain.safetensors")
    model = SampleRNN(TINY)
    save_model(tmp_path / "brain.safetensors", model.bfloat16(), AUDIO, {})
    with pytest.raises(CheckpointError, match=r"is torch.bfloat16, not float32"):
        load_model(tmp_path / "brain.safetensors")


def test_weights_may_be_stored_in_half_precision(tmp_path):
    model, whole, half = SampleRNN(TINY), tmp_path / "whole", tmp_path / "half"
    save_model(whole, model, AUDIO, {})
    save_model(half, model, AUDIO, {}, half=True)
    sizes = [sum(t.nbytes for t in load_file(file).values()) for file in (whole, half)]
    assert sizes[0] == 2 * sizes[1]
    rounded = dict(load_model(half, fold=False).model.named_parameters())
    for name, weight in model.named_parameters():
        assert torch.equal(rounded[name], weight.half().float())


def test_a_link_in_place_of_the_target_is_replaced_not_followed(file, tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("precious")
    link = tmp_path / "link.safetensors"
    link.symlink_to(outside)
    save_model(link, SampleRNN(TINY), AUDIO, {})
    assert outside.read_text() == "precious"
    assert load_model(link).audio == AUDIO


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers_are_refused(tmp_path, value):
    model = SampleRNN(TINY)
    with torch.no_grad():
        model.sample_level.mlp[2].bias[3] = value
    save_model(tmp_path / "broken.safetensors", model, AUDIO, {})
    with pytest.raises(CheckpointError, match=r"mlp.2.bias holds NaN or infinity"):
        load_model(tmp_path / "broken.safetensors")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((10, 1.0, "keep"), "sample_rate = 10 must lie in 1000 to 768000 Hz"),
        ((16000, 0.0, "keep"), "gain = 0.0 must be positive and at most 65536"),
        ((16000, float("inf"), "keep"), "gain = inf must be positive and at most 65536"),
        ((16000, 1e300, "keep"), r"gain = 1e\+300 must be positive and at most 65536"),
    ],
)
def test_impossible_sound_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        AudioFormat(*values)
