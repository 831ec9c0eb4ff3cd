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

/** Sizes and colours. In the look of a page, colours are its variables: it may be dark. */
interface Look {
  readonly width: number;
  readonly height: number;
  readonly left: number;
  /** Where the names of the series stand, if they do. */
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
  readonly background: string | null;
  readonly grid: string;
  readonly colours: readonly string[];
  readonly hasLegend: boolean;
  /** A logarithmic axis with more ticks shows powers of ten alone. */
  readonly logTicksMax: number;
  /** Of the whole picture: fonts and colour of text. */
  readonly root: Readonly<Record<string, string | number>>;
}

const SVG = 'http://www.w3.org/2000/svg';
const FONT = { 'font-family': 'sans-serif', 'font-size': 12 };
const COLOURS = ['#1f6feb', '#d1242f', '#1a7f37', '#9a6700', '#8250df', '#bc4c00', '#57606a'];

const DOCUMENT: Look = {
  ...{ width: 720, height: 440, left: 70, right: 190, top: 40, bottom: 50 },
  ...{ background: '#fff', grid: '#ddd', colours: COLOURS, hasLegend: true, root: FONT },
  logTicksMax: Number.POSITIVE_INFINITY,
};

/** Narrow, so that its text can be read on a telephone; without title and legend. */
const FIGURE: Look = {
  ...{ width: 480, height: 300, left: 58, right: 16, top: 12, bottom: 46 },
  ...{ background: null, grid: 'var(--grid)', hasLegend: false, logTicksMax: 9 },
  colours: COLOURS.map((_, index) => `var(--series-${index + 1})`),
  root: { 'font-family': 'inherit', 'font-size': 13, fill: 'currentColor', role: 'img' },
};

/** How many series a page can tell apart; its style has `--series-1` to this. */
export const FIGURE_COLOURS = COLOURS.length;

/** A whole SVG document; numbers are rounded, so that the same input gives the same text. */
export const svgPlot = (plot: Plot): string => draw(plot, DOCUMENT);

/** For a page that has `--grid` and `--series-N`, shows the names itself and may be dark. */
export const svgFigure = (plot: Plot): string => draw(plot, FIGURE);

function draw(plot: Plot, look: Look): string {
  const { width, height, left, top, grid } = look;
  const all = plot.series.flatMap(({ points }) => points);
  const bottom = height - look.bottom;
  const right = width - look.right;
  const x = scaleOf(
    { ...plot.x, values: all.map(([value]) => value), from: left, to: right },
    look,
  );
  const y = scaleOf(
    { ...plot.y, values: all.map(([, value]) => value), from: bottom, to: top },
    look,
  );
  const middle = (top + bottom) / 2;
  const name = escapeXml(plot.title);
  const lines = [
    tag('svg', { xmlns: SVG, viewBox: `0 0 ${width} ${height}`, ...look.root }),
    ...(look.background === null
      ? [`<title>${name}</title>`]
      : [tag('rect', { width, height, fill: look.background }, '')]),
    ...(look.hasLegend ? [text(left, 22, name, 'start', 'font-size="15" font-weight="bold"')] : []),
    ...x.ticks.flatMap((tick) => [
      tag('line', { x1: x.at(tick), x2: x.at(tick), y1: top, y2: bottom, stroke: grid }, ''),
      text(x.at(tick), bottom + 18, short(tick), 'middle'),
    ]),
    ...y.ticks.flatMap((tick) => [
      tag('line', { x1: left, x2: right, y1: y.at(tick), y2: y.at(tick), stroke: grid }, ''),
      text(left - 8, y.at(tick) + 4, short(tick), 'end'),
    ]),
    text((left + right) / 2, height - 10, escapeXml(plot.x.label), 'middle'),
    tag(
      'text',
      { transform: `translate(16 ${middle}) rotate(-90)`, 'text-anchor': 'middle' },
      escapeXml(plot.y.label),
    ),
    ...plot.series.flatMap((series, index) => [
      ...seriesMarks({ series, index, look, x, y }),
      ...(look.hasLegend ? legendLines(series, index, look) : []),
    ]),
    '</svg>',
  ];
  return `${lines.join('\n')}\n`;
}

interface Scale {
  readonly at: (value: number) => number;
  readonly ticks: readonly number[];
}

interface ScaleAsk {
  readonly log: boolean;
  readonly values: readonly number[];
  readonly from: number;
  readonly to: number;
}

function scaleOf({ log, values, from, to }: ScaleAsk, { logTicksMax }: Look): Scale {
  const shape = log ? Math.log10 : (value: number): number => value;
  const low = log ? Math.min(...values) : Math.min(0, ...values);
  const high = Math.max(...values);
  const all = log ? logTicks(low, high) : linearTicks(low, high);
  const isCrowded = log && all.length > logTicksMax;
  const ticks = isCrowded ? all.filter((tick) => Math.log10(tick) % 1 === 0) : all;
  const first = shape(Math.min(low, all[0] ?? low));
  const last = shape(Math.max(high, all.at(-1) ?? high));
  return {
    at: (value) => round(from + ((shape(value) - first) / (last - first || 1)) * (to - from)),
    ticks,
  };
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

interface Drawn {
  readonly series: Series;
  readonly index: number;
  readonly look: Look;
  readonly x: Scale;
  readonly y: Scale;
}

const colourOf = (series: Series, index: number, { colours }: Look): string =>
  colours[(series.colour ?? index) % colours.length] ?? '#000';

function seriesMarks({ series, index, look, x, y }: Drawn): string[] {
  const colour = colourOf(series, index, look);
  const place = ([a, b]: readonly [number, number]): string => `${x.at(a)},${y.at(b)}`;
  const dash = series.dashed === true ? { 'stroke-dasharray': '5 4' } : {};
  const points = series.points.map(place).join(' ');
  const stroke = { fill: 'none', stroke: colour, 'stroke-width': 2, ...dash };
  const dot = { r: 3, fill: colour, 'fill-opacity': 0.65 };
  return series.line
    ? [tag('polyline', { points, ...stroke }, '')]
    : series.points.map(([a, b]) => tag('circle', { cx: x.at(a), cy: y.at(b), ...dot }, ''));
}

function legendLines(series: Series, index: number, look: Look): string[] {
  const top = look.top + 10 + index * 20;
  const left = look.width - look.right + 14;
  return [
    keyMark(series, colourOf(series, index, look), { left, top }),
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
