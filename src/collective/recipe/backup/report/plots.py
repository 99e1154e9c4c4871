"""The plots: the drawing between the labels is SVG, which stretches to any width.

The labels are HTML beside it, so that they stay readable on a phone.  A drawing is 1000
units wide; lines keep their width however it is stretched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from collective.recipe.backup.amounts import duration, number_of, size
from collective.recipe.backup.history import DONE, INCOMPLETE, RunRecord
from collective.recipe.backup.model import RestorePoint
from collective.recipe.backup.report.axes import AmountAxis, TimeAxis, day, hour
from collective.recipe.backup.report.markup import Markup, element, join
from collective.recipe.backup.report.words import moment, outcome, restored
from collective.recipe.backup.report.words import phase as phase_in_words
from collective.recipe.backup.restorepoints import Range
from collective.recipe.backup.times import stamp

WIDTH = 1000
LANES = 6
"""Ranges that overlap are drawn below each other, in no more lanes than this."""
LANE = 26
FEW_MARKS = 60
"""More marks than that are drawn thin, and none through the ranges: a phone has 300 pixels."""
COLUMNS = 40
"""Runs that the plot of durations has room for."""
_ROOM = 0.25
"""The share of a plot that a date takes on a phone."""
COLORS = 6
"""Phases beyond that many have the color of the last."""


def time_line(
    points: Sequence[RestorePoint],
    ranges: Sequence[Range],
    now: datetime,
    restores: Sequence[RunRecord] = (),
) -> Markup:
    """Return restore points on a line of time, over the ranges that can be restored.

    Restores since the first of them are on it as well.
    """
    axis = _axis(points, now)
    lanes = _lanes(ranges, axis)
    height = LANE * max(1, 1 + max(lanes.values(), default=0)) + 30
    drawn = [_range(found, lane, axis) for found, lane in lanes.items()]
    drawn += _marks(points, axis, height)
    drawn += [_restored(each, axis, height) for each in restores if each.started >= axis.first]
    words = f"{number_of(len(points), 'restore point')}, {number_of(len(ranges), 'range')}"
    return _plot(drawn, height, words, axis)


def time_line_legend(
    points: Sequence[RestorePoint], ranges: Sequence[Range], restores: Sequence[RunRecord]
) -> Markup:
    """Return what the marks on that line mean: those that are there."""
    names = [
        *[("range", "any moment can be restored")] * bool(ranges),
        *[("full", "full")] * any(point.full for point in points),
        *[("incremental", "incremental")] * any(not point.full for point in points),
        *[("bad", "not whole")] * any(not point.whole for point in points),
        *[("restored", "the site was restored")] * bool(restores),
    ]
    return _legend(names)


def growth(points: Sequence[RestorePoint], now: datetime) -> Markup:
    """Return how filestorage and blobs grew, as far as the restore points know."""
    axis = _axis(points, now)
    by_time = sorted(points, key=lambda point: point.stamp)
    filestorage = [(point.moment, point.end) for point in by_time if point.end]
    blobs = [(point.moment, point.blob_bytes) for point in by_time if point.blob_bytes is not None]
    amounts = AmountAxis(max((amount for _when, amount in [*filestorage, *blobs]), default=0))
    drawn = [
        *_grid(amounts),
        *_line(blobs, axis, amounts, "blobs"),
        *_line(filestorage, axis, amounts, "filestorage"),
    ]
    names = [("filestorage", "Filestorage")] + ([("blobs", "Blobs")] if blobs else [])
    words = ", ".join(
        f"{name} {size(line[-1][1])}"
        for name, line in (("filestorage", filestorage), ("blobs", blobs))
        if line
    )
    if len(points) == 1:
        # one amount is no line
        return element(
            "p", f"{words[:1].upper()}{words[1:]}.  The next backup shows how they grow."
        )
    return join(_legend(names), _plot(drawn, 160, words, axis, list(amounts.byte_names())))


def durations(records: Sequence[RunRecord]) -> Markup:
    """Return how long each phase of the newest backups took, a column for each run."""
    shown = list(records)[-COLUMNS:]
    phases = list(dict.fromkeys(phase for record in shown for phase in record.phases))
    amounts = AmountAxis(max((sum(record.phases.values()) for record in shown), default=0))
    width = WIDTH / max(len(shown), 12)
    drawn = list(_grid(amounts))
    for number, record in enumerate(shown):
        drawn.append(_column(record, number * width, width, phases, amounts))
    names = [
        (f"phase{min(number, COLORS - 1)}", phase_in_words(name))
        for number, name in enumerate(phases)
    ]
    labels = _some_dates([each.started for each in shown], width / WIDTH)
    heights = [(share, _seconds(share * amounts.top)) for share in (0.0, 0.5, 1.0)]
    words = f"{number_of(len(shown), 'backup')}, the longest {_seconds(amounts.highest)}"
    if any(map(_failed, shown)):
        names.append(("failed", "failed"))
    frame = _frame(drawn, 160, words, labels, heights)
    if len(records) == len(shown):
        return join(_legend(names), frame)
    newest = f"the newest {len(shown)} of {len(records):,}"
    return join(element("p", newest, class_="small soft"), _legend(names), frame)


# parts of the line of time


def _axis(points: Sequence[RestorePoint], now: datetime) -> TimeAxis:
    """Return the time in which there are restore points, with some air before it."""
    first = min((point.moment for point in points), default=now)
    last = max([now, *(point.moment for point in points)])
    return TimeAxis(first - (last - first) / 20, last)


def _lanes(ranges: Sequence[Range], axis: TimeAxis) -> dict[Range, int]:
    """Return for each range how far down it lies, so that they do not cover each other."""
    ends: list[float] = []
    lanes = {}
    for found in sorted(ranges, key=lambda it: it.last):
        first = axis.at(found.first)
        lane = next((n for n, end in enumerate(ends) if end <= first), len(ends))
        lane = min(lane, LANES - 1)
        ends[lane : lane + 1] = [axis.at(found.last)]
        lanes[found] = lane
    return lanes


def _range(found: Range, lane: int, axis: TimeAxis) -> Markup:
    begin, end = axis.at(found.first) * WIDTH, axis.at(found.last) * WIDTH
    title = f"any moment from {stamp(found.first)} to {stamp(found.last)}"
    return element(
        "rect",
        element("title", title),
        class_="range",
        x=begin,
        y=float(30 + lane * LANE),
        width=max(end - begin, 3.0),
        height=float(LANE - 8),
    )


def _one_for_each_place(points: Iterable[RestorePoint], axis: TimeAxis) -> Iterator[RestorePoint]:
    """Yield of the points that would lie upon each other one: the one to look at first."""
    places: dict[tuple[int, bool], RestorePoint] = {}
    for point in points:
        place = round(axis.at(point.moment) * WIDTH / 4)
        seen = places.get((place, point.whole))
        if seen is None or point.full:
            places[place, point.whole] = point
    return iter(places.values())


def _marks(points: Iterable[RestorePoint], axis: TimeAxis, height: int) -> list[Markup]:
    """Return a mark for each point for which there is room; damaged ones are on top."""
    shown = sorted(_one_for_each_place(points, axis), key=lambda point: not point.whole)
    many = len(shown) > FEW_MARKS
    return [_mark(point, axis, 24 if many else height, many=many) for point in shown]


def _mark(point: RestorePoint, axis: TimeAxis, height: int, *, many: bool) -> Markup:
    kind = "full" if point.full else "incremental"
    state = "whole" if point.whole else "; ".join(point.problems)
    looks = " ".join(["mark", kind, *["many"] * many, *["bad"] * (not point.whole)])
    place = axis.at(point.moment) * WIDTH
    return element(
        "line",
        element("title", f"{point.stamp}, {kind}, {state}"),
        class_=looks,
        x1=place,
        x2=place,
        y1=2.0 if point.full else 12.0,
        y2=float(height if point.full else 24),
    )


def _restored(record: RunRecord, axis: TimeAxis, height: int) -> Markup:
    place = axis.at(record.started) * WIDTH
    return element(
        "line",
        element("title", restored(record)),
        class_="restored",
        x1=place,
        x2=place,
        y1=0.0,
        y2=float(height),
    )


# parts of the others


def _some_dates(moments: Sequence[datetime], width: float) -> list[tuple[float, str]]:
    """Return the dates of the first, the last and the middle column, as far as there is room.

    *width* is the share of the plot that a column has.  Hours are named where days repeat.
    """
    last = len(moments) - 1
    numbers = list(dict.fromkeys((0, last, last // 2)))
    days = [day(moments[number]) for number in numbers]
    name = day if len(set(days)) == len(days) else hour
    places: dict[float, str] = {}
    for number in numbers:
        place = (number + 0.5) * width
        if all(abs(place - other) >= _ROOM for other in places):
            places[place] = name(moments[number])
    return sorted(places.items())


def _grid(amounts: AmountAxis) -> Iterator[Markup]:
    for share in (0.0, 0.5, 1.0):
        height = 160 - 150 * share
        yield element("line", class_="grid", x1=0, x2=WIDTH, y1=height, y2=height)


def _line(
    values: Sequence[tuple[datetime, int]], axis: TimeAxis, amounts: AmountAxis, name: str
) -> Iterator[Markup]:
    """Yield a line through *values*, which goes on at its last height, and the area below it."""
    if not values:
        return
    places = {
        round(axis.at(when) * WIDTH, 1): round(160 - 150 * amounts.at(amount), 1)
        for when, amount in values
    }
    places.setdefault(float(WIDTH), list(places.values())[-1])
    path = " L".join(f"{x:g} {y:g}" for x, y in places.items())
    first = next(iter(places))
    yield element("path", class_=f"area {name}", d=f"M{first:g} 160 L{path} L{WIDTH} 160 Z")
    yield element("path", class_=f"line {name}", d=f"M{path}")


def _column(
    record: RunRecord, left: float, width: float, phases: Sequence[str], amounts: AmountAxis
) -> Markup:
    height = 160.0
    parts = []
    for phase, seconds in record.phases.items():
        part = 150 * amounts.at(seconds)
        height -= part
        color = f"phase{min(phases.index(phase), COLORS - 1)}"
        parts.append(
            element(
                "rect",
                class_=f"column {color}",
                x=left + width * 0.15,
                width=width * 0.7,
                y=height,
                height=part,
            )
        )
    if _failed(record):
        parts.append(
            element(
                "rect", class_="failed", x=left + width * 0.15, width=width * 0.7, y=4, height=156
            )
        )
    took = ", ".join(f"{phase_in_words(it)} {_seconds(took)}" for it, took in record.phases.items())
    title = f"{moment(record.started)}: {'; '.join(filter(None, (outcome(record), took)))}"
    return element("g", element("title", title), *parts)


def _failed(record: RunRecord) -> bool:
    return record.outcome not in (DONE, INCOMPLETE)


def _seconds(seconds: float) -> str:
    return duration(seconds) if seconds else "0"


# the frame of all


def _plot(
    drawn: Iterable[Markup],
    height: int,
    words: str,
    axis: TimeAxis,
    heights: Sequence[tuple[float, str]] = (),
) -> Markup:
    return _frame(drawn, height, words, list(axis.names()), heights)


def _frame(
    drawn: Iterable[Markup],
    height: int,
    words: str,
    labels: Sequence[tuple[float, str]],
    heights: Sequence[tuple[float, str]],
) -> Markup:
    drawing = element(
        "svg",
        element("title", words),
        *drawn,
        viewBox=f"0 0 {WIDTH} {height}",
        preserveAspectRatio="none",
        role="img",
        style=f"height: {height}px",
    )
    # as much of a label lies left of its place as there is room for
    below = [
        element(
            "span",
            name,
            style=f"left: {100 * place:.2f}%; transform: translateX(-{100 * place:.0f}%)",
        )
        for place, name in labels
    ]
    beside = [
        element("span", name, style=f"bottom: {93.75 * share:.2f}%") for share, name in heights
    ]
    return element(
        "div",
        element("div", *beside, class_="heights") if beside else Markup(""),
        element("div", drawing, element("div", *below, class_="dates"), class_="drawing"),
        class_="plot hours" if any("\n" in name for _place, name in labels) else "plot",
    )


def _legend(names: Sequence[tuple[str, str]]) -> Markup:
    keys = [element("span", element("i", class_=f"key {key}"), words) for key, words in names]
    return element("p", *keys, class_="legend")
