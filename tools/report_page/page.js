"use strict";
// Tables that can be sorted, commands that can be copied, pictures that can be enlarged.

const MISSING = new Set(["", "not run", "-", "–", "—"]); // as in report_html.py
const NUMBER = /((?:^[-+−])?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:e[-+]?\d+(?![\w.]))?)/i;
const ORDER = new Intl.Collator("en").compare;
const SAID_FOR = 1800; // milliseconds

const rowsAsWritten = new WeakMap();

/** The text of a cell without its button. */
function textOf(cell) {
  return (cell.querySelector("code") || cell).textContent.trim();
}

/** The text as words and numbers in turn, so that "topk 2" comes before "topk 10". */
function keyOf(text) {
  const number = (word) => Number(word.replace(/,/g, "").replace("−", "-"));
  return text.split(NUMBER).map((word, place) => (place % 2 ? number(word) : word));
}

function compareKeys(one, other) {
  for (let place = 0; place < Math.min(one.length, other.length); place++) {
    const [a, b] = [one[place], other[place]];
    const sign = place % 2 ? a - b : ORDER(a, b);
    if (sign) {
      return sign;
    }
  }
  return one.length - other.length;
}

/** The rows of a body by a column; what is missing is last, and words are in a column of numbers. */
function sortedRows(rows, column, direction) {
  const found = rows.map((row) => {
    const text = textOf(row.cells[column]);
    return { row, missing: MISSING.has(text), key: keyOf(text) };
  });
  const isNumber = (entry) => entry.key.length > 1 && entry.key[0] === "";
  const known = found.filter((entry) => !entry.missing);
  const isOfNumbers = 2 * known.filter(isNumber).length > known.length;
  for (const entry of found) {
    entry.rank = entry.missing ? 2 : Number(isOfNumbers && !isNumber(entry));
  }
  found.sort((a, b) => a.rank - b.rank || direction * compareKeys(a.key, b.key));
  return found.map((entry) => entry.row);
}

/** Sort by the column of this head: first upwards, then downwards, then as it was written. */
function sortBy(head) {
  const table = head.closest("table");
  const [body] = table.tBodies;
  if (!rowsAsWritten.has(body)) {
    rowsAsWritten.set(body, [...body.rows]);
  }
  const next = { ascending: "descending", descending: null };
  const was = head.getAttribute("aria-sort");
  const order = was ? next[was] : "ascending";
  table.querySelectorAll("[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
  let rows = rowsAsWritten.get(body);
  if (order) {
    head.setAttribute("aria-sort", order);
    rows = sortedRows(rows, head.cellIndex, order === "ascending" ? 1 : -1);
  }
  const shown = rows.filter((row) => !row.hidden).length;
  const sorted = document.createDocumentFragment();
  rows.forEach((row, place) => {
    row.hidden = place >= shown;
    sorted.appendChild(row);
  });
  body.appendChild(sorted);
}

/** Show every row of the table above this note, which then has nothing more to say. */
function showRows(note) {
  const table = note.previousElementSibling.querySelector("table");
  table.querySelectorAll("tr[hidden]").forEach((row) => (row.hidden = false));
  note.remove();
}

/** Whether the text is now on the clipboard; pages from a disk may have to take the old way. */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyTheOldWay(text);
  }
}

function copyTheOldWay(text) {
  const area = document.createElement("textarea");
  area.className = "unseen";
  area.value = text;
  const focused = document.activeElement;
  document.body.append(area);
  area.select();
  const isCopied = document.execCommand("copy");
  area.remove();
  focused.focus();
  return isCopied;
}

/** Copy the command beside this button, or select it where the browser lets nothing be copied. */
async function copyBeside(button) {
  const code = button.nextElementSibling;
  const isCopied = await copyText(code.textContent);
  if (!isCopied) {
    getSelection().selectAllChildren(code);
  }
  button.textContent = isCopied ? "Copied" : "Selected";
  button.classList.add("done");
  document.getElementById("said").textContent = `${button.textContent}: ${code.textContent}`;
  clearTimeout(button.timer);
  button.timer = setTimeout(() => {
    button.textContent = "Copy";
    button.classList.remove("done");
  }, SAID_FOR);
}

function enlarge(picture) {
  const dialog = document.getElementById("enlarged");
  const large = dialog.querySelector("img");
  large.src = picture.src;
  large.alt = picture.alt;
  dialog.showModal();
}

function onClick(event) {
  const button = event.target.closest("button");
  if (event.target.closest("dialog")) {
    event.target.closest("dialog").close();
  } else if (button?.classList.contains("copy")) {
    copyBeside(button);
  } else if (button?.classList.contains("enlarge")) {
    enlarge(button.querySelector("img"));
  } else if (button?.closest(".more")) {
    showRows(button.closest(".more"));
  } else if (button?.closest("th")) {
    sortBy(button.closest("th"));
  }
}

document.addEventListener("click", onClick);
