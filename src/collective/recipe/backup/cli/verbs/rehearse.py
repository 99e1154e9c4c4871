"""``bin/backup-rehearse``."""

from __future__ import annotations

import argparse
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING

from collective.recipe.backup.amounts import duration, number_of, size
from collective.recipe.backup.cli import messages, moments
from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.arguments import Verb, destination_flag, json_flag, place_flag
from collective.recipe.backup.cli.verbs.listing import source_as_json
from collective.recipe.backup.errors import DONE, UsageError, printable

if TYPE_CHECKING:
    from collective.recipe.backup.operations.rehearse import Rehearsed
    from collective.recipe.backup.operations.run import Run

logger = logging.getLogger("backup")


def _declare(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    moments.declare(parser, "what to rehearse (default: the newest restore point)")
    which.add_argument(
        "--random", action="store_true", help="rehearse one restore point, chosen at random"
    )
    which.add_argument("--each", action="store_true", help="rehearse all of them, the newest first")
    parser.add_argument(
        "--scratch",
        type=Path,
        metavar="DIR",
        help="where there is room for what is restored (default: beside the backups)",
    )
    parser.add_argument(
        "--max-seconds",
        type=_seconds,
        metavar="N",
        help="stop after N seconds",
    )
    json_flag(parser)
    destination_flag(parser)
    place_flag(parser)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not (seconds > 0 and math.isfinite(seconds)):
        raise argparse.ArgumentTypeError(f"a number of seconds, more than 0, not {text!r}")
    return seconds


def _act(run: Run, namespace: argparse.Namespace, answers: Answers) -> int:
    import secrets

    from collective.recipe.backup.operations.rehearse import RehearseOrder, Which, outcome, rehearse

    if (namespace.moment or namespace.before) and (namespace.random or namespace.each):
        raise UsageError(
            "--random and --each take no moment", hint="leave out the moment, or the option"
        )
    when = moments.asked_for(run, namespace)
    which = Which.RANDOM if namespace.random else Which.EACH if namespace.each else Which.NEWEST
    order = RehearseOrder(
        which=which,
        when=when,
        scratch=namespace.scratch and namespace.scratch.absolute(),
        seconds=namespace.max_seconds,
        draw=secrets.choice,
    )
    done = rehearse(run, order, _tell)
    error = outcome(done, order)
    if namespace.json:
        rehearsals = [_as_json(each) for each in done]
        answers.document(
            {"good": error is None, "moment": moments.as_json(when), "rehearsals": rehearsals}
        )
    if error is not None:
        messages.report(error)
        return error.exit_code
    return DONE


def _tell(done: Rehearsed) -> None:
    stamp = done.choice.point.stamp
    if done.problem is not None:
        logger.error("%s failed: %s", stamp, done.problem)
        if done.problem.hint:
            logger.error("hint: %s", done.problem.hint)
    elif done.opened is None:
        came = "it was restored, but not all opened" if done.seconds else "it was not restored yet"
        logger.warning("the time was over before %s was done: %s", stamp, came)
    else:
        opened = done.opened
        logger.info(
            "%s is good: %s in %s, %s in %s; a restore takes %s, opening everything took %s",
            stamp,
            number_of(opened.objects, "object"),
            size(done.size),
            number_of(opened.blobs, "blob"),
            size(opened.blob_bytes),
            duration(done.seconds),
            duration(done.opening),
        )


def _as_json(done: Rehearsed) -> dict[str, object]:
    opened, problem = done.opened, done.problem
    return {
        **source_as_json(done.source),
        "stamp": done.choice.point.stamp,
        "outcome": "good" if opened else "failed" if problem else "out of time",
        "bytes": done.size,
        "objects": opened and opened.objects,
        "records": opened and opened.records,
        "blobs": opened and opened.blobs,
        "blob_bytes": opened and opened.blob_bytes,
        "restore_seconds": round(done.seconds, 3),
        "opening_seconds": round(done.opening, 3),
        "problem": problem
        and {"what": problem.what, "where": printable(problem.where), "hint": problem.hint},
    }


VERB = Verb(
    summary="restore to scratch and open everything",
    description="Restore a restore point to scratch, open it with ZODB, load every record, open\n"
    "every blob, say how long a restore takes, and remove it again.  The live site is not\n"
    "touched and may be running.  If anything fails, the exit code is 3.",
    examples=(
        ("", "rehearse the newest restore point"),
        ("--quiet --random --max-seconds 3600", "from cron: one at random, for an hour at most"),
        ("--scratch /mnt/big 2026-03-01", "rehearse the state at that moment, on another disk"),
    ),
    declare=_declare,
    act=_act,
)
