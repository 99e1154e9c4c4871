"""The tables: medians, ratios and goals, as reStructuredText."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from benchmarks.works import Goal, Result, Row


def table(title: str, rows: Sequence[Row], *, calls: bool) -> str:
    """Return *rows* as a table under a *title*: ours first, then all others.

    The ratio is that of the best of the others to ours.
    """
    _ours, *others = rows[0].results
    header = ["work", "seconds", *others, "ratio", "to reach", "reached"]
    for kind in ("processor", "memory", "added", "inodes"):
        header += [kind, *others]
    header.append("store")
    if calls:
        header += ["system calls", *others]
    cells = [header, *(_cells(row, calls=calls) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(header))]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]
    return "\n".join([title, "", rule, lines[0], rule, *lines[1:], rule, ""])


def _cells(row: Row, *, calls: bool) -> list[str]:
    ours, *others = every = list(row.results.values())
    ratio = min(map(seconds, others)) / seconds(ours)
    cells = [
        row.work.title,
        *(_number(seconds(each)) for each in every),
        f"{ratio:.1f}",
        _wanted(row.work.goal),
        "yes" if is_reached(row) else "no",
        *(_number(cpu(each)) for each in every),
        *(f"{memory(each) / 1e6:.0f} MB" for each in every),
        *(_size(each.size) for each in every),
        *(f"{each.inodes:,}" for each in every),
        "" if ours.operations is None else f"{ours.operations:,}",
    ]
    if calls:
        cells += [f"{each.calls or 0:,}" for each in every]
    return cells


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 10_000_000 else f"{size / 1e6:.3f} MB"


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
    ours, *others = row.results.values()
    return (
        (goal.times is None or min(map(seconds, others)) >= goal.times * seconds(ours))
        and (goal.seconds is None or seconds(ours) <= goal.seconds)
        and (goal.cpu is None or cpu(ours) <= goal.cpu)
        and (goal.megabytes is None or memory(ours) <= goal.megabytes * 1_000_000)
        and (goal.inodes is None or ours.inodes <= goal.inodes)
        and (goal.added is None or ours.size <= goal.added)
        and (goal.share is None or ours.size <= goal.share * min(each.size for each in others))
        and (goal.operations is None or (ours.operations or 0) <= goal.operations)
    )


def _wanted(goal: Goal) -> str:
    wanted = (
        (goal.times, "{:g} times"),
        (goal.seconds, "{:g} s"),
        (goal.cpu, "{:g} s of processor"),
        (goal.inodes, "{:,} inodes"),
        (None if goal.added is None else goal.added / 1e6, "{:.1f} MB added"),
        (goal.share, "{:.0%} of the bytes"),
        (goal.operations, "{:,} operations"),
        (goal.megabytes, "{} MB memory"),
    )
    return ", ".join(words.format(value) for value, words in wanted if value is not None)


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"
