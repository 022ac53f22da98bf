"""The style sheet of a report: the system's fonts, light or dark as the reader's system is."""

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #fbfbfa; --panel: #ffffff; --text: #1d1f23; --quiet: #5b616b; --rule: #dfe1e5; --accent: #2559b0;
  --c0: #2559b0; --c1: #b4540a; --c2: #1b7a4b; --c3: #8b3a9c; --c4: #a3293d; --c5: #4d5a6b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #15171a; --panel: #1d2024; --text: #e6e7ea; --quiet: #a2a8b3; --rule: #353a42; --accent: #8db4f5;
    --c0: #8db4f5; --c1: #f0a566; --c2: #74cf9d; --c3: #d29be0; --c4: #f08c9b; --c5: #b3bdcb;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2rem clamp(1rem, 4vw, 3rem) 4rem; max-width: 76rem; background: var(--ground);
  color: var(--text); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
h1 { font-size: 1.7rem; font-weight: 650; margin: 0 0 .75rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; font-weight: 650; margin: 2.75rem 0 .75rem; }
h3 { font-size: 1rem; font-weight: 650; margin: 1.5rem 0 .5rem; }
p { margin: .5rem 0; max-width: 70ch; }
a { color: var(--accent); }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; list-style: none; margin: 1.25rem 0 0; padding: .6rem 0;
  border-block: 1px solid var(--rule); }
nav a { text-decoration: none; }
nav a:hover { text-decoration: underline; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 2px; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: .6rem 1.5rem; margin: 0; }
.facts dt { color: var(--quiet); font-size: .82rem; }
.facts dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.note { color: var(--quiet); border-left: 3px solid var(--rule); padding-left: .75rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 1rem; }
figure { margin: 0; }
.chart { background: var(--panel); border: 1px solid var(--rule); border-radius: 8px; padding: .75rem .9rem .5rem; }
.chart > svg { display: block; width: 100%; height: auto; touch-action: pan-y; }
.chart text { fill: var(--quiet); font-size: 12px; font-variant-numeric: tabular-nums; }
.chart figcaption { display: flex; flex-wrap: wrap; gap: .1rem .9rem; font-size: .9rem; margin-bottom: .35rem; }
.key { color: var(--quiet); white-space: nowrap; }
.swatch { width: 22px; height: 8px; margin-right: .35rem; vertical-align: middle; }
.readout { margin: .2rem 0 0; min-height: 1.5em; font-size: .82rem; color: var(--quiet);
  font-variant-numeric: tabular-nums; max-width: none; }
.grid { stroke: var(--rule); stroke-width: 1; }
.axis, .cursor { stroke: var(--quiet); stroke-width: 1; }
.line { fill: none; stroke: var(--c); stroke-width: 1.75; stroke-linejoin: round; }
.error { fill: none; stroke: var(--c); stroke-width: 1.25; opacity: .7; }
.band { fill: var(--c); opacity: .18; }
.dot { fill: var(--c); }
.c0 { --c: var(--c0); } .c1 { --c: var(--c1); } .c2 { --c: var(--c2); }
.c3 { --c: var(--c3); } .c4 { --c: var(--c4); } .c5 { --c: var(--c5); }
.line.c1 { stroke-dasharray: 7 3; } .line.c3 { stroke-dasharray: 2 3; } .line.c5 { stroke-dasharray: 9 3 2 3; }
img { display: block; max-width: 100%; height: auto; border-radius: 4px; image-rendering: pixelated; }
[hidden] { display: none !important; }
.beside { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1.25rem;
  align-items: end; }
.beside figcaption, .wide figcaption { color: var(--quiet); font-size: .9rem; margin-bottom: .4rem; }
.wide { margin-bottom: 1.25rem; }
.controls { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1rem; margin-bottom: .75rem; }
.controls input[type=range] { flex: 1 1 16rem; max-width: 36rem; accent-color: var(--accent); }
.controls output { min-width: 9ch; font-variant-numeric: tabular-nums; }
button { font: inherit; color: inherit; background: var(--panel); border: 1px solid var(--rule); border-radius: 6px;
  padding: .2rem .7rem; cursor: pointer; }
button[aria-pressed=true] { border-color: var(--accent); color: var(--accent); }
.scroll { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--quiet); padding-bottom: .3rem; }
th, td { text-align: left; padding: .28rem .9rem .28rem 0; border-bottom: 1px solid var(--rule); vertical-align: middle;
  white-space: nowrap; }
td.value { white-space: normal; overflow-wrap: anywhere; }
thead th { color: var(--quiet); font-weight: 500; }
tbody th { font-weight: 400; }
.bar { display: inline-block; width: 7rem; height: .6rem; background: var(--rule); border-radius: 3px; overflow: hidden;
  vertical-align: middle; margin-right: .5rem; }
.bar span { display: block; height: 100%; background: var(--c0); }
.spark { width: 90px; height: 22px; vertical-align: middle; }
code { font: .86rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.protocols li { margin: .3rem 0; }
details { margin: .5rem 0; }
summary { cursor: pointer; padding: .2rem 0; }
.changed th::after { content: " \\25cf"; color: var(--accent); }
@media print { nav, .controls, .readout { display: none; } }
"""
