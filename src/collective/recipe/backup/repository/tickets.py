"""Tickets: a run says that it is under way, and for how long.

Nothing goes from the store that a run with a ticket may rely on (see ``collecting``).  So a
run that is past the end of its ticket can rely on nothing any more, and must start over.  All
times are by the clock of the store; between its answers the clock of this machine only says
how long ago the last one was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from datetime import datetime, timedelta

from collective.recipe.backup import times
from collective.recipe.backup.errors import BackupError, IntegrityError, InUse
from collective.recipe.backup.repository.controls import Control, Ticket, seal_ticket
from collective.recipe.backup.repository.names import id_in
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.puts import put
from collective.recipe.backup.stores import NoSuchObject

LIFETIME = timedelta(hours=24)
"""Of a ticket; a run that takes longer takes another one in time."""


class StartOver(Exception):
    """Bundles that this run relies on may be gone: it must read all listings again.

    It may say why.
    """


class Pass:
    """The ticket of one run, and those that it takes after it.

    *site* is a tag, or "".
    """

    def __init__(
        self, repository: Repository, purpose: str, site: str = "", lifetime: timedelta = LIFETIME
    ) -> None:
        self._repository = repository
        self._about = purpose, site
        self._lifetime = lifetime
        self.names: list[str] = []  # of all tickets that were taken
        self.begun = self._take()

    def _take(self) -> datetime:
        sealed = seal_ticket(self._repository.keyring, *self._about, self._lifetime)
        begun = put(self._repository.store, sealed.name, sealed.data)
        self.names.append(sealed.name)
        self.until = begun + self._lifetime
        self._asked = times.monotonic()
        return begun

    @property
    def id(self) -> str:
        """The ID of the ticket that counts now."""
        return id_in(self.names[-1]) or ""

    def at(self, moment: datetime) -> None:
        """Take another ticket if half the time is over at *moment*, by the clock of the store.

        Raises StartOver if all of it is.
        """
        self._asked = times.monotonic()
        if moment >= self.until:
            raise StartOver
        if moment >= self.until - self._lifetime / 2:
            before = self.until
            if self._take() >= before:
                raise StartOver

    def check(self) -> None:
        """Raise StartOver if the ticket is over, by the clock of the store."""
        self.at(self._repository.store.clock())

    def check_sometimes(self) -> None:
        """Do the check of ``check`` if the last answer of the store was a while ago."""
        if times.monotonic() - self._asked >= self._lifetime.total_seconds() / 8:
            self.check()

    def end(self) -> None:
        """Let the tickets go.

        A store that cannot be reached now, or that lets this run remove nothing, keeps them
        until they are over, which does no harm.
        """
        with suppress(BackupError):
            for name in self.names:
                self._repository.store.delete(name)


def tickets_of_others(
    repository: Repository, control: Control, now: datetime, own: Collection[str] = ()
) -> tuple[list[Ticket], list[Ticket]]:
    """Return the tickets in a listing that count at *now*, and those that are over.

    *own* are the names of the tickets of this run, which are left out.
    """
    running: list[Ticket] = []
    over: list[Ticket] = []
    for entry in control.tickets:
        if entry.name in own:
            continue
        try:
            ticket = repository.controls.ticket(entry)
        except NoSuchObject:
            continue
        except IntegrityError:
            # it may be of a run that is under way, for as long as a ticket can say
            until = entry.stored + LIFETIME
            ticket = Ticket(entry.name, "cannot be read", "", entry.stored, until)
        (over if ticket.until <= now else running).append(ticket)
    return running, over


def must_be_alone(running: Iterable[Ticket], purpose: str, begun: datetime, name: str) -> None:
    """Raise InUse if another run with this *purpose* is under way that began before this one.

    This one has the ticket *name*, which it took at the moment *begun*.
    """
    for ticket in running:
        if ticket.purpose == purpose and (ticket.begun, ticket.name) < (begun, name):
            raise InUse(
                f"another run of {purpose} is under way, or has died",
                where=ticket.name,
                hint=f"if it has died, its ticket is over at {ticket.until:%Y-%m-%d %H:%M} UTC",
            )
