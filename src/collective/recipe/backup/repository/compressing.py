"""Compression with Zstandard, where it pays.

zstandard is imported when the first bytes come, because a run that stores nothing needs none.
Each thread has its own compressor and decompressor.
"""

from __future__ import annotations

import threading
from typing import Any

LEVEL = 3
"""Of zstd; it is zstd's own default, and about what restic's default comes to."""

RAW = 0
ZSTD = 1
"""Forms in which bytes are stored: as they are, or as one frame that says its size."""

_PAYS = 16
"""A compressed frame is kept if it saves at least one of this number of bytes."""

_mine = threading.local()


def compressed(data: bytes | memoryview) -> tuple[int, bytes | memoryview]:
    """Return the form, and *data* in that form."""
    frame: bytes = _compressor().compress(data)
    if len(frame) > len(data) - len(data) // _PAYS - 1:
        return RAW, data
    return ZSTD, frame


def decompressed(form: int, stored: bytes, size: int) -> bytes:
    """Return the *size* bytes that are *stored* in this form.

    *stored* must be authentic.  Raises ValueError if it has another size when it is decompressed.
    """
    if form == RAW:
        data = stored
    elif form == ZSTD:
        data = _frame(stored, size)
    else:
        raise ValueError(f"there is no form {form}")
    if len(data) != size:
        raise ValueError(f"{len(data)} bytes instead of {size}")
    return data


def _frame(stored: bytes, size: int) -> bytes:
    import zstandard

    try:
        if zstandard.frame_content_size(stored) != size:
            raise ValueError("a frame says another size")
        data: bytes = _decompressor().decompress(stored, max_output_size=size)
    except zstandard.ZstdError as error:
        raise ValueError(f"no frame of zstd: {error}") from error
    return data


def _compressor() -> Any:
    if not hasattr(_mine, "compressor"):
        import zstandard

        _mine.compressor = zstandard.ZstdCompressor(level=LEVEL)
    return _mine.compressor


def _decompressor() -> Any:
    if not hasattr(_mine, "decompressor"):
        import zstandard

        _mine.decompressor = zstandard.ZstdDecompressor()
    return _mine.decompressor
