#include "retort/distill/report/page_style.h"

namespace retort {

// Series colours after Okabe and Ito (distinct to colour-blind readers), lightened for dark grounds.
const char* const kPageStyle = R"css(
:root {
  color-scheme: light dark;
  --paper: #fdfdfb; --panel: #f5f5f1; --ink: #1d2125; --ink-soft: #5c646c; --rule: #dcdcd5; --accent: #00609c;
  --warn-ink: #7a3c00; --warn-paper: #fff3df; --warn-rule: #f0c98c; --heat: 0 96 156; --heat-wrong: 196 78 20; --on-heat: #fff;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b6549a; --c4: #b07d00; --c5: #3f9bd6; --c6: #6a3d9a; --c7: #555b61;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171a; --panel: #1c2024; --ink: #e4e6e8; --ink-soft: #a0a8b0; --rule: #32383e; --accent: #6cb8ee;
    --warn-ink: #ffd59c; --warn-paper: #35260f; --warn-rule: #6b4a17; --heat: 74 158 218; --heat-wrong: 226 116 60; --on-heat: #0b0d0f;
    --c0: #4aa8e8; --c1: #f08b45; --c2: #2cc598; --c3: #dd8fc4; --c4: #e0b03a; --c5: #93cdf5; --c6: #b294dd; --c7: #b0b6bc;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.55;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; -webkit-text-size-adjust: 100%; }
main, header, footer { max-width: 1180px; margin: 0 auto; padding: 0 1.5rem; }
header { padding-top: 3.25rem; }
h1 { font-size: 2.1rem; line-height: 1.2; font-weight: 650; letter-spacing: -0.015em; margin: 0 0 .4rem; text-wrap: balance; }
h2 { font-size: 1.35rem; font-weight: 650; letter-spacing: -0.01em; margin: 3.5rem 0 .6rem; padding-top: 1.1rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1.05rem; font-weight: 650; margin: 2.2rem 0 .6rem; }
p { margin: .5rem 0; max-width: 46rem; }
h3 .soft { font-weight: 400; margin-left: .4rem; }
.soft, figcaption, caption, footer { color: var(--ink-soft); font-size: .875rem; }
code, .mono { font-family: ui-monospace, "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .86em; overflow-wrap: anywhere; }
.badge { display: inline-block; padding: .1em .65em; border-radius: 1em; font-size: .78rem; font-weight: 600; vertical-align: .2em;
  border: 1px solid var(--rule); color: var(--ink-soft); letter-spacing: 0; }
.notice { margin: 1.2rem 0; padding: .75rem 1.1rem; border: 1px solid var(--warn-rule); border-radius: 8px;
  background: var(--warn-paper); color: var(--warn-ink); max-width: none; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(13.5rem, 1fr)); gap: .9rem 2rem; margin: 1.4rem 0; padding: 1.2rem 1.4rem;
  background: var(--panel); border-radius: 10px; }
.facts div { min-width: 0; }
.facts .wide { grid-column: 1 / -1; }
.facts dt { color: var(--ink-soft); font-size: .8rem; }
.facts dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; margin: 1rem 0; -webkit-overflow-scrolling: touch; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums lining-nums; font-size: .9rem; }
caption { text-align: left; caption-side: bottom; padding-top: .6rem; max-width: 46rem; }
th { font-weight: 600; }
.data { width: 100%; }
.data th, .data td { padding: .38rem .4rem; text-align: right; white-space: nowrap; }
.data th:first-child, .data td:first-child, .data .text { text-align: left; }
.data td:first-child, .data th:first-child { padding-left: 0; }
.data thead th { color: var(--ink-soft); font-weight: 500; font-size: .82rem; vertical-align: bottom; }
.data thead tr:last-child th { border-bottom: 1.5px solid var(--ink-soft); }
.data .group { text-align: center; color: var(--ink); font-weight: 600; }
.data .from { padding-left: 1.4rem; }
.data th:last-child, .data td:last-child { padding-right: 0; }
.data tbody tr.run > * { border-top: 1px solid var(--rule); }
.data tbody tr:first-child > * { border-top: 0; }
.data tbody th { font-weight: 500; }
.data tr.paper td, .data tr.paper th { color: var(--ink-soft); font-size: .82rem; padding-top: 0; font-weight: 400; }
.data tr.paper small { font-size: .9em; opacity: .85; }
.data b { font-weight: 700; }
.data tr.run small { color: var(--ink-soft); font-size: .85em; }
.data.narrow { width: auto; }
.data.narrow th + th, .data.narrow th + td, .data.narrow td + td { padding-left: .8rem; }
.data.words { width: auto; }
.data.words td { white-space: normal; }
.data.words th:first-child { vertical-align: top; }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; margin: 1.2rem 0 0; font-size: .9rem; }
a { color: var(--accent); text-underline-offset: .15em; text-decoration-thickness: 1px; }
.key { display: inline-block; width: 1.5em; height: 0; border-top: 3px solid; vertical-align: .25em; margin-right: .5em; border-radius: 2px; }
.data tr.paper th { padding-left: 2em !important; }
.key.dashed { border-top-style: dotted; border-top-width: 2px; width: 1.7em; color: var(--ink-soft); }
.key.solid { color: var(--ink-soft); }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.6rem; margin: .8rem 0 0; padding: 0; list-style: none; font-size: .875rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(19rem, 1fr)); gap: 1.2rem 1.6rem; margin: .6rem 0 1rem; }
.figures.two { grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); max-width: 62rem; }
figure { margin: 0; min-width: 0; }
figure svg { display: block; width: 100%; height: auto; }
figure svg text, figure svg tspan { font-family: inherit; }
figure .title { font-weight: 600; font-size: .9rem; margin: .6rem 0 .2rem; }
.task { display: flex; flex-wrap: wrap; gap: .5rem 2.8rem; align-items: flex-start; }
.task > * { flex: 0 1 auto; max-width: 100%; }
.task > * { min-width: 0; }
.heat { border-collapse: separate; border-spacing: 2px; font-size: .72rem; }
.heat td { width: 2.5rem; min-width: 1.9rem; height: 1.95rem; text-align: center; border-radius: 3px; background: rgb(var(--heat-wrong) / var(--v, 0)); padding: 0; }
.heat td.hit { background: rgb(var(--heat) / var(--v, 0)); }
.heat td.zero { background: var(--panel); }
.heat td.strong { color: var(--on-heat); }
.heat tbody th { text-align: right; font-weight: 400; padding-right: .5rem; white-space: nowrap; color: var(--ink); }
.heat thead th { vertical-align: bottom; padding: 0 0 .35rem; font-weight: 400; text-align: center; color: var(--ink); }
.heat thead th span { writing-mode: vertical-rl; transform: rotate(180deg); white-space: nowrap; display: inline-block; }
.heat.many td { min-width: 1.45rem; width: 1.45rem; height: 1.5rem; font-size: .64rem; }
.heat.small td { min-width: 3.6rem; height: 2.6rem; font-size: .85rem; }
.heat.small thead th span { writing-mode: horizontal-tb; transform: none; }
.heat.small { font-size: .8rem; }
footer { margin-top: 4rem; padding-top: 1rem; padding-bottom: 3rem; border-top: 1px solid var(--rule); }

