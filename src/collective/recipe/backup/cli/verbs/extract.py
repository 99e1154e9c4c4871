"""``bin/backup-extract``."""

from __future__ import annotations

import argparse
import itertools
import logging
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from collective.recipe.backup.amounts import number_of
from collective.recipe.backup.cli import moments
from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.arguments import Verb, destination_flag, json_flag, place_flag
from collective.recipe.backup.cli.verbs.objects import asked_moment, asked_path, path_flag
from collective.recipe.backup.errors import DONE, IntegrityError, UsageError, printable
from collective.recipe.backup.model import MAIN

if TYPE_CHECKING:
    from collective.recipe.backup.operations.extract import Extracted
    from collective.recipe.backup.operations.run import Run

logger = logging.getLogger("backup")

SHOWN = 20
"""References that were cut of which each is named."""


def _declare(parser: argparse.ArgumentParser) -> None:
    moments.declare(parser, "as it was at this moment (default: the newest there is)")
    path_flag(parser)
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--file",
        type=Path,
        metavar="FILE",
        help="the export to write (default: the name of the object with .zexp, here)",
    )
    where.add_argument(
        "--to",
        type=Path,
        metavar="DIR",
        help="no export, but each blob as a file in this directory, by the name that the site has "
        "for it",
    )
    parser.add_argument(
        "--storage", default=MAIN, metavar="NAME", help="of which storage (default: the main one)"
    )
    json_flag(parser)
    destination_flag(parser)
    place_flag(parser)
    moments.past_flag(parser)


def _act(run: Run, namespace: argparse.Namespace, answers: Answers) -> int:
    from collective.recipe.backup.objects.paths import place_of
    from collective.recipe.backup.operations import extract
    from collective.recipe.backup.operations.objects import opened_objects
    from collective.recipe.backup.operations.usedplaces import refuse_within

    path = asked_path(namespace, is_needed=True)
    when = asked_moment(run, namespace)
    target = export_file(path, namespace.file)
    refuse_within(run.config, target if namespace.to is None else namespace.to.absolute())
    with opened_objects(run, when, namespace.storage) as opened:
        place = place_of(opened.objects, path)
        if namespace.to is not None:
            found = extract.extract_blobs(opened, place, namespace.to.absolute(), run.files)
            _tell_files(found.files, answers)
            _refuse_flaws(found.flaws)
        else:
            refuse_existing(target)
            tell_export(extract.extract(opened, place, target, run.files), target, answers)
    return DONE


def export_file(path: str, asked: Path | None) -> Path:
    """Return which file to write the export of *path* to: the one *asked* for, or by its name."""
    if not path.strip("/"):
        raise UsageError("the root is no part of a site", hint="name what is to be extracted")
    name = path.strip("/").rpartition("/")[2].lstrip(".-")
    return (asked or Path(f"{name}.zexp")).absolute()


def refuse_existing(target: Path) -> None:
    """Raise UsageError if there is a file *target*."""
    if target.exists():
        raise UsageError(
            "there is a file of this name already, and it is not overwritten",
            where=target,
            hint=f"name another one, such as --file {shlex.quote(_free_name(target))}",
        )


def _free_name(taken: Path) -> str:
    """Return the next name like *taken* that no file has, with a number before its suffix."""
    for number in itertools.count(2):
        name = f"{taken.stem}-{number}{taken.suffix}"
        if not taken.with_name(name).exists():
            return name
    raise AssertionError  # numbers do not end


def _tell_files(found: list[tuple[Path, str]], answers: Answers) -> None:
    if answers.json:
        files = [{"path": str(path), "content_type": kind or None} for path, kind in found]
        answers.document({"files": files})
        return
    for path, kind in found:
        answers.say(printable(f"{path}  {kind}".rstrip()))
    if not found:
        logger.warning("no blob was found in it, so nothing was written")


def _refuse_flaws(flaws: list[IntegrityError]) -> None:
    if flaws:
        lost = number_of(len(flaws), "object or blob", "objects or blobs")
        raise IntegrityError(
            f"not all blobs were written, for {lost} cannot be read; the first: {flaws[0]}",
            hint="the files that were written are whole; an earlier moment may have the others",
        )


def _cuts(done: Extracted) -> list[tuple[tuple[str, str, str], int]]:
    """Return the cut references, the most frequent first."""
    return sorted(done.cuts.items(), key=lambda it: (-it[1], it[0]))


def export_as_json(done: Extracted, target: Path) -> dict[str, object]:
    """Return what JSON says of the export *target*."""
    return {
        "file": str(target),
        "objects": done.objects,
        "blobs": done.blobs,
        "cuts": [
            {"name": name or None, "oid": oid or None, "class": kind or None, "times": it}
            for (name, oid, kind), it in _cuts(done)
        ],
    }


def tell_export(done: Extracted, target: Path, answers: Answers) -> None:
    """Say how much was written to *target*, and which references were cut."""
    if answers.json:
        answers.document(export_as_json(done, target))
        return
    cuts = _cuts(done)
    objects, blobs = number_of(done.objects, "object"), number_of(done.blobs, "blob")
    answers.say(f"{printable(str(target))}: {objects}, {blobs}")
    for (name, oid, kind), count in cuts[:SHOWN]:
        words = " ".join(filter(None, (name, "to", oid, kind)))
        answers.say(f"  cut {number_of(count, 'time')}: {printable(words)}")
    if len(cuts) > SHOWN:
        answers.say(f"  and {len(cuts) - SHOWN:,} more, see --json")


VERB = Verb(
    summary="take one thing out of a backup",
    description="Write an object as it was at a moment, with all that it holds and its blobs, to\n"
    "a file that Zope imports (.zexp), or only its blobs to files.  References that lead out of\n"
    "it are cut, and named.  The live site is not touched and may be running.",
    examples=(
        ("yesterday /Plone/news", "the folder as it was yesterday, 0:00 UTC, to news.zexp"),
        ("--before TID --path /Plone/news/logo --to here", "the file of that image"),
        ("--path 000000000000002a --file lost.zexp", "an object by its oid"),
    ),
    declare=_declare,
    act=_act,
)
