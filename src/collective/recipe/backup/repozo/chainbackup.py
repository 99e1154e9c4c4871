"""A backup of a filestorage: nothing, if there is nothing new, else a full one or the rest."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from collective.recipe.backup.errors import BackupError, IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.repozo.backuporder import Orders, Pending, Taken
from collective.recipe.backup.repozo.blocks import greatest_tid, known_packed
from collective.recipe.backup.repozo.chains import Chain
from collective.recipe.backup.repozo.continuing import obstacle
from collective.recipe.backup.repozo.heal import Healed, heal
from collective.recipe.backup.times import free_stamp, from_stamp, stamp

__all__ = ["Orders", "Pending", "Taken", "back_up", "prepare"]

_CLOCK_SET_BACK = timedelta(hours=1)


def back_up(  # noqa: PLR0913  the last three come from outside, as everywhere
    log: TransactionLog,
    directory: Path,
    orders: Orders,
    *,
    files: Files,
    now: datetime,
    progress: Progress,
) -> Taken:
    """Back up *log* into *directory*, whose lock the caller holds; see prepare."""
    pending = prepare(log, directory, orders, files=files, now=now, progress=progress)
    pending.publish()
    return pending.taken


def prepare(  # noqa: PLR0913  as back_up
    log: TransactionLog,
    directory: Path,
    orders: Orders,
    *,
    files: Files,
    now: datetime,
    progress: Progress,
) -> Pending:
    """Prepare a backup of *log* in *directory*, whose lock the caller holds until it is published.

    Remains of a run that died are mended first.  Raises IntegrityError if the
    filestorage is damaged, BackupError if it or the backup cannot be read or written.
    """
    healed = heal(log, directory, files=files, progress=progress)
    newest = healed.listing.chains[-1] if healed.listing.chains else None
    reason = _why_full(log, newest, orders, healed, progress)
    if newest and not reason and next(log.transactions(newest.end), None) is None:
        return Pending(_unchanged(log, newest, healed))
    if reason:
        orders.before_full()
    name, oddity = _next_stamp(healed.listing.newest, now)
    chain = Chain(directory, name, ()) if reason or not newest else newest
    # most runs add nothing, and do not wait for what adding needs
    from collective.recipe.backup.repozo import adding

    pending = adding.prepare(log, chain, name, orders, files=files, progress=progress)
    reason = ". ".join(filter(None, [reason, oddity]))
    return replace(pending, taken=replace(pending.taken, reason=reason, healed=healed.sentences))


def _why_full(
    log: TransactionLog, newest: Chain | None, orders: Orders, healed: Healed, progress: Progress
) -> str:
    """Return why a new chain must begin, "" if the newest one can go on."""
    if orders.why_full:
        return orders.why_full
    if newest is None:
        return "there is no backup yet"
    return (
        obstacle(log, newest, strict=orders.strict, progress=progress)
        or healed.fresh
        or _no_boundary(log, newest.end)
    )


def _no_boundary(log: TransactionLog, offset: int) -> str:
    try:
        log.before(offset)
    except IntegrityError as error:
        return error.what
    return ""


def _unchanged(log: TransactionLog, chain: Chain, healed: Healed) -> Taken:
    return Taken(
        stamp=chain.last.stamp,
        chain=chain.stamp,
        start=chain.last.start,
        end=chain.end,
        tid=greatest_tid(chain.directory, chain.parts, log),
        packed=known_packed(chain),
        changed=False,
        full=chain.last.full,
        reason="",
        stored=chain.path(chain.last).stat().st_size,
        healed=healed.sentences,
    )


def _next_stamp(newest: str, now: datetime) -> tuple[str, str]:
    """Return a stamp that is later than all there are, and a remark about an odd clock or ""."""
    try:
        following = free_stamp(newest, now)
    except OverflowError:
        raise BackupError(
            "no later moment exists to name a backup after",
            where=newest,
            hint="move the files that have this stamp out of the directory of the backups",
        ) from None
    if not newest or from_stamp(newest) - now < _CLOCK_SET_BACK:
        return following, ""
    return following, (
        f"The newest backup has the stamp {newest}, later than the present moment, {stamp(now)}:"
        f" was the clock set back? This one is called {following}, so that it stays the newest"
    )
