// Numbers as people read them: few digits, a true minus sign, thousands apart.
"use strict";

saejax.format = (() => {
  const minus = (text) => text.replace("-", "−");
  const missing = (value) => value === null || value === undefined || Number.isNaN(value);

  const plain = (value, digits) => {
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-4 || size >= 1e6)) {
      const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
      return `${mantissa}e${minus(String(Number(exponent)))}`;
    }
    const places = size === 0 ? 0 : Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
    return value.toFixed(Math.min(places, 6));
  };

  // number(0.012345) = "0.0123"
  const number = (value, digits = 3) => (missing(value) ? "–" : minus(plain(value, digits)));
  const signed = (value, digits = 3) => (missing(value) ? "–" : (value > 0 ? "+" : "") + number(value, digits));
  const count = (value) => (missing(value) ? "–" : minus(Math.round(value).toLocaleString("en-US")));
  // A share of one as a percentage: percent(0.00123) = "0.123%"
  const percent = (value, digits = 3) => {
    if (missing(value)) return "–";
    const hundredths = value * 100;
    return Math.abs(hundredths) >= 1e-4 || value === 0 ? `${number(hundredths, digits)}%` : `${number(hundredths, 2)}%`;
  };
  // Round numbers, as at ticks, without the zeros: tick(8) = "8"
  const tick = (value) => (Math.abs(value) >= 1e-4 || value === 0 ? minus(String(Number(value.toPrecision(3)))) : number(value, 1));
  const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
  return { number, signed, count, percent, tick, plural };
})();
