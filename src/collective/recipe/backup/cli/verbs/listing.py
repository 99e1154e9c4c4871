"""``bin/backup-list``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from collective.recipe.backup import times
from collective.recipe.backup.amounts import size
from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.arguments import Verb, json_flag
from collective.recipe.backup.errors import DONE, printable
from collective.recipe.backup.operations.run import Run

if TYPE_CHECKING:
    from collective.recipe.backup.operations.listing import Listed


def _act(run: Run, namespace: argparse.Namespace, answers: Answers) -> int:
    from collective.recipe.backup.operations.listing import list_points

    listed = list_points(run)
    if namespace.json:
        answers.document({"storages": [_as_json(each) for each in listed]})
    else:
        for each in listed:
            answers.say(_as_text(each))
    return DONE


def _as_json(listed: Listed) -> dict[str, object]:
    return {
        "storage": listed.source.name,
        "filestorage": str(listed.source.filestorage),
        "restore_points": [
            {
                "stamp": point.stamp,
                "kind": "full" if point.full else "incremental",
                "chain": point.chain,
                "size": point.end,
                "stored": point.stored,
                "tid": point.tid and times.show_tid(point.tid),
                "blobs": point.blobs,
                "whole": point.whole,
                "restorable": point.restorable,
                "problems": list(point.problems),
            }
            for point in listed.points
        ],
        "moments": [
            {"first": span.first.isoformat(), "last": span.last.isoformat()}
            for span in listed.ranges
        ],
    }


def _as_text(listed: Listed) -> str:
    lines = [f"{'restore point':<21}{'kind':<13}{'stored':>10}{'restores':>10}  state"]
    if not listed.points:
        return f"no restore points of {printable(str(listed.source.filestorage))} yet"
    for point in listed.points:
        kind = "full" if point.full else "incremental"
        state = "whole" if point.whole else "; ".join(point.problems)
        lines.append(
            f"{point.stamp:<21}{kind:<13}{size(point.stored):>10}{size(point.end):>10}  {state}"
        )
    lines.append("Any moment in these ranges can be restored (UTC):")
    lines.extend(
        f"  {times.stamp(span.first)} to {times.stamp(span.last)}" for span in listed.ranges
    )
    return "\n".join(lines)


VERB = Verb(
    summary="list what can be restored",
    description="List the restore points, and the moments that can be restored.",
    examples=(("", "list them"), ("--json", "the same for a program")),
    declare=json_flag,
    act=_act,
)
