"""The style sheet of the page."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root {
  color-scheme: light dark;
  --back: #f6f7f9; --card: #fff; --text: #1b1f24; --soft: #57606a; --line: #d8dee4;
  --link: #0b57d0; --good: #116329; --bad: #b3261e; --doubt: #7a4d00; --wait: #3d4a5c;
  --good-back: #dff3e4; --bad-back: #fce4e2; --doubt-back: #fdf0d0; --wait-back: #e6eaf0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #0f1419; --card: #171d24; --text: #e4e8ec; --soft: #9aa5b1; --line: #2c3540;
    --link: #8ab4f8; --good: #7fd99a; --bad: #ff9a92; --doubt: #f2c464; --wait: #b8c4d2;
    --good-back: #14301e; --bad-back: #3d1a18; --doubt-back: #38290c; --wait-back: #252e39;
  }
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body {
  margin: 0 auto; padding: 1rem clamp(.75rem, 2.5vw, 2rem) 3rem; max-width: 110rem;
  background: var(--back); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
a { color: var(--link); }
a:focus-visible, button:focus-visible, input:focus-visible, select:focus-visible,
summary:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
h1 { font-size: 1.4rem; margin: 0; }
h2 { font-size: 1.05rem; margin: 0 0 .4rem; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: .25rem 1rem; }
p, ul { margin: .25rem 0; }
ul { padding-left: 1.2rem; }
.soft { color: var(--soft); }
.card {
  background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: .8rem 1rem; margin: .8rem 0;
}
.pair {
  display: grid; gap: 0 .8rem;
  grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr));
}
.card { overflow-wrap: anywhere; }
.word {
  display: inline-block; padding: .05rem .5rem; border-radius: 1rem; font-weight: 600;
  font-size: .85rem; white-space: nowrap;
}
.good { color: var(--good); background: var(--good-back); }
.bad { color: var(--bad); background: var(--bad-back); }
.doubt { color: var(--doubt); background: var(--doubt-back); }
.wait { color: var(--wait); background: var(--wait-back); }
#readiness .word { font-size: 1rem; padding: .15rem .8rem; }
form { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; margin: .2rem 0 .6rem; }
input[type=search] { flex: 1 1 14rem; max-width: 28rem; }
input, select, button {
  font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line);
  border-radius: 6px; padding: .35rem .6rem; min-height: 2.3rem;
}
input[type=checkbox] { min-height: 0; }
button { cursor: pointer; font-weight: 600; }
nav { display: flex; flex-wrap: wrap; gap: .4rem 1rem; align-items: center; margin: .5rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td {
  text-align: left; vertical-align: top; padding: .45rem .6rem; border-top: 1px solid var(--line);
}
thead th { border-top: 0; white-space: nowrap; font-size: .9rem; }
thead a { text-decoration: none; }
thead a:hover { text-decoration: underline; }
tbody th { font-weight: 600; min-width: 8rem; }
tbody tr:hover { background: color-mix(in srgb, var(--link) 6%, transparent); }
td.network { min-width: 11rem; }
td.note { min-width: 13rem; }
td.note p { margin: 0; }
td.since { white-space: nowrap; }
td.reader { min-width: 7.5rem; }
td.read { min-width: 5rem; }
progress {
  width: 5rem; max-width: 100%; height: .6rem; vertical-align: middle; accent-color: var(--link);
}
.images { font-weight: 400; font-size: .85rem; }
#stale { border-color: var(--bad); }
@media (max-width: 900px) {
  table, tbody, tr, th, td { display: block; width: auto; }
  thead { display: block; }
  thead tr { display: flex; flex-wrap: wrap; gap: 0 .8rem; padding-bottom: .4rem; }
  thead th { padding: .2rem 0; }
  tbody tr { border-top: 1px solid var(--line); padding: .5rem 0; }
  tbody th, tbody td { border: 0; padding: .1rem 0; }
  tbody th { font-size: 1.05rem; }
  tbody td:empty { display: none; }
  tbody td[data-label]:not(:empty) {
    display: grid; grid-template-columns: 6rem minmax(0, 1fr); gap: .5rem;
  }
  tbody td[data-label]::before { content: attr(data-label); color: var(--soft); }
}
@media print { form, nav, thead a::after { display: none; } }
"""
