// One suggestion at a time is decided; of the others a page of small pictures is there.
// decisions.js runs before.

const AT_ONCE = 48; // small pictures on a page
const SMALL = 64; // pixels: a picture that is no larger is shown pixel by pixel
const PAIRS = DATA.items.map(pairOf); // of each suggestion, by its number
const NUMBERS = new Map(PAIRS.map((pair, number) => [pair, number]));
const OF_IMAGE = new Map(); // its suggestions' numbers; the image with the best one comes first
DATA.items.forEach(({ image }, number) => {
  OF_IMAGE.set(image, OF_IMAGE.get(image) || []).get(image).push(number);
});
const ORDERS = { "": DATA.items.map((_, number) => number), image: [...OF_IMAGE.values()].flat() };
const MOST_OTHERS = 30; // labels of the same image that are told
const at = (name) => document.getElementById(name);

const done = []; // what undo takes back, each a list of changes
let shown = []; // the numbers that the filters let through
let place = 0; // in these

/** The text without signs that steer: they are shown as what they are. */
function printable(text) {
  const code = (sign) => `\\u{${sign.codePointAt(0).toString(16)}}`;
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, code);
}

const nameOf = (column) => printable(DATA.classes[column]);
const stateOf = (number) => decisions.get(PAIRS[number]) || "undecided";

function isShown(number) {
  const [column, state] = [at("class").value, at("state").value];
  const inState =
    !state || (state === "decided" ? decisions.has(PAIRS[number]) : stateOf(number) === state);
  return inState && (!column || DATA.items[number].label === Number(column));
}

/** Filter anew, and stay with this suggestion, or else at the same place. */
function filter(number = shown[place]) {
  shown = ORDERS[at("order").value].filter(isShown);
  const found = shown.indexOf(number);
  place = Math.max(0, Math.min(found < 0 ? place : found, shown.length - 1));
  draw();
}

// ---- what is drawn ----

function make(tag, text, facts = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  return Object.assign(element, facts);
}

function draw() {
  drawCount();
  at("undo").disabled = !done.length;
  at("one").hidden = !shown.length;
  at("none").hidden = shown.length > 0;
  if (shown.length) {
    drawOne(shown[place]);
  }
  drawList();
}

function drawCount() {
  const count = { accepted: 0, rejected: 0, undecided: 0 };
  DATA.items.forEach((_, number) => (count[stateOf(number)] += 1));
  const decided = count.accepted + count.rejected;
  at("progress").max = DATA.items.length;
  at("progress").value = decided;
  at("count").textContent =
    `${decided} of ${DATA.items.length} decided: ${count.accepted} accepted, ${count.rejected} rejected` +
    (elsewhere() ? `; ${elsewhere()} more are not on this list` : "");
  at("unkept").hidden = isKept;
}

/** How many of the decisions are not on this list. */
function elsewhere(among = decisions) {
  return [...among.keys()].filter((pair) => !NUMBERS.has(pair)).length;
}

function drawOne(number) {
  const item = DATA.items[number];
  const image = DATA.images[item.image];
  const [file, width, height] = image.picture;
  setPicture(at("picture"), file, width, height);
  at("picture").parentElement.dataset.decision = stateOf(number);
  at("picture").parentElement.style.setProperty("--ratio", width / height);
  at("label").textContent = nameOf(item.label);
  const facts = [
    ["decision", stateOf(number)],
    ["score", item.score.toFixed(3)],
    ["early, final", `${item.early.toFixed(3)}, ${item.final.toFixed(3)}`],
    ["given labels", image.positive.map(nameOf).join(", ") || "none"],
    ["given as absent", image.negative.map(nameOf).join(", ")],
    ["also suggested", others(number)],
    ["image", printable(image.name)],
    ["rank", `${number + 1} of ${DATA.items.length}`],
  ];
  const told = facts.filter(([, value]) => value.length);
  at("facts").replaceChildren(...told.flatMap(([name, value]) => [make("dt", name), fact(value)]));
  drawCurve(item);
  drawMap(item);
}

