"""Sizes, counts and times for people."""

from __future__ import annotations


def size(count: float) -> str:
    """Return *count* bytes in powers of 1000."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB", "TB"):
        count /= 1000
        if count < 999.95 or unit == "TB":
            break
    return f"{count:.1f} {unit}"


def amount(count: float, unit: str) -> str:
    """Return *count* of *unit*; ``B`` are bytes."""
    return size(count) if unit == "B" else f"{count:,.0f} {unit}"


def number_of(count: int, one: str, several: str = "") -> str:
    """Return *count* with the word *one*, or with *several* (default: with an s) if it is not 1."""
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"


def duration(seconds: float) -> str:
    """Return a time in the two units that matter."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, second = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {second} s"
    hours, minute = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minute} min"
    days, hour = divmod(hours, 24)
    return f"{days} d {hour} h"


def age(seconds: float) -> str:
    """Return an age in the one unit that matters."""
    whole = max(0, int(seconds))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if whole >= 2 * length:
            return f"{whole // length} {unit}"
    return f"{whole} s"
