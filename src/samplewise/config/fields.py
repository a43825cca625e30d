"""Fields that configurations of several families share: their types and their help texts.

A configuration is flat, because command-line flags and model files name each field directly. What
families share is defined here; the checks are in :mod:`samplewise.config.validation`.
"""

from typing import Annotated, Literal

from typing_extensions import Doc

from samplewise.config.conditioning import ConditioningConfig

Cell = Annotated[
    Literal["gru", "gru-reset-after", "lstm"],
    Doc(
        "gru: reset before the product (Chung et al. 2014, the paper's); gru-reset-after: "
        "cuDNN's, faster on GPUs; lstm: forget bias 3."
    ),
]
Recurrence = Annotated[
    Literal["auto", "persistent", "phases", "cudnn", "eager"],
    Doc(
        "How recurrent layers run on a GPU. persistent: one Triton kernel for all steps; phases: a "
        "Triton kernel for each product of a step; cudnn: not for the cell gru; eager: PyTorch's "
        "operators; auto: persistent for gru in 16 bits, cudnn for the others. What cannot run is "
        "replaced by the next. On a CPU: eager, or else C++."
    ),
]
QuantizerName = Annotated[
    Literal["linear", "mulaw", "mulaw-midtread"],
    Doc(
        "Meaning of the codes: linear, mulaw (torchaudio's definition), or mulaw-midtread, that of "
        "models trained before it."
    ),
]
DualQuantizerName = Annotated[
    Literal["dual"], Doc("Meaning of the codes: 16 bits, coarse and fine.")
]
HeadName = Annotated[
    Literal["categorical", "gmm", "mol"],
    Doc(
        "categorical: a softmax over the codes; gmm: a mixture of Gaussians over the amplitude, a "
        "density (Table 2), for linear codes of 16 bits; mol: a mixture of logistics over the "
        "codes (SampleRNN)."
    ),
]
Moments = Annotated[
    tuple[float, float] | None,
    Doc(
        "Mean and standard deviation that amplitudes are normalised with; None: measured on the "
        "training split for a gmm head (section 3), else 0 and 0.5, as in the official code."
    ),
]
WeightNorm = Annotated[bool, Doc("Weight normalisation of every weight matrix (section 3).")]
LearnH0 = Annotated[bool, Doc("Learn the initial state of each recurrent layer (section 3).")]
Skip = Annotated[
    bool,
    Doc("Skip connections within each recurrent stack (official code; needs n_rnn > 1)."),
]
Init = Annotated[
    Literal["paper", "official"],
    Doc("paper: orthogonal hidden-to-hidden, He elsewhere; official: the released code's mixture."),
]
Conditioning = Annotated[
    ConditioningConfig | None,
    Doc("Inputs besides the model's own past: mel spectrograms, classes; see --mel and --labels."),
]


def head_width(head: HeadName, components: int, q_levels: int) -> int:
    """Return how many numbers describe the distribution of one sample."""
    return q_levels if head == "categorical" else 3 * components
