"""The WSGI application: which requests are answered, and with which page.

Each URL must have the token, and the request must be for the address that was printed: so a
page of another site that a browser shows can ask for nothing, even if its name leads to this
machine (DNS rebinding).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

from werkzeug.datastructures import Headers
from werkzeug.wrappers import Request, Response

from collective.recipe.backup import times
from collective.recipe.backup.browsing import (
    deletedpage,
    downloads,
    logpage,
    objectspage,
    pageframe,
    timelinepage,
)
from collective.recipe.backup.browsing.askedpage import AskedPage
from collective.recipe.backup.browsing.downloads import Download
from collective.recipe.backup.browsing.heldmoments import HeldMoments
from collective.recipe.backup.errors import BackupError, IntegrityError, UsageError, from_os_error
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.objects.paths import place_of
from collective.recipe.backup.operations.objects import OpenedObjects, storage_number
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.report.markup import Markup, element
from collective.recipe.backup.restorepoints import newest

StartResponse = Callable[..., Any]

_LONGEST = 8192
"""Characters of a URL that is answered."""


@dataclass(frozen=True, kw_only=True)
class Browsing:
    """The settings of a browsing session."""

    run: Run  # of the command
    site: str  # name of the site in pages
    token: str  # the first part of each path
    hosts: frozenset[str]  # values that the header Host may have
    directory: Path  # a private one, for downloads


class Application:
    """Answers requests about the backups.  All of it is for one thread."""

    def __init__(self, browsing: Browsing) -> None:
        """Answer for *browsing*."""
        self._browsing = browsing
        self._held = HeldMoments(browsing.run)

    def close(self) -> None:
        """Close the moments that are open."""
        self._held.close()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request: see PEP 3333."""
        request = Request(environ)
        response = self._refused(request) or self._answer(request)
        response.headers.extend(Headers(list(pageframe.HEADERS.items())))
        return response(environ, start_response)

    def _refused(self, request: Request) -> Response | None:
        """Return the refusal of a request, None if it is answered."""
        if _host_of(request) not in self._browsing.hosts:
            return _plain(
                HTTPStatus.FORBIDDEN, "This is not the whole address that the command has printed."
            )
        token = request.path.strip("/").partition("/")[0]
        if not hmac.compare_digest(token.encode(), self._browsing.token.encode()):
            return _plain(HTTPStatus.NOT_FOUND, "There is nothing here.")
        if request.method not in ("GET", "HEAD"):
            answer = _plain(
                HTTPStatus.METHOD_NOT_ALLOWED, "These pages only show: nothing can be changed here."
            )
            answer.headers["Allow"] = "GET, HEAD"
            return answer
        if len(request.url) > _LONGEST:
            return _plain(HTTPStatus.REQUEST_URI_TOO_LONG, "The address is too long.")
        return None

    def _answer(self, request: Request) -> Response:
        view = request.path.strip("/").partition("/")[2]
        if not view and not request.path.endswith("/"):
            # a relative URL in a page begins after the last slash
            # and not by the path as it was sent: two slashes would begin the name of a host
            first = f"/{self._browsing.token}/"
            return Response(status=HTTPStatus.FOUND, headers={"Location": first})
        if view == pageframe.STYLE:
            return Response(pageframe.STYLESHEET, content_type="text/css; charset=utf-8")
        asked = AskedPage(view=view, arguments=request.args.to_dict(), now=times.utcnow())
        try:
            if exact := asked.exact():
                return Response(status=HTTPStatus.FOUND, headers={"Location": exact})
            found = self._found(asked)
        except (BackupError, OSError) as error:
            # an open moment may be gone: it is looked for anew
            self._held.close()
            why = error if isinstance(error, BackupError) else from_os_error(error)
            return self._page(asked, "That cannot be shown", _failure(why), _status_of(why))
        if found is None:
            return _plain(HTTPStatus.NOT_FOUND, "There is no such page.")
        if isinstance(found, Download):
            return downloads.sent(found)
        title, sections = found
        return self._page(asked, title, sections, HTTPStatus.OK)

    def _found(self, asked: AskedPage) -> tuple[str, list[Markup]] | Download | None:
        """Return the requested page or file, None if there is none.  Raises BackupError."""
        run = replace(self._browsing.run, now=asked.now)
        match asked.view:
            case "":
                return timelinepage.TITLE, list(timelinepage.sections(asked, run))
            case "log":
                return logpage.TITLE, list(logpage.sections(asked, run))
            case "deleted":
                return deletedpage.TITLE, list(deletedpage.sections(asked, run))
            case "objects":
                return objectspage.title(asked), list(objectspage.sections(asked, self._at(asked)))
            case "history":
                held = place_of(self._at(asked).objects, asked.path).held
                title = f"History of {asked.path}"
                return title, list(logpage.history_sections(asked, run, held.oid))
            case "export":
                return downloads.export(asked, self._at(asked), self._browsing.directory, run.files)
            case "blob":
                return downloads.blob(asked, self._at(asked), self._browsing.directory, run.files)
        return None

    def _at(self, asked: AskedPage) -> OpenedObjects:
        """Return the objects of the moment that is asked for."""
        when = asked.when
        if when is None:
            run = self._browsing.run
            number = storage_number(run, asked.storage)
            with run.opened() as destinations:
                when = newest(destinations[number].restore_points()).moment
        return self._held.opened(asked.storage, when)

    def _page(
        self, asked: AskedPage, title: str, sections: Iterable[Markup], status: HTTPStatus
    ) -> Response:
        page = pageframe.page(asked, self._browsing.site, title, *sections)
        return Response(
            page.encode("ascii", "xmlcharrefreplace"),
            status=status,
            content_type="text/html; charset=utf-8",
        )


def _host_of(request: Request) -> str:
    """Return the header Host as it was sent, "" if there is none."""
    return str(request.environ.get("HTTP_HOST", "")).lower()


def _failure(error: BackupError) -> Iterator[Markup]:
    hint = [element("p", f"Hint: {error.hint}", class_="soft")] if error.hint else []
    yield pageframe.card(element("p", str(error)), *hint)


def _status_of(error: BackupError) -> HTTPStatus:
    if isinstance(error, UsageError):
        return HTTPStatus.NOT_FOUND
    return (
        HTTPStatus.INTERNAL_SERVER_ERROR
        if isinstance(error, IntegrityError)
        else HTTPStatus.SERVICE_UNAVAILABLE
    )


def _plain(status: HTTPStatus, words: str) -> Response:
    return Response(f"{words}\n", status=status, content_type="text/plain; charset=utf-8")
