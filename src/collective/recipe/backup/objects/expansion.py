"""Measures the work that unpickling would take, without unpickling.

The key of a dict and the element of a set are hashed.  Of a tuple that means all that is in it,
level by level in C: a million levels end the process, and a tuple of twice the one before, thirty
times over, takes hours.  So the stack and the memo of an unpickler are followed here with a
*weight* for each object, as ``pickletools`` describes the instructions.  An object weighs 1, and a
tuple or frozenset what is in it as well.  No weight counts twice but by an instruction that takes
an object out of the memo.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple, TypeAlias

from collective.recipe.backup.filestorage.pickles import (
    flaw_of,
    instructions,
    one_of,
    stretches,
)

DEEPEST = 500
"""Levels of tuples in tuples."""

MOST = 1_000_000
"""Weight that may come out of the memo of small pickles."""

_PER_BYTE = 10
"""Weight that may come out of the memo for each byte of the pickles."""

_Item: TypeAlias = tuple[int, int]
"""Weight and depth."""

_MARK: _Item = (0, -1)
_PLAIN: _Item = (1, 0)

_DUP, _POP, _MARKING = b"2", b"0", b"("
_PUT, _BINPUT, _LONG_BINPUT, _MEMOIZE = b"p", b"q", b"r", b"\x94"
_PUTS = frozenset((_PUT, _BINPUT, _LONG_BINPUT, _MEMOIZE))
_GETS = frozenset((b"g", b"h", b"j"))
_TUPLES = {b"\x85": 1, b"\x86": 2, b"\x87": 3}
_WHOLES = frozenset((b"t", b"\x91"))
_FILLING = frozenset((b"a", b"e", b"s", b"u", b"\x90", b"b"))
"""They leave what they fill where it is, whatever it is."""


class _Effect(NamedTuple):
    """The effect of an instruction on the stack."""

    to_mark: bool  # it takes all down to a mark
    taken: int  # objects that it takes, those below the mark if it goes to one
    given: int  # objects that it puts there


def check(plain: bytes) -> None:
    """Refuse *plain* if they are no two pickles, or nest or unfold too far.

    Raises ValueError, or LookupError if the stack or the memo lacks what an instruction takes.
    """
    if _is_plain(plain):
        return
    flaw = flaw_of(plain, to_be_run=True)
    if flaw:
        raise ValueError(flaw)
    machine = _Machine(MOST + _PER_BYTE * len(plain))
    for code, begin, end in instructions(plain):
        if code == b".":
            machine.stack = []
        else:
            machine.step(code, plain[begin:end])


def _is_plain(plain: bytes) -> bool:
    """Tell whether *plain* take no tuple out of the memo and have few, as nearly all records do.

    Then no weight counts twice.  That takes one walk, which finds a flaw as well.
    """
    kept: set[bytes] = set()
    taken: set[bytes] = set()
    tuples = 0
    forms = _forms()
    for code, begin, end in stretches(plain):
        found = forms.findall(plain, begin, end)
        if code in _PUTS or code in _GETS:
            return False
        if not found:
            continue
        exposed, memos, pids, got, aliases = zip(*found, strict=True)
        # an instruction that takes the tuple off the stack again lets it be in no other
        tuples += pids.count(b"") - exposed.count(b"")
        if _DUP in exposed or tuples > DEEPEST:
            return False
        for chain in filter(None, {*memos, *aliases}):
            if chain[:1] not in (_BINPUT, _LONG_BINPUT) or len(chain) != _LENGTHS[chain[:1]]:
                return False
            kept.add(chain[1:].rstrip(b"\0"))
        taken.update(each[1:].rstrip(b"\0") for each in {*got} if each)
    return not kept & taken


_LENGTHS = {_BINPUT: 2, _LONG_BINPUT: 5}


@functools.cache
def _forms() -> re.Pattern[bytes]:
    """Return the pattern that finds an instruction, and whether the memo gets its result.

    The first three groups are one that may leave a tuple on top of the stack, and whether it is a
    persistent id and taken off at once; the others are one that takes something out of the memo.
    All other instructions leave something else on top, or what was there, and the memo does not get
    it.
    """
    whole = re.escape(b"".join(_TUPLES) + b"".join(_WHOLES) + _DUP)
    leaving = re.escape(b"".join(_FILLING) + _POP + b"1")
    memo = rb"[q\x80].|r..\0\0|\x94|\x95.{8}"
    quiet = one_of(b"".join((*_TUPLES, *_WHOLES, *_FILLING)) + _POP + b"1" + _DUP + b"hj")
    return re.compile(
        rb"(?:%b|[%b](?!%b))+|([%b%b])((?:%b)*)(Q?)|(h.|j.{4})((?:%b)*)"
        % (quiet, leaving, memo, whole, leaving, memo, memo),
        re.DOTALL,
    )


class _Machine:
    def __init__(self, left: int) -> None:
        self.stack: list[_Item] = []
        self._memo: dict[int, _Item] = {}
        self._left = left

    def step(self, code: bytes, argument: bytes) -> None:
        if code == _MARKING:
            self.stack.append(_MARK)
        elif code in _PUTS:
            self._memo[self._number(code, argument)] = self._top()
        elif code in _GETS:
            self._get(self._memo[_number(argument, is_text=code == b"g")])
        elif code in _TUPLES:
            self._whole(self._taken(_TUPLES[code]))
        elif code in _WHOLES:
            self._whole(self._down_to_mark())
        elif code == _POP:
            self.stack.pop()
        elif code == _DUP:
            raise ValueError("it has an instruction that ZODB never writes")
        else:
            self._other(code)

    def _other(self, code: bytes) -> None:
        effect = _effects()[code]
        if effect.to_mark:
            self._down_to_mark()
        is_filling = code in _FILLING
        self._taken(effect.taken - is_filling)
        if is_filling:
            self._top()
        else:
            self.stack += [_PLAIN] * effect.given

    def _number(self, code: bytes, argument: bytes) -> int:
        return len(self._memo) if code == _MEMOIZE else _number(argument, is_text=code == _PUT)

    def _get(self, item: _Item) -> None:
        self._left -= item[0] - 1
        if self._left < 0:
            raise ValueError("it says too much over and over again")
        self.stack.append(item)

    def _whole(self, parts: list[_Item]) -> None:
        depth = 1 + max((part[1] for part in parts), default=0)
        if depth > DEEPEST:
            raise ValueError(f"it has more than {DEEPEST} tuples within each other")
        self.stack.append((1 + sum(part[0] for part in parts), depth))

    def _top(self) -> _Item:
        if self.stack[-1] is _MARK:
            raise LookupError("it takes more than there is")
        return self.stack[-1]

    def _taken(self, count: int) -> list[_Item]:
        taken = []
        for _each in range(count):
            taken.append(self._top())
            self.stack.pop()
        return taken

    def _down_to_mark(self) -> list[_Item]:
        taken = []
        while (item := self.stack.pop()) is not _MARK:
            taken.append(item)
        return taken


def _number(argument: bytes, *, is_text: bool) -> int:
    return int(argument) if is_text else int.from_bytes(argument, "little")


@functools.cache
def _effects() -> dict[bytes, _Effect]:
    import pickletools  # costs more than all the rest

    effects = {}
    for opcode in pickletools.opcodes:
        before = opcode.stack_before
        to_mark = pickletools.markobject in before
        taken = before.index(pickletools.markobject) if to_mark else len(before)
        effects[opcode.code.encode("latin-1")] = _Effect(to_mark, taken, len(opcode.stack_after))
    return effects
