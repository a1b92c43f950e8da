// The evaluated cases: read from the page, filtered, sorted, shown as a grid. The address selects the view:
// '#/cases?outcome=missed&dice=0-0.05' or '#/case/<ImageId>', so that each view and each case has a link.
"use strict";

const report = JSON.parse(document.getElementById("cases-data").textContent);
const order = report.id.map((_, at) => at).filter((at) => report.pictured[at]);
const placeOf = new Map(report.id.map((id, at) => [id, at]));
for (const run of report.runs) {
  run.dice = run.overlap.map((overlap, at) => diceOf(overlap, run.area[at], report.truth[at]));
}

/** The outcome of a case in a run. */
function outcomeOf(at, run) {
  const result = report.runs[run];
  if (!report.truth[at]) return result.area[at] ? "false alarm" : "rightly empty";
  if (!result.area[at]) return "missed";
  return result.overlap[at] ? "found" : "elsewhere";
}

/**
 * Unpack a case from report/pictures.py: {image, truth, maps, gradCam, alike}, the same object while it is cached.
 * `gradCam` and `alike` are those of report/explanations.py, of each run. `maps` are promises of each run's probability, bytes of its own size; rejected if it cannot be unpacked.
 */
const contents = new Map();
const MOST_CONTENTS = 60; // of 1 MB and more each: a phone has little memory
function contentOf(at) {
  if (!contents.has(at)) {
    if (contents.size >= MOST_CONTENTS) contents.delete(contents.keys().next().value);
    const packed = JSON.parse(document.getElementById(`case-${at}`).textContent);
    const maps = packed.maps.map((text, run) => unpackMap(text, report.runs[run].size));
    for (const map of maps) map.catch(() => {}); // reported where it is awaited
    const image = `data:image/jpeg;base64,${packed.image}`;
    contents.set(at, { image, truth: decodeRuns(packed.truth), maps, gradCam: packed.grad_cam, alike: packed.alike });
  }
  return contents.get(at);
}

/** A run's prediction by its own rule in a case. */
async function predictionOf(at, run, rule = report.runs[run].rule) {
  const map = await contentOf(at).maps[run];
  return decide(upsample(map, report.runs[run].size), rule, imageProbabilityOf(at, run));
}

/** A case's image-level probability in a run, null without a classification head. */
const imageProbabilityOf = (at, run) => (report.runs[run].image_probability ? report.runs[run].image_probability[at] : null);

const grid = document.getElementById("grid");
const filters = document.getElementById("filters");
const count = document.getElementById("count");
const RANGES = ["dice", "area", "age"]; // filtered by 'from-to', from a figure's links
const chosenRun = () => Number(filters.elements.run ? filters.elements.run.value : 0);
const WORDS = Object.fromEntries([...filters.elements.outcome.options].map((option) => [option.value, option.text]));
const CHOICES = ["outcome", "side", "view", "sex"];

const SORTS = {
  worst: (a, b, run) => run.dice[a] - run.dice[b] || report.truth[b] - report.truth[a],
  best: (a, b, run) => run.dice[b] - run.dice[a] || report.truth[b] - report.truth[a],
  area: (a, b) => report.truth[b] - report.truth[a],
  found: (a, b, run) => run.area[b] - run.area[a],
  score: (a, b, run) => run.score[b] - run.score[a],
  gained: (a, b, run) => run.gain[b] - run.gain[a],
  lost: (a, b, run) => run.gain[a] - run.gain[b],
  id: (a, b) => (report.id[a] < report.id[b] ? -1 : 1),
};

// Gain of a run over the first on each case; for the first, gain of the second over it.
for (const [number, run] of report.runs.entries()) {
  const other = number ? run : report.runs[Math.min(1, report.runs.length - 1)];
  run.gain = report.id.map((_, at) => other.dice[at] - report.runs[0].dice[at]);
}

/** The view that the address selects. */
function readAddress() {
  const text = location.hash;
  if (text.startsWith("#/case/")) {
    let name = text.slice("#/case/".length);
    try { name = decodeURIComponent(name); } catch { /* cut short where it was copied: no case has that name */ }
    const at = placeOf.get(name);
    return { at: at === undefined ? null : at };
  }
  if (text.startsWith("#/cases")) return { query: new URLSearchParams(text.split("?")[1] || "") };
  return {};
}

