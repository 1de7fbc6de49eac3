"use strict";
// What a person decided on pairs of an image and a label, kept in the browser for every list of a
// run. A pair is known by its names as JSON, and is here too if it is not on this list.

const DATA = JSON.parse(document.getElementById("data").textContent);
const KEY = `label decisions ${JSON.stringify([DATA.run, ...Object.values(DATA.data)])}`;
const FORMAT = "label decisions 1"; // as in tools/decisions.py
const DECISIONS = ["accepted", "rejected"];

let decisions = new Map(); // pair -> one of DECISIONS
let isKept = true; // this browser has kept what was decided last

const pairOf = (item) => JSON.stringify([DATA.images[item.image].name, DATA.classes[item.label]]);

/** Decide as the list of [pair, decision or undefined] says; returns such a list that takes it back. */
function change(changes) {
  restore(); // another tab may have decided meanwhile
  const before = changes.map(([pair]) => [pair, decisions.get(pair)]);
  for (const [pair, decision] of changes) {
    decisions.delete(pair);
    if (decision) {
      decisions.set(pair, decision);
    }
  }
  keep();
  return before;
}

function keep() {
  try {
    localStorage.setItem(KEY, exported());
    isKept = true;
  } catch {
    isKept = false;
  }
}

/** Take up what this browser keeps, of which other tabs may know more than this one. */
function restore() {
  try {
    const text = localStorage.getItem(KEY);
    const kept = text ? decisionsIn(text) : decisions;
    decisions = isKept ? kept : new Map([...kept, ...decisions]);
  } catch {
    // nothing can be read, or not what was kept: what is decided here stays
  }
}

/** The text that tools.apply and an import read. */
function exported() {
  const pairs = (wanted) =>
    [...decisions].flatMap(([pair, decision]) => (decision === wanted ? [JSON.parse(pair)] : []));
  const [accepted, rejected] = DECISIONS.map(pairs);
  const { run, data } = DATA;
  return `${JSON.stringify({ format: FORMAT, run, data, accepted, rejected }, null, 1)}\n`;
}

/** The decisions in such a text. Throws an Error in plain words for another text. */
function decisionsIn(text) {
  const content = contentOf(text);
  if (content.run !== DATA.run) {
    throw new Error(`it is of another run, ${content.run}`);
  }
  if (Object.entries(DATA.data).some(([name, digest]) => content.data?.[name] !== digest)) {
    throw new Error("it is of other training data");
  }
  const found = DECISIONS.flatMap((decision) =>
    content[decision].map((pair) => [JSON.stringify(pair), decision]),
  );
  const decided = new Map(found);
  if (decided.size < found.length) {
    throw new Error("it decides on a label more than once");
  }
  return decided;
}

function contentOf(text) {
  const isPair = (pair) =>
    Array.isArray(pair) && pair.length === 2 && pair.every((name) => typeof name === "string");
  const isList = (pairs) => Array.isArray(pairs) && pairs.every(isPair);
  let content = null;
  try {
    content = JSON.parse(text);
  } catch {
    // said below
  }
  if (content?.format !== FORMAT || typeof content.run !== "string" || !DECISIONS.every((decision) => isList(content[decision]))) {
    throw new Error("it is not what this page exports");
  }
  return content;
}
