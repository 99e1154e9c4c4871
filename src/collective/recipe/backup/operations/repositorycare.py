"""Care for a repository as a whole, which other sites may share: made, looked at, tidied up."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from collective.recipe.backup.amounts import number_of
from collective.recipe.backup.config.repositories import local_path
from collective.recipe.backup.destinations import damage
from collective.recipe.backup.destinations.configured import DestinationConfig
from collective.recipe.backup.errors import (
    ConfigurationError,
    IntegrityError,
    StoreUnreachable,
    UsageError,
)
from collective.recipe.backup.mounts import EXPECTED, absent_mount
from collective.recipe.backup.operations.damagememory import remember_objects
from collective.recipe.backup.operations.repositoryaccess import (
    opened_place,
    opened_repository,
    passphrase_of,
    place_of,
)
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.stores.opening import store_at

if TYPE_CHECKING:
    from collective.recipe.backup.repository.collecting import Collected
    from collective.recipe.backup.repository.plans import CollectPlan
    from collective.recipe.backup.repository.points import Point
    from collective.recipe.backup.repository.scrubbing import Scrubbed
    from collective.recipe.backup.repository.totals import Numbers


def make(run: Run, configured: DestinationConfig, *, encrypted: bool) -> str:
    """Make a repository; return its id.

    Raises ConfigurationError where there is one already, and if there is no passphrase although
    it is to be *encrypted*, or one although it is not; StoreUnreachable if its disk should be
    mounted and is not.
    """
    from collective.recipe.backup.repository.newrepository import init

    place = place_of(configured)
    _refuse_absent_disk(place.url)
    passphrase = passphrase_of(configured) if encrypted else None
    if not encrypted and place.ask is not None:
        raise ConfigurationError(
            "there is a passphrase, and the repository is not to be encrypted",
            where=place.shown,
            hint="leave --unencrypted out, or remove the passphrase from the configuration",
        )
    with closing(store_at(place.url, run.files, run.allowance)) as store:
        about = init(store, passphrase, run.now)
    for each in configured.repositories:
        # the cache may be of a repository that was there before
        with opened_place(run, each, accept_another=True):
            pass
    return about.repository.hex()


def _refuse_absent_disk(url: str) -> None:
    """Raise StoreUnreachable if a repository would be hidden as soon as its disk is mounted."""
    path = local_path(url)
    absent = None if path is None else absent_mount(path)
    if absent is not None:
        raise StoreUnreachable(
            f"the disk at {absent} is not mounted, although {EXPECTED} has it",
            where=path or "",
            hint="mount it, then run init again; if the repository is to lie beside that disk, "
            f"take the line out of {EXPECTED}",
        )


def scrub_store(run: Run, configured: DestinationConfig) -> Scrubbed:
    """Compare each object with its name; no passphrase is needed.

    Damaged objects are remembered, so that the next backup stores again those that it needs.
    """
    from collective.recipe.backup.repository.format import read_format
    from collective.recipe.backup.repository.scrubbing import scrub

    with closing(store_at(place_of(configured).url, run.files, run.allowance)) as store:
        read_format(store)
        scrubbed = scrub(store, run.progress)
    remember_objects(run, configured.homes, scrubbed.damaged)
    return scrubbed


def damage_found(scrubbed: Scrubbed) -> IntegrityError | None:
    """Return the error that says what scrub has found; None: nothing."""
    if not scrubbed.damaged:
        return None
    return IntegrityError(
        f"damaged: {len(scrubbed.damaged):,} of {number_of(scrubbed.objects, 'object')}",
        where=scrubbed.damaged[0],
        hint="heal stores again what can be read of them, and what the site or its other backups "
        "have; after that collect removes them in two days; verify says which restore points are "
        "damaged",
    )


def look_through(run: Run, configured: DestinationConfig) -> Numbers:
    """Return what a repository holds, in numbers."""
    from collective.recipe.backup.repository.totals import numbers

    with opened_repository(run, configured) as repository:
        return numbers(repository)


def plan_collection(run: Run, configured: DestinationConfig) -> CollectPlan:
    """Return what collect would do now; nothing is changed."""
    from collective.recipe.backup.repository.collecting import plan_collect

    with opened_repository(run, configured) as repository:
        return plan_collect(repository)


def collect_unneeded(run: Run, configured: DestinationConfig, *, certain: bool) -> Collected:
    """Remove what no restore point needs, if it is old enough; *certain*: however much it is."""
    from collective.recipe.backup.repository.collecting import collect
    from collective.recipe.backup.repository.showing import show_points

    with opened_repository(run, configured) as repository:
        collected = collect(repository, yes=certain)
        show_points(repository, anew=True)
        return collected


def copy_points(
    run: Run, configured: DestinationConfig, target: DestinationConfig, *, dry_run: bool
) -> list[Point]:
    """Copy the restore points of all sites that the repository *target* lacks; return those.

    Data that they need of objects that are known to be damaged, or are gone, is stored again.
    With *dry_run* they are only looked for.
    """
    from collective.recipe.backup.repository.doubts import doubt_objects
    from collective.recipe.backup.repository.pointcopying import copy, to_copy
    from collective.recipe.backup.repository.showing import show_points
    from collective.recipe.backup.repository.standing import standing

    if configured.name == target.name:
        raise UsageError("a repository cannot be copied to itself", hint="--to names another one")
    with (
        opened_repository(run, configured) as source,
        opened_repository(run, target) as copies,
    ):
        found = standing(source, source.look())
        points = found.points
        if found.void:
            lacking = number_of(len(found.void), "restore point lacks", "restore points lack")
            source.tell(f"{lacking} data, and cannot be copied until it is healed")
        if dry_run:
            return to_copy(source, copies, points)
        for home in target.homes:
            doubt_objects(copies, damage.read(home.state).objects)
        copied = list(copy(source, copies, points))
        show_points(copies)
        return copied
