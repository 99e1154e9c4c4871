"""The tables: medians, ratios and goals, as reStructuredText."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from benchmarks.works import Goal, Result, Row


def table(title: str, rows: Sequence[Row], *, calls: bool) -> str:
    """Return *rows* as a table under a *title*: ours first, then all others.

    The ratio is that of the best of the others to ours; without others there is none.
    """
    names = list(dict.fromkeys(name for row in rows for name in row.results))
    _ours, *others = names
    header = ["work", "seconds", *others, "ratio", "to reach", "reached"]
    for kind in ("processor", "memory", "added", "inodes"):
        header += [kind, *others]
    header.append("store")
    if calls:
        header += ["system calls", *others]
    cells = [header, *(_cells(row, names, calls=calls) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(header))]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]
    return "\n".join([title, "", rule, lines[0], rule, *lines[1:], rule, ""])


def _cells(row: Row, names: Sequence[str], *, calls: bool) -> list[str]:
    ours, *others = row.results.values()

    def each(shown: Callable[[Result], str]) -> list[str]:
        return [shown(row.results[name]) if name in row.results else "" for name in names]

    cells = [
        row.work.title,
        *each(lambda it: _number(seconds(it))),
        f"{min(map(seconds, others)) / seconds(ours):.1f}" if others else "",
        _wanted(row.work.goal),
        "yes" if is_reached(row) else "no",
        *each(lambda it: _number(cpu(it))),
        *each(lambda it: f"{memory(it) / 1e6:.0f} MB"),
        *each(lambda it: _size(it.size)),
        *each(lambda it: f"{it.inodes:,}"),
        "" if ours.operations is None else f"{ours.operations:,}",
    ]
    if calls:
        cells += each(lambda it: f"{it.calls or 0:,}")
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
