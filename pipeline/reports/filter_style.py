"""The filter page's colours and layout: light and dark as the reader's system has it, from a phone's width up."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1c1f24; --soft: #5a626d; --page: #fbfbfa; --card: #ffffff; --line: #dcdfe3; --mark: #a84c08;
  --all: #b9c2cc; --acted: #2f7dc0; --dropped: #cf4a3d; --stays: #23804a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e6e8eb; --soft: #9ba4b0; --page: #15171a; --card: #1e2125; --line: #353a41; --mark: #f2a65a;
    --all: #59636f; --acted: #5aa9e6; --dropped: #ec7467; --stays: #5fc48a;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.15rem; margin: 2.25rem 0 .25rem; padding-top: .75rem; border-top: 1px solid var(--line); }
h2 small { font-size: 1rem; font-weight: 400; color: var(--soft); }
h3 { font-size: .95rem; margin: 1.25rem 0 .4rem; }
p { margin: .25rem 0 .75rem; color: var(--soft); max-width: 46rem; overflow-wrap: anywhere; }
a { color: inherit; }
.split { display: flex; height: .8rem; margin: .75rem 0 .25rem; border-radius: .2rem; overflow: hidden;
  background: var(--all); }
.split span { display: block; height: 100%; }
.key { display: inline-block; width: .7em; height: .7em; border-radius: .15em; margin-right: .3em; }
.key + span { margin-right: 1rem; white-space: nowrap; }
.all { fill: var(--all); background: var(--all); }
.acted { fill: var(--acted); background: var(--acted); }
.dropped { fill: var(--dropped); background: var(--dropped); }
.counts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 0 3rem; }
table { border-collapse: collapse; margin: .75rem 0; width: 100%; align-self: start; }
caption { text-align: left; font-weight: 600; }
th { text-align: left; font-weight: 400; white-space: nowrap; padding: 0; }
td { text-align: right; font-variant-numeric: tabular-nums; padding: 0 0 0 .75rem; white-space: nowrap; }
td.bar { width: 40%; }
td.bar span { display: block; height: .6rem; min-width: 1px; border-radius: .1rem; }
tfoot th, tfoot td { border-top: 1px solid var(--line); font-weight: 600; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); gap: .75rem; }
.charts figcaption { margin: 0 0 .35rem; font-size: .8rem; }
.charts b { font-size: .95rem; }
svg { display: block; width: 100%; height: auto; font-size: 10.5px; }
svg text { fill: var(--soft); }
svg path { stroke-width: 1; }
svg .grid { stroke: var(--line); }
svg .axis { stroke: var(--soft); }
svg path.mark { stroke: var(--mark); stroke-dasharray: 4 3; stroke-width: 1.5; }
svg text.mark { fill: var(--mark); font-weight: 600; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(6.6rem, 1fr)); gap: .5rem; }
.pairs { grid-template-columns: repeat(auto-fill, minmax(13.2rem, 1fr)); }
figure { margin: 0; padding: .25rem; background: var(--card); border: 1px solid var(--line); border-radius: .3rem;
  min-width: 0; }
.charts figure { padding: .6rem; }
.sheet figcaption { font-size: .75rem; line-height: 1.35; margin-top: .25rem; overflow-wrap: anywhere; }
.sheet figcaption span { display: block; color: var(--soft); }
.sheet figcaption b { display: block; color: var(--mark); }
.borderline { border-color: var(--mark); }
.stays { border-color: var(--stays); }
.sheet .stays b { color: var(--stays); }
.pictures { display: flex; justify-content: center; align-items: center; gap: .4rem; min-height: 96px; }
.pictures img { display: block; max-width: 100%; margin: 0 auto; }
.pictures small { display: block; text-align: center; color: var(--soft); font-size: .75rem; line-height: 1.3; }
.pictures > * { min-width: 0; }
.groups { display: flex; flex-wrap: wrap; gap: 1rem; }
.group { padding: .5rem; border: 1px solid var(--line); border-radius: .4rem; max-width: 100%; }
.group .sheet { display: flex; flex-wrap: wrap; }
.group figure { width: 6.6rem; }
.group p { margin: 0 0 .35rem; font-size: .8rem; }
.files { columns: 20rem; padding-left: 1.2rem; font-size: .85rem; overflow-wrap: anywhere; }
"""
