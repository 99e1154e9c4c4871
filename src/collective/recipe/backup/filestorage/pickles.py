"""The end of a pickle, and whether the bytes can be one, without running it.

A pickle is a program.  An unpickler runs it, needs the classes of the site, and asks for any
amount of memory if its bytes are damaged.  This walks from instruction to instruction
instead, by the table that the standard library has of them: each must be known, its argument
must lie within the data, and the last must be STOP.
"""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Callable, Iterator
from typing import TypeAlias

Step: TypeAlias = Callable[[bytes, int], int]
"""Takes the offset of an argument and returns that of the next instruction."""

_STOP = b"."
_COMPRESSED = b".z"
_MORE = "something follows its pickles"
_PICKLES = 2
"""In a record: the class, and the state."""
_SHORT = 100
"""Bytes of a text that are found by a pattern, if it has fewer."""
_LARGEST = 1 << 25
"""Bytes of a compressed record that is looked into: twice what ZODB warns of.

A few kilobytes may be those of a gigabyte, and each byte of a pickle may ask for eight more.
"""


class TooLargeError(ValueError):
    """A compressed record is too large to be looked into."""


def flaw_of(data: bytes, *, to_be_run: bool = False) -> str:
    """Say what keeps the *data* of a record from being two pickles, or "" if nothing is known.

    If they are *to_be_run*, so does a memo that is larger than they are: no pickler writes that,
    and an unpickler makes room for all of it.
    """
    try:
        plain = decompressed(data)
        first = _end(plain, 0, to_be_run=to_be_run)
        last = _end(plain, first, to_be_run=to_be_run)
        return "" if last == len(plain) else _MORE
    except TooLargeError:
        return ""
    except zlib.error as error:
        return f"it cannot be decompressed ({error})"
    except (IndexError, ValueError) as error:
        return str(error)


