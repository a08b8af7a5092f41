// The head of a page of differences: what was, and what became of it.

const either = (before, after, say = count) =>
  before === null || before === undefined || (after !== null && after !== undefined && say(before) === say(after))
    ? (after === null || after === undefined ? el("span", { class: "muted" }, "–") : say(after))
    : el("span", null, el("span", { class: "muted" }, `${say(before)} → `), after === null || after === undefined ? "–" : say(after));

function diffTables(summary) {
  const { datasets } = summary;
  const tables = [changeTable(datasets), countTable(datasets)];
  const moves = datasets.flatMap((dataset) => dataset.moves.map((move) => ({ ...move, dataset: dataset.dataset })));
  if (moves.length) tables.push(moveTable(moves));
  const gates = datasets.flatMap((dataset) => Object.entries(dataset.gates).map(([name, [before, after]]) => ({ dataset: dataset.dataset, name, before, after })));
  const telling = gates.filter(({ before, after }) => before && after && before.passed !== after.passed);
  if (telling.length) tables.push(gatesTable(telling, datasets.length > 1));
  return tables;
}

const named = (name, more) => [{ name }, ...more.map((said) => ({ name: said, number: true }))];

function changeTable(datasets) {
  const parts = ["added", "removed", "changed", "texts_changed", "verdicts_changed", "new_rationales", "gone_rationales"];
  const rows = datasets.map((dataset) => ({ cells: [apart(dataset.dataset), either(...dataset.samples), either(...dataset.rationales), ...parts.map((name) => number(dataset[name]))] }));
  const columns = named("Dataset", ["samples", "rationales", "added", "removed", "changed", "texts changed", "verdicts changed", "new texts", "gone texts"]);
  return table(columns, rows, "Changes");
}

// Counts by kind, of all datasets together.
function countTable(datasets) {
  const kinds = Object.keys(KINDS).filter((kind) => datasets.some((dataset) => dataset.counts[kind]));
  const shown = VERDICTS.filter((verdict) => datasets.some((dataset) => kinds.some((kind) => dataset.counts[kind]?.[verdict])));
  const sum = (kind, verdict, at) => datasets.reduce((all, dataset) => all + (dataset.counts[kind]?.[verdict]?.[at] ?? 0), 0);
  const one = datasets.length === 1 && kinds.some((kind) => datasets[0].scores[kind]?.some((mean) => mean !== null));
  const rows = kinds.map((kind) => ({
    cells: [kindName(kind), ...shown.map((verdict) => either(sum(kind, verdict, 0), sum(kind, verdict, 1))), ...(one ? [either(...datasets[0].scores[kind], (mean) => mean.toFixed(3))] : [])],
  }));
  return table(named("Kind", [...shown, ...(one ? ["mean score"] : [])]), rows, "Rationales");
}

function moveTable(moves) {
  const all = {};
  for (const { was, verdict, count: n } of moves) all[`${was} → ${verdict}`] = [was, verdict, (all[`${was} → ${verdict}`]?.[2] ?? 0) + n];
  const rows = Object.values(all).sort((a, b) => b[2] - a[2]).map(([was, verdict, n]) => ({ cells: [el("span", { class: "move" }, chip(was), el("span", { class: "arrow" }, "→"), chip(verdict)), count(n)] }));
  return table(named("Verdict", ["rationales"]), rows, "Verdicts that changed");
}

function gatesTable(gates, several) {
  const rows = gates.map(({ dataset, name, before, after }) => ({
    cells: [
      ...(several ? [apart(dataset)] : []),
      el("span", { class: "mono" }, name),
      either(before.value, after.value, (value) => share(name, value)),
      either(before.limit, after.limit, (limit) => `${name.startsWith("max_") ? "≤" : "≥"} ${share(name, limit)}`),
      el("span", null, verdictOfGate(before.passed), el("span", { class: "muted" }, " → "), verdictOfGate(after.passed)),
    ],
  }));
  return table([...(several ? [{ name: "Dataset" }] : []), { name: "Gate" }, { name: "found", number: true }, { name: "limit", number: true }, { name: "" }], rows, "Gates that decide otherwise");
}