@media (max-width: 560px) {
  main, header, footer { padding-left: 1rem; padding-right: 1rem; }
  header { padding-top: 1.8rem; } h1 { font-size: 1.6rem; } h2 { margin-top: 2.6rem; }
  .figures.two { grid-template-columns: 1fr; }
  caption { max-width: calc(100vw - 2rem); }
  .facts { padding: 1rem; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .7rem 1rem; }
  .data th:first-child, .data td:first-child { position: sticky; left: 0; background: var(--paper); padding-right: .8rem; }
  .heat td { min-width: 1.5rem; width: 1.5rem; height: 1.5rem; font-size: .62rem; }
}
@media print {
  :root { --paper: #fff; --panel: #f4f4f0; --ink: #000; --ink-soft: #444; --rule: #ccc; --warn-ink: #5a2c00; --warn-paper: #fff6e8; --warn-rule: #d9a860;
    --heat: 0 96 156; --heat-wrong: 196 78 20; --on-heat: #fff;
    --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b6549a; --c4: #b07d00; --c5: #3f9bd6; --c6: #6a3d9a; --c7: #555b61; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  body { font-size: 10.5pt; } main, header, footer { max-width: none; padding-left: 0; padding-right: 0; } .scroll { overflow: visible; }
  header { padding-top: 0; } table { font-size: 8pt; } .data th, .data td { padding: .2rem .3rem; } .data .from { padding-left: .7rem; }
  h2, h3 { break-after: avoid; } tr, figure, .facts, .notice { break-inside: avoid; }
  .heat td { min-width: 1.3rem; width: 1.3rem; height: 1.3rem; font-size: 6.5pt; }
}
)css";

}  // namespace retort
