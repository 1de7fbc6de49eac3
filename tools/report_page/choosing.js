// Which of the curves are seen: the choices above the plot, which is drawn anew for each.

function fillSelect(select, options) {
  select.append(...options.map(([value, text]) => new Option(text, value)));
  select.closest("label").hidden = options.length < 2;
}

function methodsShown() {
  const dataset = byId("dataset").value;
  const groups = chart.groups.filter((group) => group.dataset === dataset);
  return [...new Map(groups.map((group) => [group.method, group])).values()];
}

function drawLegend() {
  byId("methods").replaceChildren(...methodsShown().map(legendEntry));
}

function legendEntry(group) {
  const look = { ...strokeOf(group), "stroke-width": 2.5, "stroke-dasharray": group.dash || "none" };
  const line = svg("svg", { "aria-hidden": true }, svg("path", { d: "M0 5H26", ...look }));
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-pressed", !chart.hidden.has(group.method));
  button.append(line, group.method);
  button.addEventListener("click", () => {
    const isShown = chart.hidden.delete(group.method);
    if (!isShown) {
      chart.hidden.add(group.method);
    }
    button.setAttribute("aria-pressed", isShown);
    draw();
  });
  return button;
}

function hide(methods) {
  chart.hidden = new Set(methods);
  drawLegend();
  draw();
}

/** Draw anew for another width, once the page has it: drawing changes the height that is watched. */
function followWidth() {
  if (widthOfPlot() !== chart.width) {
    requestAnimationFrame(draw);
  }
}

/** Offer this only where it changes what is seen. */
function startBox(name, isOfUse) {
  byId(name).closest("label").hidden = !isOfUse;
  byId(name).addEventListener("change", draw);
}

function startChart() {
  const datasets = [...new Set(chart.groups.map((group) => group.dataset))];
  fillSelect(byId("column"), chart.columns.map(({ name, title }) => [name, title]));
  fillSelect(byId("dataset"), datasets.map((name) => [name, name]));
  startBox("settings", chart.groups.some((group) => !group.isChosen));
  startBox("singles", chart.groups.some((group) => group.hasMean));
  document.getElementById("chart").hidden = false;
  byId("column").addEventListener("change", draw);
  byId("dataset").addEventListener("change", () => hide(data.hidden));
  byId("all").addEventListener("click", () => hide([]));
  byId("none").addEventListener("click", () => hide(methodsShown().map((group) => group.method)));
  byId("plot").addEventListener("pointerdown", onPointer);
  byId("plot").addEventListener("pointermove", onPointer);
  byId("plot").addEventListener("pointerleave", () => read(null));
  byId("plot").addEventListener("blur", () => read(null));
  byId("plot").addEventListener("keydown", onKey);
  new ResizeObserver(followWidth).observe(byId("plot").parentElement);
  drawLegend();
  draw();
}

if (chart.columns.length) {
  startChart();
}
