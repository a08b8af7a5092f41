// The page: it reads its rows, shows a part of those that match, and listens to the keys.

const data = JSON.parse(byId("summary-data").textContent);
const PART = 50; // rows of a page
const LABELS = { dataset: "Dataset", split: "Split", kind: "Kind", rule: "Rule", move: "Verdict", sort: "Order" };
const CHIP_NAMES = {
  text: "text changed", verdict: "verdict", score: "score", new: "text added", gone: "text removed",
  changed: "sample changed", added: "sample added", removed: "sample removed",
};
const CHIPS = data.form === "diff" ? Object.keys(CHIP_NAMES) : VERDICTS;
const KEYS = [
  ["j  ↓", "next row"],
  ["k  ↑", "row before"],
  ["n  p", "next page, page before"],
  ["r", "next repeat in the row"],
  ["/", "search texts, questions and ids"],
  ["f", "filters"],
  ["c", "rejected beside accepted"],
  ["x", "clear filters"],
  ["o", "open or close the summary"],
  ["?", "this help"],
  ["Esc", "leave a field, close the help"],
];
if (data.form === "diff") KEYS.splice(6, 1);

let offered = null;
let rows = [];

async function unpacked(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let at = 0; at < letters.length; at++) bytes[at] = letters.charCodeAt(at);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"))).json();
}

function readHash() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const name of Object.keys(EMPTY)) state[name] = name === "page" ? Math.max(0, Number(given.get(name) || 1) - 1) : (given.get(name) ?? "");
}

function writeHash() {
  const told = new URLSearchParams();
  for (const [name, value] of Object.entries(state)) if (value) told.set(name, name === "page" ? value + 1 : value);
  history.replaceState(null, "", `#${told}`);
}

function set(changes) {
  Object.assign(state, { page: 0 }, changes);
  writeHash();
  render();
}

// A filter by rule, from its line in a chart; the same line again takes it away.
const pickRule = (rule) => set({ rule: state.rule === rule ? "" : rule });

function drawFilters() {
  const { chips, selects } = offered;
  const button = (name, value, said) =>
    el("button", { type: "button", class: `pill c-${name}`, "aria-pressed": "false", "data-chip": value, onclick: () => set({ chip: state.chip === value ? "" : value }) }, said);
  const made = CHIPS.filter((name) => chips[name]).map((name) =>
    button(name, name, [data.form === "view" && el("span", { "aria-hidden": "true" }, MARKS[name]), CHIP_NAMES[name] ?? name, el("span", { class: "n" }, count(chips[name]))]),
  );
  byId("chips").setAttribute("aria-label", data.form === "diff" ? "Change" : "Verdict");
  byId("chips").append(...made);
  if (data.form === "view" && chips.accepted && VERDICTS.some((name) => name !== "accepted" && name !== "unchecked" && chips[name])) {
    byId("layouts").append(
      el("button", { type: "button", class: "pill", id: "compare", "aria-pressed": "false", "aria-keyshortcuts": "c", onclick: compare }, "Rejected beside accepted"),
    );
  }
  for (const [name, values] of Object.entries(selects)) {
    if (values.length < 2 && name !== "rule" && name !== "move") continue;
    if (!values.length) continue;
    const field = el("select", { id: `by-${name}`, onchange: (event) => set({ [name]: event.target.value }) });
    field.append(el("option", { value: "" }, name === "sort" ? "as in the build" : "all"));
    for (const [value, said] of values) field.append(el("option", { value }, said));
    byId("selects").append(el("label", null, el("span", null, LABELS[name]), field));
  }
  let waiting = 0;
  byId("search").addEventListener("input", (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => set({ q: event.target.value }), 120);
  });
  byId("clear").addEventListener("click", clear);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
}

const clear = () => set({ ...EMPTY, layout: state.layout, sort: state.sort });
const compare = () => byId("compare") && set({ layout: state.layout ? "" : "pairs" });

function showFilters() {
  if (byId("search").value !== state.q) byId("search").value = state.q;
  for (const node of byId("chips").children) node.setAttribute("aria-pressed", String(node.dataset.chip === state.chip));
  byId("compare")?.setAttribute("aria-pressed", String(state.layout === "pairs"));
  for (const field of byId("selects").querySelectorAll("select")) {
    field.value = state[field.id.slice(3)];
    field.classList.toggle("set", field.value !== "");
  }
  byId("clear").hidden = !["q", "chip", "rule", "dataset", "split", "kind", "move"].some((name) => state[name]);
}

