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


def test_the_signal_of_a_scheduler_is_passed_on_once_training_has_saved():
    calls = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: calls.append(number))
    try:
        with Interrupts() as interrupts:
            signal.raise_signal(signal.SIGUSR2)
            assert interrupts.requested
            assert not calls
        assert calls == [signal.SIGUSR2]
    finally:
        signal.signal(signal.SIGUSR2, before)
    with Interrupts():
        assert signal.getsignal(signal.SIGUSR2) == before  # nobody waits for it
