// What differs between two texts, word by word: the longest common subsequence of words.

const WORDS = /\s+|[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]|[\p{L}\p{N}\p{M}_]+|[^]/gu;
const MOST = 4e6; // cells of the table; beyond, the differing middle is shown as a whole

function wordDiff(before, after) {
  const a = before.match(WORDS) ?? [];
  const b = after.match(WORDS) ?? [];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  const middle = changes(a.slice(start, a.length - end), b.slice(start, b.length - end));
  return joined([["same", a.slice(0, start).join("")], ...middle, ["same", a.slice(a.length - end).join("")]]);
}

function changes(a, b) {
  if (a.length * b.length > MOST) return [["del", a.join("")], ["ins", b.join("")]];
  const wide = b.length + 1;
  const best = new Uint16Array((a.length + 1) * wide);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      const at = i * wide + j;
      best[at] = a[i] === b[j] ? best[at + wide + 1] + 1 : Math.max(best[at + wide], best[at + 1]);
    }
  }
  const runs = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const at = i * wide + j;
    if (i < a.length && j < b.length && a[i] === b[j]) {
      runs.push(["same", a[i++]]);
      j++;
    } else if (j >= b.length || (i < a.length && best[at + wide] >= best[at + 1])) runs.push(["del", a[i++]]);
    else runs.push(["ins", b[j++]]);
  }
  return runs;
}

// Runs of one sort become one; a blank between two changes belongs to both, so that phrases stay whole.
function joined(runs) {
  const found = [];
  let del = "";
  let ins = "";
  const flush = () => {
    const tail = del && ins ? commonBlank(del, ins) : "";
    const cut = (text) => text.slice(0, text.length - tail.length);
    if (cut(del)) found.push(["del", cut(del)]);
    if (cut(ins)) found.push(["ins", cut(ins)]);
    if (tail) found.push(["same", tail]);
    del = ins = "";
  };
  runs.forEach(([sort, text], at) => {
    if (!text) return;
    if (sort === "del") del += text;
    else if (sort === "ins") ins += text;
    else if ((del || ins) && /^\s+$/.test(text) && at + 1 < runs.length && runs[at + 1][0] !== "same" && runs[at + 1][1]) {
      del += text;
      ins += text;
    } else {
      flush();
      if (found.length && found[found.length - 1][0] === "same") found[found.length - 1][1] += text;
      else found.push(["same", text]);
    }
  });
  flush();
  return found;
}

function commonBlank(one, other) {
  const tail = one.match(/\s*$/)[0];
  return tail && other.endsWith(tail) ? tail : "";
}

const shownDiff = (before, after) =>
  wordDiff(before, after).map(([sort, text]) => (sort === "same" ? text : el(sort, null, text)));
