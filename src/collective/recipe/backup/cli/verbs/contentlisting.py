"""``bin/backup-list --content``: the contents of a restore point, line by line."""

from __future__ import annotations

import argparse
import os
import stat
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from collective.recipe.backup.amounts import size
from collective.recipe.backup.cli import moments
from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.errors import DONE, printable

if TYPE_CHECKING:
    from collective.recipe.backup.operations.inventory import InventoryItem
    from collective.recipe.backup.operations.run import Run


def list_contents(run: Run, namespace: argparse.Namespace, answers: Answers) -> int:
    """Write the contents of the restore point that *namespace* asks for."""
    from collective.recipe.backup.operations.inventory import inventory

    order = moments.order_of(run, namespace, filled=False)
    with inventory(run, order) as found:
        if not namespace.json:
            for item in found.items:
                answers.say(_line(item))
            return DONE
        with answers.long_document("contents") as write:
            for item in found.items:
                write(_as_json(item))
    return DONE


def _line(item: InventoryItem) -> str:
    file = item.file
    path = printable(os.fsdecode(file.path))
    if item.first:
        path += f" = {printable(os.fsdecode(item.first))}"
    if file.target:
        path += f" -> {printable(os.fsdecode(file.target))}"
    mode = stat.filemode(file.status.st_mode)
    return f"{mode}  {size(file.size):>8}  {_shown(file.time):19}  {path}"


def _shown(time: int) -> str:
    """Return a time as it is listed, "" if there is none."""
    return str(_moment(time).replace(tzinfo=None, microsecond=0)) if time else ""


def _moment(time: int) -> datetime:
    return datetime.fromtimestamp(time / 10**9, timezone.utc)


def _as_json(item: InventoryItem) -> dict[str, object]:
    file = item.file
    return {
        "storage": item.storage,
        "path": os.fsdecode(file.path),
        "sort": file.sort.value,
        "mode": f"{file.mode:04o}",
        "owner": file.owner,
        "group": file.group,
        "size": file.size,
        "changed": _moment(file.time).isoformat() if file.time else None,
        "target": os.fsdecode(file.target) if file.target else None,
        "same_as": os.fsdecode(item.first) if item.first else None,
    }
