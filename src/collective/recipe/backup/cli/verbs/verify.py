"""``bin/backup-verify``."""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING

from collective.recipe.backup.amounts import number_of
from collective.recipe.backup.cli import messages, moments
from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.arguments import Verb, destination_flag, json_flag, place_flag
from collective.recipe.backup.cli.verbs.listing import source_as_json
from collective.recipe.backup.destinations import Depth
from collective.recipe.backup.errors import DONE, UsageError, printable
from collective.recipe.backup.model import Problem, Source

if TYPE_CHECKING:
    from fractions import Fraction

    from collective.recipe.backup.operations.run import Run
    from collective.recipe.backup.operations.verify import VerifyOrder

logger = logging.getLogger("backup")


def _declare(parser: argparse.ArgumentParser) -> None:
    moments.declare(parser, "look only at what this restore point needs (default: at everything)")
    parser.add_argument(
        "--depth",
        choices=[depth.value for depth in Depth],
        default=Depth.CHECKSUMS.value,
        help="how deep to look: names (every file is there, with its size), checksums (the "
        "default: every byte is read and compared), or records (every record can be loaded as "
        "well, and every blob that one names is there)",
    )
    parser.add_argument(
        "--sample",
        type=_share,
        metavar="PERCENT",
        help="read only so much of the files, and other ones each time until all were read; "
        "a file is read as a whole",
    )
    json_flag(parser)
    destination_flag(parser)
    place_flag(parser)
    moments.past_flag(parser)


def _share(text: str) -> Fraction:
    from fractions import Fraction

    try:
        share = Fraction(text.strip().removesuffix("%")) / 100
    except (ValueError, ZeroDivisionError):
        share = Fraction(0)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"a part like 1% or 0.5%, at most 100%, not {text!r}")
    return share


def _act(run: Run, namespace: argparse.Namespace, answers: Answers) -> int:
    from collective.recipe.backup.operations import verify

    depth = Depth(namespace.depth)
    if namespace.sample is not None and (depth is not Depth.CHECKSUMS or namespace.moment):
        raise UsageError(
            "--sample reads some of the files of all restore points, and compares checksums",
            hint="leave out --depth and the moment, or --sample",
        )
    order = verify.VerifyOrder(
        depth=depth,
        when=moments.asked_for(run, namespace),
        share=namespace.sample,
    )
    found: list[dict[str, object]] = []

    def tell(source: Source, problem: Problem) -> None:
        if namespace.json:
            found.append(_as_json(source, problem))
        else:
            answers.say(printable(str(problem)))

    verified = verify.verify(run, order, tell)
    error = verify.outcome(verified)
    if namespace.json:
        storages = [
            {
                **source_as_json(each.source),
                "restore_points": each.points,
                "problems": each.problems,
            }
            for each in verified
        ]
        answers.document(
            {
                "depth": depth.value,
                "moment": moments.as_json(order.when),
                "good": error is None,
                "storages": storages,
                "problems": found,
            }
        )
    if error is not None:
        messages.report(error)
        return error.exit_code
    but = " but what the site lacked" if any(each.lacking for each in verified) else ""
    words = _words(sum(each.points for each in verified), order)
    logger.info("%s, and nothing is wrong%s", words, but)
    return DONE


def _words(points: int, order: VerifyOrder) -> str:
    what = number_of(points, "restore point")
    if order.share is not None:
        return f"verified {float(order.share * 100):.3g} % of the files of {what}"
    return f"verified {what} to the depth of {order.depth.value}"


def _as_json(source: Source, problem: Problem) -> dict[str, object]:
    return {
        "storage": source.name,
        "where": problem.where,
        "what": problem.what,
        "hint": problem.hint,
    }


VERB = Verb(
    summary="look whether the backups are whole",
    description="Read the backups and compare them with what was written.  Nothing is changed.\n"
    "Each problem is a line: where, what, and what to do about it; then the exit code is 3.\n"
    "What an earlier restore point lacks, since the site lacked it then, is told as well,\n"
    "and does not change the exit code.",
    examples=(
        ("", "read everything and compare it"),
        ("--depth names", "look at names and sizes only, which takes a second"),
        ("--depth records 2026-03-01-12-30-05", "look at all that one restore point needs"),
        ("--quiet --sample 1%", "from cron each night: in a hundred nights everything is read"),
    ),
    declare=_declare,
    act=_act,
)
