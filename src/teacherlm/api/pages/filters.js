// Which samples are shown: every filter narrows, and words are looked for in all texts of a sample.

const EMPTY = { q: "", chip: "", rule: "", dataset: "", split: "", kind: "", move: "", sort: "", layout: "", page: 0 };
const state = { ...EMPTY };
let samples = [];
const hays = new WeakMap();

const searchWords = (text) => (text.toLowerCase().match(/"[^"]+"|\S+/g) ?? []).map((word) => word.replace(/^"(.+)"$/, "$1"));

function hay(thing, texts) {
  let found = hays.get(thing);
  if (found === undefined) hays.set(thing, (found = texts().filter(Boolean).join("\n").toLowerCase()));
  return found;
}
const sampleHay = (sample) => hay(sample, () => [sample.id, sample.q, ...sample.c, sample.a, sample.h, sample.t, sample.s, sample.was?.q, sample.was?.a, sample.was?.h]);
const itemHay = (item) => hay(item, () => (data.form === "diff" ? [item.a?.t, item.b?.t] : [item.t, item.w]));

const rulesOf = (item) => (data.form === "diff" ? [...(item.a?.f ?? []), ...(item.b?.f ?? [])] : (item.f ?? [])).map(([at]) => data.rules[at].rule);
const chipsOf = (item) => (data.form === "diff" ? item.c : [verdictOf(item)]);
const moveOf = (item) => (item.a && item.b && item.a.v !== item.b.v ? `${item.a.v ?? "unchecked"} → ${item.b.v ?? "unchecked"}` : "");

function itemMatches(item) {
  return (
    (!state.kind || item.k === state.kind) &&
    (!state.chip || chipsOf(item).includes(state.chip)) &&
    (!state.rule || rulesOf(item).includes(state.rule)) &&
    (!state.move || moveOf(item) === state.move)
  );
}

function matches() {
  const searched = searchWords(state.q);
  const narrowed = state.kind || state.chip || state.rule || state.move;
  const rows = [];
  for (const sample of samples) {
    if ((state.dataset && sample.d !== state.dataset) || (state.split && sample.p !== state.split)) continue;
    let items = narrowed ? sample.r.filter(itemMatches) : sample.r;
    // A change of the sample itself is a change of no rationale.
    const itself = !state.kind && !state.rule && !state.move && (sample.z ?? []).includes(state.chip);
    if (narrowed && !items.length && !itself) continue;
    if (searched.length) {
      const own = sampleHay(sample);
      if (!searched.every((word) => own.includes(word) || items.some((item) => itemHay(item).includes(word)))) continue;
      const best = items.filter((item) => searched.some((word) => itemHay(item).includes(word)));
      if (best.length) items = [...best, ...items.filter((item) => !best.includes(item))];
    }
    rows.push({ sample, items });
  }
  return ordered(rows);
}

const lowest = (row) => Math.min(...row.items.map((item) => (data.form === "diff" ? (item.b ?? item.a).s : item.s) ?? 2), 3);
const worst = (row) => Math.min(...row.items.map((item) => ["failed", "truncated", "rejected", "unchecked", "accepted"].indexOf(verdictOf(item)) + (verdictOf(item) === "rejected" ? -9 : 0)), 9);
const longest = (row) => -Math.max(...row.items.map((item) => (data.form === "diff" ? (item.b ?? item.a).t : item.t)?.length ?? 0), 0);
const most = (row) => -Math.max(...row.items.map((item) => (item.a?.s === undefined || item.b?.s === undefined ? 0 : Math.abs(item.a.s - item.b.s))), 0);
const SORTS = { rejected: worst, score: lowest, longest, change: most };

function ordered(rows) {
  const by = SORTS[state.sort];
  return by ? rows.map((row) => [by(row), row]).sort((one, other) => one[0] - other[0]).map(([, row]) => row) : rows;
}

// Each rationale that was not accepted, beside an accepted one: of the same sample, else the next one of its kind.
function pairs(rows) {
  const good = {};
  for (const sample of samples) {
    for (const item of sample.r) if (item.v === "accepted") (good[item.k] ??= []).push({ sample, item });
  }
  const used = {};
  return rows.flatMap(({ sample, items }) =>
    items
      .filter((item) => item.v && item.v !== "accepted")
      .map((item) => {
        const own = sample.r.find((it) => it.k === item.k && it.v === "accepted");
        const others = good[item.k] ?? [];
        const next = () => others[(used[item.k] = (used[item.k] ?? -1) + 1) % others.length];
        return { sample, items: [item], item, other: own ? { sample, item: own } : others.length ? next() : null };
      }),
  );
}

// The choices of the filters, from the rows that the page has.
function choices() {
  const found = { dataset: new Set(), split: new Set(), kind: new Set(), move: new Set() };
  const chips = {};
  const rules = {};
  for (const sample of samples) {
    found.dataset.add(sample.d);
    found.split.add(sample.p);
    for (const name of sample.z ?? []) chips[name] = (chips[name] ?? 0) + 1;
    for (const item of sample.r) {
      found.kind.add(item.k);
      if (data.form === "diff" && moveOf(item)) found.move.add(moveOf(item));
      for (const name of chipsOf(item)) chips[name] = (chips[name] ?? 0) + 1;
      for (const name of new Set(rulesOf(item))) rules[name] = (rules[name] ?? 0) + 1;
    }
  }
  const plain = (set) => [...set].filter(Boolean).sort().map((value) => [value, value]);
  return {
    chips,
    kinds: data.kinds.filter((kind) => found.kind.has(kind)),
    selects: {
      dataset: plain(found.dataset),
      split: plain(found.split),
      kind: data.kinds.filter((kind) => found.kind.has(kind)).map((kind) => [kind, kindName(kind)]),
      rule: Object.entries(rules).sort((a, b) => b[1] - a[1]).map(([rule, hits]) => [rule, `${rule} ${count(hits)}`]),
      move: plain(found.move),
      sort: data.form === "diff" ? [["change", "largest change of score"], ["rejected", "rejected first"]] : [["rejected", "rejected first"], ["score", "lowest score first"], ["longest", "longest text first"]],
    },
  };
}
