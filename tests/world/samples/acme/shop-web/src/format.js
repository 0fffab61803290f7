// Amounts come from shop-api in cents; the page shows them and never works out a price.

/** An amount in cents as people read it: 1250 is "12.50". */
export function money(cents) {
  const sign = cents < 0 ? "-" : "";
  const digits = String(Math.abs(cents)).padStart(3, "0");
  return `${sign}${digits.slice(0, -2)}.${digits.slice(-2)}`;
}

/** Rows of the cart table: label and amount. */
export function rows(cart) {
  const lines = cart.lines.flatMap((line) => {
    const row = [[`${line.quantity} x ${line.sku}`, money(line.total)]];
    return line.discount ? [...row, ["discount", money(-line.discount)]] : row;
  });
  return [...lines, ["Tax", money(cart.tax)], ["Total", money(cart.total)]];
}
