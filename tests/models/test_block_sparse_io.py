"""Pruned models as files: what is left, and nothing that a stranger says about it."""

import pytest
import torch
from safetensors.torch import load_file, save
from tests.models.test_io import AUDIO
from tests.models.test_pruning import WIDE

from samplewise.errors import CheckpointError
from samplewise.models.block_sparse_io import from_blocks, to_blocks
from samplewise.models.build import build_model
from samplewise.models.io import _digest, load_model, save_model
from samplewise.models.pruning import masks_of, prune_model, zero_share

NAME = "frame_levels.1.upsample.weight.v"


def pruned(kind, share=0.75, block=(4, 4)):
    model = build_model(WIDE[kind], seed=1)
    model.prepare_to_prune()
    prune_model(model, share, block)
    return model


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "sparse.safetensors"
    save_model(path, pruned("samplernn"), AUDIO, {"name": "mine"})
    return path


@pytest.mark.parametrize("kind", WIDE)
@pytest.mark.parametrize("fold", [True, False])
def test_a_pruned_model_comes_back_with_its_masks_and_can_be_saved_again(kind, fold, tmp_path):
    model = pruned(kind)
    path = tmp_path / "model.safetensors"
    save_model(path, model, AUDIO, {})
    loaded = load_model(path, fold=fold).model
    torch.testing.assert_close(masks_of(loaded), masks_of(model))
    for ours, theirs in zip(model.prunable(), loaded.prunable(), strict=True):
        torch.testing.assert_close(theirs.weight(), ours.weight())
    assert zero_share(loaded) == zero_share(model) > 0.7
    save_model(tmp_path / "again.safetensors", loaded, AUDIO, {})
    again = load_model(tmp_path / "again.safetensors").model
    torch.testing.assert_close(masks_of(again), masks_of(model))
    codes = torch.randint(model.q_levels, (2, 24), generator=torch.Generator().manual_seed(1))
    expected, _ = model(codes, model.initial_state(2), codes)
    torch.testing.assert_close(again(codes, again.initial_state(2), codes)[0], expected)


@pytest.mark.parametrize("block", [(4, 4), (16, 1), (1, 1), (2, 8)])
def test_blocks_and_places_are_the_matrix(block):
    matrix = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
    kept = torch.rand(16 // block[0], 8 // block[1]) < 0.5
    blocks, places = to_blocks(matrix, kept)
    assert blocks.shape == (kept.sum(), *block)
    for number, place in enumerate(places.tolist()):
        top, left = place // kept.shape[1] * block[0], place % kept.shape[1] * block[1]
        assert torch.equal(blocks[number], matrix[top : top + block[0], left : left + block[1]])
    whole = kept.repeat_interleave(block[0], 0).repeat_interleave(block[1], 1)
    again, mask = from_blocks(blocks, places, matrix.shape)
    assert torch.equal(again, matrix * whole)
    assert torch.equal(mask, kept)


def test_a_file_holds_what_was_kept(tmp_path):
    sparse = tmp_path / "sparse.safetensors"
    save_model(sparse, pruned("samplernn"), AUDIO, {})
    stored = load_file(sparse)
    assert NAME not in stored
    assert stored[f"{NAME}.blocks"].shape == (64 * 16 // 16 // 4, 4, 4)  # a quarter of 64 x 16
    assert stored["sample_level.mlp.0.weight.v.blocks"].shape == (16, 1, 1)


def rewrite(file, change):
    """Write a file with a right digest that says something else."""
    weights = load_file(file)
    metadata = {"samplewise": _metadata(file)}
    change(weights)
    metadata["sha256"] = _digest(metadata["samplewise"], weights)
    file.write_bytes(save({n: t.contiguous() for n, t in weights.items()}, metadata))


def _metadata(file):
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        return opened.metadata()["samplewise"]


def put(name, value):
    def change(weights):
        made = value(weights[name]) if callable(value) else value
        weights.pop(name)
        if made is not None:
            weights[name] = made

    return change


def add(name, value):
    def change(weights):
        weights[name] = value

    return change


def replaced(tensor, place, value):
    changed = tensor.clone()
    changed[place] = value
    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put(f"{NAME}.kept", lambda t: replaced(t, -1, 64)), "kept must increase from 0 or more"),
        (put(f"{NAME}.kept", lambda t: replaced(t, 0, -1)), "must increase from 0 or more to less"),
        (put(f"{NAME}.kept", lambda t: replaced(t, 1, int(t[0]))), "kept must increase from 0"),
        (put(f"{NAME}.kept", lambda t: t.flip(0)), "kept must increase from 0"),
        (put(f"{NAME}.kept", lambda t: t[1:]), "not float32 of 15 blocks"),
        (put(f"{NAME}.kept", lambda t: t.long()), "kept is absent or no list of int32"),
        (put(f"{NAME}.kept", lambda t: t[None]), "kept is absent or no list of int32"),
        (put(f"{NAME}.kept", None), "kept is absent or no list of int32"),
        (put(f"{NAME}.blocks", None), "kept has no blocks"),
        (put(f"{NAME}.blocks", lambda t: t.double()), "blocks is torch.float64 of"),
        (put(f"{NAME}.blocks", lambda t: t.flatten(1)), "blocks is torch.float32 of"),
        (put(f"{NAME}.blocks", lambda t: t[:, :3]), "is not a whole number of 3 x 4"),
        (put(f"{NAME}.blocks", lambda t: t[:, :0]), "is not a whole number of 0 x 4"),
        (put(f"{NAME}.blocks", lambda t: t * float("nan")), "upsample.weight.v holds NaN or inf"),
        (add(NAME, torch.zeros(64, 16)), "is stored twice, whole and in blocks"),
        (add("nowhere.v.blocks", torch.zeros(1, 1, 1)), "nowhere.v is no matrix of this model"),
        (
            add("frame_levels.1.upsample.bias.blocks", torch.zeros(1, 1, 1)),
            "bias is no matrix of this model, but has blocks",
        ),
        (
            add("nowhere.kept", torch.zeros(1, dtype=torch.int32)),
            "nowhere is no matrix of this model",
        ),
    ],
)
def test_blocks_that_lie_are_refused(file, change, message):
    rewrite(file, change)
    with pytest.raises(CheckpointError, match=message):
        load_model(file)


def test_a_small_file_cannot_ask_for_a_large_model(file, monkeypatch):
    """Before memory is taken: no matrix is made."""
    monkeypatch.setattr("samplewise.models.block_sparse_io.FREE_NUMBERS", 0)
    assert load_model(file)
    monkeypatch.setattr("samplewise.models.block_sparse_io.MAX_EXPANSION", 1)
    monkeypatch.setattr("samplewise.models.block_sparse_io.from_blocks", None)
    with pytest.raises(CheckpointError, match="more than 1 times as many are refused"):
        load_model(file)


def test_random_damage_to_a_sparse_file_is_refused(file):
    original = file.read_bytes()
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        data = bytearray(original)
        place = int(torch.randint(len(data), (1,), generator=generator))
        data[place] ^= 0x55
        file.write_bytes(data)
        with pytest.raises(CheckpointError):
            load_model(file)
