"""Splits into training, validation and test: by folder, by recording, or by cutting."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
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
"""Gap between two parts of a cut recording, seconds."""
SHORTEST_CUT_S = 1.0
"""Shortest recording that is cut, seconds."""
OVERSHOOT = 1.25
"""Factor by which a held-out split may exceed its share."""
LEAST_OF_SHARE = 0.5
"""Part of its share below which a held-out split gets one more recording."""
SIMILAR = 1.5
"""Length, relative to the shortest recording, up to which a long one may be chosen."""
SMALLEST_TRAIN_SHARE = 0.5
"""If whole recordings would leave less than this for training, the longest one is cut; with large
held-out splits, three quarters of the share of training."""
MAX_CUT_OFF = 0.9
"""Largest share of a cut recording that goes to held-out splits."""


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
    """Shares of the seconds that are held out, and the seed of the choice."""

    valid: float = 0.06
    """Share of the seconds for validation."""
    test: float = 0.06
    """Share of the seconds for the test."""
    seed: int = 0
    """Seed of the choice of held-out recordings."""

    def __post_init__(self) -> None:
        """Check the shares."""
        if not (self.valid >= 0 and self.test >= 0 and self.valid + self.test <= 0.9):
            raise ValueError(
                f"valid, test = {self.valid}, {self.test} must not be negative "
                "and leave at least 0.1 for training"
            )

    @property
    def least_train(self) -> float:
        """Share of the seconds that training must keep."""
        return min(SMALLEST_TRAIN_SHARE, 0.75 * (1 - self.valid - self.test))

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
    """Return whether there are top folders for all of train, valid and test."""
    return {"train", "valid", "test"} <= {folder_split(source) for source in sources}


def split_by_folder(lengths: Mapping[str, int]) -> dict[str, tuple[Piece, ...]]:
    """Assign each file to the split that its top folder names.

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
    lengths: dict[str, int],
    shares: Shares,
    sample_rate: int,
    earlier: Mapping[str, tuple[Piece, ...]] | None = None,
    silent: Collection[str] = (),
    ends: dict[str, int] | None = None,
) -> dict[str, tuple[Piece, ...]]:
    """Split by whole recordings and by seconds; cut the longest where that is impossible.

    The result depends on the content of the recordings, not on their names or order. Each held-out
    split gets at least half its share, unless the unassigned recordings are shorter than that.

    Args:
        lengths: Samples of each recording, by the hash of its content.
        shares: Shares to hold out.
        sample_rate: Sample rate, Hz.
        earlier: Recordings that already have their split; it is kept.
        silent: Recordings that are for training, unless they have another split already, and
            count for no share.
        ends: Where the sound of a recording ends, in samples; what follows is silence and is left
            out if the recording is cut.

    Returns:
        Pieces of each recording, in the order of time.
    """
    plan = {key: pieces for key, pieces in (earlier or {}).items() if key in lengths}
    sounding = {key: samples for key, samples in lengths.items() if key not in silent}
    total = sum(sounding.values())
    have = {name: _samples_of(plan, name, sounding) for name in ("valid", "test")}
    least = {
        name: max(1, LEAST_OF_SHARE * share * total) for name, share in shares.held_out().items()
    }
    new = sorted(lengths.keys() - plan.keys())
    free = sorted(
        (key for key in new if key in sounding), key=lambda k: _random_order(shares.seed, k)
    )
    plan |= {key: (Piece(0, lengths[key], "train"),) for key in new}
    for overshoot in (OVERSHOOT, 1.0):
        chosen = _choose(sounding, free, have, shares, total, overshoot)
        held = {
            name: have[name] + sum(sounding[key] for key in chosen.get(name, ())) for name in have
        }
        is_enough = all(held[name] >= least[name] for name in least)
        if is_enough and total - sum(held.values()) >= shares.least_train * total:
            for name, keys in chosen.items():
                plan |= {key: (Piece(0, lengths[key], name),) for key in keys}
            return plan
    missing = {name: share for name, share in shares.held_out().items() if have[name] < least[name]}
    if missing and free:
        ends = lengths | (ends or {})
        longest = max(free, key=lambda key: (ends[key], _random_order(shares.seed, key)))
        others = total - lengths[longest]
        pieces = cut(ends[longest], missing, sample_rate, others, have)
        if len(pieces) > 1:
            plan[longest] = pieces
    return plan


def cut(
    samples: int,
    held_out: Mapping[str, float],
    sample_rate: int,
    others: int = 0,
    have: Mapping[str, int] | None = None,
) -> tuple[Piece, ...]:
    """Cut one recording into train | gap | valid | gap | test.

    Args:
        samples: Length of the recording.
        held_out: Shares of the splits to cut from its end, in order.
        sample_rate: Hz.
        others: Samples of all other recordings; the shares are of everything.
        have: Samples that the splits have already.

    Returns:
        The parts in the order of time; only train if it is shorter than a second.
    """
    if samples < SHORTEST_CUT_S * sample_rate or not held_out:
        return (Piece(0, samples, "train"),)
    gap = round(min(GAP_S * sample_rate, samples / 20))
    usable = samples - gap * len(held_out)
    wanted = {
        name: share * (usable + others) - (have or {}).get(name, 0)
        for name, share in held_out.items()
    }
    scale = min(1.0, MAX_CUT_OFF * usable / sum(wanted.values()))
    least = min(sample_rate, usable // 10)
    parts = []
    end = samples
    for name, length in reversed(wanted.items()):
        length = max(round(length * scale), least)
        parts.append(Piece(end - length, length, name))
        end -= length + gap
    return (Piece(0, end, "train"), *reversed(parts))


def _random_order(seed: int, key: str) -> str:
    return hashlib.sha256(f"{seed} {key}".encode()).hexdigest()


def _samples_of(plan: Mapping[str, tuple[Piece, ...]], split: str, counted: Collection[str]) -> int:
    return sum(
        p.samples
        for key, pieces in plan.items()
        if key in counted
        for p in pieces
        if p.split == split
    )


def _choose(
    lengths: Mapping[str, int],
    free: Sequence[str],
    held: Mapping[str, int],
    shares: Shares,
    total: int,
    overshoot: float,
) -> dict[str, list[str]]:
    """Pick whole recordings for the held-out splits, up to their shares of ``total``."""
    left = list(free)
    chosen: dict[str, list[str]] = {}
    for name, share in shares.held_out().items():
        have, target = held[name], share * total
        chosen[name] = []
        for key in left:
            if have < target and have + lengths[key] <= overshoot * target:
                chosen[name].append(key)
                have += lengths[key]
        left = [key for key in left if key not in set(chosen[name])]
        if have < LEAST_OF_SHARE * target and left:
            longest = SIMILAR * min(lengths[key] for key in left)
            chosen[name].append(next(key for key in left if lengths[key] <= longest))
            left.remove(chosen[name][-1])
    return chosen
