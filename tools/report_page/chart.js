// The curves of the runs: a plot that is drawn anew for every choice, and for every width.

const MARGIN = { left: 58, right: 16, top: 34, bottom: 44 };
const LEAST_ROOM = 40; // pixels for all epochs; in less nothing is drawn
const NEAR = 40; // pixels from a point at which the pointer still finds it
const BLACK = "#000000"; // is drawn in the colour of the text, which dark pages need

const data = JSON.parse(document.getElementById("chart-data").textContent);
const chart = {
  ...data,
  hidden: new Set(data.hidden), // methods
  width: 0, // for which it was drawn
  points: [], // of all lines that are drawn
  at: null, // the point that is read
};

function byId(name) {
  return document.getElementById(`chart-${name}`);
}

function svg(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) {
    element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

function strokeOf(group) {
  return { stroke: group.color === BLACK ? "currentColor" : group.color };
}

// ---- what is drawn ----

/** Whether the group is of the data set, of a method and of a setting that are to be seen. */
function isToBeSeen(group) {
  const isAsked = group.isChosen || byId("settings").checked;
  return isAsked && group.dataset === byId("dataset").value && !chart.hidden.has(group.method);
}

/** The lines of the group that are to be seen: its mean, or all where that is asked or it has none. */
function linesOf(group) {
  return group.hasMean && !byId("singles").checked ? group.lines.slice(0, 1) : group.lines;
}

/** The lines of the column and groups that were chosen, thin ones first. */
function linesShown() {
  const column = byId("column").value;
  const lines = chart.groups.filter(isToBeSeen).flatMap((group) =>
    linesOf(group).map((line, place) => ({
      group,
      name: line.name,
      best: line.best,
      isThick: place === 0 && (group.hasMean || group.lines.length === 1),
      values: line.values[column],
    })),
  );
  const known = lines.filter((line) => line.values.some((value) => value !== null));
  return known.sort((a, b) => a.isThick - b.isThick);
}

/** Round numbers from below `low` to above `high`, about `count` of them. */
function ticksFor(low, high, count) {
  const least = (high - low || Math.abs(high) || 1) / count;
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= least) * power;
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(Math.ceil(high / step - 1e-9), first + 1);
  return Array.from({ length: last - first + 1 }, (_, place) => {
    return Number(((first + place) * step).toPrecision(12));
  });
}

/** Every epoch, or every second, fifth, tenth and so on where there is no room. */
function epochTicks(last, room) {
  const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
  const step = steps.find((found) => last / found <= room) || Math.ceil(last / room);
  const ticks = [];
  for (let epoch = step; epoch <= last; epoch += step) {
    ticks.push(epoch);
  }
  return ticks[0] === 1 ? ticks : [1, ...ticks];
}

function widthOfPlot() {
  return byId("plot").parentElement.clientWidth;
}

/** Where epochs and values lie in the plot, and its ticks. */
function frameFor(lines, width) {
  const height = Math.round(Math.min(460, Math.max(280, 0.42 * width)));
  const values = lines.flatMap((line) => line.values.filter((value) => value !== null));
  const [low, high] = values.reduce(
    ([least, most], value) => [Math.min(least, value), Math.max(most, value)],
    values.length ? [values[0], values[0]] : [0, 1],
  );
  const last = Math.max(2, ...lines.map((line) => line.values.length));
  const rows = ticksFor(low, high, Math.max(3, Math.floor(height / 70)));
  const [bottom, top] = [rows[0], rows[rows.length - 1]];
  const inner = width - MARGIN.left - MARGIN.right;
  const tall = height - MARGIN.top - MARGIN.bottom;
  return {
    width,
    height,
    rows,
    columns: epochTicks(last, Math.max(1, Math.floor(inner / 40))),
    x: (epoch) => MARGIN.left + (inner * (epoch - 1)) / (last - 1),
    y: (value) => MARGIN.top + (tall * (top - value)) / (top - bottom),
  };
}

// ---- drawing ----

/** Draw all, or nothing yet where there is no room: in a hidden frame, say. */
function draw() {
  chart.width = widthOfPlot();
  if (chart.width < MARGIN.left + MARGIN.right + LEAST_ROOM) {
    return;
  }
  const lines = linesShown();
  const frame = frameFor(lines, chart.width);
  chart.points = lines.flatMap((line) => pointsOf(line, frame));
  for (const layer of [byId("axes"), byId("lines"), byId("plot")]) {
    layer.setAttribute("viewBox", `0 0 ${frame.width} ${frame.height}`);
  }
  byId("axes").replaceChildren(...axes(frame));
  const best = chart.points.filter((point) => point.epoch === point.line.best);
  byId("lines").replaceChildren(...lines.map(curve), ...best.map(dot));
  read(null);
}

