"""The style sheet of the page: light and dark, for desks and phones."""

from __future__ import annotations

CSS = """\
:root {
  color-scheme: light dark;
  --paper: #f7f6f3; --card: #ffffff; --ink: #22262b; --soft: #5c636b; --rule: #e3e1dc;
  --accent: #2f6f8f; --band: #cfe3ec; --second: #a8672a; --second-band: #f0dcc6;
  --good: #2c6e49; --good-band: #dcefe3; --warn: #855600; --warn-band: #faecc8;
  --bad: #a12b2b; --bad-band: #f8dcdc;
  --phase0: #2f6f8f; --phase1: #d08a45; --phase2: #6a9a78; --phase3: #8d78a8;
  --phase4: #b8576a; --phase5: #8b8f94;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #16191c; --card: #1f2327; --ink: #e4e6e8; --soft: #a3abb3; --rule: #33393f;
    --accent: #7dbbd8; --band: #244554; --second: #e0a872; --second-band: #4a3623;
    --good: #8fd0aa; --good-band: #1f3a2b; --warn: #ecc46b; --warn-band: #413415;
    --bad: #f09a9a; --bad-band: #4a2324;
    --phase0: #7dbbd8; --phase1: #e0a872; --phase2: #94c4a2; --phase3: #b7a3d0;
    --phase4: #e08c9c; --phase5: #9aa0a6;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere;
}
main { max-width: 66rem; margin: 0 auto; padding: 2.5rem 1.25rem 3rem; }
header { margin-bottom: 1.75rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .25rem; font-weight: 650; }
h2 { font-size: 1.1rem; margin: 0 0 .25rem; font-weight: 650; }
h2.place { font-size: 1.4rem; margin-top: 2.5rem; }
p { margin: 0 0 .75rem; }
.soft { color: var(--soft); }
.small { font-size: .875rem; }
.card {
  background: var(--card); border: 1px solid var(--rule); border-radius: .75rem;
  padding: 1.25rem 1.5rem 1.4rem; margin: 0 0 1.25rem;
}
.card > :last-child { margin-bottom: 0; }
.pill {
  display: inline-block; border-radius: 1rem; padding: .05rem .7rem; font-size: .875rem;
  font-weight: 600; white-space: nowrap; background: var(--good-band); color: var(--good);
}
.pill.warning { background: var(--warn-band); color: var(--warn); }
.pill.critical { background: var(--bad-band); color: var(--bad); }
.pill.plain { background: none; border: 1px solid var(--rule); color: var(--soft); }
.findings { list-style: none; margin: .75rem 0 0; padding: 0; }
.findings li { margin: .35rem 0; display: flex; gap: .6rem; align-items: baseline; }
.tiles {
  display: grid;
  gap: 1.25rem; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr));
}
.tiles div { border-left: 3px solid var(--band); padding-left: .8rem; }
.tiles dt { color: var(--soft); font-size: .875rem; }
.tiles dd { margin: 0; text-wrap: balance; }
.tiles .value { font-size: 1.4rem; line-height: 1.3; font-weight: 600; }
dl { margin: 0; }
.plot { display: flex; gap: .6rem; margin-top: .75rem; }
.drawing { position: relative; flex: 1; min-width: 0; }
.drawing svg { display: block; width: 100%; overflow: visible; }
.dates { position: relative; height: 1.4rem; border-top: 1px solid var(--rule); }
.dates span, .heights span {
  position: absolute; font-size: .75rem;
  color: var(--soft); white-space: nowrap;
}
.dates span { top: .2rem; white-space: pre; text-align: center; line-height: 1.2; }
.hours .dates { height: 2.4rem; } .hours .heights { margin-bottom: 2.4rem; }
.heights { position: relative; width: 4.2rem; margin-bottom: 1.4rem; }
.heights span { right: 0; transform: translateY(50%); }
.legend {
  display: flex; flex-wrap: wrap; gap: .25rem 1.1rem;
  margin: .6rem 0 0; font-size: .8125rem; color: var(--soft);
}
.legend span { display: inline-flex; align-items: center; gap: .4rem; }
.key { width: .8rem; height: .8rem; border-radius: .2rem; display: inline-block; }
.key.range { background: var(--band); } .key.full, .key.filestorage { background: var(--accent); }
.key.full { width: .25rem; }
.key.incremental { background: var(--accent); width: .15rem; height: .5rem; }
.key.blobs { background: var(--second); }
.key.bad { background: var(--bad); width: .25rem; }
.key.failed { background: var(--bad-band); border: 1px solid var(--bad); }
.key.restored { background: var(--second); width: .25rem; }
.key.phase0 { background: var(--phase0); } .key.phase1 { background: var(--phase1); }
.key.phase2 { background: var(--phase2); } .key.phase3 { background: var(--phase3); }
.key.phase4 { background: var(--phase4); } .key.phase5 { background: var(--phase5); }
svg * { vector-effect: non-scaling-stroke; }
.range { fill: var(--band); }
.mark { stroke: var(--accent); stroke-width: 1.5; }
.mark.full { stroke-width: 2.5; }
.mark.many { stroke-width: .75; }
.mark.bad { stroke: var(--bad); stroke-width: 2.5; }
.restored { stroke: var(--second); stroke-width: 2.5; }
.grid { stroke: var(--rule); stroke-width: 1; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.line.filestorage { stroke: var(--accent); } .line.blobs { stroke: var(--second); }
.area { opacity: .5; }
.area.filestorage { fill: var(--band); } .area.blobs { fill: var(--second-band); }
.column.phase0 { fill: var(--phase0); } .column.phase1 { fill: var(--phase1); }
.column.phase2 { fill: var(--phase2); } .column.phase3 { fill: var(--phase3); }
.column.phase4 { fill: var(--phase4); } .column.phase5 { fill: var(--phase5); }
rect.failed { fill: var(--bad-band); stroke: var(--bad); stroke-width: 1; fill-opacity: .6; }
table { width: 100%; border-collapse: collapse; margin-top: .6rem; font-size: .9375rem; }
th { text-align: left; font-weight: 600; font-size: .8125rem; color: var(--soft); }
th { white-space: nowrap; }
th, td { padding: .4rem .9rem .4rem 0; vertical-align: top; border-bottom: 1px solid var(--rule); }
th:last-child, td:last-child { padding-right: 0; }
tr:last-child td { border-bottom: 0; }
td.number, th.number { text-align: right; white-space: nowrap; }
td.word { white-space: nowrap; }
td.words { width: 45%; }
details { border-bottom: 1px solid var(--rule); padding: .5rem 0; }
details:last-of-type { border-bottom: 0; }
summary { cursor: pointer; }
pre {
  margin: .5rem 0; padding: .75rem .9rem; background: var(--paper); border-radius: .5rem;
  font: .8125rem/1.45 ui-monospace, "SFMono-Regular", Menlo, Consolas, monospace;
  white-space: pre-wrap; overflow-wrap: anywhere;
}
@media (max-width: 40rem) {
  main { padding: 1.5rem .75rem 2rem; }
  .card { padding: 1rem 1rem 1.1rem; border-radius: .6rem; }
  .heights { width: 3.6rem; }
  .tiles { grid-template-columns: 1fr 1fr; gap: 1rem .8rem; }
  .tiles div:last-child:nth-child(odd) { grid-column: 1 / -1; }
  table, tbody, tr, td { display: block; width: 100%; }
  thead { display: none; }
  tr { padding: .55rem 0; border-bottom: 1px solid var(--rule); }
  tr:last-child { border-bottom: 0; }
  td { border: 0; padding: .1rem 0; }
  td.number, td.word { display: inline-block; width: auto; text-align: left; white-space: normal; }
  td.number, td.word { margin-right: .8rem; }
  td.words { width: 100%; }
  td:first-child { display: block; font-weight: 600; }
  td:first-child::before { content: none !important; }
  td[data-name]::before { content: attr(data-name) " "; color: var(--soft); font-size: .8125rem; }
  td:empty { display: none; }
  td[data-name="decision"]::before, td[data-name="outcome"]::before { content: none; }
}
@media print {
  body { background: none; }
  .card { break-inside: avoid; }
}
"""
