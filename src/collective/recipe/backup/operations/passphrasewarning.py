"""A warning if other users may read the file with the passphrase of the repositories."""

from __future__ import annotations

import logging
from contextlib import suppress

from collective.recipe.backup.operations.run import Run

logger = logging.getLogger("backup")


def warn_of_exposed_passphrase(run: Run) -> None:
    """Warn if other users may read the file with the passphrase, once in a process."""
    if run.config.options.repository_passphrase_file is None:
        return
    from collective.recipe.backup.destinations.repository.passphrases import EXPOSED, exposed_file

    path = None
    with suppress(OSError):  # the run that reads the file reports its problems
        path = exposed_file(run.config.options)
    if path is not None and EXPOSED not in run.told:
        run.told.add(EXPOSED)
        logger.warning("%s: chmod 600 %s", EXPOSED, path)
