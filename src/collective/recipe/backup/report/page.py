"""The page: its sections, the most urgent first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from collective.recipe.backup.amounts import duration, size
from collective.recipe.backup.history import DONE, INCOMPLETE, STARTED, RunRecord
from collective.recipe.backup.model import MAIN, RestorePoint
from collective.recipe.backup.report import PageFacts, Tale, plots, words
from collective.recipe.backup.report.markup import (
    Markup,
    document,
    element,
    join,
    stylesheet,
)
from collective.recipe.backup.report.style import CSS
from collective.recipe.backup.retention import Decision
from collective.recipe.backup.times import stamp

FEW_ROWS = 14
MOST_ROWS = 400
MOST_PROOFS = 10
MOST_HOOKS = 10

PROOFS = ("verify", "rehearse")

_ADVICE = {"ok": "all is well", "warning": "look at this", "critical": "act now"}
"""Advice for the worst finding; the severities come in this order."""

_Cell = str | Markup


def page(facts: PageFacts, *beside: PageFacts) -> str:
    """Return the whole page, which says of each place in turn what there is to know."""
    title = _title(facts)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        # whatever is in a name, the browser fetches nothing and runs nothing
        element(
            "meta",
            http_equiv="Content-Security-Policy",
            content="default-src 'none'; style-src 'unsafe-inline'",
        ),
        element("title", title),
        stylesheet(CSS),
    )
    sections = [_top(facts), *_of_place(facts)]
    if beside:
        sections = [_heading((facts, *beside))]
        for each in (facts, *beside):
            sections += [_top_of_place(each), *_of_place(each)]
    return document("en", head, element("body", element("main", *sections)))


def _of_place(facts: PageFacts) -> Iterator[Markup]:
    """Yield the sections of one place."""
    for tale in facts.tales:
        yield from _of_storage(tale, facts)
    yield from _runs(facts.records)
    yield from (_retention(tale) for tale in facts.tales if tale.decisions)


def _title(facts: PageFacts) -> str:
    return f"{words.title(facts.destination)} of {facts.site} on {facts.host}"


def _top(facts: PageFacts) -> Markup:
    """Return the heading, the problems, and the few facts that matter most."""
    return join(_heading((facts,), _findings(facts)), _tiles(facts))


def _top_of_place(facts: PageFacts) -> Markup:
    """Return the top of one of several places."""
    pill = element("p", _advice(_worst(facts)))
    heading = element("h2", facts.place or "Directories of backups", class_="place")
    return join(element("header", heading, pill, _findings(facts)), _tiles(facts))


def _heading(places: Sequence[PageFacts], *more: Markup) -> Markup:
    """Return the heading of the page."""
    facts = places[0]
    worst = max(map(_worst, places), key=list(_ADVICE).index)
    now = f"{facts.now:%Y-%m-%d %H:%M} UTC"
    of = f", {facts.place}" if facts.place and len(places) == 1 else ""
    about = element("span", f" part {facts.part}, {now}{of}", class_="soft")
    title = element("h1", _title(facts))
    return element("header", title, element("p", _advice(worst), about), *more)


def _worst(facts: PageFacts) -> str:
    worst = facts.findings[0][0] if facts.findings else "ok"
    return worst if worst in _ADVICE else "critical"


def _advice(worst: str) -> Markup:
    return _pill(worst, _ADVICE[worst])


def _findings(facts: PageFacts) -> Markup:
    found = [
        element("li", _pill(severity, severity), element("span", what))
        for severity, what in facts.findings
    ]
    return element("ul", *found, class_="findings") if found else Markup("")


def _tiles(facts: PageFacts) -> Markup:
    tiles = [
        element(
            "div",
            element("dt", tile.name),
            element("dd", tile.value, class_="value"),
            element("dd", tile.more, class_="small soft"),
        )
        for tile in facts.tiles
    ]
    return element("section", element("dl", *tiles, class_="tiles"), class_="card")


def _of_storage(tale: Tale, facts: PageFacts) -> Iterator[Markup]:
    """Yield what can be restored, and how it grew."""
    of = "" if tale.source.name == MAIN else f" of storage {tale.source.name}"
    path = element("p", str(tale.source.filestorage), class_="small soft")
    if not tale.points:
        yield _card(f"What can be restored{of}", path, element("p", "There is no restore point."))
        return
    restores = [it for it in facts.restores if tale.source.name in it.points]
    spans = [f"{stamp(found.first)} to {stamp(found.last)}" for found in tale.ranges]
    yield _card(
        f"What can be restored{of}",
        path,
        plots.time_line_legend(tale.points, tale.ranges, restores),
        plots.time_line(tale.points, tale.ranges, facts.now, restores),
        _folded(spans, "range", "ranges"),
        _folded([words.restored(it) for it in reversed(restores)], "restore", "restores"),
    )
    yield _card(f"Growth{of}", plots.growth(tale.points, facts.now))


def _folded(lines: Sequence[str], one: str, many: str) -> Markup:
    """Return *lines* under their number; nothing if there are none."""
    if not lines:
        return Markup("")
    summary = f"{len(lines)} {one if len(lines) == 1 else many}, in UTC"
    items = (element("li", line, class_="small soft") for line in lines)
    return element("details", element("summary", summary, class_="small"), element("ul", *items))


def _runs(records: Sequence[RunRecord]) -> Iterator[Markup]:
    """Yield how long backups took, the results of verify and rehearse, and the output of hooks."""
    backups = [each for each in records if each.verb == "backup" and each.outcome != STARTED]
    if backups:
        yield _card("Duration of backups", plots.durations(backups))
    proofs = [record for record in records if record.verb in PROOFS][-MOST_PROOFS:]
    none = element(
        "p",
        "Neither verify nor rehearse has been run yet: they say whether the backups are whole.",
        class_="soft",
    )
    names = ("started", "what", "outcome", "took", "found")
    table = _table(names, (_proof(record) for record in reversed(proofs)))
    yield _card("Verify and rehearse", table if proofs else none)
    talked = [record for record in records if record.hooks][-MOST_HOOKS:]
    if talked:
        yield _card("Your commands", *_commands(talked[::-1]))


def _proof(record: RunRecord) -> list[_Cell]:
    return [
        words.moment(record.started),
        words.verb(record.verb),
        _outcome(record),
        "" if record.seconds is None else duration(record.seconds),
        record.error or words.numbers(record.numbers),
    ]


def _commands(newest_first: Sequence[RunRecord]) -> Iterator[Markup]:
    """Yield the newest run and those that failed; the others are folded into one line."""
    dull = [each for each in newest_first[1:] if _went_well(each)]
    yield from (_hooks(each) for each in newest_first if each not in dull)
    if dull:
        summary = element("summary", f"{len(dull)} earlier, in which all went well")
        yield element("details", summary, *(_hooks(each) for each in dull))


def _went_well(record: RunRecord) -> bool:
    return record.outcome == DONE and all(hook.exit_code == 0 for hook in record.hooks)


def _hooks(record: RunRecord) -> Markup:
    """Return what the commands of one run said, folded."""
    names = ", ".join(
        f"{hook.name} {'ok' if hook.exit_code == 0 else f'failed ({hook.exit_code})'}"
        for hook in record.hooks
    )
    said = [
        part
        for hook in record.hooks
        for part in (
            element("p", f"{hook.name}, {duration(hook.seconds)}", class_="small soft"),
            element("pre", hook.output or "(it said nothing)"),
        )
    ]
    heading = element(
        "summary",
        f"{words.moment(record.started)} {words.verb(record.verb)}: {names} ",
        _outcome(record),
    )
    return element("details", heading, *said)


def _retention(tale: Tale) -> Markup:
    """Return what becomes of each restore point, and why, the newest first."""
    of = "" if tale.source.name == MAIN else f" of storage {tale.source.name}"
    newest_first = list(reversed(tale.decisions))
    shown, folded = newest_first[:FEW_ROWS], newest_first[FEW_ROWS:]
    older = []
    if folded:
        most = f", the newest {MOST_ROWS} of them here" if len(folded) > MOST_ROWS else ""
        heading = element("summary", f"{len(folded):,} older ones{most}", class_="small")
        older = [element("details", heading, _decisions(folded[:MOST_ROWS], tale))]
    return _card(f"Retention{of}", _decisions(shown, tale), *older)


def _decisions(decisions: Iterable[Decision], tale: Tale) -> Markup:
    names = ("restore point", "kind", "restores", "stored", "decision", "why")
    return _table(names, (_decision(made, tale) for made in decisions), numbers=(2, 3))


def _decision(made: Decision, tale: Tale) -> list[_Cell]:
    point = made.point
    if not made.kept:
        then = _pill("warning", "until the next backup")
    elif point.stamp in tale.next_gone:
        then = _pill("plain", "until the next full backup")
    else:
        then = _pill("ok", "stays")
    return [
        point.stamp,
        _kind(point),
        size(point.end),
        size(point.stored),
        then,
        "; ".join((*made.reasons, *point.problems)),
    ]


def _kind(point: RestorePoint) -> str:
    return "full" if point.full else "incremental"


def _outcome(record: RunRecord) -> Markup:
    severity = {DONE: "ok", STARTED: "plain", INCOMPLETE: "warning"}.get(record.outcome, "critical")
    return _pill(severity, words.outcome(record))


def _pill(severity: str, meaning: str) -> Markup:
    return element("span", meaning, class_=f"pill {severity}")


def _card(title: str, *content: Markup) -> Markup:
    return element("section", element("h2", title), *content, class_="card")


def _table(
    names: Sequence[str], rows: Iterable[Sequence[_Cell]], *, numbers: Sequence[int] = ()
) -> Markup:
    """Return a table, which a phone shows as a list: each cell knows its own name."""

    def kind(number: int) -> str | None:
        if number in numbers:
            return "number"
        # the last has the room that the others leave
        return "words" if number == len(names) - 1 else "word"

    head = [element("th", name, class_=kind(number)) for number, name in enumerate(names)]
    body = [
        element(
            "tr",
            *(
                element("td", cell, class_=kind(number), data_name=names[number])
                for number, cell in enumerate(row)
            ),
        )
        for row in rows
    ]
    return element("table", element("thead", element("tr", *head)), element("tbody", *body))
