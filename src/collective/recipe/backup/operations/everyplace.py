"""A backup to every place of a run: how each went, and what that comes to.

The directories come first, and alone: what they lack of room or of rights is nobody else's
matter, and a site has its backup on its own machine as soon as it can.  Then come the
repositories, side by side.  With a limit on the number of requests one comes after the other,
so that a small number is enough for one of them.

One that fails stops no other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from collective.recipe.backup.destinations import Outcome
from collective.recipe.backup.destinations.configured import REPOSITORY
from collective.recipe.backup.errors import (
    BackupError,
    IntegrityError,
    Interrupted,
    from_os_error,
)
from collective.recipe.backup.history import INCOMPLETE
from collective.recipe.backup.operations.hooks import Account
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.times import monotonic

logger = logging.getLogger("backup")

BackUpOne = Callable[[Run], list[Outcome]]
"""Backs up to the one place of a run; returns what was made of each source."""


class _Ended(NamedTuple):
    """The result at one place."""

    run: Run  # for this place
    outcomes: list[Outcome]  # one for each source
    failure: BackupError | None  # None: it did not fail, though the site may lack something
    seconds: float  # that it took


def back_up_everywhere(
    run: Run, back_up_one: BackUpOne, account: Account
) -> tuple[list[Outcome], list[BackupError]]:
    """Back up to each place of *run*; return the outcomes and the errors, in their order.

    The *account* gets the result of the first place that did not fail, and one for each place.
    """
    outcomes: list[Outcome] = []
    failures: list[BackupError] = []
    for ended in _all(run, back_up_one):
        here = Account()
        if ended.failure is not None:
            failures.append(ended.failure)
            here.found_wrong(ended.failure)
        else:
            here.backed_up(run.config.sources, ended.outcomes)
            if not outcomes:
                account.backed_up(run.config.sources, ended.outcomes)
            outcomes += ended.outcomes
            lacking = incomplete(ended.outcomes)
            if lacking is not None:
                here.found_wrong(lacking, outcome=INCOMPLETE)
        if run.places:
            account.places[ended.run.label] = here.result(ended.seconds)
    return outcomes, failures


def _all(run: Run, back_up_one: BackUpOne) -> list[_Ended]:
    runs = run.beside if run.everywhere else (run,)
    repositories = [each for each in runs if each.configured.kind == REPOSITORY]
    if len(repositories) < 2 or run.allowance.is_counted:
        return [_one(each, back_up_one) for each in runs]
    # what threads need is imported where there are some
    from collective.recipe.backup.operations.sidebyside import ABREAST, Endable, side_by_side

    ended = [_one(each, back_up_one) for each in runs if each not in repositories]
    abreast = [
        replace(each, abreast=ABREAST, progress=Endable(each.progress.beside(each.label)))
        for each in repositories
    ]
    return ended + side_by_side([partial(_one, each, back_up_one) for each in abreast])


def _one(run: Run, back_up_one: BackUpOne) -> _Ended:
    """Back up to the place of *run*, and say how it went.  Raises Interrupted."""
    began = monotonic()
    outcomes: list[Outcome] = []
    failure: BackupError | None = None
    try:
        outcomes = back_up_one(run)
    except Interrupted:
        raise
    except (BackupError, OSError) as error:
        failure = error if isinstance(error, BackupError) else from_os_error(error)
    return _Ended(run, outcomes, failure, monotonic() - began)


def tell_failure(failure: BackupError) -> None:
    """Tell of the failure of one place of several, which does not end the run."""
    logger.error("%s", failure)
    if failure.hint:
        logger.error("hint: %s", failure.hint)


def incomplete(outcomes: Sequence[Outcome]) -> IntegrityError | None:
    """Return the error that says what the restore points lack, or the site; None if nothing."""
    # several places may lack the same
    problems = dict.fromkeys(it for outcome in outcomes for it in outcome.point.problems)
    doubts = dict.fromkeys(it for outcome in outcomes for it in outcome.point.doubts)
    if not problems and not doubts:
        return None
    hint = (
        "everything else is backed up, and the next backup tries these again: make them "
        "readable, or look for them in older backups"
    )
    if not problems:
        hint = (
            "the restore point is whole, with all blobs as they were: correct the site, as the "
            "messages say, or restore the blobs; --accept-changed-blobs takes changed ones as "
            "they are now"
        )
    return IntegrityError("; ".join([*problems, *doubts]), hint=hint)
