// Elements are made here, and text is only ever put as text.

const KINDS = { fundamentals: "Fundamentals", chain_of_thought: "Chain of thought", common_mistakes: "Common mistakes" };
const VERDICTS = ["accepted", "rejected", "truncated", "failed", "unchecked"];
const MARKS = { accepted: "✓", rejected: "✕", truncated: "…", failed: "!", unchecked: "○" };
const SVG = "http://www.w3.org/2000/svg";

const byId = (id) => document.getElementById(id);
const count = (number) => number.toLocaleString("en-US");
const some = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;
const kindName = (kind) => KINDS[kind] ?? kind;
const percent = (share) => `${(100 * share).toFixed(1)} %`;

function fill(node, given, children) {
  for (const [name, value] of Object.entries(given ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") node.setAttribute("class", value);
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== undefined && child !== null && child !== false) node.append(child);
  }
  return node;
}

const el = (tag, given, ...children) => fill(document.createElement(tag), given, children);
const svg = (tag, given, ...children) => fill(document.createElementNS(SVG, tag), given, children);

// A word among others whose direction may differ.
const apart = (text) => el("bdi", null, text);

// A text with the words that were searched marked.
function marked(text, words) {
  if (!words.length) return [text];
  const lower = text.toLowerCase();
  // Lower case may have another length, as of İ; then places differ, and nothing is marked.
  if (lower.length !== text.length) return [text];
  const hits = [];
  for (const word of words) {
    for (let at = lower.indexOf(word); at >= 0 && hits.length < 500; at = lower.indexOf(word, at + word.length)) {
      hits.push([at, at + word.length]);
    }
  }
  hits.sort((a, b) => a[0] - b[0]);
  const parts = [];
  let done = 0;
  for (const [from, to] of hits) {
    if (to <= done) continue;
    if (from > done) parts.push(text.slice(done, from));
    parts.push(el("mark", null, text.slice(Math.max(from, done), to)));
    done = to;
  }
  parts.push(text.slice(done));
  return parts;
}

function chip(verdict) {
  return el("span", { class: `chip ${verdict}` }, el("span", { "aria-hidden": "true" }, MARKS[verdict]), verdict);
}
