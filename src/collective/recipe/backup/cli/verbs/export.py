"""``bin/backup-export``."""

from __future__ import annotations

import argparse
from contextlib import suppress
from typing import TYPE_CHECKING

from collective.recipe.backup.cli import moments
from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.arguments import Verb, destination_flag, place_flag
from collective.recipe.backup.errors import DONE, UsageError

if TYPE_CHECKING:
    from collective.recipe.backup.operations.run import Run


def _declare(parser: argparse.ArgumentParser) -> None:
    moments.declare(parser, "what to export", with_path=True)
    parser.add_argument(
        "--tar", action="store_true", required=True, help="as a tar archive (pax), the only form"
    )
    destination_flag(parser)
    place_flag(parser)
    moments.past_flag(parser)


def _act(run: Run, namespace: argparse.Namespace, answers: Answers) -> int:
    from collective.recipe.backup.operations.inventory import inventory
    from collective.recipe.backup.operations.tarstream import TarStream

    if answers.width is not None:
        raise UsageError(
            "an archive is not written to a terminal",
            hint="write it to a file with > FILE, or give it to another program with |",
        )
    order = moments.order_of(run, namespace, filled=True)
    with inventory(run, order) as found, run.progress.phase("exporting", found.size) as advance:

        def write(data: bytes | memoryview) -> None:
            answers.write(data)
            advance(len(data))

        # a reader that has read enough is no error
        with suppress(BrokenPipeError):
            stream = TarStream(write)
            for item in found.items:
                stream.add(item)
            stream.finish()
            answers.finish()
    return DONE


VERB = Verb(
    summary="write a restore point as a tar archive",
    description="Write the newest restore point, or the state at a MOMENT, to the standard "
    "output as a tar archive,\nor only what lies at a PATH in it.  It has filestorage/Data.fs, the "
    "blobs below blobstorage,\nand further files below files.  GNU tar and bsdtar unpack it.\n"
    "Nothing is changed, and the site may be running.",
    examples=(
        ("--tar > site.tar", "the newest restore point"),
        (
            "--tar 2026-03-01-12-30 | ssh host tar -x",
            "unpack the state at that moment there",
        ),
        ("--tar --from repository /etc/nginx | tar -x", "further files below /etc/nginx"),
    ),
    declare=_declare,
    act=_act,
)
