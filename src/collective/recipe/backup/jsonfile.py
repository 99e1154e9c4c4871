"""Objects of ours in JSON: whole, of a known format, and no deeper than they may be.

A file of such a name may be a hundred thousand opening brackets, an object that a disk has damaged,
or one that a later release wrote::

    loads   what the JSON in some bytes says, no deeper than DEPTH
    Form    an object of ours: its format and its check
    Table   such an object, whose values are asked for by name and type

Nothing here decides what a bad object means: that is up to the room whose file it is.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.smallfile import LIMIT, UnfitError, read_small

DEPTH = 20
"""Levels of nested objects and lists that are accepted; none of ours has more than 5."""

T = TypeVar("T")

# a string, which may hold brackets; or a bracket
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)
_OPENING = (b"[", b"{")


class UnreadableError(ValueError):
    """The bytes of a small file do not say what they should; the text says why."""


class LaterReleaseError(UnreadableError):
    """A small file is whole, and in a format that only a later release knows."""


def loads(data: bytes) -> Any:
    """Return what the JSON in *data*, which is UTF-8, says.  Raises UnreadableError."""
    if _is_deep(data):
        raise UnreadableError(f"brackets lie more than {DEPTH} deep in each other")
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_refuse)
    except ValueError as error:
        raise UnreadableError(f"it is no JSON: {error}") from error


def _is_deep(data: bytes) -> bool:
    """Tell whether brackets lie too deep in each other: more than a parser should follow."""
    if data.count(b"[") + data.count(b"{") <= DEPTH:
        return False
    depth = 0
    for token in _TOKEN.finditer(data):
        if token[0] in _OPENING:
            depth += 1
            if depth > DEPTH:
                return True
        elif token[0][0] in b"]}":
            depth -= 1
    return False


def is_deep(value: object) -> bool:
    """Tell whether dicts and lists lie more than DEPTH deep in each other in *value*."""
    waiting = [(value, 0)]
    while waiting:
        inner, depth = waiting.pop()
        if isinstance(inner, dict | list):
            if depth == DEPTH:
                return True
            values = inner.values() if isinstance(inner, dict) else inner
            waiting += [(each, depth + 1) for each in values]
    return False


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


class Table:
    """An object of JSON.  Each method returns the value of a key, of one type.

    Those whose names end in ``_or_none`` return None for a key that is missing or null.  All
    raise UnreadableError for whatever else is there.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __iter__(self) -> Iterator[str]:
        """Yield the keys."""
        return iter(self._values)

    def value(self, key: str) -> Any:
        """Return the value of any type, for callers that check the type."""
        return self._values.get(key)

    def text(self, key: str) -> str:
        """Return a text."""
        return self._value(key, str)

    def text_or_none(self, key: str) -> str | None:
        """Return a text, or None."""
        return self._or_none(key, self.text)

    def path(self, key: str) -> Path:
        """Return an absolute path that a file system can have."""
        text = self.text(key)
        try:
            usable = text.startswith("/") and b"\0" not in os.fsencode(text)
        except UnicodeError:
            usable = False
        if not usable:
            raise UnreadableError(f"{key} is no absolute path")
        return Path(text)

    def path_or_none(self, key: str) -> Path | None:
        """Return an absolute path, or None."""
        return self._or_none(key, self.path)

    def id(self, key: str) -> bytes:
        """Return the 8 bytes that 16 hex digits say."""
        return eight_bytes(self.text(key))

    def id_or_none(self, key: str) -> bytes | None:
        """Return the 8 bytes that 16 hex digits say, or None."""
        return self._or_none(key, self.id)

    def number(self, key: str) -> int:
        """Return a whole number that fits into 8 bytes."""
        number = self._value(key, int)
        if not -(2**63) <= number < 2**64:
            raise UnreadableError(f"{key} is too large")
        return number

    def number_or_none(self, key: str) -> int | None:
        """Return a whole number, or None."""
        return self._or_none(key, self.number)

    def amount(self, key: str) -> float:
        """Return a number that need not be whole, and is finite."""
        number = self._value(key, int, float)
        if not abs(number) <= 2**63:  # so that what is no number does not pass either
            raise UnreadableError(f"{key} is too large")
        return float(number)

    def amount_or_none(self, key: str) -> float | None:
        """Return a number that need not be whole, or None."""
        return self._or_none(key, self.amount)

    def flag(self, key: str) -> bool:
        """Return true or false."""
        return self._value(key, bool)

    def moment(self, key: str) -> datetime:
        """Return the moment that ISO 8601 with a time zone says, in UTC."""
        try:
            moment = datetime.fromisoformat(self.text(key))
            if moment.tzinfo is not None:
                return moment.astimezone(timezone.utc)
        except (ValueError, OverflowError) as error:
            raise UnreadableError(f"{key} is no moment") from error
        raise UnreadableError(f"{key} has no time zone")

    def table(self, key: str) -> Table:
        """Return an object."""
        return Table(self._value(key, dict))

    def tables(self, key: str) -> list[Table]:
        """Return a list of objects."""
        return [Table(each) for each in self._all(key, dict)]

    def texts(self, key: str) -> list[str]:
        """Return a list of texts."""
        return self._all(key, str)

    def rows(self, key: str, width: int) -> list[list[str]]:
        """Return a list of lists of *width* texts each."""
        rows: list[list[str]] = self._all(key, list)
        if any(len(row) != width or not all(type(it) is str for it in row) for row in rows):
            raise UnreadableError(f"{key} should be a list of lists of {width} texts")
        return rows

    def _all(self, key: str, kind: type[T]) -> list[T]:
        values = self._value(key, list)
        if not all(type(each) is kind for each in values):
            raise UnreadableError(f"{key} should be a list of {kind.__name__}")
        return values

    def _or_none(self, key: str, method: Callable[[str], T]) -> T | None:
        return None if self._values.get(key) is None else method(key)

    def _value(self, key: str, *kinds: type[T]) -> T:
        value = self._values.get(key)
        # bool is an int to Python, not to us
        if type(value) not in kinds:
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise UnreadableError(f"{key} should be {wanted}, not {type(value).__name__}")
        return value  # type: ignore[return-value]  # mypy does not see that it is one of them


