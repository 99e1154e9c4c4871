"""Slots: objects that hold the master key, each sealed with a passphrase.

A small file of JSON, as all of ours, under ``keys/ID``::

    label        what the user calls it
    made         when, in ISO 8601
    kdf          "argon2id", with passes, memory (KiB) and lanes; or
                 "scrypt", with n, r and p
    salt         16 bytes, hex
    commitment   32 bytes, hex
    sealed       the master key, sealed: 48 bytes, hex

The function of the passphrase (UTF-8) and the salt gives 64 bytes: the first 32 are the key of
AES-256-GCM, under the nonce 0, and the last 32 are the commitment.  It is compared first: so a
slot opens for one passphrase only, which GCM alone does not promise.  Authenticated
beside the master key are the 32 bytes of the BLAKE3 of ``format``, and this object without
``sealed`` and ``check``, in ASCII, with sorted keys and ``", "`` and ``": "`` between them.

Argon2id has the parameters that RFC 9106 recommends where memory is scarce.  Where the
library lacks it, scrypt takes its place for new slots.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from collective.recipe.backup.errors import ConfigurationError
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.jsonfile import Form, LaterReleaseError, Table, UnreadableError
from collective.recipe.backup.repository.format import Format, hexadecimal
from collective.recipe.backup.repository.keyring import MASTER_SIZE
from collective.recipe.backup.repository.names import KEYS, id_of

_FORM = Form(version=1)
_LARGEST = 4096
_KEY_SIZE = 32
_SALT_SIZE = 16
_NONCE = bytes(12)
_ARGON2 = {"passes": 3, "memory": 64 << 10, "lanes": 4}
_SCRYPT = {"n": 1 << 16, "r": 8, "p": 1}
_LIMITS = {
    "passes": range(1, 65),
    "memory": range(8, (1 << 20) + 1),
    "lanes": range(1, 17),
    "n": range(2, (1 << 20) + 1),
    "r": range(1, 17),
    "p": range(1, 17),
}
"""Largest parameters that a slot may have: larger ones would stall or kill the process."""


@dataclass(frozen=True)
class KeySlot:
    """A slot that was read, not opened yet."""

    name: str  # of the object
    label: str  # what the user calls it
    made: datetime  # by the clock of its maker
    kdf: str  # function that makes a key of the passphrase: ``argon2id`` or ``scrypt``
    table: Table  # all fields of the object


def new_slot(master: bytes, passphrase: str, about: Format, label: str, now: datetime) -> bytes:
    """Return the bytes of a slot that holds *master*."""
    kdf = "argon2id" if _has_argon2() else "scrypt"
    content: dict[str, Any] = {
        "label": label,
        "made": now.isoformat(timespec="seconds"),
        "kdf": kdf,
        "salt": os.urandom(_SALT_SIZE).hex(),
        "format": _FORM.version,
        **(_ARGON2 if kdf == "argon2id" else _SCRYPT),
    }
    key, commitment = _derived(passphrase, Table(content))
    content["commitment"] = commitment.hex()
    content["sealed"] = _cipher(key).encrypt(_NONCE, master, _beside(content, about)).hex()
    return _FORM.encode(content)


def name_of_slot(data: bytes) -> str:
    """Return the name of the object with the bytes of a slot."""
    return f"{KEYS}{id_of(data)}"


def parse_slot(name: str, data: bytes) -> KeySlot:
    """Return the slot in the object *name*.

    Raises UnreadableError for damage and ConfigurationError for one of a later release.
    """
    if name != name_of_slot(data):
        raise UnreadableError("its bytes do not match its name")
    if len(data) > _LARGEST:
        raise UnreadableError(f"larger than {_LARGEST} bytes")
    try:
        table = _FORM.decode(data)
    except LaterReleaseError as error:
        raise ConfigurationError(
            f"a key of this repository is of a later release: {error}",
            where=name,
            hint="update this program, then run the command again",
        ) from error
    return KeySlot(name, table.text("label"), table.moment("made"), _kdf_of(table), table)


def master_in(slot: KeySlot, passphrase: str, about: Format) -> bytes | None:
    """Return the master key; None if the slot does not open with this *passphrase*.

    Raises UnreadableError for a slot that was changed, or moved from another repository.
    """
    from hmac import compare_digest

    table = slot.table
    key, commitment = _derived(passphrase, table)
    if not compare_digest(commitment, hexadecimal(table.text("commitment"), _KEY_SIZE)):
        return None
    sealed = hexadecimal(table.text("sealed"), MASTER_SIZE + 16)
    content = {key: table.value(key) for key in table if key != "sealed"}
    from cryptography.exceptions import InvalidTag

    try:
        master: bytes = _cipher(key).decrypt(_NONCE, sealed, _beside(content, about))
    except InvalidTag as error:
        raise UnreadableError("it was changed, or is of another repository") from error
    return master


def _kdf_of(table: Table) -> str:
    """Return the function that a slot names, once all that it asks for is within limits."""
    kdf = table.text("kdf")
    wanted = {"argon2id": _ARGON2, "scrypt": _SCRYPT}.get(kdf)
    if wanted is None:
        raise UnreadableError(f"there is no function {kdf!r}")
    for each in wanted:
        if table.number(each) not in _LIMITS[each]:
            raise UnreadableError(f"its {each} is beyond what is allowed")
    if kdf == "scrypt" and table.number("n").bit_count() != 1:
        raise UnreadableError("its n is no power of two")
    if kdf == "argon2id" and table.number("memory") < 8 * table.number("lanes"):
        raise UnreadableError("its memory is too small for its lanes")
    hexadecimal(table.text("salt"), _SALT_SIZE)
    return kdf


def _derived(passphrase: str, table: Table) -> tuple[bytes, bytes]:
    """Return the key and the commitment."""
    kdf = table.text("kdf")
    costs = tuple(table.number(each) for each in (_ARGON2 if kdf == "argon2id" else _SCRYPT))
    secret = passphrase.encode("utf-8", "surrogateescape")
    data = _stretched(kdf, secret, hexadecimal(table.text("salt"), _SALT_SIZE), costs)
    return data[:_KEY_SIZE], data[_KEY_SIZE:]


# a process that follows a site opens the repository each time that something changed
@lru_cache(maxsize=8)
def _stretched(kdf: str, secret: bytes, salt: bytes, costs: tuple[int, ...]) -> bytes:
    """Return the 64 bytes of the passphrase *secret*; that takes time and memory by design."""
    return _argon2(secret, salt, *costs) if kdf == "argon2id" else _scrypt(secret, salt, *costs)


def _argon2(secret: bytes, salt: bytes, passes: int, memory: int, lanes: int) -> bytes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    try:
        function = Argon2id(
            salt=salt, length=2 * _KEY_SIZE, iterations=passes, lanes=lanes, memory_cost=memory
        )
    except UnsupportedAlgorithm as error:
        raise ConfigurationError(
            "this key needs Argon2id, which the library cryptography here does not have",
            hint="install cryptography 47 or newer as a wheel",
        ) from error
    return function.derive(secret)


def _scrypt(secret: bytes, salt: bytes, n: int, r: int, p: int) -> bytes:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return Scrypt(salt=salt, length=2 * _KEY_SIZE, n=n, r=r, p=p).derive(secret)


def _has_argon2() -> bool:
    from cryptography.hazmat.backends.openssl import backend

    return bool(backend.argon2_supported())


def _cipher(key: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def _beside(content: Mapping[str, Any], about: Format) -> bytes:
    return bytes.fromhex(about.digest) + json.dumps(content, sort_keys=True).encode("ascii")
