// Sorting of tables; without this script every table is complete, in its first order.
"use strict";
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const headers = [...table.tHead.rows[0].cells];
  if (body.rows.length < 3) continue;
  const key = (row, place) => row.cells[place].dataset.sort ?? row.cells[place].textContent;
  headers.forEach((header, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    button.title = "Sort by " + header.textContent;
    header.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = header.getAttribute("aria-sort") !== "ascending";
      headers.forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", up ? "ascending" : "descending");
      const numeric = header.classList.contains("number");
      const rows = [...body.rows].sort((one, two) => {
        const [a, b] = [key(one, place), key(two, place)];
        if (!numeric) return a.localeCompare(b);
        const missing = (text) => Number.isNaN(parseFloat(text));
        return missing(a) || missing(b) ? missing(a) - missing(b) : parseFloat(a) - parseFloat(b);
      });
      body.append(...(up ? rows : rows.reverse()));
    });
  });
}
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((item) => (item.open = true)));
