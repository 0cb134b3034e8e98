"use strict";
// The browser of samples. Texts of models and data are set as text, never as markup.
(() => {
  const holder = document.getElementById("samples-data");
  addEventListener("beforeprint", () => unfold(true));
  addEventListener("afterprint", () => unfold(false));
  if (!holder) return;

  const data = JSON.parse(holder.textContent);
  const attempts = data.attempts.map((row) =>
    Object.fromEntries(data.columns.map((name, i) => [name, row[i]])));
  const problems = data.problems.map(([id, question, gold, group]) => ({ id, question, gold, group }));
  const form = document.getElementById("filters");
  const list = document.getElementById("list");
  const count = document.getElementById("count");
  const more = document.getElementById("more");
  const AT_A_TIME = 25;
  let found = [];
  let shown = 0;

  function element(name, text, className) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  function choices(name, label, values, words = values) {
    if (values.length < 2) return;
    const around = element("label", label);
    const select = element("select");
    select.name = name;
    select.append(new Option("all", ""));
    values.forEach((value, i) => select.append(new Option(String(words[i]), String(value))));
    around.append(select);
    form.append(around);
  }

  function makeForm() {
    choices("run", "Run", data.runs.map((_, i) => i), data.runs);
    choices("iteration", "Iteration", data.iterations);
    choices("split", "Split", data.splits);
    choices("kind", "Verdict", data.kinds);
    choices("hinted", "Attempt", ["false", "true"], ["without hint", "with hint"]);
    choices("group", form.dataset.classes, data.classes);
    const around = element("label", "Text contains");
    const search = element("input");
    search.type = "search";
    search.name = "text";
    search.autocomplete = "off";
    around.append(search);
    form.append(around);
    const reset = element("button", "Clear");
    reset.type = "reset";
    form.append(reset);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", (event) => event.target !== search && filter());
    search.addEventListener("input", filter);
    form.addEventListener("reset", () => setTimeout(filter));
    form.hidden = false;
  }

  function wanted(attempt, values) {
    const problem = problems[attempt.problem];
    for (const name of ["run", "iteration", "split", "kind", "hinted"]) {
      if (values[name] && String(attempt[name]) !== values[name]) return false;
    }
    if (values.group && problem.group !== values.group) return false;
    if (!values.text) return true;
    const text = values.text.toLowerCase();
    return [attempt.text, attempt.answer, problem.question, problem.gold, problem.id]
      .some((part) => part.toLowerCase().includes(text));
  }

  function filter() {
    const values = Object.fromEntries(new FormData(form));
    found = attempts.filter((attempt) => wanted(attempt, values));
    list.replaceChildren();
    shown = 0;
    showMore(false);
  }

  function showMore(focus) {
    const first = shown;
    for (const attempt of found.slice(shown, shown + AT_A_TIME)) list.append(item(attempt));
    shown = Math.min(found.length, shown + AT_A_TIME);
    count.textContent = `${found.length} of ${attempts.length} attempts match; ${shown} are shown.`;
    more.hidden = shown >= found.length;
    if (focus && list.children[first]) list.children[first].focus();
  }

  function place(attempt) {
    const model = attempt.iteration === 0 ? "the base" : `iteration ${attempt.iteration}`;
    const hint = attempt.hinted ? ", with hint" : attempt.split === "train" ? ", without hint" : "";
    return `${model}, ${attempt.split}${hint}`;
  }

  function item(attempt) {
    const problem = problems[attempt.problem];
    const made = element("li");
    made.tabIndex = -1;
    made.append(element("h3", `${attempt.kind}: ${place(attempt)}`));
    const facts = element("dl");
    const fact = (name, value) => {
      if (value) facts.append(element("dt", name), element("dd", value));
    };
    if (data.runs.length > 1) fact("run", data.runs[attempt.run]);
    fact("problem", problem.id);
    fact(form.dataset.classes, problem.group);
    fact("question", problem.question);
    fact("right answer", problem.gold);
    fact("answer read", attempt.answer || "none found");
    fact("remark", attempt.remark);
    made.append(facts, element("pre", attempt.text || "(empty)"));
    if (attempt.leftOut) {
      made.append(element("p", `${attempt.leftOut.toLocaleString("en")} more characters are left out.`, "quiet"));
    }
    compare(made, attempt, attempt.direct, "the attempt without hint");
    compare(made, attempt, attempt.before, "the earlier attempt");
    return made;
  }

  function compare(made, attempt, link, words) {
    if (!link) return;
    const old = attempts[link[0]];
    const fold = element("details");
    fold.append(element("summary", `Compare with ${words} (${old.kind}: ${place(old)})`));
    if (old.text === attempt.text) {
      fold.append(element("p", "The two are the same."));
    } else {
      fold.addEventListener("toggle", () => {
        if (fold.open && fold.children.length === 1) fold.append(difference(old.text, attempt.text, link[1]));
      });
    }
    made.append(fold);
  }

  function difference(before, after, operations) {
    const made = element("pre");
    let i = 0;
    let j = 0;
    for (const [, kind, digits] of operations.matchAll(/([=+-])(\d+)/g)) {
      const length = Number(digits);
      if (kind === "=") {
        made.append(after.slice(j, j + length));
        i += length;
        j += length;
      } else if (kind === "-") {
        made.append(marked("del", "removed", before.slice(i, i + length)));
        i += length;
      } else {
        made.append(marked("ins", "added", after.slice(j, j + length)));
        j += length;
      }
    }
    return made;
  }

  function marked(name, word, text) {
    const made = element(name);
    made.append(element("span", `[${word}: `, "hidden-text"), text, element("span", "]", "hidden-text"));
    return made;
  }

  function unfold(open) {
    for (const fold of document.querySelectorAll("main details")) {
      if (open) {
        fold.dataset.was = fold.open ? "open" : "";
        fold.open = true;
      } else {
        fold.open = fold.dataset.was === "open";
      }
    }
  }

  makeForm();
  more.addEventListener("click", () => showMore(true));
  filter();
})();
