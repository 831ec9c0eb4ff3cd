/** The look of the report: one style sheet, light and dark, for screens, telephones and paper. */

/** Colours of series keep a contrast of 4.5 to the ground, in both looks. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --ground: #ffffff; --card: #f6f8fa; --ink: #1f2328; --dim: #59636e; --line: #d1d9e0;
  --grid: #dfe4ea; --good: #1a7f37; --bad: #cf222e; --open: #59636e;
  --series-1: #1f6feb; --series-2: #d1242f; --series-3: #1a7f37; --series-4: #9a6700;
  --series-5: #8250df; --series-6: #bc4c00; --series-7: #57606a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #0d1117; --card: #151b23; --ink: #f0f6fc; --dim: #9198a1; --line: #3d444d;
    --grid: #2a313c; --good: #3fb950; --bad: #ff7b72; --open: #9198a1;
    --series-1: #58a6ff; --series-2: #ff7b72; --series-3: #3fb950; --series-4: #d29922;
    --series-5: #bc8cff; --series-6: #f0883e; --series-7: #9198a1;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 1120px; padding: 32px 20px 64px;
  background: var(--ground); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
h1 { font-size: 27px; line-height: 1.25; margin: 0 0 6px; }
h2 { font-size: 19px; margin: 44px 0 10px; padding-bottom: 5px;
  border-bottom: 1px solid var(--line); }
h3 { font-size: 15px; margin: 20px 0 6px; }
p { margin: 6px 0 10px; max-width: 78ch; }
.dim { color: var(--dim); }
.small { font-size: 13px; }
.lead { font-size: 16px; }
h1, h2, h3, p, li, td, dd, figcaption { overflow-wrap: anywhere; }
.warning { border-left: 4px solid var(--bad); background: var(--card); padding: 8px 14px; }
.scroll { overflow-x: auto; margin: 8px 0 14px; }
table { border-collapse: collapse; font-size: 14px; width: 100%;
  font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px; text-align: right; border-bottom: 1px solid var(--line); }
td { white-space: nowrap; }
th { color: var(--dim); font-weight: 600; font-size: 13px; vertical-align: bottom; }
th:first-child, td:first-child, .left, th:has(.left) { text-align: left; }
td.wrap { white-space: normal; min-width: 16em; text-align: left; }
td:first-child { white-space: normal; min-width: 8em; }
.range { display: block; color: var(--dim); font-size: 12px; }
details { margin: 8px 0; max-width: 78ch; } summary { cursor: pointer; }
.better { color: var(--good); font-weight: 600; }
.worse { color: var(--bad); font-weight: 600; }
.indistinguishable, .undecided { color: var(--open); }
.grid { display: grid; gap: 18px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); }
figure { margin: 0; padding: 12px 12px 8px; background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; min-width: 0; }
figure svg { display: block; width: 100%; height: auto; }
figcaption { font-weight: 600; font-size: 14px; margin-bottom: 2px; }
figcaption span { display: block; font-weight: 400; font-size: 13px; color: var(--dim); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; padding: 2px 0 6px; margin: 0;
  font-size: 13px; }
.legend span { display: inline-flex; align-items: center; gap: 6px; overflow-wrap: anywhere; }
.legend i { flex: none; width: 11px; height: 11px; border-radius: 3px; }
dl { display: grid; grid-template-columns: minmax(8em, max-content) 1fr; gap: 4px 18px;
  margin: 8px 0; }
dt { color: var(--dim); }
dd { margin: 0; min-width: 0; }
code, pre { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  padding: 10px 12px; white-space: pre-wrap; overflow-wrap: anywhere; }
@media (max-width: 560px) {
  body { padding: 20px 14px 48px; }
  h1 { font-size: 22px; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: 8px; }
  th, td { padding: 6px 7px; }
}
@media print {
  :root { --ground: #fff; --card: #fff; --ink: #000; --dim: #444; --line: #bbb; --grid: #ddd;
    --good: #116329; --bad: #a40e26; --open: #444;
    --series-1: #1f6feb; --series-2: #d1242f; --series-3: #1a7f37; --series-4: #9a6700;
    --series-5: #8250df; --series-6: #bc4c00; --series-7: #57606a; }
  body { max-width: none; padding: 0; font-size: 11pt; }
  figure, tr, dl { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  .grid { grid-template-columns: 1fr 1fr; }
  .scroll { overflow: visible; }
}
`;
