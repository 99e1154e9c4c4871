"""Standard error: messages, and on a terminal a last line that changes below them."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

_USUAL = 80
_ERASE = "\r\x1b[K"  # to the begin of the line, and what was there is gone


def columns() -> int:
    """Return how wide the terminal is, 80 if there is none; COLUMNS in the environment wins.

    As shutil has it, of which the import takes longer than all else that a script prints.
    """
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked):
        return int(asked)
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or _USUAL  # type: ignore[union-attr]
    except (AttributeError, ValueError, OSError):  # no stream, a closed one, or no terminal
        return _USUAL


class Screen:
    """A stream of lines, with one more that changes if it is a terminal.

    Any thread may write.  Errors of the stream (a reader who left, a full disk, a closed stream)
    are dropped, because there is no other place to report them.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._lock = threading.RLock()
        self._shown = ""

    @property
    def changes(self) -> bool:
        """Tell whether the last line can change."""
        if os.environ.get("TERM") == "dumb":
            return False
        try:
            return self._stream is not None and self._stream.isatty()
        except ValueError:  # closed
            return False

    @property
    def width(self) -> int:
        """The columns that a line may fill."""
        return max(20, columns() - 1)

    def write(self, text: str) -> None:
        """Write lines above the last one."""
        with self.cleared():
            self._put(text)

    def show(self, line: str) -> None:
        """Let the last line be *line*; empty to remove it."""
        with self._lock:
            if line != self._shown:
                # in one piece, so that nothing flickers; the old line is written over
                self._put(f"\r{line}\x1b[K" if line else _ERASE)
                self._shown = line

    @contextmanager
    def cleared(self) -> Iterator[None]:
        """Remove the last line while the body writes, and bring it back."""
        with self._lock:
            shown = self._shown
            self.show("")
            try:
                yield
            finally:
                self.show(shown)

    def _put(self, text: str) -> None:
        if self._stream is not None:
            with suppress(OSError, ValueError):
                self._stream.write(text)
                self._stream.flush()
