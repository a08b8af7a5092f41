// Charts as inline SVG, drawn for the width that they have.

function frame(width, height, label) {
  return svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
}

const words = (x, y, text, more) => svg("text", { x, y, ...more }, text);
const bar = (x, y, width, height, name, title) =>
  svg("rect", { x, y, width: Math.max(width, 0), height: Math.max(height, 0), class: name }, title && svg("title", null, title));

// Lengths by kind: one row of bars for each, on one axis, each with its median.
function lengthsChart(lengths, width) {
  const kinds = Object.keys(KINDS).filter((kind) => lengths.kinds[kind]);
  if (!kinds.length) return null;
  const row = 46;
  const height = kinds.length * row + 20;
  const drawn = frame(width, height, "Words of the texts, by kind");
  const bins = lengths.kinds[kinds[0]].bars.length;
  const step = width / bins;
  kinds.forEach((kind, index) => {
    const { bars, median, count: all, was } = lengths.kinds[kind];
    const most = Math.max(...bars, ...(was?.bars ?? []), 1);
    const base = (index + 1) * row;
    drawn.append(svg("line", { x1: 0, x2: width, y1: base + 0.5, y2: base + 0.5, class: "axis" }));
    bars.forEach((value, at) => {
      if (!value) return;
      const tall = Math.max(1, (value / most) * (row - 22));
      const to = at === bins - 1 ? " words and more" : `–${(at + 1) * lengths.width} words`;
      drawn.append(bar(at * step, base - tall, step - 1, tall, `kind-${kind}`, `${at * lengths.width}${to}: ${count(value)}`));
    });
    if (was) drawn.append(outline(was.bars, most, step, base, row - 22));
    const middle = Math.min(median / lengths.width, bins) * step;
    drawn.append(svg("line", { x1: middle, x2: middle, y1: base - row + 20, y2: base, class: "median" }));
    drawn.append(words(0, base - row + 14, kindName(kind), { class: "label" }));
    const [old, now] = [was?.median ?? median, median].map((value) => count(Math.round(value)));
    const said = `median ${old === now ? now : `${old} → ${now}`}`;
    drawn.append(words(width, base - row + 14, said, { class: "muted", "text-anchor": "end" }));
    drawn.lastChild.append(svg("title", null, some(all, "text")));
  });
  drawn.append(words(0, height - 5, "0", { class: "muted" }));
  drawn.append(words(width, height - 5, `${count(lengths.width * bins)} words`, { class: "muted", "text-anchor": "end" }));
  return drawn;
}

// The bars of another build, as a line over these.
function outline(bars, most, step, base, tall) {
  let path = `M0 ${base}`;
  bars.forEach((value, at) => {
    const y = base - (value / most) * tall;
    path += `L${at * step} ${y}L${(at + 1) * step} ${y}`;
  });
  return svg("path", { d: `${path}L${bars.length * step} ${base}`, class: "before" });
}

// Findings by rule; a rule's line filters the rows by it.
function rulesChart(rules, width, pick) {
  if (!rules.length) return null;
  const shown = rules.slice(0, 9);
  const row = 20;
  const labels = Math.min(150, width * 0.42);
  const numbers = shown.some((rule) => rule.was !== undefined) ? 96 : 46;
  const most = Math.max(...shown.map((rule) => Math.max(rule.hits, rule.was ?? 0)), 1);
  const drawn = frame(width, shown.length * row + (rules.length > shown.length ? 18 : 0), "Rationales that each rule hit");
  drawn.setAttribute("role", "group");
  shown.forEach((rule, index) => {
    const y = index * row;
    const long = ((width - labels - numbers) * rule.hits) / most;
    const said = rule.was === undefined ? count(rule.hits) : `${count(rule.was)} → ${count(rule.hits)}`;
    const line = svg(
      "g",
      { class: "pick", tabindex: 0, role: "button", "aria-label": `${rule.rule}, ${rule.severity}: ${said}. Filter by this rule` },
      bar(0, y, width, row, "hover"),
      words(0, y + 14, rule.rule.length > 22 ? `${rule.rule.slice(0, 21)}…` : rule.rule, { class: "label mono" }),
      bar(labels, y + 4, Math.max(long, 1), 12, rule.severity === "reject" ? "v-rejected" : "v-truncated"),
      words(width, y + 14, said, { class: "muted", "text-anchor": "end" }),
      svg("title", null, `${rule.rule} (${rule.severity}): ${said}`),
    );
    if (rule.was !== undefined) {
      const x = labels + ((width - labels - numbers) * rule.was) / most;
      line.append(svg("line", { x1: x, x2: x, y1: y + 2, y2: y + 18, class: "before" }));
    }
    const chosen = () => pick(rule.rule);
    line.addEventListener("click", chosen);
    line.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      chosen();
    });
    drawn.append(line);
  });
  if (rules.length > shown.length) {
    drawn.append(words(0, shown.length * row + 13, `and ${some(rules.length - shown.length, "rule")} more`, { class: "muted" }));
  }
  return drawn;
}

// Scores from 0 to 1, what was not accepted stacked on what was.
function scoresChart(scores, width) {
  const sorts = VERDICTS.filter((verdict) => scores.bars[verdict]);
  const before = scores.was;
  if (!sorts.length && !before?.some((value) => value)) return null;
  const height = 158;
  const base = height - 20;
  const bins = 20;
  const step = width / bins;
  const sums = Array.from({ length: bins }, (_, at) => sorts.reduce((sum, sort) => sum + scores.bars[sort][at], 0));
  const most = Math.max(...sums, ...(before ?? []), 1);
  const drawn = frame(width, height, "Scores of the rationales");
  sums.forEach((_, at) => {
    let y = base;
    for (const sort of sorts) {
      const value = scores.bars[sort][at];
      if (!value) continue;
      const tall = Math.max(1, (value / most) * (base - 18));
      y -= tall;
      drawn.append(bar(at * step, y, step - 1, tall, `v-${sort}`, `${(at / bins).toFixed(2)}–${((at + 1) / bins).toFixed(2)}: ${count(value)} ${sort}`));
    }
  });
  if (before) drawn.append(outline(before, most, step, base, base - 18));
  drawn.append(svg("line", { x1: 0, x2: width, y1: base + 0.5, y2: base + 0.5, class: "axis" }));
  for (const [x, anchor, said] of [[0, "start", "0"], [width / 2, "middle", "0.5"], [width, "end", "1"]]) {
    drawn.append(words(x, height - 5, said, { class: "muted", "text-anchor": anchor }));
  }
  return drawn;
}