function render() {
  showFilters();
  const found = matches();
  rows = state.layout === "pairs" ? pairs(found) : found;
  const last = Math.max(0, Math.ceil(rows.length / PART) - 1);
  state.page = Math.min(state.page, last);
  const from = state.page * PART;
  const searched = searchWords(state.q);
  const kinds = state.kind ? [state.kind] : offered.kinds;
  const part = rows.slice(from, from + PART);
  const made = part.map((row, at) => (state.layout === "pairs" ? pair(row, searched, from + at) : card(row, kinds, searched, from + at)));
  byId("list").replaceChildren(...(made.length ? made : [nothing()]));
  if (made.length) made[0].tabIndex = 0;
  const word = state.layout === "pairs" ? "rationale" : "sample";
  byId("count").textContent = rows.length === samples.length || state.layout === "pairs" ? some(rows.length, word) : `${count(rows.length)} of ${some(samples.length, word)}`;
  byId("pager").hidden = last === 0;
  byId("where").textContent = `${count(from + 1)}–${count(from + part.length)} of ${count(rows.length)}`;
  byId("previous").disabled = state.page === 0;
  byId("next").disabled = state.page === last;
}

function nothing() {
  const same = data.form === "diff" && !samples.length;
  return el(
    "div",
    { class: "nothing" },
    el("p", null, same ? "The two are the same: no sample, text or verdict differs." : "Nothing matches."),
    !same && el("button", { type: "button", onclick: () => set({ ...EMPTY }) }, "Show all"),
  );
}

function turn(by) {
  const pages = Math.ceil(rows.length / PART);
  if (state.page + by < 0 || state.page + by >= pages) return;
  set({ page: state.page + by });
  byId("list").scrollIntoView();
  focusRow(byId("list").querySelector("article"));
}

function focusRow(row) {
  if (!row) return;
  for (const other of byId("list").querySelectorAll('article[tabindex="0"]')) other.tabIndex = -1;
  row.tabIndex = 0;
  row.focus({ preventScroll: true });
  row.scrollIntoView({ block: row.offsetHeight > innerHeight * 0.7 ? "start" : "nearest" });
}

function step(by) {
  const all = [...byId("list").querySelectorAll("article")];
  const here = all.indexOf(document.activeElement?.closest?.("article"));
  if (here < 0) return focusRow(by > 0 ? (all.find((row) => row.getBoundingClientRect().bottom > 120) ?? all[0]) : all[0]);
  if (all[here + by]) return focusRow(all[here + by]);
  return turn(by);
}

function nextRepeat() {
  const row = document.activeElement?.closest?.("article");
  for (const group of row?.querySelectorAll(".repeats") ?? []) {
    const buttons = [...group.children];
    buttons[(buttons.findIndex((button) => button.getAttribute("aria-pressed") === "true") + 1) % buttons.length].click();
  }
  row?.focus({ preventScroll: true });
}

function help() {
  const dialog = byId("help");
  if (dialog.open) return dialog.close();
  const lines = KEYS.map(([keys, said]) => el("tr", null, el("th", { scope: "row" }, keys.split("  ").map((key) => el("kbd", null, key))), el("td", null, said)));
  dialog.replaceChildren(
    el("h2", { id: "help-title" }, "Keys"),
    el("table", null, el("tbody", null, lines)),
    el("p", { class: "muted" }, "Words are all looked for, “words in quotes” as they stand. The address keeps the filters: copy it to come back to them. Printing prints the rows that are shown."),
    el("button", { type: "button", onclick: () => dialog.close() }, "Close"),
  );
  return dialog.showModal();
}

const ACTIONS = {
  j: () => step(1), ArrowDown: () => step(1), k: () => step(-1), ArrowUp: () => step(-1),
  n: () => turn(1), p: () => turn(-1), r: nextRepeat, c: compare, x: clear, "?": help,
  "/": () => byId("search").select(),
  f: () => byId("filters").querySelector(".pill, select").focus(),
  o: () => (byId("summary").open = !byId("summary").open),
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  const inside = event.target.closest?.("input, select, textarea");
  if (event.key === "Escape" && inside) {
    event.target.blur();
    focusRow(byId("list").querySelector("article"));
    return;
  }
  if (inside || !offered) return;
  // Arrows move between rows once one of them is reached; before, they scroll the page.
  if (event.key.startsWith("Arrow") && !event.target.closest?.("article")) return;
  const action = ACTIONS[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});
addEventListener("hashchange", () => {
  readHash();
  if (offered) render();
});
byId("helper").addEventListener("click", help);
byId("previous").addEventListener("click", () => turn(-1));
byId("next").addEventListener("click", () => turn(1));

drawHead(data);
new ResizeObserver(() => drawCharts(data, pickRule)).observe(byId("charts"));
readHash();
// The head is painted before the rows are unpacked.
requestAnimationFrame(() => setTimeout(async () => {
  try {
    samples = await unpacked(byId("rows-data").textContent.trim());
  } catch (error) {
    byId("count").textContent = `The rows cannot be read: ${error.message}. Make the page again, or take a newer browser.`;
    return;
  }
  byId("rows-data").remove();
  offered = choices();
  drawFilters();
  render();
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
}));
