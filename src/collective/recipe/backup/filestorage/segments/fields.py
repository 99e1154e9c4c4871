"""Numbers and byte strings one after the other: how spans and states are written and read.

::

    number    an unsigned number below 2 ** 64 in groups of 7 bits, the lowest first; all bytes
              but the last have their highest bit set; in as few bytes as possible
    string    a number, then that many bytes
    name      of a chunk: its number among the names that are listed (see chunkstore); one that was
              not mentioned before is the next of them
"""

from __future__ import annotations

from collections.abc import Sequence

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.framing import DAMAGE_HINT
from collective.recipe.backup.filestorage.segments.chunkstore import Linked

_LONGEST = 10
_LIMIT = 1 << 64


def number(value: int) -> bytes:
    """Return *value*, 0 or more and below 2 ** 64, as a number."""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def string(data: bytes) -> bytes:
    """Return *data* as a string."""
    return number(len(data)) + data


class Names:
    """Lists the names of chunks, each once, while something that has them is written."""

    def __init__(self) -> None:
        """Begin with no name."""
        self._numbers: dict[bytes, int] = {}

    def name(self, name: bytes) -> bytes:
        """Return the bytes that stand for *name*."""
        return number(self._numbers.setdefault(name, len(self._numbers)))

    def linked(self, data: bytes) -> Linked:
        """Return *data*, which were written with these names, as a chunk."""
        return Linked(tuple(self._numbers), data)


class Fields:
    """Reads fields from bytes, and trusts no length that stands in them.

    All methods raise IntegrityError, which says *what* is damaged.
    """

    def __init__(self, data: bytes, what: str, names: Sequence[bytes] = ()) -> None:
        """Read *data*, which name the chunks *names*, from their first byte on."""
        self._data = data
        self._what = what
        self._at = 0
        self._names = names
        self._mentioned = 0  # how many of the names were read

    @property
    def left(self) -> int:
        """The number of bytes that were not read yet."""
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        """Return the next *size* bytes."""
        begin = self._at
        end = begin + size
        if end > len(self._data):
            raise self.damaged("it is cut short")
        self._at = end
        return self._data[begin:end]

    def integer(self) -> int:
        """Return the next 8 bytes as an unsigned number, big-endian."""
        return int.from_bytes(self.take(8), "big")

    def number(self) -> int:
        """Return the next number."""
        data, at = self._data, self._at
        # most have one byte: this is done several times for each blob of a site
        if at < len(data) and data[at] < 0x80:
            self._at = at + 1
            return data[at]
        value = shift = 0
        for byte in data[at : at + _LONGEST]:
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                if value >= _LIMIT or (byte == 0 and shift > 7):
                    raise self.damaged("a number is not as it would be written")
                self._at = at + shift // 7
                return value
        raise self.damaged("a number has no end")

    def string(self) -> bytes:
        """Return the next string."""
        return self.take(self.number())

    def name(self) -> bytes:
        """Return the next name of a chunk."""
        place = self.number()
        if place > self._mentioned or place >= len(self._names):
            raise self.damaged("it has a name that it does not list")
        if place == self._mentioned:
            self._mentioned += 1
        return self._names[place]

    def count(self, least: int) -> int:
        """Return the next number, a count of items of at least *least* bytes each that follow."""
        count = self.number()
        if count * least > self.left:
            raise self.damaged(f"it has no room for {count} items")
        return count

    def finish(self) -> None:
        """Raise IntegrityError unless all bytes and all names were read."""
        if self.left:
            raise self.damaged(f"{self.left} bytes follow its end")
        if not self._mentioned == len(self._names) == len(set(self._names)):
            raise self.damaged("it lists a name twice, or one that it does not have")

    def damaged(self, flaw: str) -> IntegrityError:
        """Return the error that names the damaged chunk, and its *flaw*."""
        return IntegrityError(f"{self._what} is damaged: {flaw}", hint=DAMAGE_HINT)
