"""The clock of a server, as its answers tell it: the header ``Date`` (RFC 9110, 6.6.1)."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from datetime import datetime, timezone
from email.message import Message
from email.utils import parsedate_to_datetime

from collective.recipe.backup.errors import StoreUnreachable

_PATIENCE = 30.0
"""Seconds that the server may be silent."""

_TRIES = 3


def date_of(url: str) -> datetime:
    """Return what time it is where *url* lies, to the second; any answer says it.

    Raises StoreUnreachable.
    """
    for left in reversed(range(_TRIES)):
        try:
            return _read(_headers(url))
        except (OSError, http.client.HTTPException, ValueError) as error:
            if not left:
                raise StoreUnreachable(
                    "cannot ask the store for the time: it does not answer with a date",
                    where=url,
                    hint="is the network up, and is the endpoint of the store right?",
                ) from error
    raise AssertionError("the last try returns or raises")


def _headers(url: str) -> Message:
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310  its maker knows the scheme
    opener = urllib.request.build_opener(_Stay())
    try:
        with opener.open(request, timeout=_PATIENCE) as answer:
            headers: Message = answer.headers
            return headers
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.headers


class _Stay(urllib.request.HTTPRedirectHandler):
    """Let an answer that points elsewhere be an answer."""

    def redirect_request(self, *_args: object) -> None:
        return None


def _read(headers: Message) -> datetime:
    # ValueError where there is none
    moment = parsedate_to_datetime(headers["Date"] or "")
    return moment.replace(tzinfo=moment.tzinfo or timezone.utc).astimezone(timezone.utc)
