"use strict";

// Tables: a click on a header sorts by that column, a second one the other way round. What was not measured stays last.
const announcement = document.getElementById("announcement");
const byText = new Intl.Collator(undefined, { numeric: true }).compare;

function sort(table, column) {
  const heads = [...table.tHead.rows[0].cells];
  const head = heads[column];
  const direction = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
  const sign = direction === "ascending" ? 1 : -1;
  const numeric = head.classList.contains("numeric");
  const key = (row) => (numeric ? row.cells[column].dataset.sort : row.cells[column].innerText.trim());
  const rows = [...table.tBodies[0].rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === "" || y === "") return (x === "") - (y === "");
    return sign * (numeric ? x - y : byText(x, y));
  });
  for (const other of heads) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", direction);
  table.tBodies[0].append(...rows);
  announcement.textContent = `${table.caption.innerText}: sorted by ${head.innerText}, ${direction}`;
}

for (const table of document.querySelectorAll("table")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => sort(table, column));
  });
}

// Strips: enlarged, the pictures take turns at the same place, because the eye sees what changes.
const viewer = document.getElementById("viewer");
const picture = document.getElementById("viewer-picture");
const choices = viewer.querySelector(".choices");

function show(index) {
  const buttons = [...choices.children];
  const chosen = buttons[(index + buttons.length) % buttons.length];
  for (const button of buttons) button.setAttribute("aria-pressed", button === chosen);
  picture.src = chosen.picture.src;
  picture.alt = chosen.picture.alt;
}

const step = (by) => show([...choices.children].findIndex((b) => b.getAttribute("aria-pressed") === "true") + by);

function open(strip, first) {
  document.getElementById("viewer-title").textContent = strip.querySelector("h3").textContent;
  choices.replaceChildren(
    ...[...strip.querySelectorAll("img")].map((image, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.picture = image;
      button.textContent = image.alt;
      button.addEventListener("click", () => show(index));
      return button;
    })
  );
  show(first);
  viewer.showModal();
}

for (const strip of document.querySelectorAll(".strip")) {
  [...strip.querySelectorAll("button")].forEach((button, index) => {
    button.addEventListener("click", () => open(strip, index));
  });
}
document.getElementById("viewer-stage").addEventListener("click", () => step(1));
document.getElementById("viewer-close").addEventListener("click", () => viewer.close());
viewer.addEventListener("keydown", (event) => {
  if (event.key === "ArrowRight") step(1);
  if (event.key === "ArrowLeft") step(-1);
});
