"""The answers of commands on stdout, as text or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

from collective.recipe.backup.cli.screen import Screen
from collective.recipe.backup.errors import BackupError, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1
"""Version of the JSON; docs/reference/json.rst describes it.  Keys may be added, not changed."""

NAGIOS_UNKNOWN = 3
"""Exit code for Nagios of a plugin that could not find out."""


class Answers:
    """Standard output.  With *json* it gets exactly one document, with *nagios* one line.

    A reader who leaves early (``head``) is no error: the rest is dropped, and the exit code
    is that of the command.
    """

    def __init__(
        self, stream: TextIO | None, screen: Screen, *, json: bool, nagios: bool = False
    ) -> None:
        self.screen = screen
        self.json = json
        self.nagios = nagios
        self._stream = stream
        self._is_within = False  # a long document has begun and not ended

    @property
    def width(self) -> int | None:
        """The columns of the terminal that this is shown on, None if it is not on one."""
        return self.screen.width if self._stream is not None and self._stream.isatty() else None

    def say(self, text: str) -> None:
        """Write *text* and a line end.  Raises OSError where that cannot be stored."""
        if self._stream is None:
            return
        with self.screen.cleared():
            try:
                # no path may hold what the stream cannot encode
                data = f"{text}\n".encode(self._stream.encoding or "utf-8", "backslashreplace")
                self._stream.write(data.decode(self._stream.encoding or "utf-8"))
                self._stream.flush()
            except BrokenPipeError:
                self._give_up()
            except OSError:
                self._give_up()
                raise

    def _give_up(self) -> None:
        """Write no more, and let Python not try it again when it ends, with a code of its own."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with suppress(OSError, ValueError):
                stream.close()

    def write(self, data: bytes | memoryview) -> None:
        """Write *data* as it is.  Raises OSError, also if the reader has left early."""
        if self._stream is not None:
            try:
                self._stream.buffer.write(data)
            except OSError:
                self._give_up()
                raise

    def finish(self) -> None:
        """Make sure that all of it was taken.  Raises OSError."""
        if self._stream is not None:
            try:
                self._stream.buffer.flush()
            except OSError:
                self._give_up()
                raise

    def document(self, content: Mapping[str, object]) -> None:
        """Write *content* as the JSON of this command."""
        self.say(json.dumps({"format": FORMAT, **content}, indent=2))

    @contextmanager
    def long_document(self, name: str) -> Iterator[Callable[[Mapping[str, object]], None]]:
        """Write one document whose list *name* is as long as it likes, item by item.

        Yield what takes an item.  An error on the way is a key of that document.
        """
        between = " "

        def write(item: Mapping[str, object]) -> None:
            nonlocal between
            self.say(f"{between} {json.dumps(item)}")
            between = ","

        self.say(f'{{"format": {FORMAT}, "{name}": [')
        self._is_within = True
        yield write
        self._is_within = False
        self.say("]}")

    def error(self, error: BackupError) -> int:
        """Write *error* as JSON or for Nagios, if that was asked for; return the exit code."""
        if self.nagios:
            self.say(f"BACKUP UNKNOWN - {for_nagios(str(error))}")
            return NAGIOS_UNKNOWN
        if self.json:
            if self._is_within:
                self.say(f'], "error": {json.dumps(error_as_json(error))}}}')
            else:
                self.document({"error": error_as_json(error)})
        return error.exit_code


def error_as_json(error: BackupError) -> dict[str, object]:
    """Return an error as an object of JSON."""
    return {
        "what": str(error),
        "where": error.where,
        "hint": error.hint,
        "kind": type(error).__name__,
        "exit_code": error.exit_code,
    }


def for_nagios(text: str) -> str:
    """Return *text* in one line, without characters that mean something to Nagios."""
    return printable(" ".join(text.split())).replace("|", "/").replace("'", "")
