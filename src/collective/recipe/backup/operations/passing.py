"""Side work of a run: it reports on the run or looks after it, and never decides how it ends."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from collective.recipe.backup.errors import BackupError, from_os_error

logger = logging.getLogger("backup")


@contextmanager
def in_passing(what: str) -> Iterator[None]:
    """Log a warning that begins with *what* in the place of an error that the body raises."""
    try:
        yield
    except BackupError as error:
        logger.warning("%s: %s", what, error)
    except OSError as error:
        logger.warning("%s", from_os_error(error, what))
