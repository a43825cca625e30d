"""16 bits as two softmaxes over 8 bits (Kalchbrenner et al. 2018, section 2)."""

from samplewise.heads.staged_softmax import StagedSoftmaxHead
from samplewise.quantizers import FINE_LEVELS


class DualSoftmaxHead(StagedSoftmaxHead):
    """The coarse byte of a sample, then its fine byte given the coarse one."""

    def __init__(self):
        super().__init__(stages=2, levels=FINE_LEVELS)