/** A text, or elements. */
function fact(value) {
  const element = make("dd", "");
  element.append(...[value].flat());
  return element;
}

/** The other suggestions of the image, to go there. */
function others(number) {
  const numbers = OF_IMAGE.get(DATA.items[number].image).filter((other) => other !== number);
  const buttons = numbers.slice(0, MOST_OTHERS).map((other) => {
    const button = make("button", "", { type: "button" });
    Object.assign(button.dataset, { number: other, decision: stateOf(other) });
    button.append(make("span", nameOf(DATA.items[other].label)), make("span", stateOf(other)));
    return button;
  });
  const more = numbers.length - buttons.length;
  return more ? [...buttons, `and ${more} more`] : buttons;
}

function setPicture(element, file, width, height) {
  element.classList.toggle("small", Math.max(width, height) <= SMALL);
  Object.assign(element, { width, height, src: file });
}

function drawCurve(item) {
  const svg = (tag, facts) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    Object.entries(facts).forEach(([name, value]) => element.setAttribute(name, value));
    return element;
  };
  const highest = Math.max(...item.loss, 1e-6);
  const points = item.loss.map((loss, epoch) => [
    6 + (188 * epoch) / Math.max(item.loss.length - 1, 1),
    54 - (48 * loss) / highest,
  ]);
  const dots = item.selected.map((epoch) => svg("circle", { cx: points[epoch][0], cy: points[epoch][1], r: 2.5 }));
  at("curve").replaceChildren(svg("polyline", { points: points.map(String).join(" ") }), ...dots);
}

/** The class map over the picture, the stronger the more opaque. */
function drawMap(item) {
  const strengths = Array.from(atob(item.map), (sign) => sign.charCodeAt(0));
  at("map").hidden = !(DATA.maps && at("show-map").checked);
  at("no-place").hidden = at("map").hidden || strengths.some(Boolean);
  if (at("map").hidden) {
    return;
  }
  const [height, width] = DATA.maps;
  Object.assign(at("map"), { width, height });
  const pixels = new ImageData(width, height);
  strengths.forEach((strength, each) => pixels.data.set([255, 120, 0, 0.6 * strength], 4 * each));
  at("map").getContext("2d").putImageData(pixels, 0, 0);
}

function drawList() {
  const first = place - (place % AT_ONCE);
  const numbers = shown.slice(first, first + AT_ONCE);
  at("list").replaceChildren(...numbers.map((number, each) => small(number, first + each === place)));
  at("page").textContent = shown.length
    ? `${first + 1} to ${first + numbers.length} of ${shown.length}`
    : "none";
  at("before").disabled = first === 0;
  at("after").disabled = first + AT_ONCE >= shown.length;
}

function small(number, isCurrent) {
  const item = DATA.items[number];
  const button = make("button", "", { type: "button" });
  const picture = make("img", "", { loading: "lazy", alt: "" });
  setPicture(picture, ...DATA.images[item.image].picture);
  button.dataset.number = number;
  button.dataset.decision = stateOf(number);
  if (isCurrent) {
    button.setAttribute("aria-current", "true");
  }
  button.append(picture, make("span", nameOf(item.label)), make("span", decisions.get(PAIRS[number]) || item.score.toFixed(3)));
  const entry = make("li", "");
  entry.append(button);
  return entry;
}

// ---- what is decided ----

function decide(decision) {
  if (!shown.length) {
    return;
  }
  const number = shown[place];
  const next = shown[Math.min(place + 1, shown.length - 1)];
  done.push(change([[PAIRS[number], decision]]));
  say(`${decision}: ${nameOf(DATA.items[number].label)}`);
  show(next);
}

function undo() {
  if (!done.length) {
    return;
  }
  const step = done.pop();
  change(step);
  if (step.length === 1) {
    const [pair] = step[0];
    say(`taken back: ${printable(JSON.parse(pair)[1])}`);
    show(NUMBERS.get(pair));
  } else {
    say(`taken back: the import of ${step.length} decisions`);
    filter();
  }
}

