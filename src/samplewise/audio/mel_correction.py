"""Correction of a sound towards the mel spectrogram that it was generated from, frame by frame.

Every frame of the sound is transformed, each band is moved towards the level in the spectrogram,
and the frames are added up again with their own phases. This is an iteration of Griffin & Lim 1984,
but its magnitudes keep the fine structure of the sound (Chosen: no paper of ours has it). Repeated
corrections converge to a sound with exactly these bands.
"""

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float, Float32, Float64

from samplewise.audio.lpc import interpolation
from samplewise.audio.mel import FLOOR, hann_window, mel_filters
from samplewise.config.conditioning import MelConfig

STEP = 1.5
"""Share of a difference, in ln, that one correction removes; above 1, it converges sooner."""
LARGEST = 3.0
"""ln of the largest change of a band in one correction."""

Frame = Float32[np.ndarray, " n_mels"]
Piece = tuple[Float[np.ndarray, " hop"], Frame]
"""The sound of a frame, and the frame that it was generated from."""


def correct(pieces: Iterable[Piece], config: MelConfig, sample_rate: int) -> Iterator[Piece]:
    """Yield the pieces corrected once, each after :func:`delay` further pieces.

    Args:
        pieces: Amplitude and frame of each hop; beyond the ends there is silence.
        config: Parameters of the frames.
        sample_rate: Hz.

    Raises:
        ValueError: If windows overlap by less than half.
    """
    check_overlap(config)
    band = _Bands(config, sample_rate)
    window, half, hop = hann_window(config).double().numpy(), config.n_fft // 2, config.hop
    window_power, buffer, targets = window**2, np.zeros(half), deque[Frame]()
    sums, weights = np.zeros(config.n_fft), np.zeros(config.n_fft)
    done, waiting, gains = np.zeros(0), deque[Frame](), np.ones(half + 1)
    skipped = half  # samples before the first one

    def ready() -> Iterator[Piece]:
        nonlocal done, skipped
        drop = min(skipped, len(done))
        done, skipped = done[drop:], skipped - drop
        while len(done) >= hop and waiting:
            yield done[:hop], waiting.popleft()
            done = done[hop:]

    def add(spectrum: np.ndarray) -> np.ndarray:
        """Add a frame to the sums and return the samples that no later frame changes."""
        np.add(sums, np.fft.irfft(spectrum, config.n_fft) * window, out=sums)
        np.add(weights, window_power, out=weights)
        final = sums[:hop] / np.maximum(weights[:hop], 1e-3)
        for part in (sums, weights):
            part[:-hop] = part[hop:]
            part[-hop:] = 0
        return final

    for sound, mel in pieces:
        buffer = np.concatenate([buffer, sound])
        targets.append(mel)
        waiting.append(mel)
        while len(buffer) >= config.n_fft:
            spectrum = np.fft.rfft(buffer[: config.n_fft] * window)
            gains = band.gains(spectrum, targets.popleft())
            done, buffer = np.concatenate([done, add(spectrum * gains)]), buffer[hop:]
            yield from ready()
    buffer = np.pad(buffer, (0, config.n_fft + hop))
    while targets or waiting:
        spectrum = np.fft.rfft(buffer[: config.n_fft] * window)
        if targets:  # after the last frame, its gains stay in force
            gains = band.gains(spectrum, targets.popleft())
        done = np.concatenate([done, add(spectrum * gains)])
        buffer = np.pad(buffer[hop:], (0, hop))
        yield from ready()


def corrected(
    pieces: Iterable[Piece], config: MelConfig, sample_rate: int, times: int
) -> Iterator[Float32[np.ndarray, " hop"]]:
    """Return the sound of each piece after ``times`` corrections; see :func:`correct`."""
    for _ in range(times):
        pieces = correct(pieces, config, sample_rate)
    return (as_amplitude(sound) for sound, _ in pieces)


def correct_sound(
    wave: Float32[np.ndarray, " samples"],
    mel: Float32[np.ndarray, "frames n_mels"],
    config: MelConfig,
    sample_rate: int,
    times: int,
) -> Float32[np.ndarray, " samples"]:
    """Return a whole sound, one hop for each frame, after ``times`` corrections."""
    pieces = zip(wave.reshape(len(mel), config.hop), mel, strict=True)
    return np.concatenate(list(corrected(pieces, config, sample_rate, times)))


def as_amplitude(sound: Float[np.ndarray, " samples"]) -> Float32[np.ndarray, " samples"]:
    """Return the sound clipped to full scale, ±1."""
    return sound.clip(-1, 1).astype(np.float32)


def delay(config: MelConfig) -> int:
    """Return the number of further frames that the corrected sound of a frame waits for."""
    return 2 * -(-config.n_fft // (2 * config.hop)) - 1


def check_overlap(config: MelConfig) -> None:
    """Check that windows overlap enough to be added up again.

    Raises:
        ValueError: If windows overlap by less than half.
    """
    if 2 * config.hop > config.win_length:
        raise ValueError(
            f"hop = {config.hop} must be at most half of win_length = {config.win_length} for a "
            "sound to be corrected; give --corrections 0"
        )


class _Bands:
    """Levels of bands, and gains of bins that change these levels."""

    def __init__(self, config: MelConfig, sample_rate: int):
        bank = mel_filters(config, sample_rate).double().numpy()
        self._to_bins, areas = interpolation(config, sample_rate)
        self._used = areas > 0
        bands, self._bins = np.nonzero(bank[self._used])
        self._starts = np.flatnonzero(np.diff(bands, prepend=-1))
        self._shares = bank[self._used][bands, self._bins]

    def gains(self, spectrum: np.ndarray, mel: Frame) -> Float64[np.ndarray, " bins"]:
        """Return the factors for the bins of a frame."""
        shares = self._shares * np.abs(spectrum)[self._bins]
        own = np.log(np.maximum(np.add.reduceat(shares, self._starts), FLOOR))
        change = (STEP * (mel[self._used] - own)).clip(-LARGEST, LARGEST)
        return np.exp(change @ self._to_bins)
