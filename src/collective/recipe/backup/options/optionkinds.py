"""The kinds of options: from the text of a user to a value, and back.

A kind knows three forms of a value: the *text* that a user writes, the *value* that the
code works with, and the *stored* form, which JSON can hold.  ``parse`` raises ValueError
with the rest of a sentence that begins with the option's name.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from collective.recipe.backup.frozen import dataclass

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")
_DURATION = re.compile(r"(\d+)\s*([hdw])")
_ROOM = re.compile(r"([0-9]+) ?(?:(%)|([kMGT])B)")
_RATE = re.compile(r"([1-9][0-9]*) ?([kMG])B")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, kw_only=True)
class OptionKind:
    """One way of writing values."""

    says: str  # tells a user what to write
    parse: Callable[[str], Any]  # from text to value; raises ValueError
    show: Callable[[Any], str]  # from value to text
    stored_as: type  # that JSON gives back
    store: Callable[[Any], Any] = _same  # from value to that type
    fetch: Callable[[Any], Any] = _same  # from that type to value

    def from_stored(self, stored: object) -> Any:
        """Return the value that was stored.  Raises ValueError if it cannot be one."""
        # bool is an int to Python, not to us
        if type(stored) is not self.stored_as:
            raise ValueError(f"should be a {self.stored_as.__name__}, not {stored!r}")
        return self.fetch(stored)


def _parse_switch(text: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(f"must be one of {', '.join(_TRUE + _FALSE)}, not {text.strip()!r}")


def _show_switch(value: bool) -> str:  # noqa: FBT001  the value itself
    return "true" if value else "false"


def _parse_number(text: str) -> int:
    if not re.fullmatch(r"[0-9]+", text.strip()):
        raise ValueError(f"must be a whole number, 0 or more, not {text.strip()!r}")
    return int(text)


def one_line(text: str) -> str:
    """Return *text* without the white space around it.  Raises ValueError if lines are left."""
    text = text.strip()
    if not text.isprintable() and re.search(r"[\n\r\0]", text):
        raise ValueError(f"must be on one line, not {text!r}")
    return text


def expanded(text: str) -> Path:
    """Return the path that a user means by *text*: ``~`` and ``$NAME`` are expanded.

    With a byte 0 it is the path of nothing, and what uses it says so.
    """
    if "\0" in text:
        return Path(text)
    return Path(os.path.expandvars(os.path.expanduser(text)))


def _parse_path(text: str) -> Path | None:
    text = one_line(text)
    return expanded(text) if text else None


NOWHERE = Path("none")
"""The value of a PLACE that is not to be."""


def _parse_place(text: str) -> Path | None:
    return NOWHERE if text.strip().lower() == str(NOWHERE) else _parse_path(text)


def _show_path(value: Path | None) -> str:
    return "" if value is None else str(value)


def _parse_lines(text: str) -> tuple[str, ...]:
    lines = (line.strip() for line in text.splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def _parse_arguments(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"cannot be split into arguments ({error}): {text.strip()!r}") from error


class SizeOrPercent(NamedTuple):
    """Room on a disk: a number of bytes, or a percentage of it."""

    size: int = 0  # bytes
    percent: int = 0  # of the disk; 0: *size* counts

    def of(self, whole: int) -> int:
        """Return the bytes that are meant on a disk of *whole* bytes."""
        return self.size or whole * self.percent // 100


def _parse_room(text: str) -> SizeOrPercent:
    found = _ROOM.fullmatch(text.strip())
    if found is None or (found[2] and int(found[1]) > 100):
        raise ValueError(f"must be like 10%, 500MB or 20GB, not {text.strip()!r}")
    if found[2]:
        return SizeOrPercent(percent=int(found[1]))
    return SizeOrPercent(size=int(found[1]) * 1000 ** ("kMGT".index(found[3]) + 1))


def _show_room(value: SizeOrPercent) -> str:
    if value.percent or not value.size:
        return f"{value.percent}%" if value.percent else ""
    thousands, unit = value.size // 1000, 0
    while thousands % 1000 == 0 and unit < 3:
        thousands, unit = thousands // 1000, unit + 1
    return f"{thousands}{'kMGT'[unit]}B"


def _parse_rate(text: str) -> int:
    if not text.strip():
        return 0
    found = _RATE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"must be like 500kB or 2MB, not {text.strip()!r}")
    return int(found[1]) * int(1000 ** ("kMG".index(found[2]) + 1))


def _show_rate(value: int) -> str:
    return _show_room(SizeOrPercent(size=value))


def _parse_url(text: str) -> str:
    text = one_line(text)
    known = ("http://", "https://", "env:", "file:/", "file:~/")
    if text and not (text.startswith(known) and len(text.split()) == 1):
        # it may hold a secret, so it is not shown
        raise ValueError(f"must begin with one of {', '.join(known)}, and hold no white space")
    return text


def _parse_duration(text: str) -> timedelta:
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"must be hours, days or weeks, like 36h, 7d or 4w, not {text.strip()!r}")
    try:
        return timedelta(**{_UNITS[found[2]]: int(found[1])})
    except OverflowError:
        raise ValueError(f"is too long: {text.strip()!r}") from None


def _show_duration(value: timedelta) -> str:
    hours = int(value.total_seconds()) // 3600
    return f"{hours // 24}d" if hours % 24 == 0 else f"{hours}h"


SWITCH = OptionKind(says="A switch.", parse=_parse_switch, show=_show_switch, stored_as=bool)
NUMBER = OptionKind(says="A whole number.", parse=_parse_number, show=str, stored_as=int)
TEXT = OptionKind(says="A text.", parse=str.strip, show=str, stored_as=str)
PATH = OptionKind(
    says="A path.",
    parse=_parse_path,
    show=_show_path,
    stored_as=str,
    store=_show_path,
    fetch=lambda stored: Path(stored) if stored else None,
)
PLACE = replace(PATH, says="A path, or ``none``.", parse=_parse_place)
LINES = OptionKind(
    says="Lines; empty ones and those that begin with ``#`` do not count.",
    parse=_parse_lines,
    show="\n".join,
    stored_as=list,
    store=list,
    fetch=tuple,
)
ARGUMENTS = OptionKind(
    says="Arguments, split as a shell would.",
    parse=_parse_arguments,
    show=shlex.join,
    stored_as=list,
    store=list,
    fetch=tuple,
)
DURATION = OptionKind(
    says="A number and a unit: ``h``, ``d`` or ``w``.",
    parse=_parse_duration,
    show=_show_duration,
    stored_as=int,
    store=lambda value: int(value.total_seconds()),
    fetch=lambda stored: timedelta(seconds=stored),
)

ROOM = OptionKind(
    says="A number of percent (``10%``) or of ``kB``, ``MB``, ``GB`` or ``TB``.",
    parse=lambda text: _parse_room(text) if text.strip() else SizeOrPercent(),
    show=_show_room,
    stored_as=str,
    store=_show_room,
    fetch=lambda stored: _parse_room(stored) if stored else SizeOrPercent(),
)
RATE = OptionKind(
    says="A number of ``kB``, ``MB`` or ``GB`` a second.",
    parse=_parse_rate,
    show=_show_rate,
    stored_as=str,
    store=_show_rate,
    fetch=_parse_rate,
)
URL = OptionKind(
    says="A URL, ``env:NAME`` or ``file:PATH``.",
    parse=_parse_url,
    show=str,
    stored_as=str,
)


def choice(*words: str) -> OptionKind:
    """Return the kind of an option whose value is one of *words*."""

    def parse(text: str) -> str:
        word = text.strip().lower()
        if word not in words:
            raise ValueError(f"must be one of {', '.join(words)}, not {text.strip()!r}")
        return word

    return OptionKind(
        says=f"One of {', '.join(f'``{word}``' for word in words)}.",
        parse=parse,
        show=str,
        stored_as=str,
    )
