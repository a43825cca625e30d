"""Damaged sound files for the fuzz: small valid files of many formats, and ways to break them."""

import io

import numpy as np
import soundfile as sf

FORMATS = {
    "wav-s16": ("WAV", "PCM_16"),
    "wav-s24": ("WAV", "PCM_24"),
    "wav-float": ("WAV", "FLOAT"),
    "wav-double": ("WAV", "DOUBLE"),
    "wav-ulaw": ("WAV", "ULAW"),
    "wav-ima": ("WAV", "IMA_ADPCM"),
    "wav-ms": ("WAV", "MS_ADPCM"),
    "wav-gsm": ("WAV", "GSM610"),
    "wavex": ("WAVEX", "PCM_16"),
    "rf64": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "caf-alac": ("CAF", "ALAC_16"),
    "flac": ("FLAC", "PCM_16"),
    "vorbis": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
"""Container and encoding, as libsndfile names them."""


def valid_file(name: str) -> bytes:
    """Half a second of a tone with noise in one format; 8 kHz mono, or 48 kHz stereo for Opus."""
    container, subtype = FORMATS[name]
    rate, channels = (48000, 2) if subtype == "OPUS" else (8000, 1)
    rng = np.random.default_rng(0)
    t = np.arange(rate // 2) / rate
    wave = 0.4 * np.sin(2 * np.pi * 300 * t) + 0.05 * rng.standard_normal(len(t))
    data = io.BytesIO()
    sf.write(data, np.repeat(wave[:, None], channels, 1), rate, subtype, format=container)
    return data.getvalue()


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Break a file in one of seven ways, headers more often than the rest."""
    broken = bytearray(data)
    way = rng.integers(7)
    where = int(rng.integers(min(len(broken), 200) if rng.random() < 0.6 else len(broken)))
    if way == 0:  # flip bits
        for _ in range(int(rng.integers(1, 9))):
            broken[int(rng.integers(len(broken)))] ^= 1 << int(rng.integers(8))
    elif way == 1:  # a field of all ones or zeros
        width = int(rng.choice([1, 2, 4, 8]))
        broken[where : where + width] = bytes([int(rng.choice([0, 0x7F, 0x80, 0xFF]))]) * width
    elif way == 2:  # random bytes
        width = int(rng.integers(1, 64))
        broken[where : where + width] = rng.bytes(width)
    elif way == 3:  # cut
        del broken[where:]
    elif way == 4:  # take out
        del broken[where : where + int(rng.integers(1, 100))]
    elif way == 5:  # repeat
        broken[where:where] = broken[: int(rng.integers(1, 500))]
    else:  # an extreme 32-bit number
        number = int(rng.choice([0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1]))
        order = "little" if rng.random() < 0.5 else "big"
        broken[where : where + 4] = number.to_bytes(4, order)
    return bytes(broken)
