"""The keys for the cuts of a log and for the digests of its records.

All keys come from one secret of the repository.  Without it, a record index confirms no guess of
a record, and the sizes of segments do not tell which transactions they have.  A user of the site
who could compute cuts might commit transactions that make all segments as small as can be.
"""

from __future__ import annotations

from blake3 import blake3

from collective.recipe.backup.times import Tid

SECRET_SIZE = 32
"""Bytes of the secret."""

DIGEST_SIZE = 16
"""Bytes of the keyed digest of a record's data, or of a transaction's texts."""

_CUTS = "collective.recipe.backup filestorage segments 1: cuts"
_DATA = "collective.recipe.backup filestorage segments 1: data of records"
_TEXTS = "collective.recipe.backup filestorage segments 1: texts of transactions"


class Keys:
    """Keys that are derived from a secret of 32 bytes.

    ``data`` and ``texts`` are BLAKE3 hashers with a key: copy one, update the copy, and take a
    digest of 16 bytes.  (A copy takes a quarter of the time of a hasher with a new key.)
    """

    def __init__(self, secret: bytes) -> None:
        """Derive the keys.  Raises ValueError for a secret of another length."""
        if len(secret) != SECRET_SIZE:
            raise ValueError(f"a secret has {SECRET_SIZE} bytes, not {len(secret)}")
        self.secret = secret
        self.data = blake3(key=_derived(secret, _DATA))
        self.texts = blake3(key=_derived(secret, _TEXTS))
        self._cuts = blake3(key=_derived(secret, _CUTS))

    def lot(self, tid: Tid) -> int:
        """Return the number below 2 ** 64 that *tid* draws, each time it is asked."""
        return int.from_bytes(self._cuts.copy().update(tid).digest(8), "big")


def _derived(secret: bytes, context: str) -> bytes:
    return blake3(secret, derive_key_context=context).digest()
