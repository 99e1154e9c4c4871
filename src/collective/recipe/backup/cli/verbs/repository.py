"""``bin/backup-repository``."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from collective.recipe.backup.amounts import number_of, size
from collective.recipe.backup.cli import messages
from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.arguments import Verb
from collective.recipe.backup.cli.contradictions import Contradiction
from collective.recipe.backup.cli.verbs.repositoryactions import (
    CHECK_STORE,
    EXAMPLES,
    check_options,
    declare_all,
    verbs_of,
)
from collective.recipe.backup.cli.verbs.repositorykeys import (
    add_key,
    change_key,
    list_keys,
    print_sheet,
    recover_keys,
    remove_key,
)
from collective.recipe.backup.cli.verbs.repositorypoints import (
    accept_older_store,
    bring_back_points,
)
from collective.recipe.backup.cli.verbs.storecheck import check_store
from collective.recipe.backup.errors import DONE, BackupError, UsageError, printable

if TYPE_CHECKING:
    from collective.recipe.backup.destinations.configured import DestinationConfig
    from collective.recipe.backup.operations.run import Run

logger = logging.getLogger("backup")

_NAMED = 20
"""Lines about losses that are printed at most."""


def _act(run: Run, namespace: argparse.Namespace, answers: Answers) -> int:
    from collective.recipe.backup.operations.repositoryaccess import repository_named

    if run.destination != "standard":
        raise UsageError("only the standard backups have repositories", hint="leave --of out here")
    check_options(namespace)
    if namespace.action == CHECK_STORE:
        return check_store(run, namespace, answers)
    found = repository_named(run, namespace.repository)
    error = ACTIONS_BY_NAME[namespace.action](run, found, namespace, answers)
    if error is None:
        return DONE
    messages.report(error)
    return error.exit_code


def _init(
    run: Run, found: DestinationConfig, namespace: argparse.Namespace, answers: Answers
) -> None:
    from collective.recipe.backup.operations.repositorycare import make

    made = make(run, found, encrypted=not namespace.unencrypted)
    url = found.homes[-1].label
    if namespace.json:
        answers.document({"repository": made, "url": url})
        return
    logger.info("made the repository %s at %s", made, printable(url))
    if not namespace.unencrypted:
        logger.info(
            "it cannot be read without its passphrase: print the recovery sheet now, and keep it "
            "where the backups are not"
        )


def _scrub(
    run: Run, found: DestinationConfig, namespace: argparse.Namespace, answers: Answers
) -> BackupError | None:
    from collective.recipe.backup.operations.repositorycare import damage_found, scrub_store

    scrubbed = scrub_store(run, found)
    if namespace.json:
        answers.document(
            {
                "objects": scrubbed.objects,
                "size": scrubbed.size,
                "damaged": list(scrubbed.damaged),
                "strange": list(scrubbed.strange),
            }
        )
    else:
        answers.say(f"{number_of(scrubbed.objects, 'object')}, {size(scrubbed.size)}")
        for name in scrubbed.damaged:
            answers.say(f"damaged: {printable(name)}")
        for name in scrubbed.strange:
            answers.say(f"not of a repository: {printable(name)}")
    return damage_found(scrubbed)


def _heal(
    run: Run, found: DestinationConfig, namespace: argparse.Namespace, answers: Answers
) -> BackupError | None:
    from collective.recipe.backup.operations.repositoryhealing import heal_bundles, loss_left

    healing = heal_bundles(run, found)
    done = healing.done
    if namespace.json:
        answers.document(
            {
                "mended": healing.mended,
                "weak": [{"object": each.name, "what": each.what} for each in healing.weak],
                "replaced": len(done.replaced),
                "found": done.found,
                "lost": [
                    {"what": each.what, "restore_points": list(each.points)}
                    for each in healing.lost
                ],
            }
        )
    else:
        answers.say(
            f"bundles stored again: {len(done.replaced):,}, pieces found elsewhere: {done.found:,}"
        )
        if healing.mended:
            answers.say(f"objects that the store has made whole again: {healing.mended:,}")
        for weak in healing.weak[:_NAMED]:
            answers.say(f"still weak: {printable(weak.name)}: {weak.what}")
        if len(healing.weak) > _NAMED:
            answers.say(f"and {len(healing.weak) - _NAMED:,} more that are weak: --json names all")
        for each in healing.lost[:_NAMED]:
            answers.say(f"lost: {each.what}, of {', '.join(map(printable, each.points))}")
        if len(healing.lost) > _NAMED:
            answers.say(f"and {len(healing.lost) - _NAMED:,} more: --json names all")
    return loss_left(healing)


def _stat(
    run: Run, found: DestinationConfig, namespace: argparse.Namespace, answers: Answers
) -> None:
    from collective.recipe.backup.operations.repositorycare import look_through

    numbers = look_through(run, found)
    sites: dict[str, int] = {}
    for point in numbers.standing.readable:
        sites[point.site] = sites.get(point.site, 0) + 1
    bundles = numbers.bundles
    if namespace.json:
        answers.document(
            {
                "objects": {name: each.objects for name, each in numbers.kinds.items()},
                "sizes": {name: each.size for name, each in numbers.kinds.items()},
                "sites": sites,
                "needed": bundles.used,
                "stored": bundles.stored,
            }
        )
        return
    for name, each in sorted(numbers.kinds.items()):
        answers.say(f"{name}: {each.objects:,}, {size(each.size)}")
    answers.say(f"needed of the bundles: {size(bundles.used)} of {size(bundles.stored)}")
    for site, count in sorted(sites.items()):
        answers.say(f"restore points of {printable(site)}: {count:,}")


def _collect(
    run: Run, found: DestinationConfig, namespace: argparse.Namespace, answers: Answers
) -> None:
    from collective.recipe.backup.operations import repositorycare as care

    if namespace.dry_run:
        plan = care.plan_collection(run, found)
        going, marked = plan.size(plan.sweep), plan.size(plan.condemn)
        moved = plan.moved
    else:
        done = care.collect_unneeded(run, found, certain=namespace.yes)
        going, marked, moved = done.removed_bytes, done.marked_bytes, done.plan.moved
    if namespace.json:
        answers.document(
            {
                "dry_run": namespace.dry_run,
                "removed": going,
                "marked": marked,
                "moved": moved,
            }
        )
        return
    words = ("would be removed", "would be marked") if namespace.dry_run else ("removed", "marked")
    answers.say(f"{size(going)} {words[0]}, {size(moved)} repacked")
    answers.say(f"{size(marked)} {words[1]}: the next collect after two days removes that")


def _copy(
    run: Run, found: DestinationConfig, namespace: argparse.Namespace, answers: Answers
) -> None:
    from collective.recipe.backup.operations.repositoryaccess import repository_named
    from collective.recipe.backup.operations.repositorycare import copy_points

    if namespace.to is None:
        raise UsageError(
            "copy to which repository?",
            hint="add --to NAME, the name of another line of the option repository",
        )
    target = repository_named(run, namespace.to)
    points = copy_points(run, found, target, dry_run=namespace.dry_run)
    if namespace.json:
        rows = [{"site": point.site, "stamp": point.stamp} for point in points]
        answers.document({"dry_run": namespace.dry_run, "copied": rows})
        return
    words = "would be copied" if namespace.dry_run else "copied"
    answers.say(f"restore points that are {words}: {len(points):,}")


_Action = Callable[["Run", "DestinationConfig", argparse.Namespace, Answers], "BackupError | None"]
"""Carries out an action; returns the problem that it found, after it was reported."""

ACTIONS_BY_NAME: dict[str, _Action] = {
    "init": _init,
    "stat": _stat,
    "scrub": _scrub,
    "heal": _heal,
    "collect": _collect,
    "copy": _copy,
    "undelete": bring_back_points,
    "accept-rollback": accept_older_store,
    "keys": list_keys,
    "add-key": add_key,
    "change-key": change_key,
    "remove-key": remove_key,
    "sheet": print_sheet,
    "recover": recover_keys,
}

VERB = Verb(
    summary="make a repository, and care for it",
    description="Make a repository, look through it, and remove what nothing needs any more.\n"
    "The option repository says where it is; each backup is made there as well.",
    examples=EXAMPLES,
    declare=declare_all,
    act=_act,
    everywhere=True,
    actions=verbs_of(_act),
    contradictions=(
        Contradiction(("--html",), ("--json",), "the page is not JSON: ask for one of them"),
    ),
)
