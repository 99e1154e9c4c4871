"""The messages on stderr: ``INFO: text`` in lines that tools can parse, and errors with hints."""

from __future__ import annotations

import logging

from collective.recipe.backup.cli.screen import Screen
from collective.recipe.backup.errors import BackupError, Interrupted, from_os_error, printable

logger = logging.getLogger("backup")

_FORM = "%(levelname)s: %(message)s"


def set_up(screen: Screen) -> None:
    """Send the messages of all rooms to *screen*."""
    handler = _Handler(screen)
    handler.setFormatter(_Lines(_FORM))
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(logging.INFO)


def choose_level(*, quiet: bool, debug: bool) -> None:
    """Say less or more from now on; *quiet* wins."""
    if quiet:
        logger.setLevel(logging.WARNING)
    elif debug:
        logger.setLevel(logging.DEBUG)
        for handler in logger.handlers:
            handler.setFormatter(_Lines(f"%(asctime)s {_FORM}"))


def in_words(error: BaseException) -> BackupError:
    """Return *error* as one that says what, where and what to do."""
    if isinstance(error, BackupError):
        return error
    if isinstance(error, OSError):
        return from_os_error(error)
    if isinstance(error, KeyboardInterrupt):
        return Interrupted(
            str(error) or "interrupted",
            hint="what was half done is taken back; run the command again when it may go on",
        )
    logger.debug("where it comes from:", exc_info=error)
    if isinstance(error, MemoryError):
        return BackupError("there is not enough memory", hint="end other programs, or add memory")
    return BackupError(
        f"unexpected error: {type(error).__name__}: {error}",
        hint="run the command again with --debug, and report all that it says",
    )


def report(error: BackupError) -> None:
    """Say what went wrong."""
    logger.error("%s", error)
    if error.hint:
        logger.error("hint: %s", error.hint)


class _Handler(logging.Handler):
    """Writes each message above the changing last line of a screen."""

    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        self._screen.write(self.format(record) + "\n")


class _Lines(logging.Formatter):
    """A formatter that lets no name of a file write to the terminal what it likes."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(printable(line) for line in super().format(record).splitlines())
