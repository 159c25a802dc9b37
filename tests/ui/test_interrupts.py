"""Which signals are a second interrupt: twice means twice a person."""

from __future__ import annotations

import signal
from signal import SIGHUP, SIGINT, SIGTERM

import pytest

from metalfoundry.model.errors import Terminated
from metalfoundry.transport.clock import FakeClock
from metalfoundry.ui.tasks.errors import Interrupts


def heard(*signals: tuple[float, int]) -> list[int]:
    """Which of them interrupt, when they come after so many seconds each."""
    clock, counted = FakeClock(), list[int]()
    handler = Interrupts(clock)
    for seconds, number in signals:
        clock.advance(seconds)
        try:
            handler(number, None)
        except KeyboardInterrupt as error:
            counted.append(error.signal if isinstance(error, Terminated) else signal.SIGINT)
    return counted


@pytest.mark.parametrize(
    "signals",
    [
        [(0, SIGHUP), (0.01, SIGHUP)],  # a terminal that is closed: from the kernel, and from the shell
        [(0, SIGHUP), (3, SIGHUP), (60, SIGHUP)],
        [(0, SIGHUP), (0.5, SIGTERM), (1, SIGHUP)],  # a session that dies
        [(0, SIGTERM), (0.001, SIGTERM)],  # timeout(1): to the process, and to its group
        [(0, SIGTERM), (0.001, SIGHUP)],  # a systemd scope
        [(0, SIGINT), (0.001, SIGINT)],  # a wrapper that hands Ctrl-C on
        [(0, SIGINT), (7.5, SIGTERM)],  # a CI runner that loses its patience
    ],
)
def test_one_wish_is_one_interrupt_however_many_signals_it_sends(signals: list[tuple[float, int]]) -> None:
    assert heard(*signals) == [signals[0][1]]


@pytest.mark.parametrize(
    "signals",
    [
        [(0, SIGINT), (0.3, SIGINT)],
        [(0, SIGHUP), (0.3, SIGINT)],
        [(0, SIGTERM), (1, SIGINT)],
        [(0, SIGTERM), (11, SIGTERM)],
        [(0, SIGHUP), (0.1, SIGHUP), (0.2, SIGINT)],
    ],
)
def test_a_person_who_insists_is_the_second(signals: list[tuple[float, int]]) -> None:
    assert heard(*signals) == [signals[0][1], signals[-1][1]]


def test_the_hand_that_goes_on_cuts_no_last_words_short() -> None:
    assert heard(*[(0.3, SIGINT)] * 6) == [SIGINT, SIGINT]
