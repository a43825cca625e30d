"""Which recordings are for training, validation and test: by folder, by recording, by cutting."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from samplewise.errors import CorpusError

BY_FOLDER = "by folder"
BY_RECORDING = "by recording"
BY_PART = "by part of a recording"
FOLDER_NAMES = {
    "train": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "test": "test",
}
GAP_S = 1.0
"""Left out between two parts of a cut recording."""
SHORTEST_CUT_S = 1.0
"""A recording shorter than this is not cut."""
OVERSHOOT = 1.25
"""A held-out split may exceed its share by this factor before a recording is passed over."""
SIMILAR = 1.5
"""Where every recording is too long, one at most this much longer than the shortest is taken."""
SMALLEST_TRAIN_SHARE = 0.5
"""If whole recordings would leave less than this for training, the longest one is cut."""


@dataclass(frozen=True)
class Piece:
    """A stretch of one file that goes to one split."""

    offset: int
    """First sample within the file."""
    samples: int
    """Length in samples."""
    split: str
    """train, valid or test."""


@dataclass(frozen=True)
class Shares:
    """What part of the seconds is held out, and how the dice are thrown."""

    valid: float = 0.06
    """Share of the seconds for validation."""
    test: float = 0.06
    """Share of the seconds for the test."""
    seed: int = 0
    """Changes which recordings are held out."""

    def __post_init__(self) -> None:
        """Check the shares."""
        if not (self.valid >= 0 and self.test >= 0 and self.valid + self.test <= 0.9):
            raise ValueError(
                f"valid, test = {self.valid}, {self.test} must not be negative "
                "and leave at least 0.1 for training"
            )

    def held_out(self) -> dict[str, float]:
        """Return the shares of the splits that are not for training, if they are not 0."""
        return {
            name: share for name, share in (("valid", self.valid), ("test", self.test)) if share > 0
        }


def folder_split(source: str) -> str | None:
    """Return the split that the top folder of ``source`` names, or None."""
    top, slash, _ = source.partition("/")
    return FOLDER_NAMES.get(top.lower()) if slash else None


def has_split_folders(sources: Sequence[str]) -> bool:
    """Say whether there are top folders for all of train, valid and test."""
    return {"train", "valid", "test"} <= {folder_split(source) for source in sources}


def split_by_folder(lengths: Mapping[str, int]) -> dict[str, tuple[Piece, ...]]:
    """Give each file to the split that its top folder names.

    Args:
        lengths: Samples of each file, by its source; all lie in a folder that names a split.

    Raises:
        CorpusError: If a split would be empty.
    """
    plan = {
        source: (Piece(0, samples, folder_split(source) or ""),)
        for source, samples in lengths.items()
    }
    empty = {"train", "valid", "test"} - {pieces[0].split for pieces in plan.values()}
    if empty:
        raise CorpusError(
            f"the folder for {' and '.join(sorted(empty))} holds no usable recording; "
            "add one, or split by recording with --split recordings"
        )
    return plan


def split_by_recording(
    lengths: Mapping[str, int],
    shares: Shares,
    sample_rate: int,
    earlier: Mapping[str, tuple[Piece, ...]] | None = None,
) -> dict[str, tuple[Piece, ...]]:
    """Split by whole recordings and by seconds; cut the longest where that is impossible.

    The outcome depends on what the recordings hold, not on their names or their order.

    Args:
        lengths: Samples of each recording, by the hash of its content.
        shares: What to hold out.
        sample_rate: Of the samples, Hz.
        earlier: Recordings that already have their split; it is kept.

    Returns:
        Pieces of each recording, in the order of time.
    """
    plan = {key: pieces for key, pieces in (earlier or {}).items() if key in lengths}
    free = sorted(
        (key for key in lengths if key not in plan), key=lambda key: _dice(shares.seed, key)
    )
    total = sum(lengths.values())
    chosen = _choose(lengths, free, plan, shares, total)
    held = _samples_of(plan, "valid") + _samples_of(plan, "test")
    held += sum(lengths[key] for keys in chosen.values() for key in keys)
    has_all = all(chosen[name] or _samples_of(plan, name) for name in shares.held_out())
    if has_all and total - held >= SMALLEST_TRAIN_SHARE * total:
        split_of = {key: name for name, keys in chosen.items() for key in keys}
        return plan | {key: (Piece(0, lengths[key], split_of.get(key, "train")),) for key in free}
    plan |= {key: (Piece(0, lengths[key], "train"),) for key in free}
    missing = {
        name: share for name, share in shares.held_out().items() if not _samples_of(plan, name)
    }
    if missing and free:
        longest = max(free, key=lambda key: (lengths[key], _dice(shares.seed, key)))
        plan[longest] = cut(lengths[longest], missing, sample_rate)
    return plan


def cut(samples: int, held_out: Mapping[str, float], sample_rate: int) -> tuple[Piece, ...]:
    """Cut one recording into train | gap | valid | gap | test.

    Args:
        samples: Its length.
        held_out: Shares of the splits to cut from its end, in order.
        sample_rate: Hz.

    Returns:
        The parts in the order of time; only train if it is shorter than a second.
    """
    if samples < SHORTEST_CUT_S * sample_rate or not held_out:
        return (Piece(0, samples, "train"),)
    gap = round(min(GAP_S * sample_rate, samples / 20))
    usable = samples - gap * len(held_out)
    least = min(sample_rate, usable // 10)
    parts = []
    end = samples
    for name, share in reversed(list(held_out.items())):
        length = max(round(share * usable), least)
        parts.append(Piece(end - length, length, name))
        end -= length + gap
    return (Piece(0, end, "train"), *reversed(parts))


def _dice(seed: int, key: str) -> str:
    return hashlib.sha256(f"{seed} {key}".encode()).hexdigest()


def _samples_of(plan: Mapping[str, tuple[Piece, ...]], split: str) -> int:
    return sum(p.samples for pieces in plan.values() for p in pieces if p.split == split)


def _choose(
    lengths: Mapping[str, int],
    free: Sequence[str],
    plan: Mapping[str, tuple[Piece, ...]],
    shares: Shares,
    total: int,
) -> dict[str, list[str]]:
    """Pick whole recordings for the held-out splits, up to their shares of ``total``."""
    left = list(free)
    chosen: dict[str, list[str]] = {}
    for name, share in shares.held_out().items():
        have, target = _samples_of(plan, name), share * total
        chosen[name] = []
        for key in left:
            if have < target and have + lengths[key] <= OVERSHOOT * target:
                chosen[name].append(key)
                have += lengths[key]
        if not have and left:
            most = SIMILAR * min(lengths[key] for key in left)
            chosen[name] = [next(key for key in left if lengths[key] <= most)]
        left = [key for key in left if key not in set(chosen[name])]
    return chosen
