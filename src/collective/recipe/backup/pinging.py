"""Pings: a service elsewhere learns that a run has begun, went well or failed.

The way of healthchecks.io and its likes: a request to URL/start, to URL, or to URL/fail with the
message as its body.  The service raises the alarm if the ping does not come, so a lost ping costs a
false alarm and never a backup: nothing here raises, and all of it together takes no longer than
TIME_LIMIT.

Anybody who knows the URL can ping, so messages show only the name of its server.
"""

from __future__ import annotations

import base64
import errno
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from collective.recipe.backup.smallfile import read_small
from collective.recipe.backup.times import monotonic, pause

if TYPE_CHECKING:
    from http.client import HTTPMessage
    from typing import IO
    from urllib.request import OpenerDirector, Request

TIME_LIMIT = 10.0
"""Seconds that one ping may take, all its attempts included."""
ATTEMPT_LIMIT = 4.0
"""Seconds that one attempt waits for the server."""
ATTEMPTS = 3
BETWEEN = 0.5
"""Seconds between two attempts."""
URL_LIMIT = 10_000
"""Bytes that the file of ping_url may have."""
BODY_LIMIT = 10_000
"""Bytes of a message that are sent."""
REDIRECTS = 5

ENVIRONMENT, FILE = "env:", "file:"


class Event(Enum):
    """The event of a ping; its value is added to the path of the URL."""

    START = "/start"
    SUCCESS = ""
    FAILURE = "/fail"


class PingFailed(Exception):
    """No ping went out or none arrived; the text has no secret in it."""


def ping(
    configured: str,
    event: Event,
    message: str = "",
    *,
    environment: Mapping[str, str] = os.environ,
    seconds: float = TIME_LIMIT,
) -> str:
    """Ping; return "" or a sentence that says why no ping arrived.

    *configured* is the URL, or ``env:NAME`` or ``file:PATH`` where it is to be found.
    """
    outcome: list[str] = []

    def attempt() -> None:
        try:
            url = _looked_up(configured, environment)
            _send(url, event, message, until=monotonic() + seconds)
            outcome.append("")
        except PingFailed as error:
            outcome.append(str(error))

    # a thread, for no time limit of a socket holds while a name is looked up, or against
    # a server that sends a byte now and then
    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)
    return outcome[0] if outcome else f"no answer within {seconds:g} seconds"


def _looked_up(configured: str, environment: Mapping[str, str]) -> SplitResult:
    """Return the URL that is meant."""
    text = configured
    if configured.startswith(ENVIRONMENT):
        name = configured.removeprefix(ENVIRONMENT)
        text = environment.get(name, "")
        if not text.strip():
            raise PingFailed(f"the environment variable {name} of ping_url is not set")
    elif configured.startswith(FILE):
        path = Path(os.path.expanduser(configured.removeprefix(FILE)))
        try:
            text = _text_of(path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise PingFailed(f"cannot read the file of ping_url, {path}: {reason}") from None
    with suppress(ValueError):
        url = urlsplit(text.strip())
        # a port that is no number raises
        if url.scheme in ("http", "https") and url.hostname and url.port != 0:
            return url
    raise PingFailed("ping_url is not a URL that begins with http:// or https://")


def _text_of(path: Path) -> str:
    data = read_small(path, URL_LIMIT)
    if data is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return data.decode("utf-8")


def _send(url: SplitResult, event: Event, message: str, *, until: float) -> None:
    """Send until it arrives, a few times at most."""
    opener = _opener()
    for number in range(1, ATTEMPTS + 1):
        try:
            _send_once(opener, url, event, message)
        except _Refused as error:
            raise PingFailed(f"{_shown(url)}: {error}") from None
        except _NotNow as error:
            if number == ATTEMPTS or monotonic() + BETWEEN > until:
                raise PingFailed(f"{_shown(url)}: {error}") from None
            pause(BETWEEN)
        else:
            return


class _Refused(Exception):
    """Trying again would not help."""


class _NotNow(Exception):
    """It may work in a moment."""


def _send_once(opener: OpenerDirector, url: SplitResult, event: Event, message: str) -> None:
    # these take longer to import than a backup without changes takes
    from http.client import HTTPException, InvalidURL
    from urllib.error import HTTPError, URLError

    try:
        with opener.open(_request(url, event, message), timeout=ATTEMPT_LIMIT):
            pass
    except HTTPError as error:
        error.close()
        words = f"the server answered {error.code}"
        raise (_NotNow if error.code >= 500 or error.code == 429 else _Refused)(words) from None
    except URLError as error:
        raise _NotNow(_reason(error.reason)) from None
    except OSError as error:  # some are a ValueError as well, as that of a wrong certificate
        raise _NotNow(_reason(error)) from None
    except (InvalidURL, ValueError):
        # its text may hold the URL
        raise _Refused("ping_url holds what no URL may hold") from None
    except HTTPException as error:
        raise _NotNow(_reason(error)) from None


def _request(url: SplitResult, event: Event, message: str) -> Request:
    """Return the request; a name and a password in the URL become a header."""
    import urllib.request as library

    host = url.netloc.rpartition("@")[2]
    path = url.path.rstrip("/") + event.value if event.value else url.path
    body = message.encode("utf-8", "replace")[:BODY_LIMIT] if event is Event.FAILURE else None
    target = urlunsplit((url.scheme, host, path, url.query, ""))
    method = "GET" if body is None else "POST"
    request = library.Request(target, data=body, method=method)  # noqa: S310  http or https
    request.add_header("User-Agent", "collective.recipe.backup")
    if body is not None:
        request.add_header("Content-Type", "text/plain; charset=utf-8")
    if url.username is not None:
        secret = f"{unquote(url.username)}:{unquote(url.password or '')}".encode()
        basic = f"Basic {base64.b64encode(secret).decode()}"
        # not for the server that a redirect leads to
        request.add_unredirected_header("Authorization", basic)
    return request


def _opener() -> OpenerDirector:
    """Return what opens http and https and nothing else, through a proxy if one is set."""
    import urllib.request as library

    class Redirects(library.HTTPRedirectHandler):
        """Goes where it is sent to with the same message, a few times, never off https."""

        max_redirections = REDIRECTS
        # Python knows it from 3.11 on
        http_error_308 = library.HTTPRedirectHandler.http_error_302

        def redirect_request(  # noqa: PLR0913, PLR0917  as the library calls it
            self,
            req: Request,
            fp: IO[bytes],  # noqa: ARG002
            code: int,  # noqa: ARG002
            msg: str,  # noqa: ARG002
            headers: HTTPMessage,  # noqa: ARG002
            newurl: str,
        ) -> Request:
            scheme = urlsplit(newurl).scheme
            if scheme not in ("http", "https") or (req.type == "https" and scheme == "http"):
                raise _Refused(f"the server sent us from {req.type} to {scheme}")
            return library.Request(  # noqa: S310  the scheme was looked at
                newurl, data=req.data, headers=dict(req.headers), method=req.get_method()
            )

    opener = library.OpenerDirector()
    for handler in (
        library.ProxyHandler,
        library.UnknownHandler,
        library.HTTPHandler,
        library.HTTPSHandler,
        library.HTTPDefaultErrorHandler,
        Redirects,
        library.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


def _reason(error: object) -> str:
    """Return in words what went wrong between us and the server."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"the connection failed ({type(error).__name__})"


def _shown(url: SplitResult) -> str:
    """Return the part of the URL that is no secret."""
    return f"{url.scheme}://{url.hostname}"
