// The head of the page: counts, gates and charts.

function table(columns, rows, caption) {
  const head = columns.map((column) => el("th", { scope: "col", class: column.number && "number" }, column.name));
  const body = rows.map((row) =>
    el(
      "tr",
      { class: row.class },
      row.cells.map((cell, at) => el(at ? "td" : "th", { scope: at ? undefined : "row", class: columns[at].number && "number" }, cell)),
    ),
  );
  return el("table", null, el("caption", null, caption), el("thead", null, el("tr", null, head)), el("tbody", null, body));
}

function share(name, value) {
  return name.startsWith("max_") ? percent(value) : Number.isInteger(value) ? count(value) : value.toFixed(3);
}

// What became of the rationales, by kind.
function verdictTable(verdicts) {
  const kinds = Object.keys(KINDS).filter((kind) => verdicts[kind]);
  const shown = VERDICTS.filter((verdict) => verdict !== "unchecked" || kinds.some((kind) => verdicts[kind].unchecked));
  const line = (name, counts, more) => {
    const all = VERDICTS.reduce((sum, verdict) => sum + (counts[verdict] ?? 0), 0);
    return { class: more, cells: [name, strip(counts, all), count(all), ...shown.map((verdict) => number(counts[verdict] ?? 0))] };
  };
  const rows = kinds.map((kind) => line(kindName(kind), verdicts[kind]));
  if (kinds.length > 1) {
    const sum = Object.fromEntries(VERDICTS.map((v) => [v, kinds.reduce((all, kind) => all + (verdicts[kind][v] ?? 0), 0)]));
    rows.push(line("All", sum, "total"));
  }
  const names = [{ name: "Kind" }, { name: "" }, { name: "asked", number: true }, ...shown.map((name) => ({ name, number: true }))];
  return table(names, rows, "Rationales");
}

const number = (value) => (value ? count(value) : el("span", { class: "muted" }, "0"));

function strip(counts, all) {
  const drawn = svg("svg", { width: 84, height: 8, viewBox: "0 0 84 8", "aria-hidden": "true" });
  let x = 0;
  for (const verdict of VERDICTS) {
    const wide = all ? (84 * (counts[verdict] ?? 0)) / all : 0;
    if (wide) drawn.append(bar(x, 0, wide, 8, `v-${verdict}`));
    x += wide;
  }
  return drawn;
}

function verdictOfGate(passed) {
  return el("span", { class: passed ? "passes" : "fails" }, passed ? "✓ passes" : "✕ FAILS");
}

// The gates: of one dataset all, of several those that failed.
function gateTable(datasets) {
  const alone = datasets.length === 1;
  const checked = datasets.filter((dataset) => dataset.checked);
  if (!checked.length) return el("p", { class: "muted" }, "No gates: nothing was checked yet.");
  const rows = checked.flatMap((dataset) =>
    dataset.gates
      // Of what passes, the shares of the whole dataset; not that somebody was asked, nor limits that let all through.
      .filter((gate) => !gate.passed || !(gate.name.includes("[") || gate.name === "asked" || (gate.name === "min_accepted" && !gate.limit)))
      .filter((gate) => alone || !gate.passed)
      .map((gate) => ({
        cells: [
          ...(alone ? [] : [apart(dataset.dataset)]),
          el("span", { class: "mono", title: gate.remedy || undefined }, gate.name),
          share(gate.name, gate.value),
          `${gate.name.startsWith("max_") ? "≤" : "≥"} ${share(gate.name, gate.limit)}`,
          verdictOfGate(gate.passed),
        ],
      })),
  );
  if (!rows.length) return el("p", { class: "passes" }, `✓ All gates of ${some(checked.length, "dataset")} pass.`);
  const columns = [...(alone ? [] : [{ name: "Dataset" }]), { name: "Gate" }, { name: "found", number: true }, { name: "limit", number: true }, { name: "" }];
  return table(columns, rows, alone ? "Gates" : "Gates that failed");
}

function chart(title, drawn, empty, legend) {
  return el("figure", null, el("figcaption", null, el("span", null, title), legend), drawn ?? el("p", { class: "muted empty" }, empty));
}

const key = (name, said) => el("span", { class: "key" }, el("i", { class: name }), said);

// The three charts; drawn again when the page changes its width.
function drawCharts(summary, pick) {
  const place = byId("charts");
  const { lengths, rules, scores } = summary.figures;
  const columns = place.clientWidth > 900 ? 3 : 1;
  const width = Math.floor((place.clientWidth - (columns - 1) * 32) / columns);
  if (width < 100) return;
  const both = summary.form === "diff";
  const legend = both
    ? el("span", { class: "legend" }, key("line", "before"), key("v-accepted", "after"))
    : el("span", { class: "legend" }, Object.keys(scores).map((verdict) => key(`v-${verdict}`, verdict)));
  place.replaceChildren(
    chart("Words of the texts", lengthsChart(lengths, width), "No texts.", both && el("span", { class: "legend" }, key("line", "before"))),
    chart(
      "Findings by rule",
      rulesChart(rules, width, pick),
      summary.datasets.some((dataset) => dataset.checked) ? "No rule was broken." : "Not checked yet.",
      el("span", { class: "legend" }, rules.some((r) => r.severity === "reject") && key("v-rejected", "reject"), rules.some((r) => r.severity === "warn") && key("v-truncated", "warn")),
    ),
    chart("Scores", scoresChart(both ? scores : { bars: scores }, width), "No rationale has a score.", legend),
  );
}

function drawHead(summary) {
  const { form, total, shown, figures } = summary;
  byId("title").append(apart(summary.title));
  const all = Object.values(figures.verdicts).reduce((sum, by) => sum + Object.values(by).reduce((a, b) => a + b, 0), 0);
  const parts = form === "view" ? [some(total, "sample"), some(all, "rationale")] : [];
  const checked = summary.datasets.map((dataset) => dataset.checked).filter(Boolean).sort().pop();
  if (checked && form === "view") parts.push(`checked ${checked.slice(0, 16).replace("T", " ")} UTC`);
  if (summary.subtitle) parts.unshift(summary.subtitle);
  byId("subtitle").append(parts.join(" · "));
  if (shown < total) {
    const which = form === "view" ? "those with rejected, truncated or failed rationales first, up to half; charts and counts are of all" : "the first by their ids; counts are of all";
    byId("notes").append(el("p", { class: "note" }, el("b", null, `Showing ${count(shown)} of ${count(total)} samples`), `: ${which}.`));
  }
  for (const note of summary.notes) byId("notes").append(el("p", { class: "note" }, note));
  byId("tables").append(...(form === "view" ? [verdictTable(figures.verdicts), gateTable(summary.datasets)] : diffTables(summary)));
  byId("foot").append(`teacherlm ${summary.version} · everything is in this file; it fetches nothing`);
}
