// One sample as a card: its question on the left, its rationales beside it.

const LONG = 1400; // letters that a text shows before it is opened
const picked = new Map(); // which repeat of a kind is shown, by sample and kind

const letter = (at) => (at < 26 ? String.fromCharCode(65 + at) : `${at + 1}`);

function longText(text, children, name, whole) {
  const body = el("div", { class: name, dir: "auto" }, children);
  if (whole || (text.length <= LONG && text.split("\n", 26).length < 26)) return body;
  body.classList.add("clamped");
  const more = el("button", { type: "button", class: "more", "aria-expanded": "false" }, `Show all ${count(text.length)} characters`);
  more.addEventListener("click", () => {
    const open = !body.classList.toggle("clamped");
    more.setAttribute("aria-expanded", String(open));
    more.textContent = open ? "Show less" : `Show all ${count(text.length)} characters`;
  });
  return [body, more];
}

const changed = (before, after, searched) =>
  before === undefined || before === after ? marked(after ?? "", searched) : shownDiff(before ?? "", after ?? "");

function sampleSide(sample, searched, now) {
  const was = sample.was ?? {};
  const title = `q${now}`;
  const parts = [el("p", { class: "id" }, apart(sample.id))];
  if (sample.z?.length) parts.push(el("p", { class: "states" }, sample.z.map((state) => el("span", { class: `state ${state}` }, `sample ${state}`))));
  if (sample.q === null) {
    const said = sample.gone ? "Published without its question." : "The sample is not there any more; its rationales are.";
    parts.push(el("h2", { id: title, class: "muted" }, said));
  } else parts.push(longText(sample.q, el("h2", { id: title, dir: "auto" }, changed(was.q, sample.q, searched)), "question"));
  if (sample.c.length) parts.push(el("ol", { class: "options" }, sample.c.map((option, at) => optionLine(sample, option, at, searched))));
  if (sample.a !== null && (!sample.c.length || was.a !== undefined || !isAmong(sample))) {
    parts.push(el("p", { class: "gold-answer" }, el("span", { class: "label" }, "Gold answer"), el("span", { dir: "auto" }, changed(was.a, sample.a, searched))));
  }
  if (sample.h || was.h) {
    parts.push(el("div", { class: "human" }, el("span", { class: "label" }, "Human rationale"), longText(sample.h ?? "", changed(was.h, sample.h, searched), "text")));
  }
  const about = [sample.t, sample.s].filter(Boolean);
  if (about.length) parts.push(el("p", { class: "about" }, about.flatMap((text, at) => [at ? " · " : "", apart(text)])));
  return [el("div", { class: "sample" }, parts), title];
}

const isAmong = (sample) => sample.c.includes(sample.a);

function optionLine(sample, option, at, searched) {
  const gold = sample.i === undefined ? option === sample.a : at === sample.i;
  const was = sample.was?.c;
  return el(
    "li",
    { class: gold ? "gold" : null },
    el("span", { class: "letter" }, letter(at)),
    el("span", { dir: "auto", class: "option" }, changed(was === undefined ? undefined : (was[at] ?? ""), option, searched)),
    gold && el("span", { class: "tick" }, "✓ gold"),
  );
}

function score(value, before) {
  if (value === undefined && before === undefined) return null;
  const said = (number) => (number === undefined ? "–" : number.toFixed(2));
  const text = before === undefined || before === value ? said(value) : `${said(before)} → ${said(value)}`;
  return el("span", { class: "score", title: "Score: estimated quality, from 0 to 1" }, text);
}

function findings(item, gone) {
  const lines = (item?.f ?? []).map(([at, reason]) => [at, reason, ""]);
  for (const [at, reason] of gone ?? []) {
    if (!lines.some((line) => line[0] === at)) lines.push([at, reason, "gone"]);
  }
  if (!lines.length) return null;
  return el(
    "ul",
    { class: "findings" },
    lines.map(([at, reason, more]) => {
      const { rule, severity } = data.rules[at];
      return el("li", { class: `${severity} ${more}` }, el("b", { class: "mono" }, rule), more && el("span", { class: "muted" }, " (before)"), el("span", { dir: "auto" }, ` ${reason}`));
    }),
  );
}

function provenance(item) {
  const { teacher, revision, strategy } = data.origins[item.o];
  const parts = [teacher ?? (strategy === "human" ? "from the source" : "teacher unknown")];
  if (revision) parts.push(revision.slice(0, 8));
  parts.push(strategy.replace("_", " "));
  if (item.i !== undefined || item.g !== undefined) parts.push(`${item.i === undefined ? "?" : count(item.i)} → ${item.g === undefined ? "?" : count(item.g)} tokens`);
  if (item.x !== undefined) parts.push(`reaches ${item.x.slice(0, 60)}`);
  return el("p", { class: "origin" }, parts.flatMap((part, at) => [at ? " · " : "", apart(part)]));
}