function go(steps) {
  show(shown[Math.max(0, Math.min(place + steps, shown.length - 1))]);
}

/** Go to a suggestion, filters or not, and bring the picture into view. */
function jump(number) {
  if (!shown.includes(number)) {
    at("class").value = at("state").value = "";
    say("all classes and decisions are shown again: that one was not among them");
  }
  show(number);
}

/** Go to the next suggestion of the same image. */
function goToOther() {
  if (shown.length) {
    const numbers = OF_IMAGE.get(DATA.items[shown[place]].image);
    jump(numbers[(numbers.indexOf(shown[place]) + 1) % numbers.length]);
  }
}

function show(number) {
  filter(number);
  at("picture").parentElement.scrollIntoView({ block: "nearest" });
}

function say(text) {
  at("said").textContent = text;
}

// ---- files of decisions ----

function download() {
  const address = URL.createObjectURL(new Blob([exported()], { type: "application/json" }));
  make("a", "", { href: address, download: "decisions.json" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
  const others = elsewhere();
  say(
    `exported ${decisions.size} decisions as decisions.json` +
      (others ? `, ${others} of them not on this list` : ""),
  );
}

async function copy() {
  let isCopied = true;
  try {
    await navigator.clipboard.writeText(exported());
  } catch {
    const area = make("textarea", "", { className: "unseen", value: exported() });
    document.body.append(area);
    area.select();
    isCopied = document.execCommand("copy");
    area.remove();
  }
  say(isCopied ? "copied" : "this browser does not let the page copy: export the file");
}

async function take(file) {
  try {
    const found = decisionsIn(await file.text());
    done.push(change([...found]));
    const others = elsewhere(found);
    say(
      `imported ${found.size} decisions` +
        (others ? `: ${found.size - others} on this list, ${others} not on it and kept all the same` : ""),
    );
    filter();
  } catch (error) {
    say(`not imported: ${printable(error.message)}`);
  }
}

// ---- what a person does ----

const KEYS = {
  a: () => decide("accepted"),
  r: () => decide("rejected"),
  u: undo,
  o: goToOther,
  m: () => at("show-map").click(),
  ArrowLeft: () => go(-1),
  ArrowUp: () => go(-1),
  ArrowRight: () => go(1),
  ArrowDown: () => go(1),
};

document.addEventListener("keydown", (event) => {
  const isElsewhere = event.ctrlKey || event.altKey || event.metaKey || event.target.closest("select");
  const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (act && !isElsewhere) {
    event.preventDefault();
    act();
  }
});

for (const name of ["list", "facts"]) {
  at(name).addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) {
      jump(Number(button.dataset.number));
    }
  });
}

at("accept").addEventListener("click", KEYS.a);
at("reject").addEventListener("click", KEYS.r);
at("undo").addEventListener("click", undo);
at("before").addEventListener("click", () => go(-AT_ONCE));
at("after").addEventListener("click", () => go(AT_ONCE));
at("export").addEventListener("click", download);
at("copy").addEventListener("click", copy);
at("show-map").addEventListener("change", draw);
at("import").addEventListener("change", (event) => {
  take(event.target.files[0]);
  event.target.value = "";
});
for (const name of ["class", "state", "order"]) {
  at(name).addEventListener("change", () => {
    at(name).blur(); // keys decide again
    filter();
  });
}
window.addEventListener("storage", (event) => {
  if (event.key === KEY) {
    restore(); // another tab has decided
    filter();
  }
});

at("about").textContent = `Run ${printable(DATA.run)}. Decisions stay in this browser until they are exported; python -m tools.apply takes the file.`;
at("with-map").hidden = !DATA.maps;
for (const column of [...new Set(DATA.items.map((item) => item.label))].sort((one, other) => one - other)) {
  at("class").append(make("option", nameOf(column), { value: column }));
}
restore();
filter();