function pointsOf(line, frame) {
  const points = line.values.map((value, place) => {
    const epoch = place + 1;
    return value === null ? null : { line, epoch, value, x: frame.x(epoch), y: frame.y(value) };
  });
  line.points = points;
  return points.filter(Boolean);
}

function axes(frame) {
  const { title, unit } = chart.columns.find((column) => column.name === byId("column").value);
  const right = frame.width - MARGIN.right;
  const below = frame.height - MARGIN.bottom;
  const rows = frame.rows.map((value) => {
    const y = frame.y(value);
    const label = svg("text", { x: MARGIN.left - 8, y: y + 4, "text-anchor": "end" }, written(value));
    return svg("g", {}, svg("line", { class: "grid", x1: MARGIN.left, x2: right, y1: y, y2: y }), label);
  });
  const columns = frame.columns.map((epoch) => {
    const place = { x: frame.x(epoch), y: below + 18, "text-anchor": "middle" };
    return svg("text", place, String(epoch));
  });
  const middle = (MARGIN.left + right) / 2;
  const across = { class: "title", x: middle, y: frame.height - 6, "text-anchor": "middle" };
  const upright = { class: "title", x: 0, y: 14 };
  const named = unit ? `${title} (${unit})` : title;
  return [...rows, ...columns, svg("text", across, "epoch"), svg("text", upright, named)];
}

/** The line as a path, with a gap where a value is unknown. */
function curve(line) {
  let path = "";
  let isOpen = false;
  for (const point of line.points) {
    if (point) {
      path += `${isOpen ? "L" : "M"}${point.x.toFixed(1)} ${point.y.toFixed(1)}${isOpen ? "" : "h0"}`;
    }
    isOpen = Boolean(point);
  }
  const look = { ...strokeOf(line.group), "stroke-dasharray": line.group.dash || "none" };
  return svg("path", { class: line.isThick ? "curve thick" : "curve", d: path, ...look });
}

function dot(point) {
  const { stroke } = strokeOf(point.line.group);
  return svg("circle", { class: "dot", cx: point.x, cy: point.y, r: 3, fill: stroke });
}

function written(value) {
  return String(Number(value.toPrecision(5)));
}

// ---- reading a value ----

/** Show this point of a line, or none. */
function read(point) {
  chart.at = point;
  byId("tip").hidden = !point;
  byId("plot").parentElement.classList.toggle("reading", Boolean(point));
  byId("plot").replaceChildren();
  if (point) {
    const place = { class: "ring", cx: point.x, cy: point.y, r: 5 };
    const ring = svg("circle", { ...place, ...strokeOf(point.line.group) });
    byId("plot").append(curve(point.line), ring);
    tell(point);
  }
}

function tell(point) {
  const { group, name } = point.line;
  const { unit } = chart.columns.find((column) => column.name === byId("column").value);
  const method = [group.method, group.setting].filter(Boolean).join(", ");
  const tip = byId("tip");
  tip.textContent = `${method}, ${name}\nepoch ${point.epoch}: ${written(point.value)} ${unit}`;
  const room = tip.parentElement.clientWidth - tip.offsetWidth;
  const above = point.y - tip.offsetHeight - 12;
  const left = Math.max(0, Math.min(room, point.x - tip.offsetWidth / 2));
  tip.style.transform = `translate(${left}px, ${above < 0 ? point.y + 14 : above}px)`;
}

function onPointer(event) {
  const box = byId("plot").getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  let nearest = null;
  let least = NEAR;
  for (const point of chart.points) {
    const far = Math.hypot(point.x - x, point.y - y);
    if (far <= least) {
      [nearest, least] = [point, far];
    }
  }
  if (nearest !== chart.at) {
    read(nearest);
  }
}

function onKey(event) {
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  const way = ways[event.key];
  if (event.key === "Escape") {
    read(null);
  } else if (way && chart.points.length) {
    event.preventDefault();
    read(chart.at ? step(chart.at, ...way) : chart.points[chart.points.length - 1]);
  }
}

/** The next known point along the line, or the one on the next line above or below. */
function step(from, along, up) {
  const ahead = chart.points.filter((point) =>
    up
      ? point.epoch === from.epoch && up * (from.y - point.y) > 0
      : point.line === from.line && along * (point.epoch - from.epoch) > 0,
  );
  const far = (point) => Math.abs(point.x - from.x) + Math.abs(point.y - from.y);
  return ahead.reduce((best, point) => (best && far(best) <= far(point) ? best : point), null) || from;
}
