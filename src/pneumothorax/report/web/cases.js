// The evaluated cases: read from the page, filtered, sorted, shown as a grid. The address says what is shown:
// '#/cases?outcome=missed&dice=0-0.05' or '#/case/<ImageId>', so that each view and each case has a link.
"use strict";

const report = JSON.parse(document.getElementById("cases-data").textContent);
const order = report.id.map((_, at) => at).filter((at) => report.pictured[at]);
const placeOf = new Map(report.id.map((id, at) => [id, at]));
const OUTCOMES = ["missed", "elsewhere", "false alarm", "found", "rightly empty"];
const WORDS = {
  missed: "missed", elsewhere: "marked elsewhere", "false alarm": "false alarm",
  found: "found", "rightly empty": "rightly empty",
};

/** How a case ended in a run. */
function outcomeOf(at, run = 0) {
  const result = report.runs[run];
  if (!report.truth[at]) return result.area[at] ? "false alarm" : "rightly empty";
  if (!result.area[at]) return "missed";
  return result.dice[at] > 0 ? "found" : "elsewhere";
}

/** Read what report/pictures.py packed of a case; the same object every time. */
const contents = new Map();
function contentOf(at) {
  if (!contents.has(at)) {
    if (contents.size > 40) contents.clear(); // a phone's memory
    const packed = JSON.parse(document.getElementById(`case-${at}`).textContent);
    const maps = packed.maps.map(async (text, run) => upsample(await unpackMap(text, report.runs[run].size), report.runs[run].size));
    contents.set(at, {
      image: `data:image/jpeg;base64,${packed.image}`,
      truth: decodeRuns(packed.truth),
      packed: packed.maps,
      maps: maps.map((promise) => promise.catch((error) => { console.error(error); return new Float32Array(SIDE * SIDE); })),
    });
  }
  return contents.get(at);
}

/** A case's presence in a run, null where its network tells none. */
const presenceOf = (at, run) => (report.runs[run].presence ? report.runs[run].presence[at] : null);

const grid = document.getElementById("grid");
const filters = document.getElementById("filters");
const count = document.getElementById("count");
const RANGES = ["dice", "area", "age"]; // filtered by 'from-to', from a figure's links
const CHOICES = ["outcome", "side", "view", "sex"];

const SORTS = {
  worst: (a, b, run) => run.dice[a] - run.dice[b] || report.truth[b] - report.truth[a],
  best: (a, b, run) => run.dice[b] - run.dice[a] || report.truth[b] - report.truth[a],
  area: (a, b) => report.truth[b] - report.truth[a],
  found: (a, b, run) => run.area[b] - run.area[a],
  score: (a, b, run) => run.score[b] - run.score[a],
  gained: (a, b) => change(b) - change(a),
  lost: (a, b) => change(a) - change(b),
  id: (a, b) => (report.id[a] < report.id[b] ? -1 : 1),
};

/** What the second run gained on a case. */
function change(at) {
  return report.runs.length > 1 ? report.runs[1].dice[at] - report.runs[0].dice[at] : 0;
}

/** What the address asks for. */
function readAddress() {
  const text = location.hash;
  if (text.startsWith("#/case/")) {
    const at = placeOf.get(decodeURIComponent(text.slice("#/case/".length)));
    return { at: at === undefined ? null : at };
  }
  if (text.startsWith("#/cases")) return { query: new URLSearchParams(text.split("?")[1] || "") };
  return {};
}

/** Whether a case is among those that a query asks for. */
function fits(at, query, run) {
  const values = {
    outcome: outcomeOf(at, run), side: report.side[at], view: report.view[at], sex: report.sex[at],
    dice: report.runs[run].dice[at], area: report.truth[at], age: report.age[at],
  };
  for (const name of CHOICES) if (query.get(name) && values[name] !== query.get(name)) return false;
  for (const name of RANGES) {
    if (!query.get(name)) continue;
    const [from, to] = query.get(name).split("-").map(Number);
    const value = values[name];
    if (value === null || value < from || (value >= to && !(name === "dice" && to >= 1 && value === 1))) return false;
    if (name === "dice" && !report.truth[at] && !query.get("outcome")) return false; // the figure shows positives
  }
  const words = (query.get("id") || "").toLowerCase();
  return !words || report.id[at].toLowerCase().includes(words);
}

const tiles = new Map();

