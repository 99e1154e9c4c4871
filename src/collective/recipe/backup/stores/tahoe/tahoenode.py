"""Requests to the web API of a node of Tahoe-LAFS, each over a connection of its own."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from collective.recipe.backup import times
from collective.recipe.backup.errors import StoreUnreachable
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.stores import Buffer
from collective.recipe.backup.stores.allowance import Allowance
from collective.recipe.backup.stores.tahoe.tahoeanswers import (
    GONE,
    NodeAnswer,
    explained_refusal,
    no_answer,
    no_node,
)
from collective.recipe.backup.stores.tahoe.tahoeplace import TahoePlace

_ANSWERS = {200, 201, 204, 206, 404, 409, 416}
"""HTTP statuses that are answers; any other one is raised as an error.

GONE is an answer for files. A directory may be GONE for a moment, while another node changes it.
"""

_MOST = 64 << 20
"""Bytes of an answer, if nothing says how many there are: a directory, or a whole object."""

_PIECE = 1 << 20
"""Bytes that are read at once."""

_NODE_ID = re.compile(rb"TubID: [^<]*>\s*v0-([a-z2-7]{52})\s*<")
_OF_AN_ID = 16
"""Characters of the id of a node that name it: 80 bits."""


@dataclass(frozen=True, kw_only=True)
class TahoePatience:
    """Seconds to wait for a node."""

    connect: float = 20  # until a connection is made
    silent: float = 300  # without a byte of an answer: it looks for shares meanwhile
    whole: float = 3600  # from the last byte of an object until it lies in the grid
    pauses: tuple[float, ...] = (1, 3, 10, 30)  # before it is asked again


PATIENCE = TahoePatience()


@dataclass(frozen=True, kw_only=True)
class NodeRequest:
    """A request to a node."""

    what: str  # the words of a message that say what did not work
    capability: str | None  # of what it is about; "": of nothing that is there; None: the node
    names: Sequence[str] = ()  # of children, from there on
    method: str = "GET"  # HTTP method
    query: tuple[tuple[str, str], ...] = ()  # names and values after the question mark
    body: Buffer = b""  # bytes to send
    # first byte, and number of bytes (None: all that follow); None: all bytes
    extent: tuple[int, int | None] | None = None
    again: bool = True  # whether it may be repeated: twice has the effect of once

    @property
    def target(self) -> str:
        """The path of the request."""
        steps = [] if self.capability is None else ["uri", self.capability, *self.names]
        query = f"?{urlencode(self.query)}" if self.query else ""
        return "/" + "/".join(quote(each, safe="") for each in steps if each) + query

    @property
    def most(self) -> int:
        """The bytes that an answer may have."""
        return _MOST if self.extent is None or self.extent[1] is None else self.extent[1] + _MOST

    @property
    def headers(self) -> dict[str, str]:
        """Its headers."""
        found = {"Accept": "text/plain"}  # of what fails: no page in HTML
        if self.extent is not None:
            start, size = self.extent
            found["Range"] = f"bytes={start}-{'' if size is None else start + size - 1}"
        return found


class TahoeNode:
    """The node that reaches *place*; all methods are for any thread."""

    def __init__(self, place: TahoePlace, patience: TahoePatience, allowance: Allowance) -> None:
        self._place = place
        self._patience = patience
        self._allowance = allowance

    def ask(self, request: NodeRequest) -> NodeAnswer:
        """Return the answer, if its status is one of those that are answers.

        Raises the BackupError that says why it did not work.
        """
        where = self._place.location
        for pause in (*self._patience.pauses, None):
            self._allowance.ask()
            try:
                answer = self._answer(request)
            except (OSError, http.client.HTTPException) as error:
                told = no_answer(error, request.what, where, self._place.node)
                if pause is None or not request.again:
                    raise told from error
            else:
                if answer.status in _ANSWERS or (answer.status == GONE and request.extent):
                    return answer
                refused = explained_refusal(answer, request.what, where)
                may_ask = request.again or answer.is_undone
                if pause is None or not may_ask or not isinstance(refused, StoreUnreachable):
                    raise refused
            times.pause_or_end(pause)
        raise AssertionError("the last try returns or raises")

    def lines(self, request: NodeRequest) -> Iterator[Any]:
        """Yield what is said line by line, in JSON, while it is found.

        Raises StoreUnreachable, also in the middle.
        """
        where = self._place.location
        self._allowance.ask()
        try:
            with closing(self._connection(request)) as connection:
                connection.request(request.method, request.target, b"", request.headers)
                found = connection.getresponse()
                for line in found:
                    if found.status != 200 or line.startswith(b"ERROR:"):
                        # in the middle it can only say so in words
                        status = found.status if found.status != 200 else 500
                        answer = NodeAnswer(status, "", line + found.read())
                        raise explained_refusal(answer, request.what, where)
                    yield json.loads(line)
        except (OSError, http.client.HTTPException) as error:
            raise no_answer(error, request.what, where, self._place.node) from error
        except ValueError as error:
            raise no_node(request.what, where) from error

    def id(self, what: str) -> str:
        """Return what names this node among all others."""
        found = _NODE_ID.search(self.ask(NodeRequest(what=what, capability=None)).data)
        if found is None:
            raise no_node(what, self._place.location)
        return found[1][:_OF_AN_ID].decode()

    def servers_away(self, what: str) -> int:
        """Return how many storage servers the node knows and is not connected to."""
        welcome = self.ask(NodeRequest(what=what, capability=None, query=(("t", "json"),)))
        try:
            servers = welcome.json()["servers"]
            return sum(not _is_connected(each["connection_status"]) for each in servers)
        except (ValueError, KeyError, TypeError) as error:
            raise no_node(what, self._place.location) from error

    def _answer(self, request: NodeRequest) -> NodeAnswer:
        with closing(self._connection(request)) as connection:
            body, headers = None, request.headers
            if request.method in {"PUT", "POST"}:
                body = self._allowance.pieces(request.body)
                headers["Content-Length"] = str(len(request.body))
            connection.request(request.method, request.target, body, headers)
            found = connection.getresponse()
            return NodeAnswer(
                found.status, found.getheader("Date") or "", self._read(found, request)
            )

    def _read(self, found: http.client.HTTPResponse, request: NodeRequest) -> bytes:
        """Read an answer, as quickly as is allowed, and no more than a node can have to say.

        Raises IncompleteRead if it breaks off, and StoreUnreachable if it goes on and on.
        """
        limited = self._allowance.piece
        pieces, size = [], 0
        while each := found.read(limited or _PIECE):
            if limited is not None:
                self._allowance.move(len(each))
            pieces.append(each)
            size += len(each)
            if size > request.most:
                raise no_node(request.what, self._place.location)
        if found.length:
            # only a read of all of it would say so
            raise http.client.IncompleteRead(b"", found.length)
        return b"".join(pieces)

    def _connection(self, request: NodeRequest) -> http.client.HTTPConnection:
        """Return a connection that is made, and waits as long as the answer may take."""
        address, patience = urlsplit(self._place.node), self._patience
        kind = (
            http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
        )
        connection = kind(address.netloc, timeout=patience.connect)
        connection.connect()
        connection.sock.settimeout(patience.silent if request.method == "GET" else patience.whole)
        return connection


def _is_connected(status: object) -> bool:
    return str(status).lower().startswith("connected")
