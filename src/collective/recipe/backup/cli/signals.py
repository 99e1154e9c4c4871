"""Requests to end (SIGTERM, Ctrl-C), turned into an exception, so that cleaning up happens."""

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

    It is no BackupError: rooms that collect errors would go on.  Later requests are ignored, in
    the body and after it, because the process is ending: ``timeout`` sends SIGTERM twice, and an
    impatient user presses Ctrl-C twice.  Signals that our parent had ignored, as ``nohup`` does,
    stay ignored.
    """
    try:
        before = {
            number: signal.signal(number, _end)
            for number in _SIGNALS
            if signal.getsignal(number) is not signal.SIG_IGN
        }
    except ValueError:
        # not the main thread: another one handles signals
        yield
        return
    try:
        with times.endable_pauses():
            yield
    finally:
        for number, handler in before.items():
            was_asked = signal.getsignal(number) is not _end
            # Python takes its own handlers away before it is gone, and leaves SIG_IGN
            signal.signal(number, signal.SIG_IGN if was_asked else handler)


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
