"""``bin/backup-prune``."""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING

from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.arguments import Verb, destination_flag, json_flag, place_flag
from collective.recipe.backup.cli.tables import Column, table
from collective.recipe.backup.cli.verbs.listing import point_as_json, source_as_json
from collective.recipe.backup.errors import DONE
from collective.recipe.backup.model import MAIN

if TYPE_CHECKING:
    from collective.recipe.backup.operations.prune import Pruned
    from collective.recipe.backup.operations.run import Run

logger = logging.getLogger("backup")

COLUMNS = (Column(title="restore point"), Column(title="chain"), Column(title="decision"))
WHY = Column(title="why")


def _declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would happen, and change nothing"
    )
    parser.add_argument(
        "--clock-is-right",
        action="store_true",
        help="trust the clock although it has leapt or gone back: see first that it is right",
    )
    parser.add_argument(
        "--yes",
        action="store_true",
        help="remove also more than half of the restore points of a site from a repository, or "
        "the last one: look first with --dry-run",
    )
    json_flag(parser)
    destination_flag(parser)
    place_flag(parser)


def _act(run: Run, namespace: argparse.Namespace, answers: Answers) -> int:
    from collective.recipe.backup.operations import prune

    certain = namespace.clock_is_right
    if namespace.dry_run:
        pruned = prune.plan(run, certain=certain)
    else:
        pruned = prune.prune(run, certain=certain, yes=namespace.yes)
    if namespace.json:
        answers.document(
            {"dry_run": namespace.dry_run, "storages": [_as_json(each, run) for each in pruned]}
        )
    elif namespace.dry_run:
        for each in pruned:
            answers.say(_as_text(each, answers.width))
    elif not any(each.plan.removed for each in pruned):
        logger.info("nothing to remove")
    return DONE


def _as_json(pruned: Pruned, run: Run) -> dict[str, object]:
    return {
        **source_as_json(pruned.source),
        "doubt": pruned.plan.doubt or None,
        "restore_points": [
            {
                **point_as_json(made.point, run.now),
                "kept": made.kept,
                "reasons": list(made.reasons),
            }
            for made in pruned.plan.decisions
        ],
    }


def _as_text(pruned: Pruned, width: int | None) -> str:
    rows = [
        [
            made.point.stamp,
            made.point.chain,
            "stays" if made.kept else "goes",
            "; ".join(made.reasons),
        ]
        for made in pruned.plan.decisions
    ]
    head = [] if pruned.source.name == MAIN else [f"\nStorage {pruned.source.name}:"]
    if not rows:
        return "\n".join([*head, "there are no restore points"])
    return "\n".join([*head, *table((*COLUMNS, WHY), rows, width)])


VERB = Verb(
    summary="remove the restore points that no rule keeps",
    description="Remove the restore points that no rule keeps; each backup does so as well.\n"
    "The rules are the options keep, keep_hourly, keep_daily, keep_weekly, keep_monthly,\n"
    "keep_yearly and keep_within.  The newest good restore point always stays.\n"
    "While the clock has just leapt or gone back, nothing is removed until it has proved right.",
    examples=(
        ("--dry-run", "say of each restore point whether it stays, and why"),
        ("", "remove them"),
    ),
    declare=_declare,
    act=_act,
)
