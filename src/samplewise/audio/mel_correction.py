"""Bring a sound nearer to the mel spectrogram that it was made from, frame by frame.

Every frame of the sound is transformed, each band brought towards the level that was told, and the
frames are added up again with their own phases. That is an iteration of Griffin & Lim 1984, but
with magnitudes that keep the fine structure of the sound in place of those that the bands alone
give (Chosen: no paper of ours has it). Repeated, it converges to a sound with just these bands.
"""

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float, Float32, Float64

from samplewise.audio.lpc import interpolation
from samplewise.audio.mel import FLOOR, hann_window, mel_filters
from samplewise.config.conditioning import MelConfig

STEP = 1.5
"""Share of a difference, in ln, that is made up for at once: more than 1 converges sooner."""
LARGEST = 3.0
"""ln of the largest change of a band at once."""

Frame = Float32[np.ndarray, " n_mels"]
Piece = tuple[Float[np.ndarray, " hop"], Frame]
"""The sound of a frame, and the frame that it was made from."""


def correct(pieces: Iterable[Piece], config: MelConfig, sample_rate: int) -> Iterator[Piece]:
    """Yield the pieces corrected once, each as soon as :func:`delay` further ones are there.

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
    buffer, targets = np.zeros(half), deque[Frame]()
    sums, weights = np.zeros(config.n_fft), np.zeros(config.n_fft)
    done, waiting, gains = np.zeros(0), deque[Frame](), np.ones(half + 1)
    skipped = half  # what lies before the first sample

    def ready() -> Iterator[Piece]:
        nonlocal done, skipped
        drop = min(skipped, len(done))
        done, skipped = done[drop:], skipped - drop
        while len(done) >= hop and waiting:
            yield done[:hop], waiting.popleft()
            done = done[hop:]

    def add(spectrum: np.ndarray) -> np.ndarray:
        """Add a frame up and return the samples that no later one reaches."""
        nonlocal sums, weights
        sums += np.fft.irfft(spectrum, config.n_fft) * window
        weights += window**2
        final = sums[:hop] / np.maximum(weights[:hop], 1e-3)
        sums, weights = (np.pad(part[hop:], (0, hop)) for part in (sums, weights))
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
        if targets:  # what comes after the last frame keeps its gains
            gains = band.gains(spectrum, targets.popleft())
        done = np.concatenate([done, add(spectrum * gains)])
        buffer = np.pad(buffer[hop:], (0, hop))
        yield from ready()


def corrected(
    pieces: Iterable[Piece], config: MelConfig, sample_rate: int, times: int
) -> Iterator[Float32[np.ndarray, " hop"]]:
    """Return the sound of each piece, corrected so many times; see :func:`correct`."""
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
    """Return a whole sound, of as many hops as there are frames, corrected so many times."""
    pieces = zip(wave.reshape(len(mel), config.hop), mel, strict=True)
    return np.concatenate(list(corrected(pieces, config, sample_rate, times)))


def as_amplitude(sound: Float[np.ndarray, " samples"]) -> Float32[np.ndarray, " samples"]:
    """Return the sound within full scale, ±1."""
    return sound.clip(-1, 1).astype(np.float32)


def delay(config: MelConfig) -> int:
    """Return how many further frames the corrected sound of a frame waits for."""
    return 2 * -(-config.n_fft // (2 * config.hop)) - 1


def check_overlap(config: MelConfig) -> None:
    """Refuse windows that cannot be added up again.

    Raises:
        ValueError: If they overlap by less than half.
    """
    if 2 * config.hop > config.win_length:
        raise ValueError(
            f"hop = {config.hop} must be at most half of win_length = {config.win_length} for a "
            "sound to be corrected; give --corrections 0"
        )


class _Bands:
    """Levels of bands, and the gains of bins that change them."""

    def __init__(self, config: MelConfig, sample_rate: int):
        bank = mel_filters(config, sample_rate).double().numpy()
        self._to_bins, areas = interpolation(config, sample_rate)
        self._used = areas > 0
        self._bank = bank[self._used]

    def gains(self, spectrum: np.ndarray, mel: Frame) -> Float64[np.ndarray, " bins"]:
        """Return what to multiply a frame's bins with."""
        own = np.log(np.maximum((self._bank * np.abs(spectrum)).sum(1), FLOOR))
        change = (STEP * (mel[self._used] - own)).clip(-LARGEST, LARGEST)
        return np.exp(change @ self._to_bins)