def instructions(plain: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield each instruction of pickles without a flaw, and where its argument begins and ends."""
    steps, at = _single_steps(), 0
    while at < len(plain):
        code = plain[at : at + 1]
        end = steps[code](plain, at + 1)
        yield code, at + 1, end
        at = end


def stretches(plain: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield what ``one_of`` matches of two pickles that are to be run, in long stretches.

    Each is yielded with the code of the other instruction behind it, and where it begins and
    ends.  Raises ValueError or IndexError for what keeps them from being two pickles, after all
    before it was yielded.
    """
    simple, steps = _table(to_be_run=True)
    at, stops = 0, 0
    while stops < _PICKLES:
        found = simple.match(plain, at)
        end = found.end() if found else at
        code = plain[end : end + 1]
        if code == _STOP:
            stops += 1
        yield code, at, end
        at = end + 1 if code == _STOP else _stepped(plain, end, steps)
    if at != len(plain):
        raise ValueError(_MORE)


def decompressed(data: bytes, largest: int = _LARGEST) -> bytes:
    """Return the pickles of a record, which a wrapper like zc.zlibstorage may have compressed.

    Raises zlib.error or ValueError if the bytes are neither, and TooLargeError if they were
    compressed and are more than *largest*.
    """
    if data[:2] != _COMPRESSED:
        return data
    inflater = zlib.decompressobj()
    plain = inflater.decompress(data[2:], largest)
    if not inflater.eof and len(plain) >= largest:
        raise TooLargeError(f"it is larger than {largest >> 20} MB once it is decompressed")
    if not inflater.eof:
        raise ValueError("it ends in the middle of what is compressed")
    return plain


def _end(data: bytes, start: int, *, to_be_run: bool) -> int:
    """Return the offset after the pickle at *start*.  Raises ValueError or IndexError."""
    simple, steps = _table(to_be_run)
    at = start
    while True:
        found = simple.match(data, at)
        at = found.end() if found else at
        if data[at : at + 1] == _STOP:
            return at + 1
        at = _stepped(data, at, steps)


def _stepped(data: bytes, at: int, steps: dict[bytes, Step]) -> int:
    """Return the offset after the instruction at *at*.  Raises ValueError or IndexError."""
    step = steps.get(data[at : at + 1])
    if step is None:
        raise ValueError(_cut(at) if at >= len(data) else f"byte {at} is no instruction")
    end = step(data, at + 1)
    if end > len(data):
        raise ValueError(_cut(len(data)))
    return end


def over_text(plain: bytes, at: int) -> int | None:
    """Return the offset after the text or the number of any length at *at*; None: it is none.

    Raises ValueError if it is cut short.
    """
    code = plain[at : at + 1]
    return _stepped(plain, at, _table(to_be_run=False)[1]) if code in _counted_codes() else None


@functools.cache
def _counted_codes() -> frozenset[bytes]:
    """Return the instructions with an argument behind its length."""
    import pickletools  # see _table

    counted = (each for each in pickletools.opcodes if each.arg and each.arg.n in _WIDTHS)
    return frozenset(each.code.encode("latin-1") for each in counted)


def _cut(at: int) -> str:
    return f"its pickle is cut short at byte {at}"


@functools.cache
def _table(to_be_run: bool) -> tuple[re.Pattern[bytes], dict[bytes, Step]]:  # noqa: FBT001  of a cache
    """Return what matches many instructions, and how to step over those that it does not match."""
    import pickletools  # costs more than all the rest, and few need it

    steps: dict[bytes, Step] = {}
    for opcode in pickletools.opcodes:
        code, argument = opcode.code.encode("latin-1"), opcode.arg
        if argument is None or argument.n >= 0:
            continue
        if argument.n == pickletools.UP_TO_NEWLINE:
            steps[code] = functools.partial(_lines, 1 + argument.name.endswith("_pair"))
        else:
            steps[code] = functools.partial(_counted, *_WIDTHS[argument.n])
    if to_be_run:
        steps.update({_LONG_MEMO: _long_memo, b"p": _text_memo})
    return re.compile(b"(?:%b)+" % one_of(to_be_run=to_be_run), re.DOTALL), steps


def one_of(leaving_out: bytes = b"", *, to_be_run: bool = True) -> bytes:
    """Return a pattern for an instruction, but for STOP and those *leaving_out*.

    Neither does it match long texts, nor, if they are *to_be_run*, memos with large numbers.
    """
    import pickletools  # costs more than all the rest, and few need it

    fixed: dict[int, bytes] = {}
    counted: dict[int, bytes] = {}
    patterns = [] if b"c" in leaving_out else [_NAMES]
    for opcode in pickletools.opcodes:
        code = opcode.code.encode("latin-1")
        size = 0 if opcode.arg is None else opcode.arg.n
        if code == _STOP or code in leaving_out:
            continue
        if code == _LONG_MEMO and to_be_run:
            patterns.append(_SMALL_MEMO)
        elif size >= 0:
            fixed[size] = fixed.get(size, b"") + re.escape(code)
        elif size in _WIDTHS:
            width = _WIDTHS[size][0]
            counted[width] = counted.get(width, b"") + re.escape(code)
    patterns += [b"[%b].{%d}" % (codes, size) for size, codes in sorted(fixed.items())]
    patterns += [b"[%b](?:%b)" % (codes, texts(width)) for width, codes in counted.items()]
    return b"|".join(patterns)


_NAMES = rb"c[^\n]*\n[^\n]*\n"
"""A class by its name."""
_LONG_MEMO = b"r"
_SMALL_MEMO = rb"r..\0\0"
"""A number below 65,536: no unpickler makes much room for that."""


def texts(width: int) -> bytes:
    """Return a pattern for short texts, each behind its length, a number of *width* bytes."""
    lengths = ((size, size.to_bytes(width, "little")) for size in range(_SHORT))
    return b"|".join(b"%b.{%d}" % (re.escape(length), size) for size, length in lengths)


@functools.cache
def _single_steps() -> dict[bytes, Step]:
    """Return how to step over each instruction."""
    import pickletools  # see _table

    steps = dict(_table(to_be_run=False)[1])
    for opcode in pickletools.opcodes:
        size = 0 if opcode.arg is None else opcode.arg.n
        if size >= 0:
            steps[opcode.code.encode("latin-1")] = functools.partial(_fixed, size)
    return steps


def _fixed(size: int, _data: bytes, at: int) -> int:
    return at + size


def _long_memo(data: bytes, at: int) -> int:
    return _memo(data, int.from_bytes(data[at : at + 4], "little"), at + 4)


def _text_memo(data: bytes, at: int) -> int:
    end = _lines(1, data, at)
    return _memo(data, int(data[at : end - 1]), end)


def _memo(data: bytes, number: int, end: int) -> int:
    """Refuse a *number* that no pickler gives: an unpickler makes room for all before it."""
    if number > len(data):
        raise ValueError(f"the memo before byte {end} is larger than the data")
    return end


_WIDTHS = {-2: (1, False), -3: (4, True), -4: (4, False), -5: (8, False)}
"""For TAKEN_FROM_ARGUMENT1, 4, 4U and 8U of pickletools: bytes of the length, whether signed."""


def _counted(width: int, signed: bool, data: bytes, at: int) -> int:  # noqa: FBT001  of a table
    length = int.from_bytes(data[at : at + width], "little", signed=signed)
    if length < 0:
        raise ValueError(f"the length at byte {at} is negative")
    return at + width + length


def _lines(count: int, data: bytes, at: int) -> int:
    for _line in range(count):
        at = data.find(b"\n", at) + 1
        if not at:
            return len(data) + 1
    return at
