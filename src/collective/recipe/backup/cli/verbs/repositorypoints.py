"""``bin/backup-repository``: removed restore points come back, an older store is accepted."""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING

from collective.recipe.backup.amounts import age
from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.tables import Column, table
from collective.recipe.backup.errors import UsageError, printable

if TYPE_CHECKING:
    from collective.recipe.backup.destinations.configured import DestinationConfig
    from collective.recipe.backup.operations.run import Run

logger = logging.getLogger("backup")

COLUMNS = (Column(title="restore point"), Column(title="of"), Column(title="removed"))


def bring_back_points(
    run: Run, found: DestinationConfig, namespace: argparse.Namespace, answers: Answers
) -> None:
    """Bring back the restore points that the user names, or list those that can be."""
    if namespace.list == bool(namespace.point):
        raise UsageError(
            "undelete which restore points?",
            hint="add --list to see which can be brought back, or --point STAMP to bring one back",
        )
    if namespace.list:
        _list_removed(run, found, namespace, answers)
    else:
        _bring_back(run, found, namespace, answers)


def _list_removed(
    run: Run, found: DestinationConfig, namespace: argparse.Namespace, answers: Answers
) -> None:
    from collective.recipe.backup.operations.undelete import removed_points

    removed = removed_points(run, found)
    if namespace.json:
        rows = [
            {"site": each.site, "stamp": each.stamp, "removed": each.removed.isoformat()}
            for each in removed
        ]
        answers.document({"removed": rows})
    elif not removed:
        answers.say("no restore point can be brought back")
    else:
        lines = [
            [
                each.stamp,
                printable(each.site),
                f"{age((run.now - each.removed).total_seconds())} ago",
            ]
            for each in removed
        ]
        for line in table(COLUMNS, lines, answers.width):
            answers.say(line)


def _bring_back(
    run: Run, found: DestinationConfig, namespace: argparse.Namespace, answers: Answers
) -> None:
    from collective.recipe.backup.operations.undelete import undelete

    points = undelete(run, found, namespace.point)
    if namespace.json:
        rows = [{"site": point.site, "stamp": point.stamp} for point in points]
        answers.document({"brought_back": rows})
        return
    for point in points:
        logger.info("brought back %s of %s", point.stamp, printable(point.site))
    logger.warning(
        "the next backup removes again what no rule keeps: set repository_keep_within or another "
        "of these options first, or restore now"
    )


def accept_older_store(
    run: Run, found: DestinationConfig, namespace: argparse.Namespace, answers: Answers
) -> None:
    """Take a store that has gone back in time for what it is now."""
    from collective.recipe.backup.operations.undelete import accept_rollback

    accept_rollback(run, found)
    url = found.homes[-1].label
    if namespace.json:
        answers.document({"accepted": url})
    else:
        logger.info("%s is accepted as it is now; the next backup goes on there", printable(url))
