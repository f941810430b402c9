"use strict";
// Charts of the page: from a description and the rows that are left by the filters to Plotly's traces.

const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7", "#56B4E9", "#E69F00", "#7F7F7F"];
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];
const SYMBOLS = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x", "star"];
const PATTERNS = ["", "/", ".", "", "\\", "x", "-", "+"];
const BARS = ["bar", "box", "stack"];
const MOST_SERIES = 24, MOST_POINTS = 4000;

// Plotly reads some HTML in labels; names are to be shown as they are.
function shown(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) { bytes /= 1024; unit += 1; }
  return Number(bytes.toPrecision(4)) + units[unit];
}

function middle(values) {
  const sorted = values.slice().sort((a, b) => a - b), half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

// The rows of a chart by series and by place on its x axis: [label, [[x, [y, ...]], ...]].
function gathered(chart, rows, value) {
  const found = new Map();
  const where = Object.entries(chart.where);
  const parts = chart.kind === "stack" ? chart.parts : [[chart.y, ""]];
  const limit = (chart.limit || "").replace(/^\*/, ""), times = limit !== chart.limit;
  for (const row of rows) {
    const x = value(chart.x, row);
    if (x === null || x === "") continue;
    if (!where.every(([name, wanted]) => String(value(name, row)) === String(wanted))) continue;
    const series = chart.series.map(name => value(name, row)).join(", ");
    for (const [column, words] of parts) {
      const y = value(column, row), label = words || series;
      if (typeof y !== "number") continue;
      if (!found.has(label)) found.set(label, new Map());
      const places = found.get(label);
      if (!places.has(x)) places.set(x, []);
      const ys = places.get(x);
      const end = name => name && typeof value(name, row) === "number" ? value(name, row) : y;
      ys.push(y * chart.y_factor);
      ys.low = Math.min(ys.low ?? Infinity, end(chart.low) * chart.y_factor);
      ys.high = Math.max(ys.high ?? -Infinity, end(chart.high) * chart.y_factor);
      const most = limit ? value(limit, row) : null;
      if (typeof most === "number") (ys.limits ??= []).push(most * chart.y_factor * (times ? y : 1));
    }
  }
  return [...found].map(([label, places]) => {
    const list = [...places];
    if (list.every(([x]) => typeof x === "number")) list.sort((a, b) => a[0] - b[0]);
    return [label, list];
  });
}

function trace(chart, label, places, number) {
  const colour = COLOURS[number % COLOURS.length];
  const made = {
    name: shown(label), marker: {color: colour, symbol: SYMBOLS[number % SYMBOLS.length], size: 7},
    line: {color: colour, dash: DASHES[number % DASHES.length], width: 2},
  };
  const xs = places.map(([x]) => typeof x === "number" && !BARS.includes(chart.kind) ? x : shown(x));
  if (chart.kind === "scatter" || chart.kind === "pareto" || chart.kind === "box") {
    const step = Math.ceil(places.reduce((sum, [, ys]) => sum + ys.length, 0) / MOST_POINTS);
    made.x = places.flatMap(([, ys], at) => ys.map(() => xs[at])).filter((_, at) => at % step === 0);
    made.y = places.flatMap(([, ys]) => ys).filter((_, at) => at % step === 0);
    Object.assign(made, chart.kind === "box" ? {type: "box", boxpoints: places.every(([, ys]) => ys.length <= 50) ? "all" : false} : {type: "scatter", mode: "markers"});
    return made;
  }
  made.x = xs;
  made.y = places.map(([, ys]) => middle(ys));
  const bars = BARS.includes(chart.kind);
  if (bars) made.marker = {color: colour, pattern: {shape: PATTERNS[number % PATTERNS.length], fillmode: "overlay", fgcolor: "#fff", size: 6, solidity: 0.2}};
  Object.assign(made, bars ? {type: "bar"} : {type: "scatter", mode: "lines+markers"});
  if (chart.kind === "stack") return made;
  if (places.some(([, ys]) => ys.high !== ys.low)) {
    made.error_y = {
      type: "data", symmetric: false, thickness: 1, width: 3,
      array: places.map(([, ys], at) => ys.high - made.y[at]),
      arrayminus: places.map(([, ys], at) => made.y[at] - ys.low),
    };
    made.text = places.map(([, ys]) => ys.length > 1 ? `median of ${ys.length}` : "");
  }
  return made;
}

// What a series cannot pass, as a thin line of its colour.
function limitTrace(places, number) {
  if (!places.every(([, ys]) => ys.limits)) return [];
  return [{
    x: places.map(([x]) => x), y: places.map(([, ys]) => middle(ys.limits)), type: "scatter", mode: "lines",
    line: {color: COLOURS[number % COLOURS.length], width: 1}, opacity: 0.7, showlegend: false, hoverinfo: "skip",
  }];
}

// The points that no other exceeds in both x and y.
function frontier(series) {
  const points = series.flatMap(([, places]) => places.flatMap(([x, ys]) => ys.map(y => [x, y])));
  points.sort((a, b) => b[0] - a[0] || b[1] - a[1]);
  const best = [];
  for (const point of points) if (!best.length || point[1] > best[best.length - 1][1]) best.push(point);
  return {
    name: "best of both", x: best.map(([x]) => x), y: best.map(([, y]) => y), type: "scatter", mode: "lines",
    line: {color: "#555", width: 1, dash: "dash"}, hoverinfo: "skip",
  };
}

function heat(chart, series) {
  const xs = [...new Set(series.flatMap(([, places]) => places.map(([x]) => x)))];
  const z = series.map(([, places]) => {
    const known = new Map(places);
    return xs.map(x => known.has(x) ? middle(known.get(x)) : null);
  });
  return {
    type: "heatmap", x: xs.map(shown), y: series.map(([label]) => shown(label)), z, colorscale: "Cividis",
    colorbar: {title: {text: shown(chart.y_title || chart.y)}},
  };
}

function axis(words, log) {
  return {title: {text: shown(words)}, type: log ? "log" : undefined, automargin: true, gridcolor: "#ddd", zeroline: false};
}

function sizeTicks(axis, series) {
  const xs = series.flatMap(([, places]) => places.map(([x]) => x));
  const low = Math.floor(Math.log2(Math.min(...xs))), high = Math.ceil(Math.log2(Math.max(...xs)));
  const step = Math.max(1, Math.ceil((high - low) / 7));
  axis.tickvals = [];
  for (let power = low; power <= high; power += step) axis.tickvals.push(2 ** power);
  axis.ticktext = axis.tickvals.map(size);
}

// A logarithmic axis of few values is written at these values.
function valueTicks(axis, series) {
  const xs = [...new Set(series.flatMap(([, places]) => places.map(([x]) => x)))];
  if (xs.length <= 9) { axis.tickvals = xs; axis.ticktext = xs.map(String); }
}

// What Plotly needs for a chart, and a sentence for the caption and for screen readers.
function drawing(chart, rows, value) {
  let series = gathered(chart, rows, value);
  const all = series.length;
  if (all > MOST_SERIES) {
    series = [...series].sort((a, b) => b[1].length - a[1].length).slice(0, MOST_SERIES);
  }
  const traces = chart.kind === "heat" ? (all ? [heat(chart, series)] : [])
    : series.flatMap(([label, places], number) =>
      [trace(chart, label, places, number), ...(chart.kind === "line" && chart.limit ? limitTrace(places, number) : [])]);
  if (chart.kind === "pareto" && all && series.every(([, places]) => places.every(([x]) => typeof x === "number"))) {
    traces.push(frontier(series));
  }
  const layout = {
    margin: {l: 60, r: 10, t: 10, b: 50}, paper_bgcolor: "#fff", plot_bgcolor: "#fff",
    font: {family: "system-ui, sans-serif", size: 12, color: "#1b1b1b"},
    xaxis: axis(chart.x_title || chart.x, chart.log_x), yaxis: axis(chart.y_title || chart.y, chart.log_y),
    showlegend: traces.length > 1, hovermode: "closest", legend: {orientation: "h", y: -0.25}, barmode: chart.kind === "stack" ? "stack" : "group",
    boxmode: "group",
  };
  if (chart.kind === "heat") { layout.xaxis.type = layout.yaxis.type = "category"; layout.yaxis.title.text = ""; }
  if (BARS.includes(chart.kind)) layout.xaxis.type = "category";
  const numbers = series.every(([, places]) => places.every(([x]) => typeof x === "number"));
  if (numbers && all && chart.log_x && chart.kind === "line" && /(^|_)bytes$/.test(chart.x)) sizeTicks(layout.xaxis, series);
  else if (numbers && all && chart.log_x && chart.kind === "line") valueTicks(layout.xaxis, series);
  const left = all > MOST_SERIES ? `; ${all - MOST_SERIES} more are left out: filter to see them` : "";
  const words = all === 0 ? "No record is left by the filters."
    : `${chart.y_title || chart.y} against ${chart.x_title || chart.x}, ${all} series${left}.`
      + (chart.limit ? ` Thin lines: ${chart.limit_name}.` : "");
  return {traces, layout, words};
}
