// Sorting and filtering of tables; without this script every table is complete, in its first order.
"use strict";
const key = (row, place) => row.cells[place].dataset.sort ?? row.cells[place].textContent;
const missing = (text) => Number.isNaN(parseFloat(text));
const byLetter = (a, b, turn) => turn * a.localeCompare(b);
function byNumber(a, b, turn) {
  return missing(a) || missing(b) ? missing(a) - missing(b) : turn * (parseFloat(a) - parseFloat(b));
}
function addSorting(table, body) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    button.title = "Sort by " + header.textContent;
    header.replaceChildren(button);
    button.addEventListener("click", () => {
      const turn = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      headers.forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", turn > 0 ? "ascending" : "descending");
      const compare = header.classList.contains("number") ? byNumber : byLetter;
      body.append(...[...body.rows].sort((one, two) => compare(key(one, place), key(two, place), turn)));
    });
  });
}
function addFilter(table, body) {
  const line = document.createElement("div");
  const label = document.createElement("label");
  const about = document.createElement("span");
  const input = document.createElement("input");
  const said = document.createElement("output");
  line.className = "filter";
  about.className = "unseen";
  about.textContent = " of " + table.caption.dataset.title;
  input.type = "search";
  input.placeholder = "words in a row";
  label.append("Filter rows", about, " ", input);
  line.append(label, said);
  table.closest(".scroll").before(line);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      left += !row.hidden;
    }
    said.textContent = words.length ? left + " of " + body.rows.length + " rows" : "";
  });
}
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  if (body.rows.length < 3) continue;
  addSorting(table, body);
  addFilter(table, body);
}
function addChoices(form, cards) {
  const said = form.querySelector("output");
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", () => {
    let left = 0;
    for (const card of cards) {
      card.hidden = [...new FormData(form)].some(
        ([name, value]) => value && card.dataset[name] !== value && !card.dataset[name].split(" ").includes(value),
      );
      left += !card.hidden;
    }
    said.textContent = left + " of " + cards.length + " examples";
  });
}
const failureFilter = document.getElementById("failure-filter");
if (failureFilter) addChoices(failureFilter, [...document.querySelectorAll(".failures > li")]);
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((item) => (item.open = true)));
