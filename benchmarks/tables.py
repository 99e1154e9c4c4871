"""The tables: medians, ratios and goals, as reStructuredText."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from benchmarks.works import Goal, Result, Row

HEADER = (
    "work",
    "seconds",
    "against",
    "ratio",
    "to reach",
    "reached",
    "processor",
    "against",
    "memory",
    "against",
    "added",
    "against",
    "inodes",
    "against",
)


def table(title: str, rows: Sequence[Row], *, calls: bool) -> str:
    """Return *rows* as a table under a *title*."""
    names = list(rows[0].results)
    header = [each if each != "against" else names[1] for each in HEADER]
    if calls:
        header += ["system calls", names[1]]
    cells = [header, *(_cells(row, calls=calls) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(header))]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]
    return "\n".join([title, "", rule, lines[0], rule, *lines[1:], rule, ""])


def _cells(row: Row, *, calls: bool) -> list[str]:
    ours, theirs = row.results.values()
    ratio = seconds(theirs) / seconds(ours)
    cells = [
        row.work.title,
        _number(seconds(ours)),
        _number(seconds(theirs)),
        f"{ratio:.1f}",
        _wanted(row.work.goal),
        "yes" if is_reached(row) else "no",
        _number(cpu(ours)),
        _number(cpu(theirs)),
        f"{memory(ours) / 1e6:.0f} MB",
        f"{memory(theirs) / 1e6:.0f} MB",
        f"{ours.size / 1e6:.1f} MB",
        f"{theirs.size / 1e6:.1f} MB",
        f"{ours.inodes:,}",
        f"{theirs.inodes:,}",
    ]
    if calls:
        cells += [f"{each.calls or 0:,}" for each in (ours, theirs)]
    return cells


def seconds(result: Result) -> float:
    """Return the median of the wall seconds."""
    return median(taken.seconds for taken in result.taken)


def cpu(result: Result) -> float:
    """Return the median of the seconds of processor time, of all processes together."""
    return median(taken.cpu for taken in result.taken)


def memory(result: Result) -> int:
    """Return the most bytes of memory that any round took."""
    return max(taken.memory for taken in result.taken)


def is_reached(row: Row) -> bool:
    """Tell whether all of the goal was reached."""
    goal = row.work.goal
    ours, theirs = row.results.values()
    return (
        (goal.times is None or seconds(theirs) >= goal.times * seconds(ours))
        and (goal.seconds is None or seconds(ours) <= goal.seconds)
        and (goal.cpu is None or cpu(ours) <= goal.cpu)
        and (goal.megabytes is None or memory(ours) <= goal.megabytes * 1_000_000)
        and (goal.inodes is None or ours.inodes <= goal.inodes)
        and (goal.added is None or ours.size <= goal.added)
    )


def _wanted(goal: Goal) -> str:
    words = []
    if goal.times is not None:
        words.append(f"{goal.times:g} times")
    if goal.seconds is not None:
        words.append(f"{goal.seconds:g} s")
    if goal.cpu is not None:
        words.append(f"{goal.cpu:g} s of processor")
    if goal.inodes is not None:
        words.append(f"{goal.inodes:,} inodes")
    if goal.added is not None:
        words.append(f"{goal.added / 1e6:.1f} MB added")
    if goal.megabytes is not None:
        words.append(f"{goal.megabytes} MB memory")
    return ", ".join(words)


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"
