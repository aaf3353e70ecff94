"""The report page's looks: one style sheet, light and dark, from a phone up."""

# Text on ground is at least 7:1 and coloured words at least 4.5:1 in both schemes (WCAG 2.2, AA).

STYLE = """
:root { color-scheme: light dark;
  --ground: #fbfaf8; --card: #ffffff; --ink: #1d1b20; --soft: #5b5763; --line: #e3dfe6;
  --mark: #6a4fb6; --tint: #cfc3ef; --pass: #1a6b3c; --fail: #a8201f; --doubt: #7a5200; }
@media (prefers-color-scheme: dark) { :root {
  --ground: #16141a; --card: #1f1c25; --ink: #f1eef6; --soft: #b5afc0; --line: #38333f;
  --mark: #b9a3f5; --tint: #54467f; --pass: #6fd79b; --fail: #ff9a93; --doubt: #f0c060; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.1rem; font-weight: 600; margin: 0 0 .25rem; color: var(--soft); }
h2 { font-size: 1.15rem; margin: 2.75rem 0 .5rem; }
p { margin: .25rem 0 .75rem; max-width: 44rem; }
.soft { color: var(--soft); }
.verdict { font-size: clamp(1.9rem, 7vw, 3rem); line-height: 1.1; font-weight: 700; margin: 0; }
.pass { color: var(--pass); } .fail { color: var(--fail); } .doubt { color: var(--doubt); }
.figures { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.25rem 0 0; padding: 0; }
.figures div { background: var(--card); border: 1px solid var(--line); border-radius: .75rem;
  padding: .6rem .9rem; flex: 1 1 10rem; }
.figures dt { color: var(--soft); font-size: .85rem; }
.figures dd { margin: 0; font-size: 1.5rem; font-weight: 650; white-space: nowrap; }
.stickers { display: grid; gap: .75rem; margin: 0;
  grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); }
figure { margin: 0; background: var(--card); border: 1px solid var(--line);
  border-radius: .75rem; padding: .75rem; text-align: center; }
figure img { width: 100%; height: auto; aspect-ratio: 1; object-fit: contain; }
figcaption { font-size: .85rem; color: var(--soft); overflow-wrap: anywhere; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: .75rem;
  background: var(--card); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .5rem .75rem; text-align: right; white-space: nowrap;
  border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--soft); font-size: .85rem; font-weight: 600; }
th:first-child, td:first-child, .words { text-align: left; }
td.words { white-space: normal; min-width: 12rem; }
.chart { background: var(--card); border: 1px solid var(--line); border-radius: .75rem;
  padding: .75rem 1rem .25rem; }
.row { display: flex; flex-wrap: wrap; gap: 0 1rem; justify-content: space-between; }
.row b { font-weight: 600; } .row span { color: var(--soft); font-size: .9rem; }
svg { display: block; width: 100%; height: 2.75rem; margin-bottom: .75rem; overflow: visible; }
svg line { vector-effect: non-scaling-stroke; }
.axis { position: relative; height: 1.6rem; color: var(--soft); font-size: .85rem; }
.axis span { position: absolute; transform: translateX(-50%); white-space: nowrap; }
.axis span:first-child { transform: none; }
.grid { stroke: var(--line); } .hump { fill: var(--tint); }
.middle { stroke: var(--mark); stroke-width: 3; }
.tail { stroke: var(--mark); stroke-width: 2; stroke-dasharray: 3 3; }
.limit { stroke: var(--fail); stroke-width: 2; }
details summary { cursor: pointer; color: var(--soft); padding: .5rem 0; }
"""
