"""Sizes that objects may have, so that a size says little about the content.

Up to 4 KiB an object has 4 KiB; up to 1 MiB, the next power of two.  Above that as many of the
leading bits of its size are kept as its logarithm has bits, and the rest is rounded up: the
scheme *Padmé* (Nikitin et al., Reducing Metadata Leakage from Encrypted Files and
Communication with PURBs, 2019).  From 1 MiB to 4 GiB an object grows by less than 7 % so, a
bundle of 24 MiB or more by less than 1/32, and there are no more than 32 sizes between a
number and its double.
"""

from __future__ import annotations

LEAST = 4 << 10
_POWERS = 1 << 20


def padded(size: int) -> int:
    """Return the size in bytes that an object of *size* bytes gets."""
    if size <= LEAST:
        return LEAST
    if size <= _POWERS:
        return 1 << (size - 1).bit_length()
    exponent = size.bit_length() - 1
    rounded = exponent - exponent.bit_length()
    mask = (1 << rounded) - 1
    return (size + mask) & ~mask