// The rationale of one kind; several repeats stand behind buttons.
function cell(sample, kind, items, matching, searched, heading) {
  const name = heading ?? kindName(kind);
  if (!items.length) return el("section", { class: "cell none", "aria-label": name }, el("header", null, el("h3", null, name)), el("p", { class: "muted" }, "none"));
  const place = `${sample.id}\n${kind}`;
  const wanted = picked.get(place);
  // Of two builds, the first repeat that differs; the others are there to be picked.
  const differs = data.form === "diff" ? (matching.find((it) => it.c.length) ?? (matching.length ? undefined : items.find((it) => it.c.length))) : undefined;
  const item = items.find((it) => it.n === wanted) ?? differs ?? matching[0] ?? items[0];
  const dim = matching.length === 0;
  const shown = data.form === "diff" ? diffCell(item, searched) : viewCell(item, searched);
  const node = el("section", { class: `cell ${shown.name}${dim ? " dim" : ""}`, "aria-label": name, "data-kind": kind });
  const repeats = items.length > 1 && el("div", { class: "repeats", role: "group", "aria-label": `Repeats of ${name}` }, items.map((it) => repeatButton(it, it === item, () => {
    picked.set(place, it.n);
    const next = cell(sample, kind, items, matching, searched, heading);
    node.replaceWith(next);
    next.querySelector('[aria-pressed="true"]').focus();
  })));
  node.append(el("header", null, el("h3", null, name), repeats, el("span", { class: "marks" }, shown.marks)), ...shown.body);
  return node;
}

function repeatButton(item, on, pick) {
  const verdict = verdictOf(item);
  const button = el("button", { type: "button", class: `repeat ${verdict}`, "aria-pressed": String(on), title: verdict, "aria-label": `Repeat ${item.n}, ${verdict}` }, String(item.n));
  button.addEventListener("click", pick);
  return button;
}

const verdictOf = (item) => (data.form === "diff" ? (item.b ?? item.a).v : item.v) ?? "unchecked";

function viewCell(item, searched) {
  const verdict = verdictOf(item);
  return {
    name: verdict,
    marks: [score(item.s), chip(verdict)],
    body: [findings(item), item.w && el("p", { class: "why" }, apart(item.w)), bodyText(item, marked(item.t ?? "", searched)), provenance(item)].flat().filter(Boolean),
  };
}

const bodyText = (item, children) => ((item.t ?? "").trim() ? longText(item.t, children, "text") : el("p", { class: "muted" }, "no text"));

function diffCell(item, searched) {
  const { a, b, c: how } = item;
  const now = b ?? a;
  const verdicts = a && b && a.v !== b.v ? [chip(a.v ?? "unchecked"), el("span", { class: "arrow", "aria-label": "became" }, "→"), chip(b.v ?? "unchecked")] : [chip(now.v ?? "unchecked")];
  const state = !a ? "added" : !b ? "removed" : how.length ? null : "same";
  const text = a && b && a.t !== b.t ? longText(`${b.t ?? ""}`, shownDiff(a.t ?? "", b.t ?? ""), "text diff") : bodyText(now, marked(now.t ?? "", searched));
  return {
    name: `${now.v ?? "unchecked"} ${state ?? "changed"}`,
    marks: [state && el("span", { class: `state ${state}` }, state), state === "same" ? null : score(now.s, a && b ? a.s : undefined), ...verdicts],
    body: [findings(b ?? a, a && b ? a.f : []), now.w && el("p", { class: "why" }, apart(now.w)), text, a && b && a.o !== b.o ? [el("p", { class: "before-origin" }, "before: ", ...provenance(a).childNodes), provenance(b)] : provenance(now)].flat().filter(Boolean),
  };
}

function card(row, kinds, searched, now) {
  const { sample, items } = row;
  const [side, title] = sampleSide(sample, searched, now);
  const cells = kinds.map((kind) => cell(sample, kind, sample.r.filter((it) => it.k === kind), items.filter((it) => it.k === kind), searched));
  return el("article", { class: `card kinds-${kinds.length}`, tabindex: "-1", "aria-labelledby": title, "data-id": sample.id }, side, cells);
}

// A rationale that was not accepted beside an accepted one of its kind.
function pair(row, searched, now) {
  const { sample, item, other } = row;
  const [side, title] = sampleSide(sample, searched, now);
  const bad = cell(sample, `${item.k}\n${item.n}`, [item], [item], searched, kindName(item.k));
  const good = other
    ? cell(other.sample, `${item.k}\n${other.item.n}`, [other.item], [other.item], searched, other.sample === sample ? "Accepted for the same question" : "Accepted for another question")
    : el("section", { class: "cell none" }, el("header", null, el("h3", null, "Accepted")), el("p", { class: "muted" }, `No rationale of this kind was accepted.`));
  if (other && other.sample !== sample) {
    good.querySelector("header").after(el("p", { class: "for", dir: "auto" }, other.sample.q ?? other.sample.id));
  }
  return el("article", { class: "card kinds-2", tabindex: "-1", "aria-labelledby": title, "data-id": sample.id }, side, bad, good);
}
