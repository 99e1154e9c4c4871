"""The polite requests to end, turned into an exception that takes back what is half done."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from collective.recipe.backup import times

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def as_interrupts() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP raise KeyboardInterrupt in the body, once.

    Not a BackupError: those who collect errors would go on.  What comes after the first is
    ignored, for then we are cleaning up already.  What our parent had told us to ignore, as
    ``nohup`` does, stays ignored.
    """
    try:
        before = {
            number: signal.signal(number, _end)
            for number in _SIGNALS
            if signal.getsignal(number) is not signal.SIG_IGN
        }
    except ValueError:
        # not the main thread: signals are somebody else's affair
        yield
        return
    try:
        with times.endable_pauses():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, _frame: object) -> NoReturn:
    for other in _SIGNALS:
        if signal.getsignal(other) is _end:
            signal.signal(other, _ignore)
    times.end_pauses()
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise KeyboardInterrupt(f"ended by {signal.Signals(number).name}")


def _ignore(_number: int, _frame: object) -> None:
    """Do nothing; unlike SIG_IGN this is not inherited by the programs that we start."""
