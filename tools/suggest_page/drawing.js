// What is drawn of the suggestions: one of them large, its evidence, and a page of small pictures.
// decisions.js runs before, and page.js after, which says what is shown and which of it is large.

const AT_ONCE = 48; // small pictures on a page
const SMALL = 64; // pixels: a picture that is no larger is shown pixel by pixel
const MOST_OTHERS = 30; // labels of the same image that are told
const PAIRS = DATA.items.map(pairOf); // of each suggestion, by its number
const NUMBERS = new Map(PAIRS.map((pair, number) => [pair, number]));
const OF_IMAGE = new Map(); // its suggestions' numbers; the image with the best one comes first
DATA.items.forEach(({ image }, number) => {
  OF_IMAGE.set(image, OF_IMAGE.get(image) || []).get(image).push(number);
});
const at = (name) => document.getElementById(name);

/** The text without signs that steer: they are shown as what they are. */
function printable(text) {
  const code = (sign) => `\\u{${sign.codePointAt(0).toString(16)}}`;
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, code);
}

const nameOf = (column) => printable(DATA.classes[column]);
const stateOf = (number) => decisions.get(PAIRS[number]) || "undecided";

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
  at("map").hidden = !(item.map && at("show-map").checked);
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
