"""A reader of repositories that was written from docs/design/repository.rst alone.

It shares no code with the package, so that a test can tell whether the page says what is
written.  It takes the whole of everything into memory.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, NamedTuple

import zstandard
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

CONTEXT = "collective.recipe.backup 2026 repository v1 "
BUNDLE, CATALOG, POINT = 1, 2, 3
CHUNK, DIRECTORY, CONTENTS = 1, 3, 4


class Entry(NamedTuple):
    bundle: bytes  # ID
    salt: bytes
    offset: int
    kind: int
    form: int
    stored: int
    size: int


class ReadPoint(NamedTuple):
    head: dict[str, Any]
    body: bytes


class RepositoryReader:
    """The repository in *directory*, opened with *passphrase*."""

    def __init__(self, directory: Path, passphrase: str) -> None:
        self.directory = directory
        self.format = (directory / "format").read_bytes()
        about = json.loads(self.format)
        assert about["format"] == 1
        assert about["sealing"] == "aes-256-gcm"
        self.id = bytes.fromhex(about["repository"])
        master = next(filter(None, (self._master(path, passphrase) for path in self._all("keys"))))
        self.sealing, self.chunks, self.sites = (
            blake3(master, derive_key_context=CONTEXT + word).digest()
            for word in ("sealing", "chunks", "sites")
        )
        self.places: dict[bytes, list[Entry]] = {}
        for path in self._all("catalogs"):
            self._learn(self._box(path, CATALOG)[1])

    def _all(self, name: str) -> list[Path]:
        found = sorted((self.directory / name).iterdir())
        for path in found:
            assert blake3(path.read_bytes()).hexdigest() == path.name[-64:]
        return found

    def _master(self, path: Path, passphrase: str) -> bytes | None:
        slot = json.loads(path.read_bytes())
        del slot["check"]
        sealed = bytes.fromhex(slot.pop("sealed"))
        salt = bytes.fromhex(slot["salt"])
        if slot["kdf"] == "argon2id":
            function: Any = Argon2id(
                salt=salt,
                length=64,
                iterations=slot["passes"],
                lanes=slot["lanes"],
                memory_cost=slot["memory"],
            )
        else:
            function = Scrypt(salt=salt, length=64, n=slot["n"], r=slot["r"], p=slot["p"])
        derived = function.derive(passphrase.encode())
        if derived[32:].hex() != slot["commitment"]:
            return None
        beside = blake3(self.format).digest() + json.dumps(slot, sort_keys=True).encode()
        return AESGCM(derived[:32]).decrypt(bytes(12), sealed, beside)

    def open(self, sort: int, header: bytes, role: int, piece: tuple[int, bytes]) -> bytes:
        """Return what is in a sealed *piece*, given with its offset."""
        assert header[:16] == b"CRBSTORE" + bytes([1, sort]) + bytes(6)
        key = blake3(bytes([sort]) + header[16:40], key=self.sealing).digest()
        offset, sealed = piece
        beside = self.id + header[:16] + bytes([role])
        return AESGCM(key).decrypt(offset.to_bytes(12, "big"), sealed, beside)

    def _box(self, path: Path, sort: int) -> tuple[dict[str, Any], bytes]:
        data = path.read_bytes()
        plain = self.open(sort, data[:40], CONTENTS, (40, data[40:]))
        form, length, size = struct.unpack_from(">BII", plain)
        contents = taken_out(form, plain[9 : 9 + length], size)
        (head,) = struct.unpack_from(">I", contents)
        return json.loads(contents[4 : 4 + head]), contents[4 + head :]

    def _learn(self, body: bytes) -> None:
        at = 0
        while at < len(body):
            bundle, salt = body[at : at + 32], body[at + 32 : at + 56]
            at = self._directory(body, at + 56, (bundle, salt))

    def _directory(self, data: bytes, at: int, which: tuple[bytes, bytes]) -> int:
        (count,) = struct.unpack_from(">I", data, at)
        at, offset = at + 4, 40
        for _entry in range(count):
            kind, form, stored, size, chunk = struct.unpack_from(">BBII32s", data, at)
            if kind:
                entry = Entry(*which, offset, kind, form, stored, size)
                self.places.setdefault(chunk, []).append(entry)
            at, offset = at + 42, offset + stored
        return at

    def points(self) -> list[ReadPoint]:
        """Return the restore points, oldest first."""
        found = []
        for path in self._all("m"):
            if path.name.startswith("p-"):
                head, body = self._box(path, POINT)
                tag = blake3(head["site"].encode(), key=self.sites).digest()[:8].hex()
                assert path.name.startswith(f"p-{head['stamp']}-{tag}-")
                found.append(ReadPoint(head, body))
        return sorted(found, key=lambda point: point.head["counter"])

    def get(self, chunk: bytes) -> bytes:
        """Return the bytes of a chunk."""
        entry = self.places[chunk][0]
        name = entry.bundle.hex()
        data = (self.directory / "bundles" / name[:2] / name).read_bytes()
        assert data[16:40] == entry.salt
        sealed = data[entry.offset : entry.offset + entry.stored]
        plain = taken_out(
            entry.form, self.open(BUNDLE, data[:40], CHUNK, (entry.offset, sealed)), entry.size
        )
        key = blake3(bytes([entry.kind]), key=self.chunks).digest()
        assert blake3(plain, key=key).digest() == chunk
        return plain

    def without_catalogs(self) -> None:
        """Learn from the bundles themselves where chunks are."""
        self.places = {}
        for path in sorted((self.directory / "bundles").glob("*/*")):
            data = path.read_bytes()
            assert blake3(data).hexdigest() == path.name
            (size,) = struct.unpack(">Q", data[-8:])
            begin = len(data) - 8 - size
            plain = self.open(BUNDLE, data[:40], DIRECTORY, (begin, data[begin:-8]))
            self._directory(plain, 0, (bytes.fromhex(path.name), data[16:40]))


def taken_out(form: int, data: bytes, size: int) -> bytes:
    plain = data if form == 0 else zstandard.ZstdDecompressor().decompress(data)
    assert len(plain) == size
    return plain
