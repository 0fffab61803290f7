import { rows } from "./format.js";

const name = new URLSearchParams(location.search).get("cart") ?? "ana";
const cart = await (await fetch(`/carts/${encodeURIComponent(name)}`)).json();
for (const cells of rows(cart)) {
  const row = document.getElementById("cart").insertRow();
  for (const cell of cells) row.insertCell().textContent = cell;
}
