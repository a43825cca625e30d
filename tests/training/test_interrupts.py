import signal
import time

import pytest

from samplewise.training import interrupts
from samplewise.training.interrupts import Interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_request_is_noted_and_the_second_ends_at_once(number):
    before = signal.getsignal(number)
    with Interrupts() as request:
        assert not request.requested
        signal.raise_signal(number)
        assert request.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before
    assert signal.alarm(0) == 0


def test_a_step_that_takes_too_long_after_a_request_is_abandoned(monkeypatch):
    monkeypatch.setattr(interrupts, "GRACE_S", 1)
    with Interrupts():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            time.sleep(30)
