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
// Hide the rows of a table that lack a word typed into an input, or are not of the group chosen in a select.
function filterRows(id, controls) {
  const rows = [...document.getElementById(id).tBodies[0].rows], count = document.getElementById(id + "-count");
  const valuesOf = (name) => controls.filter((control) => control.localName === name).map((control) => control.value);
  const apply = () => {
    const words = valuesOf("input").join(" ").toLowerCase().split(/\s+/).filter(Boolean);
    const groups = valuesOf("select").filter(Boolean);
    for (const row of rows) {
      const text = words.length ? row.textContent.toLowerCase() : "";
      row.hidden = !words.every((word) => text.includes(word)) || groups.some((group) => row.dataset.group !== group);
    }
    count.textContent = rows.filter((row) => !row.hidden).length + " of " + rows.length + " rows";
  };
  for (const control of controls) control.addEventListener("input", apply);
}
function start() {
  for (const table of document.querySelectorAll("table.sortable"))
    [...table.tHead.rows[0].cells].forEach((head, column) =>
      head.querySelector("button")?.addEventListener("click", () => sortBy(table, column)));
  const controls = [...document.querySelectorAll("[data-filters]")];
  for (const id of new Set(controls.map((control) => control.dataset.filters)))
    filterRows(id, controls.filter((control) => control.dataset.filters === id));
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
