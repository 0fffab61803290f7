import assert from "node:assert/strict";
import test from "node:test";

import { money, rows } from "../src/format.js";

test("amounts have two decimals", () => {
  assert.deepEqual([money(1250), money(5), money(-105), money(0)], ["12.50", "0.05", "-1.05", "0.00"]);
});

test("a discount has its own row", () => {
  const cart = { lines: [{ sku: "MUG", quantity: 2, discount: 100, total: 2021 }], tax: 323, total: 2021 };
  assert.deepEqual(rows(cart), [["2 x MUG", "20.21"], ["discount", "-1.00"], ["Tax", "3.23"], ["Total", "20.21"]]);
});

test("an empty cart shows tax and total", () => {
  assert.deepEqual(rows({ lines: [], tax: 0, total: 0 }), [["Tax", "0.00"], ["Total", "0.00"]]);
});
