"""The recovery sheet: the master key on paper.

It opens the repository without any passphrase, also when all slots in the store are lost.  It is 60
bytes in the base 32 of Crockford, six lines of 16 digits, each with two more that check it::

    0    1    version, 1
    1    16   id of the repository
    17   32   master key
    49   11   BLAKE3 of all before

The two digits that check a line are the first 10 bits of the BLAKE3 of its number, as one digit
of ASCII, and its 16 digits.  A reader takes lower case for upper case, O for 0, and I and L for
1; blanks and hyphens mean nothing.  The QR code has PREFIX and the 96 digits without checks.
"""

from __future__ import annotations

import html
from datetime import datetime

import blake3

from collective.recipe.backup.errors import ConfigurationError
from collective.recipe.backup.repository.keyring import (
    MASTER_SIZE,
    REPOSITORY_ID_SIZE,
    Keyring,
)

PREFIX = "SITEBACKUP-KEY-1:"
LINES = 6

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ALIKE = str.maketrans("OIL", "011", " -\t\r")
_VERSION = 1
_IN_LINE = 16
_CHECKS = 2
_SIZE = 60
_SUMMED = 1 + REPOSITORY_ID_SIZE + MASTER_SIZE


def sheet_lines(keyring: Keyring) -> list[str]:
    """Return the lines of the sheet, as they are printed and typed."""
    digits = _digits(keyring)
    lines = []
    for number in range(LINES):
        line = digits[number * _IN_LINE : (number + 1) * _IN_LINE]
        groups = " ".join(line[at : at + 4] for at in range(0, _IN_LINE, 4))
        lines.append(f"{number + 1}:  {groups}  {_check(number + 1, line)}")
    return lines


def read_sheet(text: str) -> tuple[bytes, bytes]:
    """Return the id of the repository and the master key of a recovery sheet.

    *text* was typed, or comes from the QR code.  Raises ConfigurationError, which names the lines
    that are mistyped.
    """
    text = text.strip()
    is_code = text.upper().startswith(PREFIX)
    data = _decoded(_plain(text[len(PREFIX) :]) if is_code else _from_lines(text))
    if data is None or data[0] != _VERSION or data[_SUMMED:] != _sum(data[:_SUMMED]):
        raise ConfigurationError(
            "this is no recovery sheet, or lines of two sheets",
            hint="type all six lines of one sheet, or scan its QR code",
        )
    return data[1 : 1 + REPOSITORY_ID_SIZE], data[1 + REPOSITORY_ID_SIZE : _SUMMED]


def sheet_page(keyring: Keyring, location: str, now: datetime) -> str:
    """Return the sheet as a page of HTML that needs nothing else, to be printed."""
    import segno

    code = segno.make(PREFIX + _digits(keyring), error="m").svg_inline(scale=5, border=4)
    lines = "\n".join(sheet_lines(keyring))
    where = html.escape(location.encode("utf-8", "backslashreplace").decode("utf-8"))
    return _PAGE.format(
        where=where,
        repository=keyring.repository.hex(),
        now=f"{now:%Y-%m-%d}",
        lines=lines,
        code=code,
    )


def _digits(keyring: Keyring) -> str:
    data = bytes([_VERSION]) + keyring.repository + keyring.master
    number = int.from_bytes(data + _sum(data), "big")
    count = LINES * _IN_LINE
    return "".join(_DIGITS[number >> 5 * at & 31] for at in reversed(range(count)))


def _sum(data: bytes) -> bytes:
    return blake3.blake3(data).digest(_SIZE - _SUMMED)


def _check(number: int, line: str) -> str:
    bits = int.from_bytes(blake3.blake3(f"{number}{line}".encode("ascii")).digest(2), "big") >> 6
    return _DIGITS[bits >> 5] + _DIGITS[bits & 31]


def _plain(text: str) -> str:
    return text.upper().translate(_ALIKE)


def _from_lines(text: str) -> str:
    """Return the 96 digits in six lines, once the checks of all fit."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) != LINES:
        raise ConfigurationError(
            f"a recovery sheet has {LINES} lines, and these are {len(lines)}",
            hint="type each line of the sheet on a line of its own",
        )
    digits, problems = [], []
    for number, line in enumerate(lines, 1):
        plain = _plain(line.partition(":")[2] or line)
        found, check = plain[:_IN_LINE], plain[_IN_LINE:]
        if set(plain) - set(_DIGITS) or len(plain) != _IN_LINE + _CHECKS:
            problems.append(f"line {number} does not have 18 letters and digits")
        elif _check(number, found) != check:
            problems.append(f"line {number} is mistyped, or at another place")
        digits.append(found)
    if problems:
        raise ConfigurationError(
            "the recovery sheet cannot be read",
            hint="compare these lines with the sheet, letter by letter",
            problems=problems,
        )
    return "".join(digits)


def _decoded(digits: str) -> bytes | None:
    if len(digits) != LINES * _IN_LINE or set(digits) - set(_DIGITS):
        return None
    number = 0
    for digit in digits:
        number = number << 5 | _DIGITS.index(digit)
    return number.to_bytes(_SIZE, "big")


_PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Recovery sheet</title>
<style>
  body {{ font: 12pt/1.5 serif; max-width: 40em; margin: 3em auto; color: #000; background: #fff }}
  pre {{ font: 14pt/1.8 monospace; border: 1px solid; padding: 1em }}
  svg {{ width: 6cm; height: 6cm }}
</style>
<h1>Recovery sheet</h1>
<p>Repository of backups at <b>{where}</b><br>
Id {repository}<br>
Printed {now}</p>
<p><b>Whoever has this sheet can read all backups in this repository.</b>
Keep it where you keep what nobody else may see, and not beside the backups.</p>
<pre>{lines}</pre>
<p>{code}</p>
<p>If no passphrase opens the repository any more: configure a new one, run
<code>sitebackup repository recover</code> or <code>bin/backup-repository recover</code>, and type
the six lines or what the code says.</p>
</html>
"""
