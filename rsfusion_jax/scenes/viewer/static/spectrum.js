"use strict";
// Values of all bands at one place: a plot and a table.

const COLOURS = ["#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#17becf"];
const FRAME = { left: 44, right: 312, top: 8, bottom: 156 };

function element(name, attributes = {}, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

function shortNumber(value) {
  return Math.abs(value) >= 1e5 || (value && Math.abs(value) < 1e-2)
    ? value.toExponential(1) : String(Number(value.toPrecision(4)));
}

// `lines`: {title, values (numbers, null for none), wavelengths}, one colour each.
function drawSpectrum(lines) {
  const plot = document.getElementById("spectrum");
  plot.replaceChildren();
  const inNm = lines.length > 0 && lines.every((line) => line.wavelengths);
  const place = (line, band) => (inNm ? line.wavelengths[band] : band + 1);
  const points = lines.flatMap((line) => line.values.map((value, band) => [place(line, band), value]))
    .filter(([, value]) => value !== null && Number.isFinite(Number(value)))
    .map(([x, value]) => [x, Number(value)]);
  if (!points.length) return;
  const range = (axis) => {
    const all = points.map((point) => point[axis]);
    const low = Math.min(...all), high = Math.max(...all);
    return high > low ? [low, high] : [low - 1, high + 1];
  };
  const [[x0, x1], [y0, y1]] = [range(0), range(1)];
  const toX = (x) => FRAME.left + (FRAME.right - FRAME.left) * (x - x0) / (x1 - x0);
  const toY = (y) => FRAME.bottom - (FRAME.bottom - FRAME.top) * (y - y0) / (y1 - y0);
  plot.append(element("path", {
    d: `M${FRAME.left} ${FRAME.top}V${FRAME.bottom}H${FRAME.right}`, fill: "none", stroke: "#888" }));
  for (const y of [y0, (y0 + y1) / 2, y1])
    plot.append(element("text", { x: FRAME.left - 4, y: toY(y) + 3, "text-anchor": "end" }, shortNumber(y)));
  for (const [x, anchor] of [[x0, "middle"], [(x0 + x1) / 2, "middle"], [x1, "end"]])
    if (inNm || Number.isInteger(x))
      plot.append(element("text", { x: toX(x), y: FRAME.bottom + 12, "text-anchor": anchor }, Math.round(x)));
  plot.append(element("text", { x: (FRAME.left + FRAME.right) / 2, y: FRAME.bottom + 23, "text-anchor": "middle" },
    inNm ? "wavelength in nm" : "band"));
  lines.forEach((line, index) => {
    const stroke = COLOURS[index % COLOURS.length];
    const path = line.values.map((value, band) => [value, band]).filter(([value]) => value !== null)
      .map(([value, band]) => `${toX(place(line, band)).toFixed(1)} ${toY(Number(value)).toFixed(1)}`);
    plot.append(element("polyline", { points: path.join(","), fill: "none", stroke, "stroke-width": 1.5 }));
    for (const point of path) {
      const [cx, cy] = point.split(" ");
      plot.append(element("circle", { cx, cy, r: 2, fill: stroke }));
    }
  });
}

function drawLegend(lines) {
  document.getElementById("legend").replaceChildren(...lines.map((line, index) => {
    const entry = document.createElement("span"), colour = document.createElement("i");
    colour.style.background = COLOURS[index % COLOURS.length];
    entry.append(colour, line.title);
    return entry;
  }));
}

// One row per name, one column per list of texts.
function fillTable(id, columns, rows) {
  const table = document.getElementById(id);
  const row = (texts) => {
    const made = document.createElement("tr");
    texts.forEach((text, index) => {
      const cell = document.createElement(index && columns !== texts ? "td" : "th");
      cell.textContent = text;
      made.append(cell);
    });
    return made;
  };
  table.replaceChildren(...(columns ? [row(columns)] : []), ...rows.map(row));
}