/** Whether a case matches a query. */
function fits(at, query, run) {
  const values = {
    outcome: outcomeOf(at, run), side: report.side[at], view: report.view[at], sex: report.sex[at],
    dice: report.runs[run].dice[at], area: report.truth[at], age: report.age[at],
  };
  for (const name of CHOICES) if (query.get(name) && values[name] !== query.get(name)) return false;
  if (query.get("truth") && !report.truth[at]) return false;
  for (const name of RANGES) {
    if (!query.get(name)) continue;
    const [from, to] = query.get(name).split("-").map(Number);
    const value = values[name];
    if (value === null || value < from || (value >= to && !(name === "dice" && to >= 1 && value === 1))) return false;
  }
  const words = (query.get("id") || "").toLowerCase();
  return !words || report.id[at].toLowerCase().includes(words);
}

const tiles = new Map();

/** Make the tile of a case; its picture is loaded when it is scrolled into sight. */
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
  return { item, caption, frame, image: null, outlines: null };
}

const sight = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    sight.unobserve(entry.target);
    const at = Number(entry.target.dataset.at), tile = tiles.get(at), content = contentOf(at);
    tile.image = new Image();
    tile.image.decoding = "async";
    tile.image.src = content.image;
    tile.outlines = drawing();
    tile.outlines.truth.setAttribute("d", trace(content.truth));
    paintTile(at, chosenRun());
    tile.frame.append(tile.image, tile.outlines.svg);
  }
}, { rootMargin: "300px" });

/** Show a run's result in a tile, and outline its prediction. */
async function paintTile(at, run) {
  const tile = tiles.get(at), outcome = outcomeOf(at, run);
  const parts = [WORDS[outcome]];
  if (report.truth[at]) parts.push(`Dice ${report.runs[run].dice[at].toFixed(3)}`);
  const gain = report.runs[run].gain[at];
  if (report.runs.length > 1) parts.push(`${gain < 0 ? "−" : "+"}${Math.abs(gain).toFixed(2)}`);
  tile.caption.textContent = parts.join(" · ");
  tile.item.className = outcome.replace(" ", "-");
  if (!tile.image || tile.frame.dataset.run === String(run)) return;
  tile.frame.dataset.run = run;
  tile.image.alt = `Radiograph ${report.id[at]}: ${WORDS[outcome]}`;
  tile.outlines.prediction.setAttribute("d", "");
  const path = await predictionOf(at, run).then(trace, () => null);
  if (tile.frame.dataset.run !== String(run)) return; // another run was chosen meanwhile
  if (path === null) tile.image.alt += ", its prediction cannot be unpacked";
  tile.outlines.prediction.setAttribute("d", path || "");
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

/** Show the cases that match the filters. */
function showGrid() {
  const began = performance.now();
  const query = new URLSearchParams(new FormData(filters));
  const run = chosenRun();
  shown = order.filter((at) => fits(at, query, run));
  const compareCases = SORTS[query.get("sort")] || SORTS.worst;
  shown.sort((a, b) => compareCases(a, b, report.runs[run]) || a - b);
  for (const at of shown) {
    if (!tiles.has(at)) tiles.set(at, makeTile(at));
    paintTile(at, run);
  }
  grid.replaceChildren(...shown.map((at) => tiles.get(at).item));
  const range = RANGES.filter((name) => query.get(name)).map((name) => `${name} ${query.get(name)}`);
  if (query.get("truth")) range.unshift("with a pneumothorax");
  count.textContent = `${shown.length} of ${order.length} cases${range.length ? `, ${range.join(", ")}` : ""}`;
  document.getElementById("clear").hidden = ![...query].some(([name, value]) => value && name !== "sort" && name !== "run");
  filters.dataset.milliseconds = (performance.now() - began).toFixed(1);
}

let shown = [];

/** Set the filters from a link. */
function takeQuery(query) {
  for (const field of filters.elements) {
    if (!field.name || ["sort", "run"].includes(field.name)) continue;
    field.value = query.get(field.name) || "";
  }
  if (query.get("sort") && SORTS[query.get("sort")]) filters.elements.sort.value = query.get("sort");
  if (report.runs[query.get("run")] && filters.elements.run) filters.elements.run.value = query.get("run");
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
