// Labels by key or click, saved as the sheet that `vialign failures import` reads.
"use strict";
const items = [...document.querySelectorAll(".item")];
const keys = ["method", "seed", "benchmark", "itemId"];
const state = document.getElementById("state");
let saved = true;
document.getElementById("bar").hidden = false;
const chosen = (item) => item.querySelector("input:checked")?.value ?? "";
function tell() {
  items.forEach((item) => item.classList.toggle("done", chosen(item) !== ""));
  const done = items.filter((item) => chosen(item)).length;
  state.textContent = done + " of " + items.length + " labelled" + (saved ? "" : ", not saved");
}
function move(item) {
  if (!item) return;
  item.focus({ preventScroll: true });
  item.scrollIntoView({ block: "start" });
}
// A cell that a spreadsheet would take for a formula gets an apostrophe, as in the exported sheet.
const cell = (text) => '"' + (/^[=+\-@\t\r]/.test(text) ? "'" + text : text).replaceAll('"', '""') + '"';
function sheet() {
  const rows = items.map((item) => [
    ...keys.map((key) => item.dataset[key]), chosen(item), item.querySelector('input[type="text"]').value,
  ]);
  return [["method", "seed", "benchmark", "item_id", "label", "remark"], ...rows]
    .map((row) => row.map(cell).join(",") + "\r\n").join("");
}
document.getElementById("save").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff" + sheet()], { type: "text/csv" }));
  link.download = "labels.csv";
  link.click();
  URL.revokeObjectURL(link.href);
  saved = true;
  tell();
});
document.getElementById("items").addEventListener("input", () => {
  saved = false;
  tell();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.type === "text") return;
  const place = items.indexOf(document.activeElement.closest(".item"));
  if (event.key === "j") move(items[place + 1]);
  else if (event.key === "k") move(items[place - 1]);
  else if (place >= 0 && /^[1-9]$/.test(event.key)) {
    const radio = items[place].querySelectorAll('input[type="radio"]')[Number(event.key) - 1];
    if (!radio) return;
    radio.checked = true;
    saved = false;
    tell();
    move(items[place + 1]);
  }
});
addEventListener("beforeunload", (event) => {
  if (!saved) event.preventDefault();
});
tell();
