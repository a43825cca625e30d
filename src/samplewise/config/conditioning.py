"""Conditioning of a model on mel spectrograms and on a class, without torch."""

from dataclasses import dataclass

from samplewise.config.validation import check_range

MAX_MELS, MAX_FFT, MAX_CLASSES, MAX_WIDTH, MAX_LAYERS = 512, 65_536, 65_536, 8192, 16
LPC_ORDER = 192
"""Of a vocoder: more than a period of most voices at 16 kHz (docs/vocode.md)."""
FOREVER = 2**31 - 1
"""Samples that a vector of a class alone is held for: 37 hours at 16 kHz, then the next begins."""


@dataclass(frozen=True)
class MelConfig:
    """Mel spectrogram; the defaults are those that most vocoders and text-to-mel models share.

    Values are ln(max(m, 1e-5)) of magnitudes m under Slaney's mel filters, each of unit area, from
    centred Hann windows over a signal that is silent before and after itself.
    """

    n_mels: int = 80
    """Bands."""
    n_fft: int = 1024
    """Length of the transform, in samples."""
    win_length: int = 1024
    """Length of the window, in samples; at most n_fft."""
    hop: int = 256
    """Samples between the centres of two frames; frame i stands for samples i hop to (i+1) hop."""
    f_min: float = 0.0
    """Lower edge of the lowest band, Hz."""
    f_max: float | None = 8000.0
    """Upper edge of the highest band, Hz; None, or above it: half the sample rate."""

    def __post_init__(self) -> None:
        """Check that there can be such frames."""
        check_range("n_mels", self.n_mels, 1, MAX_MELS)
        check_range("n_fft", self.n_fft, 16, MAX_FFT)
        check_range("win_length", self.win_length, 2, self.n_fft)
        check_range("hop", self.hop, 1, MAX_FFT)
        if not 0 <= self.f_min < (self.f_max or float("inf")):
            raise ValueError(f"f_min, f_max = {self.f_min}, {self.f_max} Hz must be in order")


@dataclass(frozen=True)
class ConditioningConfig:
    """Conditioning inputs, and the small network that encodes them (nn/conditioning.py)."""

    mel: MelConfig | None = None
    """Parameters of mel spectrograms; None without them."""
    classes: tuple[str, ...] = ()
    """Names of speakers or of other classes; empty without them."""
    channels: int = 128
    """Width of the network over frames."""
    layers: int = 2
    """Residual convolutions over three frames each: a vector sees so many frames to either side,
    and one more."""
    upsampling: int = 4
    """Vectors made of each frame; divides the hop."""
    width: int = 64
    """Width of the vectors that enter the model."""
    lpc_order: int = 0
    """Samples that a linear prediction from the mel spectrogram looks back; the model draws what it
    leaves, the excitation (audio/lpc.py). 0: it draws the sound itself. For WaveRNN."""

    def __post_init__(self) -> None:
        """Check that every size is possible."""
        if self.mel is None and not self.classes:
            raise ValueError("conditioning needs mel parameters, or classes, or both")
        if len(set(self.classes)) != len(self.classes) or len(self.classes) > MAX_CLASSES:
            raise ValueError(f"the {len(self.classes)} classes must have different names")
        check_range("channels", self.channels, 1, MAX_WIDTH)
        check_range("layers", self.layers, 0, MAX_LAYERS)
        check_range("width", self.width, 1, MAX_WIDTH)
        check_range("upsampling", self.upsampling, 1, MAX_FFT)
        check_range("lpc_order", self.lpc_order, 0, self.mel.n_fft // 2 if self.mel else 0)
        if self.mel is not None and self.mel.hop % self.upsampling:
            raise ValueError(
                f"upsampling = {self.upsampling} must divide the hop of {self.mel.hop} samples"
            )

    @property
    def context(self) -> int:
        """Frames to either side that a vector depends on."""
        return self.layers + 1 if self.mel is not None else 0

    @property
    def hold(self) -> int:
        """Samples that a vector stays in force for."""
        return FOREVER if self.mel is None else self.mel.hop // self.upsampling


def check_no_lpc(conditioning: ConditioningConfig | None) -> None:
    """Refuse linear prediction: the codes of this family do not have 16 bits.

    Raises:
        ValueError: If the conditioning asks for it.
    """
    if conditioning is not None and conditioning.lpc_order:
        raise ValueError(
            f"lpc_order = {conditioning.lpc_order} must be 0: only a WaveRNN draws excitations"
        )
