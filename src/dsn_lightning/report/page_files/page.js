"use strict";
// Order of two cells' values: numbers by size, texts naturally ("run 2" before "run 10"); missing values come last.
function compareValues(a, b, direction) {
  if (a === "" || b === "") return a === b ? 0 : a === "" ? 1 : -1;
  const x = Number(a), y = Number(b);
  const order = isNaN(x) || isNaN(y) ? a.localeCompare(b, "en", { numeric: true }) : x - y;
  return direction * order;
}
// Indices of the values in their new order; equal values keep their order.
function orderOf(values, direction) {
  return values.map((_, i) => i).sort((i, j) => compareValues(values[i], values[j], direction) || i - j);
}
function sortBy(table, column) {
  const heads = [...table.tHead.rows[0].cells], head = heads[column], body = table.tBodies[0], rows = [...body.rows];
  const before = head.getAttribute("aria-sort");
  const first = head.dataset.first === "descending" ? -1 : 1;
  const direction = before === "none" ? first : before === "ascending" ? -1 : 1;
  const values = rows.map((row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim());
  for (const other of heads) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
  body.append(...orderOf(values, direction).map((i) => rows[i]));
}
function start() {
  for (const table of document.querySelectorAll("table.sortable"))
    [...table.tHead.rows[0].cells].forEach((head, column) =>
      head.querySelector("button")?.addEventListener("click", () => sortBy(table, column)));
  for (const input of document.querySelectorAll("input[data-filters]")) {
    const rows = [...document.getElementById(input.dataset.filters).tBodies[0].rows];
    const count = document.getElementById(input.dataset.filters + "-count");
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
      count.textContent = rows.filter((row) => !row.hidden).length + " of " + rows.length + " rows";
    });
  }
  for (const select of document.querySelectorAll("select[data-highlights]"))
    select.addEventListener("change", () => {
      for (const line of document.getElementById(select.dataset.highlights).querySelectorAll("[data-run]")) {
        line.classList.toggle("faded", select.value !== "" && line.dataset.run !== select.value);
        line.classList.toggle("chosen", line.dataset.run === select.value);
      }
    });
  const closed = [];
  addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details:not([open])")) { part.open = true; closed.push(part); }
  });
  addEventListener("afterprint", () => { for (const part of closed.splice(0)) part.open = false; });
}
if (typeof document !== "undefined") start();
