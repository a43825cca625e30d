"""Log-mel distance: a Fréchet distance between two sets of sounds.

The distance of Gaussians (Dowson & Landau 1982) that the Fréchet audio distance of Kilgour et al.
2019 takes between embeddings of a network is taken here between log-mel levels and their changes.
The figures are of another kind and cannot be compared with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from samplewise.audio.descriptors import MEL_HOP_S

PARTS = ("spectrum", "attack", "second")
"""Levels of the mel bands; their change within 80 ms; their change from half a second to the next.
Each is a third of the distance."""
NEAR = 2
"""Frames to either side between which the levels change: 80 ms."""
FAR = (6, 25)
"""First and last frame to either side whose means are compared: 0.12 s to 0.5 s."""
LEAST_S = (2 * FAR[1] + 1) * MEL_HOP_S
"""Seconds of a sound that hold one vector of each part."""
DIMENSIONS = 12
"""Principal components of each part that are kept."""
SHRINKAGE = 0.05
"""Variance, relative to the mean of the components, that is added before they are scaled to 1."""


def part_vectors(
    mel_db: Float64[np.ndarray, "frames n_mels"],
) -> Float64[np.ndarray, "parts vectors n_mels"]:
    """Return the vectors of each part, for every frame with half a second to either side."""
    first, far = FAR
    frames = np.arange(far, max(far, len(mel_db) - far))
    sums = np.concatenate([np.zeros((1, mel_db.shape[1])), np.cumsum(mel_db, axis=0)])
    before = sums[frames - first + 1] - sums[frames - far]
    after = sums[frames + far + 1] - sums[frames + first] if len(frames) else before
    second = (after - before) / (far - first + 1)
    attack = mel_db[frames + NEAR] - mel_db[frames - NEAR] if len(frames) else before
    return np.stack([mel_db[frames], attack, second])


@dataclass(frozen=True)
class Moments:
    """Sums over the vectors of each part, from which means and covariances follow."""

    count: int
    """Number of vectors."""
    total: Float64[np.ndarray, "parts features"]
    """Sum of the vectors."""
    products: Float64[np.ndarray, "parts features features"]
    """Sum of their outer products."""

    @classmethod
    def of(cls, vectors: Float64[np.ndarray, "parts vectors features"]) -> "Moments":
        """Return the sums over some vectors."""
        return cls(vectors.shape[1], vectors.sum(axis=1), vectors.swapaxes(1, 2) @ vectors)

    @property
    def mean(self) -> Float64[np.ndarray, "parts features"]:
        """Mean vector of each part."""
        return self.total / self.count

    @property
    def covariance(self) -> Float64[np.ndarray, "parts features features"]:
        """Covariance of each part."""
        return self.products / self.count - self.mean[:, :, None] * self.mean[:, None, :]


def total(moments: Sequence[Moments], times: Sequence[int] | None = None) -> Moments:
    """Return the sums over several sounds.

    Args:
        moments: Of each sound, at least one.
        times: How often each of them counts; None: once.
    """
    weights = np.ones(len(moments), np.int64) if times is None else np.array(times)
    return Moments(
        sum(weight * part.count for weight, part in zip(weights.tolist(), moments, strict=True)),
        np.tensordot(weights, [part.total for part in moments], 1),
        np.tensordot(weights, [part.products for part in moments], 1),
    )


@dataclass(frozen=True)
class Projection:
    """Principal components of each part in a corpus, scaled to about unit variance."""

    mean: Float64[np.ndarray, "parts n_mels"]
    axes: Float64[np.ndarray, "parts n_mels dimensions"]

    @classmethod
    def fit(cls, moments: Moments) -> "Projection":
        """Return the components of the largest variance."""
        variances, axes = np.linalg.eigh(moments.covariance)
        variances, axes = variances[:, None, -DIMENSIONS:], axes[:, :, -DIMENSIONS:]
        least = SHRINKAGE * variances.mean(axis=2, keepdims=True)
        return cls(moments.mean, axes / np.sqrt(variances.clip(min=0) + least))

    def moments(self, mel_db: Float64[np.ndarray, "frames n_mels"]) -> Moments:
        """Return the sums over the projected vectors of a sound."""
        return Moments.of((part_vectors(mel_db) - self.mean[:, None]) @ self.axes)


def part_distances(a: Moments, b: Moments) -> Float64[np.ndarray, " parts"]:
    """Return the squared Fréchet distance of two Gaussians for each part, per dimension.

    |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)), divided by the number of dimensions.
    """
    values, axes = np.linalg.eigh(a.covariance)
    root = axes * np.sqrt(values.clip(min=0))[:, None] @ axes.swapaxes(1, 2)
    cross = np.sqrt(np.linalg.eigvalsh(root @ b.covariance @ root).clip(min=0)).sum(axis=1)
    traces = np.trace(a.covariance + b.covariance, axis1=1, axis2=2)
    squared = ((a.mean - b.mean) ** 2).sum(axis=1) + traces - 2 * cross
    return squared.clip(min=0) / a.mean.shape[1]


def log_mel_distance(a: Moments, b: Moments) -> float:
    """Return the mean of the distances of all parts."""
    return float(part_distances(a, b).mean())
