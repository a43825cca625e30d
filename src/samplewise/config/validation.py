"""Checks of a configuration: limits of its values, and combinations that cannot be built."""

MAX_TIERS, MAX_DIM, MAX_Q, MAX_FRAME = 16, 65_536, 65_536, 1_048_576
MAX_TABLE, MAX_MASK = 2**28, 2**26
MAX_SUBSCALE, MAX_DILATION = 256, 4096
MAX_BLOCKS, MAX_LAYERS, MAX_COMPONENTS = 64, 16, 1024
MAX_THREADS = 1024
MAX_TEMPERATURE = 10.0
"""Beyond this every distribution is close to uniform noise."""


def check_range(name: str, value: int, low: int, high: int) -> None:
    """Refuse a value outside [low, high]."""
    if not low <= value <= high:
        raise ValueError(f"{name} = {value} must lie in [{low}, {high}]")


def check_at_least(name: str, value: int, least: int) -> None:
    """Refuse a value below ``least``."""
    if value < least:
        raise ValueError(f"{name} = {value} must be at least {least}")


def check_not_negative(name: str, value: float) -> None:
    """Refuse a value below 0, and NaN."""
    if not value >= 0:
        raise ValueError(f"{name} = {value} must not be negative")


def check_input_mask(dim: int, width: int) -> None:
    """Refuse gates whose input mask would not fit into memory.

    The mask is made before the weights of a model file are read.
    """
    check_range("3 x dim x inputs", 3 * dim * (3 + width), 1, MAX_MASK)


def check_q_levels(q_levels: int) -> None:
    """Refuse an impossible number of codes."""
    check_range("q_levels", q_levels, 2, MAX_Q)
    if q_levels % 2:
        raise ValueError(f"q_levels = {q_levels} must be even")


def check_dual_units(dim: int, parts: int, q_levels: int) -> None:
    """Refuse a WaveRNN whose units cannot be shared among the parts of a sample."""
    check_range("dim", dim, parts, MAX_DIM)
    if parts == 2 and dim % 2:
        raise ValueError(f"dim = {dim} must be even: its halves make coarse and fine bits")
    if dim % parts:
        raise ValueError(f"dim = {dim} must be a multiple of {parts}: its parts make 4 bits each")
    if q_levels != MAX_Q:
        raise ValueError(f"q_levels = {q_levels} must be {MAX_Q}: two codes of 8 bits")


def check_recurrent_stack(n_rnn: int, dim: int, skip: bool) -> None:
    """Refuse an impossible stack of recurrent layers."""
    check_range("n_rnn", n_rnn, 1, 5)
    check_range("dim", dim, 1, MAX_DIM)
    if skip and n_rnn == 1:
        raise ValueError("skip = True needs n_rnn > 1, but n_rnn = 1; add layers or drop skips")


def check_head(
    head: str,
    components: int,
    moments: tuple[float, float] | None,
    quantizer: str,
    sample_input: str,
) -> None:
    """Refuse a head that does not fit the rest of a model."""
    check_range("components", components, 1, MAX_COMPONENTS)
    if moments is not None and not (abs(moments[0]) <= 1 and 0 < moments[1] <= 1):
        raise ValueError(f"moments = {moments} must be a mean in [-1, 1], a deviation in (0, 1]")
    wrong = [
        f"{name} = {is_}, not {needed}"
        for name, is_, needed in (
            ("quantizer", quantizer, "linear"),
            ("sample_input", sample_input, "real"),
        )
        if head == "gmm" and is_ != needed
    ]
    if wrong:
        raise ValueError(
            f"head = gmm models real values, but {' and '.join(wrong)}; give --model.quantizer "
            "linear --model.sample-input real --model.q-levels 65536, or a preset such as "
            "paper-2tier-gmm"
        )


def check_dilated_stack(blocks: int, layers: int, channels: int, skip_channels: int) -> None:
    """Refuse an impossible stack of dilated layers."""
    check_range("blocks", blocks, 1, MAX_BLOCKS)
    check_range("layers", layers, 1, MAX_LAYERS)
    check_range("channels", channels, 1, MAX_DIM)
    check_range("skip_channels", skip_channels, 1, MAX_DIM)


def check_threads(threads: int | None) -> None:
    """Check a number of CPU threads; None leaves the choice to the program.

    Raises:
        ValueError: If it is below 1 or beyond any machine.
    """
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise ValueError(f"threads = {threads} must be at least 1 and at most {MAX_THREADS}")
