"""The words for a restore that is broken off between its changes, and for the way on.

The site is a mixture then: part of it is what it was, part is restored.  A copy elsewhere has no
server that could be started on it, and a standby goes on by itself, so each has words of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from collective.recipe.backup.errors import BackupError, BrokenOff, from_os_error
from collective.recipe.backup.restoring.journal import read

logger = logging.getLogger("backup")


class Mixture(NamedTuple):
    """The words for what was broken off."""

    what: str  # that it was broken off, and what is a mixture now
    going_on: str  # what the user has to do
    in_copy: str  # what to do in a copy of the mixture; {command}: the command of a restore


OF_SITE = Mixture(
    what="broken off in the middle: part of the site is what it was, part is restored",
    going_on="keep it stopped and run the same command again, which finishes it; if that cannot "
    "be, --give-up sets it aside and says what is where",
    in_copy="run {command} --give-up, which sets aside what that restore left here and removes "
    "nothing, then {command} again, which restores this copy",
)
OF_DIRECTORY = Mixture(
    what="broken off in the middle: part of the directory is what it was, part is restored",
    going_on="run the same command again, which finishes it; or remove the directory, if it has "
    "nothing that you need, and begin anew",
    in_copy="restore to another directory; remove this one, if it has nothing that you need",
)
OF_STANDBY = Mixture(
    what="broken off in the middle of a round: part of the copy is what it was, part is newer",
    going_on="start the standby again or promote it: either one finishes that round first",
    in_copy="begin another standby elsewhere with --to; remove this copy, if it has nothing that "
    "you need",
)


@contextmanager
def mixture_told(journal: Path, mixture: Mixture = OF_SITE) -> Iterator[None]:
    """Say that there is a *mixture* where an error or an interrupt leaves one.

    Of an error that promises that nothing has changed it makes BrokenOff.
    """
    try:
        yield
    except BaseException as error:
        if not _is_mixture(journal):
            raise
        if isinstance(error, OSError):
            raise _broken_off(from_os_error(error), mixture) from error
        if isinstance(error, BackupError) and error.exit_code == BackupError.exit_code:
            raise _broken_off(error, mixture) from error
        logger.warning("%s; %s", mixture.what, mixture.going_on)
        raise


def _is_mixture(journal: Path) -> bool:
    try:
        return read(journal).is_pending
    except BackupError:  # the error under way is worth more
        return False


def _broken_off(error: BackupError, mixture: Mixture) -> BrokenOff:
    hint = "; ".join(filter(None, [error.hint, mixture.going_on]))
    return BrokenOff(f"{mixture.what}; {error.what}", where=error.where, hint=hint)
