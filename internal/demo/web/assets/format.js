// How figures are written, and small helpers for the document.

export const $ = (id) => document.getElementById(id);

// el makes an element: properties by name, then children.
export function el(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children.filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

const known = (value) => value !== undefined && value !== null && Number.isFinite(value);

// Each returns [figure, unit].
export function bitrate(bps) {
  if (!known(bps)) return ['–', ''];
  if (bps >= 1e9) return [(bps / 1e9).toFixed(2), 'Gbit/s'];
  if (bps >= 1e6) return [(bps / 1e6).toFixed(bps >= 1e7 ? 1 : 2), 'Mbit/s'];
  return [(bps / 1e3).toFixed(0), 'kbit/s'];
}

export function millis(value, digits = value < 10 ? 1 : 0) {
  return known(value) ? [value.toFixed(digits), 'ms'] : ['–', ''];
}

export function count(value) {
  if (!known(value)) return ['–', ''];
  return [value >= 1e6 ? `${(value / 1e6).toFixed(1)} M` : value.toLocaleString('en'), ''];
}

export function text([figure, unit]) {
  return unit ? `${figure} ${unit}` : figure;
}

// age returns how long ago a date was, "" for the zero time of Go.
export function age(date, at = Date.now()) {
  const seconds = Math.max(0, (at - Date.parse(date)) / 1000);
  if (!known(seconds) || Date.parse(date) <= 0) return '';
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds % 3600 / 60)} min`;
  return `${Math.floor(seconds / 86400)} d`;
}

// ago says how long ago something was, in seconds.
export function ago(seconds) {
  if (!known(seconds)) return 'at some time';
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  return `${Math.round(seconds / 3600)} h ago`;
}

// figure fills a <dd> with a figure and its unit.
export function figure(id, [value, unit] = ['–', '']) {
  const node = $(id);
  node.replaceChildren(String(value));
  if (unit) node.append(' ', el('small', { textContent: unit }));
}

// percentile returns the p-th percentile (0 to 1) of values, or undefined.
export function percentile(values, p) {
  if (values.length === 0) return undefined;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(p * sorted.length))];
}

// showState shows the state of the page: in a pill, and on <body data-state>.
export function showState(pill, state, words, tone) {
  document.body.dataset.state = state;
  showPill(pill, words, tone);
}

export function showPill(pill, words, tone) {
  pill.textContent = words;
  pill.dataset.tone = tone;
}

// A Spark is a small curve of the newest values.
export class Spark {
  #values = [];

  constructor(canvas, { points = 60, floor = 0 } = {}) {
    this.canvas = canvas;
    this.points = points;
    this.floor = floor;
  }

  add(value) {
    this.#values.push(known(value) ? value : null);
    if (this.#values.length > this.points) this.#values.shift();
    this.#paint();
  }

  clear() {
    this.#values = [];
    this.#paint();
  }

  #paint() {
    const { canvas } = this;
    const scale = window.devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!width) return;
    canvas.width = width * scale;
    canvas.height = height * scale;
    const c = canvas.getContext('2d');
    c.scale(scale, scale);
    const top = Math.max(this.floor, ...this.#values) * 1.15 || 1;
    const x = (i) => width - (this.#values.length - 1 - i) * (width / (this.points - 1));
    const y = (v) => height - 2 - (v / top) * (height - 4);
    const line = new Path2D();
    let first = null;
    let last = null;
    this.#values.forEach((v, i) => {
      if (v === null) return;
      if (first === null) { first = i; line.moveTo(x(i), y(v)); } else line.lineTo(x(i), y(v));
      last = i;
    });
    if (first === null) return;
    c.strokeStyle = c.fillStyle = getComputedStyle(canvas).color;
    const area = new Path2D(line);
    area.lineTo(x(last), height);
    area.lineTo(x(first), height);
    c.globalAlpha = 0.14;
    c.fill(area);
    c.globalAlpha = 1;
    c.lineWidth = 1.6;
    c.lineJoin = 'round';
    c.stroke(line);
  }
}
