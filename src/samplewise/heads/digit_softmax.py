"""16 bits as four softmaxes over 4 bits (Kalchbrenner et al. 2018, section 4.4)."""

from samplewise.heads.staged_softmax import StagedSoftmaxHead

DIGITS, DIGIT_LEVELS = 4, 16


class DigitSoftmaxHead(StagedSoftmaxHead):
    """The four digits of 4 bits of a sample, highest first."""

    def __init__(self):
        super().__init__(stages=DIGITS, levels=DIGIT_LEVELS)
