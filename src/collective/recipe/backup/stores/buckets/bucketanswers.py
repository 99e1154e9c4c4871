"""Error messages for requests that obstore reports as failed, with what to do about them.

It has few classes of errors.  The status and the code of the store (S3 and what speaks it
answer in XML: ``<Code>SlowDown</Code>``) are in the text, before ``Debug source``.
"""

from __future__ import annotations

import re

from collective.recipe.backup.errors import (
    BackupError,
    ObjectArchived,
    StoreRefused,
    StoreUnreachable,
    printable,
)

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")

_UNKNOWN = {
    "AuthenticationFailed",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound"}
_FULL = {"EntityTooLarge", "InsufficientStorage", "QuotaExceeded", "XMinioStorageFull"}
_ARCHIVED = {"InvalidObjectState"}
_SKEWED = {"RequestTimeTooSkewed"}

_CREDENTIALS_FROM = (
    "the credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, from a profile in "
    "~/.aws/credentials, or from the machine"
)


def says(error: BaseException) -> str:
    """Return the code of the store in *error*, or its HTTP status, "" if there is neither."""
    text = _told(error)
    found = _CODE.search(text) or _STATUS.search(text)
    return found[1] if found else ""


def status_of(error: BaseException) -> int:
    """Return the HTTP status that *error* tells of, 0 if there was no answer."""
    found = _STATUS.search(_told(error))
    return int(found[1]) if found else 0


def is_without_bucket(error: BaseException) -> bool:
    """Tell whether *error* says that the bucket is missing, not an object in it."""
    return says(error) in _NO_BUCKET


def no_bucket(what: str, location: str) -> StoreUnreachable:
    """Return the error that says that the bucket is missing."""
    return StoreUnreachable(
        f"{what}: there is no such bucket",
        where=location,
        hint="make the bucket, or correct its name in the configuration; is the endpoint right?",
    )


def no_store(what: str, location: str) -> StoreUnreachable:
    """Return the error that says that what answers is no store: a network wants a login."""
    return StoreUnreachable(
        f"{what}: something else answers in the place of the store",
        where=location,
        hint="does the network want a login, or is there a proxy?  Is the endpoint right?",
    )


def explained_answer(error: Exception, what: str, location: str) -> BackupError:
    """Return the BackupError that says why *what* did not work on the store at *location*."""
    code = says(error)
    if code:
        return explained_code(status_of(error), code, what, location)
    return StoreUnreachable(
        f"{what}: {_why(error)}",
        where=location,
        hint="is the network up, and is the endpoint right?  What is stored already is not sent "
        "again",
    )


def explained_code(status: int, code: str, what: str, location: str) -> BackupError:
    """Return the BackupError for an answer with a *code* and an HTTP *status* (0: unknown)."""
    if code in _NO_BUCKET:
        return no_bucket(what, location)
    if code in _SKEWED:
        return StoreRefused(
            f"{what}: the clock of this machine differs too much from that of the store",
            where=location,
            hint="set the clock of this machine",
        )
    if code in _UNKNOWN or status == 401:
        return StoreRefused(
            f"{what}: the store does not accept the credential ({code})",
            where=location,
            hint=f"{_CREDENTIALS_FROM}; are they right, and is the region?",
        )
    if code in _FULL or status == 507:
        return BackupError(
            f"{what}: the store is full, or a quota is used up ({code})",
            where=location,
            hint="free some room there or raise the quota, then run the command again",
        )
    if code in _ARCHIVED:
        return ObjectArchived(
            f"{what}: an object lies in cold storage, and was not asked for",
            where=location,
            hint="restore --dry-run names what a restore needs: ask the store for that, by its own "
            "tools, and run the command again when it can be read",
        )
    if status == 403:
        return StoreRefused(
            f"{what}: the credential may not do that ({code})",
            where=location,
            hint="let its policy allow that, or run this where the credential may do it; what is "
            "stored stays as it is",
        )
    return _failing(status, code, what, location)


def _failing(status: int, code: str, what: str, location: str) -> StoreUnreachable:
    if status in {429, 503} or code == "SlowDown":
        return StoreUnreachable(
            f"{what}: the store is overloaded ({code})",
            where=location,
            hint="run the command again later; what is stored already is not sent again",
        )
    if 300 <= status < 400:
        return StoreUnreachable(
            f"{what}: the bucket is elsewhere ({code})",
            where=location,
            hint="correct the region, or the endpoint, of the store",
        )
    return StoreUnreachable(
        f"{what}: the store answers with an error ({code})",
        where=location,
        hint="run the command again later; is the endpoint right?",
    )


def _why(error: Exception) -> str:
    debug = str(error)
    if "kind: Connect" in debug:
        return "no connection to the store"
    if "kind: Timeout" in debug or "TimedOut" in debug:
        return "the store does not answer in time"
    if "169.254." in debug or "credential" in debug.lower():
        return f"there are no credentials ({_CREDENTIALS_FROM})"
    if "kind: Request" in debug or "kind: Body" in debug or "IncompleteMessage" in debug:
        return "the connection to the store broke"
    first = printable(_told(error).partition("\n")[0])[:200]
    return f"the store answers what cannot be understood ({first})"


def _told(error: BaseException) -> str:
    return str(error).partition("\nDebug source")[0]