def eight_bytes(text: str) -> bytes:
    """Return the 8 bytes of an id in hex digits.  Raises UnreadableError."""
    try:
        data = bytes.fromhex(text)
    except ValueError as error:
        raise UnreadableError(f"no id: {text[:20]!r}") from error
    if len(data) != 8:
        raise UnreadableError(f"no id: {text[:20]!r}")
    return data


class DigestCheck(NamedTuple):
    """The check of an object: *key* has the *digest* of the rest of it.

    That is the digest of the object without the key, in ASCII, with sorted keys.
    """

    key: str  # in the object
    digest: Callable[[bytes], str]  # from bytes to text


def _crc_32(data: bytes) -> str:
    return f"{zlib.crc32(data):08x}"


CRC_32 = DigestCheck("check", _crc_32)


@dataclass(frozen=True, kw_only=True)
class Form:
    """The form of small files of one kind: an object of JSON, in ASCII.

    ``format`` has the version.  All versions keep the check, so an object of a later release
    is told from a damaged one, and neither is taken for ours.
    """

    version: int | None = None  # of the format; None: objects of this kind have no version
    check: DigestCheck | None = CRC_32  # None: nothing in the object finds its damage
    indent: int | None = None  # columns by which each level is indented; None: all on one line
    is_sorted: bool = True  # whether keys are sorted, or stand as they were given

    def encode(self, content: Mapping[str, Any]) -> bytes:
        """Return the object that says *content*, with a line end."""
        whole = dict(content)
        if self.version is not None:
            whole["format"] = self.version
        if self.check is not None:
            whole[self.check.key] = self.check.digest(_canonical(whole))
        text = json.dumps(whole, sort_keys=self.is_sorted, indent=self.indent)
        return text.encode("ascii") + b"\n"

    def load(self, path: Path, limit: int = LIMIT) -> Table | None:
        """Return the object in the file at *path*, None if there is no file.

        Raises UnreadableError also for a path that is no regular file or too large, and OSError.
        """
        try:
            data = read_small(path, limit)
        except UnfitError as error:
            raise UnreadableError(error.strerror) from error
        return None if data is None else self.decode(data)

    def decode(self, data: bytes) -> Table:
        """Return what encode was given.

        Raises UnreadableError; LaterReleaseError if it is whole and of a higher version.
        """
        content = loads(data)
        if type(content) is not dict:
            raise UnreadableError("it is no object")
        if self.check is not None:
            claimed = content.pop(self.check.key, None)
            if claimed != self.check.digest(_canonical(content)):
                raise UnreadableError(f"its {self.check.key} does not fit")
        table = Table(content)
        if self.version is not None:
            found = table.number("format")
            if found > self.version:
                raise LaterReleaseError(
                    f"a later release wrote it: its format is {found}, this release knows "
                    f"{self.version}"
                )
            if found != self.version:
                raise UnreadableError(f"there is no format {found}")
        return table


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True).encode("ascii")
