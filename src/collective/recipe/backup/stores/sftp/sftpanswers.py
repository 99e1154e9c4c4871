"""Error messages for a server of SFTP that fails or is not reached, with what to do."""

from __future__ import annotations

import asyncio

from collective.recipe.backup.errors import BackupError, StoreRefused, StoreUnreachable, printable
from collective.recipe.backup.stores.sftp.sftpplace import SftpPlace


def is_lost(error: BaseException) -> bool:
    """Tell whether the connection is gone, so that another one may do better."""
    import asyncssh

    if isinstance(error, asyncssh.PermissionDenied | asyncssh.HostKeyNotVerifiable):
        return False
    lost = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.DisconnectError)
    return isinstance(
        error, (*lost, asyncssh.ChannelOpenError, OSError, asyncio.TimeoutError, EOFError)
    )


def explained_failure(error: Exception, what: str, place: SftpPlace) -> BackupError:
    """Return the BackupError that says why *what* did not work at *place*."""
    import asyncssh

    reason, where = printable(str(error) or type(error).__name__)[:200], place.location
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        name = place.host if place.port in {None, 22} else f"[{place.host}]:{place.port}"
        return StoreRefused(
            f"{what}: the host key of the server is unknown, or is another one than it was",
            where=where,
            hint=f"ssh-keygen -F '{name}' shows what is known, ssh-keyscan what it is now; "
            "compare it with what its administrator says, then correct ~/.ssh/known_hosts",
        )
    if isinstance(error, asyncssh.PermissionDenied):
        return StoreRefused(
            f"{what}: the server does not let this user in",
            where=where,
            hint="is the user right, and is its key in ~/.ssh or in the agent, and in "
            "authorized_keys of the server?",
        )
    if isinstance(error, asyncssh.SFTPPermissionDenied):
        return StoreRefused(
            f"{what}: the user may not do that on the server",
            where=where,
            hint="give it the permission there, or run this where there is one that may do it; "
            "what is stored stays as it is",
        )
    full = asyncssh.SFTPNoSpaceOnFilesystem, asyncssh.SFTPQuotaExceeded, asyncssh.SFTPFailure
    if isinstance(error, full):
        return BackupError(
            f"{what}: the server says {reason!r}",
            where=where,
            hint="is its disk full, or a quota used up?  Free some room there, then run the "
            "command again",
        )
    return StoreUnreachable(
        f"{what}: no connection to the server, or it broke ({reason})",
        where=where,
        hint="is the network up, and does sftp reach it by hand?  What is stored already is not "
        "sent again",
    )


def not_there(place: SftpPlace) -> StoreUnreachable:
    """Return the error that says that the directory is missing: nothing may be made beneath."""
    return StoreUnreachable(
        "the directory of the repository is not there",
        where=place.location,
        hint="is the path right, and is the disk of the server mounted?  A new repository is "
        "made once, by init, which makes the directory; check-store wants it made",
    )
