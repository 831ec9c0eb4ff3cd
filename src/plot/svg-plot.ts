/**
 * Small SVG plots for generated pages: points and lines on linear or logarithmic axes, as text.
 * The same input gives the same text. It draws nothing interactive and reads no file.
 */

export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  readonly line: boolean;
  readonly dashed?: boolean;
  /** Which of the colours, from 0; by its place in the list when none is given. */
  readonly colour?: number;
}

export interface Plot {
  readonly title: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly Series[];
}

export interface Axis {
  readonly label: string;
  readonly log: boolean;
}

const SVG = 'http://www.w3.org/2000/svg';
const FONT = { 'font-family': 'sans-serif', 'font-size': 12 };
const WIDTH = 720;
const HEIGHT = 440;
const LEFT = 70;
const RIGHT = 190;
const TOP = 40;
const BOTTOM = 50;
const COLOURS = ['#1f6feb', '#d1242f', '#1a7f37', '#9a6700', '#8250df', '#bc4c00', '#57606a'];

/** A whole SVG document; numbers are rounded, so that the same input gives the same text. */
export function svgPlot(plot: Plot): string {
  const all = plot.series.flatMap(({ points }) => points);
  const x = scaleOf(
    plot.x,
    all.map(([value]) => value),
    [LEFT, WIDTH - RIGHT],
  );
  const y = scaleOf(
    plot.y,
    all.map(([, value]) => value),
    [HEIGHT - BOTTOM, TOP],
  );
  const bottom = HEIGHT - BOTTOM;
  const right = WIDTH - RIGHT;
  const middle = (TOP + bottom) / 2;
  const lines = [
    tag('svg', { xmlns: SVG, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, ...FONT }),
    tag('rect', { width: WIDTH, height: HEIGHT, fill: '#fff' }, ''),
    text(LEFT, 22, escapeXml(plot.title), 'start', 'font-size="15" font-weight="bold"'),
    ...x.ticks.flatMap((tick) => [
      tag('line', { x1: x.at(tick), x2: x.at(tick), y1: TOP, y2: bottom, stroke: '#ddd' }, ''),
      text(x.at(tick), bottom + 18, short(tick), 'middle'),
    ]),
    ...y.ticks.flatMap((tick) => [
      tag('line', { x1: LEFT, x2: right, y1: y.at(tick), y2: y.at(tick), stroke: '#ddd' }, ''),
      text(LEFT - 8, y.at(tick) + 4, short(tick), 'end'),
    ]),
    text((LEFT + right) / 2, HEIGHT - 10, escapeXml(plot.x.label), 'middle'),
    tag(
      'text',
      { transform: `translate(16 ${middle}) rotate(-90)`, 'text-anchor': 'middle' },
      escapeXml(plot.y.label),
    ),
    ...plot.series.flatMap((series, index) => seriesLines(series, index, x, y)),
    '</svg>',
  ];
  return `${lines.join('\n')}\n`;
}

interface Scale {
  readonly at: (value: number) => number;
  readonly ticks: readonly number[];
}

function scaleOf(axis: Axis, values: readonly number[], [from, to]: readonly [number, number]) {
  const shape = axis.log ? Math.log10 : (value: number): number => value;
  const low = axis.log ? Math.min(...values) : Math.min(0, ...values);
  const high = Math.max(...values);
  const ticks = axis.log ? logTicks(low, high) : linearTicks(low, high);
  const first = shape(Math.min(low, ticks[0] ?? low));
  const last = shape(Math.max(high, ticks.at(-1) ?? high));
  const scale: Scale = {
    at: (value) => round(from + ((shape(value) - first) / (last - first || 1)) * (to - from)),
    ticks,
  };
  return scale;
}

function logTicks(low: number, high: number): readonly number[] {
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const step of [1, 2, 5]) {
      const tick = step * 10 ** power;
      if (tick >= low * 0.6 && tick <= high * 1.7) ticks.push(tick);
    }
  }
  return ticks;
}

function linearTicks(low: number, high: number): readonly number[] {
  const rough = (high - low || 1) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough) ?? power;
  const ticks: number[] = [];
  for (let tick = Math.floor(low / step) * step; tick <= high + step * 0.999; tick += step) {
    ticks.push(Number(tick.toPrecision(10)));
  }
  return ticks;
}

function seriesLines(series: Series, index: number, x: Scale, y: Scale): string[] {
  const colour = COLOURS[(series.colour ?? index) % COLOURS.length] ?? '#000';
  const place = ([a, b]: readonly [number, number]): string => `${x.at(a)},${y.at(b)}`;
  const dash = series.dashed === true ? { 'stroke-dasharray': '5 4' } : {};
  const points = series.points.map(place).join(' ');
  const stroke = { fill: 'none', stroke: colour, 'stroke-width': 2, ...dash };
  const dot = { r: 3, fill: colour, 'fill-opacity': 0.65 };
  const marks = series.line
    ? [tag('polyline', { points, ...stroke }, '')]
    : series.points.map(([a, b]) => tag('circle', { cx: x.at(a), cy: y.at(b), ...dot }, ''));
  const top = TOP + 10 + index * 20;
  const left = WIDTH - RIGHT + 14;
  return [
    ...marks,
    keyMark(series, colour, { left, top }),
    text(left + 16, top, escapeXml(series.name), 'start'),
  ];
}

/** What stands before a name in the key: a dot, a square, or a piece of the dashed line. */
function keyMark(
  { line, dashed }: Series,
  colour: string,
  { left, top }: { readonly left: number; readonly top: number },
): string {
  if (!line) return tag('circle', { cx: left + 5, cy: top - 4, r: 4, fill: colour }, '');
  if (dashed !== true) {
    return tag('rect', { x: left, y: top - 9, width: 10, height: 10, fill: colour }, '');
  }
  const ends = { x1: left - 4, x2: left + 12, y1: top - 4, y2: top - 4 };
  return tag('line', { ...ends, stroke: colour, 'stroke-width': 2, 'stroke-dasharray': '5 4' }, '');
}

/** An element; without content it is left open. */
function tag(
  name: string,
  attributes: Readonly<Record<string, string | number>>,
  content?: string,
): string {
  const list = Object.entries(attributes).map(([key, value]) => ` ${key}="${value}"`);
  const opened = `<${name}${list.join('')}`;
  if (content === undefined) return `${opened}>`;
  return content === '' ? `${opened}/>` : `${opened}>${content}</${name}>`;
}

const text = (x: number, y: number, content: string, anchor: string, more = ''): string => {
  const opened = `<text x="${x}" y="${y}" text-anchor="${anchor}"`;
  return `${opened}${more === '' ? '' : ` ${more}`}>${content}</text>`;
};

const round = (value: number): number => Math.round(value * 10) / 10;

function short(value: number): string {
  if (Math.abs(value) >= 1000) return `${Number((value / 1000).toPrecision(3))}k`;
  return String(Number(value.toPrecision(3)));
}

const escapeXml = (value: string): string =>
  value.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