/** Make the tile of a case; its picture comes when it is scrolled into sight. */
function makeTile(at) {
  const item = document.createElement("li");
  const link = document.createElement("a");
  link.href = `#/case/${encodeURIComponent(report.id[at])}`;
  const frame = document.createElement("span");
  frame.className = "frame";
  frame.dataset.at = at;
  const caption = document.createElement("span");
  caption.className = "caption";
  link.append(frame, caption);
  item.append(link);
  sight.observe(frame);
  return { item, caption, frame };
}

const sight = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    sight.unobserve(entry.target);
    fillTile(entry.target, Number(entry.target.dataset.at));
  }
}, { rootMargin: "300px" });

/** Put picture and outlines into a tile. */
async function fillTile(frame, at) {
  const content = contentOf(at);
  const image = new Image();
  image.alt = `Radiograph ${report.id[at]}: ${WORDS[outcomeOf(at)]}`;
  image.decoding = "async";
  image.src = content.image;
  frame.append(image);
  const outlines = drawing();
  frame.append(outlines.svg);
  outlines.truth.setAttribute("d", trace(content.truth));
  const full = await content.maps[0];
  outlines.prediction.setAttribute("d", trace(decide(full, report.runs[0].rule, presenceOf(at, 0))));
}

/** An SVG over a picture, with the outlines of truth, prediction and another run's prediction. */
function drawing() {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${SIDE} ${SIDE}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "outlines");
  const parts = { svg };
  for (const name of ["other", "truth", "prediction"]) {
    for (const kind of ["halo", name]) {
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("class", kind === "halo" ? `halo of-${name}` : name);
      svg.append(path);
      if (kind === "halo") parts[`${name}Halo`] = path; else parts[name] = path;
    }
  }
  return parts;
}

/** Show the cases that the filters ask for. */
function showGrid() {
  const began = performance.now();
  const query = new URLSearchParams(new FormData(filters));
  const run = Number(query.get("run") || 0);
  shown = order.filter((at) => fits(at, query, run));
  const compareCases = SORTS[query.get("sort")] || SORTS.worst;
  shown.sort((a, b) => compareCases(a, b, report.runs[run]) || a - b);
  grid.replaceChildren(...shown.map((at) => {
    if (!tiles.has(at)) tiles.set(at, makeTile(at));
    const { item, caption } = tiles.get(at);
    const parts = [WORDS[outcomeOf(at, run)]];
    if (report.truth[at]) parts.push(`Dice ${report.runs[run].dice[at].toFixed(3)}`);
    if (report.runs.length > 1) parts.push(`${change(at) < 0 ? "−" : "+"}${Math.abs(change(at)).toFixed(2)}`);
    caption.textContent = parts.join(" · ");
    item.className = outcomeOf(at, run).replace(" ", "-");
    return item;
  }));
  const range = RANGES.filter((name) => query.get(name)).map((name) => `${name} ${query.get(name)}`);
  count.textContent = `${shown.length} of ${order.length} cases${range.length ? `, ${range.join(", ")}` : ""}`;
  document.getElementById("clear").hidden = ![...query].some(([name, value]) => value && name !== "sort" && name !== "run");
  filters.dataset.milliseconds = (performance.now() - began).toFixed(1);
}

let shown = [];

/** Set the filters to what a link asks for. */
function takeQuery(query) {
  for (const field of filters.elements) {
    if (!field.name || ["sort", "run"].includes(field.name)) continue;
    field.value = query.get(field.name) || "";
  }
  if (query.get("sort") && SORTS[query.get("sort")]) filters.elements.sort.value = query.get("sort");
  showGrid();
}

filters.addEventListener("input", showGrid);
filters.addEventListener("submit", (event) => event.preventDefault());
document.getElementById("clear").addEventListener("click", () => {
  takeQuery(new URLSearchParams());
  filters.elements.outcome.focus();
});

/** Follow the address: a case, a selection of cases, or a section of the page. */
function follow() {
  const asked = readAddress();
  if (asked.query) {
    takeQuery(asked.query);
    document.getElementById("cases").scrollIntoView();
  }
  if (asked.at === undefined) {
    closeCase();
  } else if (asked.at === null || !report.pictured[asked.at]) {
    closeCase();
    count.textContent = "No picture of that case is in this report.";
    document.getElementById("cases").scrollIntoView();
  } else {
    openCase(asked.at);
  }
}
