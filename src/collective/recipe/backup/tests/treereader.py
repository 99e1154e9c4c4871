"""Reads the further files of a restore point; written from docs/design/repository.rst alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from blake3 import blake3

from collective.recipe.backup.tests.segmentreader import Reader

Get = Callable[[bytes], bytes]


class ReadFile(NamedTuple):
    path: bytes
    sort: int
    mode: int
    owner: tuple[int, int]
    time: int
    data: bytes  # contents of a file, target of a link


def files(root: bytes, get: Get) -> Iterator[ReadFile]:
    """Yield all files, links and directories of the tree whose root has these bytes."""
    yield from _entries(root, b"CRBFILES", b"", get)


def _entries(chunk: bytes, magic: bytes, above: bytes, get: Get) -> Iterator[ReadFile]:
    reader = Reader.of_linked(chunk)
    assert reader.take(8) == magic
    assert reader.fixed(2) == 1
    for _entry in range(reader.number()):
        path = above + reader.string()
        sort = reader.fixed(1)
        mode, user, group = reader.numbers(3)
        time = int.from_bytes(reader.take(8), "big", signed=True)
        data, pages = b"", []
        if sort == 0:
            pages = [reader.name() for _page in range(reader.number())]
        elif sort == 1:
            data = _contents(reader, get)
        else:
            data = reader.string()
        yield ReadFile(path, sort, mode, (user, group), time, data)
        for page in pages:
            yield from _entries(get(page), b"CRBFPAGE", path + b"/", get)


def _contents(reader: Reader, get: Get) -> bytes:
    reader.take(8)
    reader.numbers(2)
    reader.take(1)
    size = reader.number()
    holes = [(reader.number(), reader.number()) for _hole in range(reader.number())]
    is_large = reader.fixed(1)
    names = [reader.name() for _name in range(reader.number())]
    if is_large:
        lists = [Reader.of_linked(get(name)) for name in names]
        names = [name for each in lists for name in _all_names(each)]
    data = b"".join(map(get, names))
    found, at = b"", 0
    for gap, length in holes:
        found += data[at : at + gap] + bytes(length)
        at += gap
    found += data[at:]
    assert len(found) == size
    return found


def _all_names(reader: Reader) -> Iterator[bytes]:
    while reader.at < len(reader.data):
        yield reader.name()


def foreign(root: bytes, get: Get) -> Iterator[ReadFile]:
    """Yield what lies in a blobstorage besides blobs, of the list whose root has these bytes."""
    reader = Reader.of_linked(root)
    assert reader.take(8) == b"CRBOTHER"
    assert reader.fixed(2) == 1
    for _page in range(reader.number()):
        page = Reader.of_linked(get(reader.name()))
        entries, _size = reader.numbers(2)
        assert page.take(8) == b"CRBOPAGE"
        assert page.fixed(2) == 1
        assert page.number() == entries
        for _entry in range(entries):
            path, sort = page.string(), page.fixed(1)
            mode = page.number() if sort < 2 else 0
            time = int.from_bytes(page.take(8), "big", signed=True) if sort else 0
            data = b""
            if sort == 1:
                size, digest = page.number(), page.take(32)
                names = [page.name() for _name in range(page.number())]
                if size > 4 << 20:
                    lists = [Reader.of_linked(get(name)) for name in names]
                    names = [name for each in lists for name in _all_names(each)]
                data = b"".join(map(get, names))
                assert len(data) == size
                assert blake3(data).digest() == digest
            elif sort == 2:
                data = page.string()
            yield ReadFile(path, sort, mode, (0, 0), time, data)
