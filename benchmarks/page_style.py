"""The report page's looks: one palette in light and dark, one style sheet, from a phone up."""

# Each colour as (light, dark). The tests hold every pair that meets on the page to WCAG 2.2 AA.
PALETTE = {
    "ground": ("#fcfbf8", "#151418"),
    "ink": ("#1c1a20", "#f1eff5"),
    "soft": ("#5e5a66", "#b2adbd"),
    "line": ("#e6e2db", "#322f39"),
    "accent": ("#5538b8", "#b9a5ff"),
    "dot": ("#8a74dc", "#8872d8"),
    "wash": ("#f2eee7", "#221f29"),
    "tint": ("#e5def9", "#33294f"),
    "quiet": ("#8b8790", "#837e8d"),
    "pass": ("#17683a", "#74d8a0"),
    "fail": ("#ae2019", "#ff9c94"),
    "doubt": ("#7c5200", "#eec163"),
}
INKS = ("ink", "soft", "accent", "pass", "fail", "doubt")  # that words are written in
MARKS = ("accent", "dot", "quiet", "pass", "fail", "doubt")  # that drawings are made of


def _scheme(place: int) -> str:
    return " ".join(f"--{name}: {colors[place]};" for name, colors in PALETTE.items())


LOOKS = """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body { margin: 0; background: var(--ground); color: var(--ink); overflow-wrap: anywhere;
  font: 16px/1.55 -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, system-ui, sans-serif;
  font-variant-numeric: tabular-nums; }
main { max-width: 61rem; margin: 0 auto; padding: clamp(1.5rem, 5vw, 4rem) 1.25rem 5rem; }
h1, h2, h3, p, dl, dd, figure, pre, ul { margin: 0; padding: 0; }
h1 { font-size: clamp(2.6rem, 9vw, 4.5rem); line-height: 1.05; letter-spacing: -.03em;
  font-weight: 700; margin: .6rem 0 1.1rem; }
h2 { font-size: 1.5rem; line-height: 1.2; letter-spacing: -.015em; scroll-margin-top: 1.5rem; }
h3 { font-size: 1rem; margin: 2.25rem 0 .75rem; }
section { margin-top: 4.5rem; }
p { max-width: 42rem; margin-top: .5rem; }
b { font-weight: 650; }
a { color: var(--accent); text-underline-offset: .2em; text-decoration-thickness: 1px; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 3px; border-radius: 2px; }
.soft { color: var(--soft); }
.pass { color: var(--pass); } .fail { color: var(--fail); } .doubt { color: var(--doubt); }
section > .soft, .one > .soft { font-size: .875rem; }
.lede { font-size: 1.125rem; line-height: 1.45; margin: .5rem 0 1.75rem; }
.number { font-size: 1.5rem; line-height: 1.2; margin: 0 0 .25rem; }
.number b { font-size: 2.25rem; letter-spacing: -.02em; }
.of { margin-top: 2.5rem; font-size: .875rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr));
  gap: 1.25rem 2rem; margin-top: .75rem; border-top: 1px solid var(--line); padding-top: 1rem; }
.figures dt { color: var(--soft); font-size: .875rem; }
.figures dd { font-size: 1.6rem; line-height: 1.25; font-weight: 600; letter-spacing: -.015em; }
nav { margin-top: 2.5rem; font-size: .9375rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .35rem 1.35rem; list-style: none; }
nav a { text-decoration-color: var(--line); display: inline-block; padding: .15rem 0; }
nav a:hover { text-decoration-color: currentColor; }

.stickers { display: grid; gap: 1.5rem; margin-top: 1.25rem;
  grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); }
figure img { display: block; width: 100%; height: auto; aspect-ratio: 1; object-fit: contain; }
figcaption { font-size: .875rem; color: var(--soft); margin-top: .5rem; }
.held { display: inline-flex; gap: .5rem; align-items: center; margin-top: .5rem;
  color: var(--soft); font-size: .9375rem; cursor: pointer; }
.held input { width: 1.1rem; height: 1.1rem; margin: 0; accent-color: var(--accent); }
.still, section:has(#held:checked) .moves { display: none; }
section:has(#held:checked) .still { display: block; }
@media (prefers-reduced-motion: reduce) {
  html { scroll-behavior: auto; }
  .moves, .held { display: none; } .still { display: block; } }

.chart { margin-top: 1.25rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(19rem, 100%), 1fr));
  gap: 2.25rem 3rem; margin-top: 1.25rem; }
.one { min-width: 0; } .one > h3 { margin-top: 0; }
.soft + .one { margin-top: 1.75rem; }
.one + .one:not(.pair > .one) { margin-top: 2.5rem; }
.over { padding: 1.5rem .25rem 1.5rem 3.5rem; }
.kicker { max-width: none; color: var(--soft); } .kicker b { color: var(--ink); }
.row { display: flex; flex-wrap: wrap; gap: 0 1rem; justify-content: space-between;
  font-size: .9375rem; margin-top: 1rem; }
.pair .row { margin-top: 0; }
.who { font-weight: 600; }
.row .soft { font-size: .875rem; }

svg { display: block; overflow: visible; }
svg svg { overflow: visible; }
svg line, svg path { vector-effect: non-scaling-stroke; fill: none; }
svg text { font-size: 13px; fill: var(--ink); stroke: var(--ground); stroke-width: 4px;
  stroke-linejoin: round; paint-order: stroke; }
svg text.soft { fill: var(--soft); } svg text.fail { fill: var(--fail); }
svg text.name { font-weight: 600; }
.axis { margin-top: .25rem; }
.grid { stroke: var(--line); }
.dots { stroke-linecap: round; stroke-width: 4px; stroke: var(--dot); }
.dots.cold, .dots.sustained { stroke: var(--quiet); }
.dots.faint { stroke: var(--quiet); stroke-width: 3px; }
.whisker { stroke: var(--dot); stroke-width: 1.5px; }
svg path.hump { fill: var(--tint); }
.span { stroke: var(--accent); stroke-width: 5px; }
.middle { stroke: var(--accent); stroke-width: 2.5px; }
.trend { stroke: var(--accent); stroke-width: 2px; stroke-linejoin: round; }
.limit { stroke: var(--fail); stroke-width: 1.5px; }
.quiet.span, .quiet.middle, .dots.quiet { stroke: var(--quiet); }
svg path.hump.quiet { fill: var(--line); }
.track { stroke: var(--line); stroke-width: 10px; }
.fill { stroke-width: 10px; stroke: var(--quiet); }
.reach { stroke-width: 3px; stroke: var(--ink); } .edge { stroke: var(--ink); stroke-width: 2px; }
.fill.pass, .reach.pass { stroke: var(--pass); } .fill.fail, .reach.fail { stroke: var(--fail); }
.fill.doubt { stroke: var(--doubt); } .reach.plain { stroke: var(--accent); }
.dots.ratio { stroke-width: 10px; stroke: var(--accent); }
.dots.ratio.pass { stroke: var(--pass); } .dots.ratio.fail { stroke: var(--fail); }
svg path.band { fill: var(--wash); } .equal { stroke: var(--soft); }
.change { stroke: var(--doubt); stroke-dasharray: 4 3; }
.dots.moment { stroke-width: 6px; stroke: var(--accent); }
.front { stroke: var(--accent); stroke-width: 1.5px; stroke-dasharray: 2 3; }
.roof { stroke: var(--ink); stroke-width: 1.5px; }
circle { fill: var(--quiet); fill-opacity: .8; stroke: var(--ground); }
circle.best { fill: var(--accent); }
rect { fill: var(--dot); } rect.rest { fill: var(--quiet); }

table { border-collapse: collapse; width: 100%; }
caption { text-align: left; font-size: .875rem; color: var(--soft); padding-bottom: .5rem; }
.wide { margin-top: 1.25rem; overflow-x: auto; }
.wide table { font-size: .9375rem; }
.wide th, .wide td { padding: .55rem 0 .55rem 1.1rem; text-align: right; vertical-align: baseline;
  border-top: 1px solid var(--line); }
.wide thead th { border-top: 0; color: var(--soft); font-size: .8125rem; font-weight: 500;
  padding-top: 0; vertical-align: bottom; }
.wide th:first-child { padding-left: 0; }
.wide tbody th { font-weight: 500; text-align: left; min-width: 9rem; }
.wide tbody th span { display: block; color: var(--soft); font-size: .875rem; font-weight: 400; }
.wide .words { text-align: left; }
.wide td.words { min-width: 8rem; }
.wide thead th { overflow-wrap: normal; }
.wide td { white-space: nowrap; } .wide td.words { white-space: normal; }
.wide td .soft { display: block; font-size: .8125rem; }
.bars { font-size: .9375rem; table-layout: fixed; }
.bars caption { color: var(--ink); font-weight: 600; font-size: .9375rem; }
.bars th { font-weight: 400; text-align: left; width: 38%; }
.bars th, .bars td { padding: .2rem 0; vertical-align: middle; }
.bars td { text-align: right; white-space: nowrap; width: 4rem; }
.bars .bar { padding: 0 .25rem 0 .75rem; width: auto; }
.facts { display: grid; gap: .6rem; margin-top: 1rem; }
.facts div { display: grid; grid-template-columns: 10rem 1fr; gap: 0 1rem; }
.facts dt { color: var(--soft); }
details { margin-top: 1.25rem; }
summary { cursor: pointer; color: var(--accent); padding: .25rem 0; }
pre { margin-top: 1.25rem; padding: 1rem 1.15rem; border: 1px solid var(--line);
  border-radius: .5rem; white-space: pre-wrap; line-height: 1.7; }
code { font: .875rem/1.6 ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; }
pre code { display: block; padding-left: 1.5rem; text-indent: -1.5rem; }
td code { font-size: .75rem; color: var(--soft); }

@media (max-width: 48rem) {
  section { margin-top: 3.5rem; }
  .facts div { grid-template-columns: 1fr; }
  .wide { overflow: visible; }
  .wide table, .wide tbody, .wide caption { display: block; }
  .wide thead { position: absolute; width: 1px; height: 1px; overflow: hidden;
    clip-path: inset(50%); }
  .wide tr { display: grid; grid-template-columns: repeat(auto-fill, minmax(6rem, 1fr));
    gap: .6rem 1rem; padding: .9rem 0; border-top: 1px solid var(--line); }
  .wide th, .wide td { padding: 0; border: 0; text-align: left; }
  .wide tbody th, .wide td.long, .wide td[colspan] { grid-column: 1 / -1; }
  .wide tbody th { font-weight: 600; }
  .wide td[data-label]:not([data-label=""])::before { content: attr(data-label); display: block;
    color: var(--soft); font-size: .8125rem; }
  .wide td, .wide td.words { white-space: normal; min-width: 0; }
  .wide td:empty { display: none; } }
@media print {
  body { font-size: 10pt; } main { max-width: none; padding: 0; }
  nav, .held, .moves { display: none; } .still { display: block; }
  section { margin-top: 2rem; } tr, figure, .one, .chart > *, pre { break-inside: avoid; }
  h2, h3, .lede, .row { break-after: avoid; }
  details::details-content { content-visibility: visible; block-size: auto; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""

STYLE = (
    f":root {{ color-scheme: light dark; {_scheme(0)} }}\n"
    f"@media (prefers-color-scheme: dark) {{ :root {{ {_scheme(1)} }} }}{LOOKS}"
)
