// What a person does: one suggestion at a time is decided. decisions.js and drawing.js run before.

const ORDERS = { "": DATA.items.map((_, number) => number), image: [...OF_IMAGE.values()].flat() };

const done = []; // what undo takes back, each a list of changes
let shown = []; // the numbers that the filters let through
let place = 0; // in these

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
