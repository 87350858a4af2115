"use strict";
// The page: a map with two layers, a boundary between them, and what it says about the pixels.

(() => {
  const scene = JSON.parse(document.getElementById("scene").textContent);
  const layers = makeLayers(scene);
  const status = document.getElementById("status");
  const fail = (error) => { status.textContent = error.message; };

  // Map coordinates are pixels of the scene: latitude -row, longitude column.
  const crs = L.extend({}, L.CRS.Simple, {
    distance: (a, b) => (scene.metresPerPixel || 1) * Math.hypot(a.lat - b.lat, a.lng - b.lng),
  });
  const map = L.map("map", {
    crs, minZoom: -8, maxZoom: 6, attributionControl: false, zoomAnimation: false, fadeAnimation: false,
  });
  const Scale = scene.metresPerPixel ? L.Control.Scale : L.Control.Scale.extend({
    _updateMetric(pixels) {
      const length = this._getRoundNum(pixels);
      this._updateScale(this._mScale, `${length} pixels`, length / pixels);
    },
  });
  new Scale({ imperial: false, position: "bottomright" }).addTo(map);

  // How a layer is shown: its bands as red, green and blue, and the values that are black and white.
  layers.forEach((layer) => {
    layer.shown = [...layer.rgb];
    layer.cut = scene.cuts.indexOf(1);
    layer.limits = null;
  });

  // Of differences, from a small copy: the same distance to either side of zero.
  async function differenceCuts(layer, band) {
    layer.found = layer.found || {};
    if (!layer.found[band]) {
      const level = fittingLevel(layer, Math.max(...layer.size) / 512);
      const values = await layer.read(level, band, 0, 0, ...levelSize(layer, level));
      const sizes = values.filter((value) => !Number.isNaN(value)).map(Math.abs).sort();
      layer.found[band] = scene.cuts.map((cut) => {
        const end = sizes[Math.round((sizes.length - 1) * (1 - cut / 100))] || 1;
        return [-end, end];
      });
    }
    return layer.found[band];
  }

  async function stretchOf(layer, band) {
    if (layer.limits) return layer.limits;
    const cuts = layer.role === "difference" ? await differenceCuts(layer, band) : layer.cuts[band];
    return cuts[layer.cut];
  }

  async function draw(canvas, layer, coords) {
    const side = canvas.width, step = 2 ** -coords.z, level = fittingLevel(layer, step);
    const size = levelSize(layer, level);
    const [rows, columns] = [coords.y, coords.x].map((tile, axis) =>
      Int32Array.from({ length: side }, (_, i) => {
        const place = Math.floor(levelPosition(layer, level, axis, (tile * side + i + 0.5) * step));
        return place >= 0 && place < size[axis] ? place : -1;
      }));
    const ends = (all) => {
      const inside = all.filter((place) => place >= 0);
      return inside.length ? [inside[0], inside[inside.length - 1] + 1] : null;
    };
    const [high, wide] = [ends(rows), ends(columns)];
    if (!high || !wide) return;
    const width = wide[1] - wide[0];
    const bands = await Promise.all(layer.shown.map(async (band) => ({
      values: await layer.read(level, band, high[0], wide[0], high[1] - high[0], width),
      stretch: await stretchOf(layer, band),
    })));
    const picture = new ImageData(side, side);
    for (let y = 0; y < side; y++) {
      if (rows[y] < 0) continue;
      for (let x = 0; x < side; x++) {
        if (columns[x] < 0) continue;
        const from = (rows[y] - high[0]) * width + columns[x] - wide[0], to = 4 * (y * side + x);
        let valid = true;
        bands.forEach(({ values, stretch: [low, top] }, colour) => {
          valid = valid && !Number.isNaN(values[from]);
          picture.data[to + colour] = 255 * (values[from] - low) / (top - low || 1);
        });
        picture.data[to + 3] = valid ? 255 : 0;
      }
    }
    canvas.getContext("2d").putImageData(picture, 0, 0);
  }

  const View = L.GridLayer.extend({
    createTile(coords, done) {
      const canvas = document.createElement("canvas"), size = this.getTileSize();
      [canvas.width, canvas.height] = [size.x, size.y];
      draw(canvas, this.options.shows(), coords).then(() => done(null, canvas), (error) => {
        fail(error);
        done(error, canvas);
      });
      return canvas;
    },
  });

  // Two sides and the boundary between them.
  const roles = (...wanted) => wanted.map((role) => layers.find((layer) => layer.role === role));
  const [enlarged, ms, pan, other] = roles("EXP", "MS", "PAN", "other");
  const sides = [
    { name: "Left", layer: enlarged || ms || pan || other || layers[0] },
    { name: "Right", layer: layers[0] },
  ];
  const divider = document.getElementById("divider");
  let share = 0.5;

  function clip() {
    const size = map.getSize(), from = map.containerPointToLayerPoint([0, 0]);
    const to = map.containerPointToLayerPoint(size), middle = from.x + size.x * share;
    const cut = (left, right) => `rect(${from.y}px, ${right}px, ${to.y}px, ${left}px)`;
    sides[0].view.getContainer().style.clip = cut(from.x, middle);
    sides[1].view.getContainer().style.clip = cut(middle, to.x);
    divider.style.left = `${100 * share}%`;
    divider.setAttribute("aria-valuenow", Math.round(100 * share));
  }

  function swipe(to) {
    share = Math.min(Math.max(to, 0), 1);
    clip();
  }
  divider.addEventListener("pointerdown", (event) => divider.setPointerCapture(event.pointerId));
  divider.addEventListener("pointermove", (event) => {
    if (!divider.hasPointerCapture(event.pointerId)) return;
    const box = map.getContainer().getBoundingClientRect();
    swipe((event.clientX - box.left) / box.width);
  });
  divider.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
    if (by) swipe(share + by);
  });

  // Controls of a side.
  function select(label, options, chosen, change) {
    const made = document.createElement("select");
    made.setAttribute("aria-label", label);
    options.forEach((text, value) => made.add(new Option(text, value, false, value === chosen)));
    made.addEventListener("change", () => change(Number(made.value)));
    return made;
  }

  function row(text, ...controls) {
    const made = document.createElement("div"), label = document.createElement("span");
    made.className = "row";
    label.textContent = text;
    made.append(label, ...controls);
    return made;
  }

  function limits(side) {
    const boxes = ["black", "white"].map((name, end) => {
      const box = document.createElement("input");
      box.type = "number";
      box.step = "any";
      box.placeholder = name;
      box.setAttribute("aria-label", `${side.name}: value shown ${name}`);
      box.value = side.layer.limits ? side.layer.limits[end] : "";
      return box;
    });
    boxes.forEach((box) => box.addEventListener("change", () => {
      const given = boxes.map((one) => one.value);
      side.layer.limits = given.includes("") ? null : given.map(Number);
      redraw(side.layer);
    }));
    return boxes;
  }

  function controls(side) {
    const { layer, name } = side;
    const titles = layers.map((one) => one.title);
    const chooser = select(`${name} layer`, titles, layers.indexOf(layer), (index) => {
      side.layer = layers[index];
      refresh();
    });
    chooser.className = "layer";
    const names = layer.names.map((text, band) =>
      layer.wavelengths ? `${text} (${Math.round(layer.wavelengths[band])} nm)` : text);
    const bands = [0, 1, 2].map((colour) =>
      select(`${name}: band shown ${["red", "green", "blue"][colour]}`, names, layer.shown[colour], (band) => {
        layer.shown[colour] = band;
        redraw(layer);
      }));
    const cuts = scene.cuts.map((cut) => (cut ? `${cut} % cut off at either end` : "all values"));
    const cut = select(`${name}: stretch`, cuts, layer.cut, (index) => {
      layer.cut = index;
      layer.limits = null;
      refresh();
    });
    const box = document.createElement("fieldset"), legend = document.createElement("legend");
    legend.textContent = name;
    box.append(legend, chooser);
    if (layer.names.length > 1) box.append(row("R, G, B", ...bands));
    box.append(row("stretch", cut), row("or", ...limits(side)));
    return box;
  }

  function refresh() {
    document.getElementById("sides").replaceChildren(...sides.map(controls));
    sides.forEach((side) => side.view.redraw());
    showValues();
  }

  function redraw(layer) {
    sides.forEach((side) => side.layer === layer && side.view.redraw());
  }

  // Values under the cursor.
  let cursor = null, held = false, marker = null, asked = 0;
  // Enough digits for the value alone: of a file's as many as its type holds.
  function text(layer, value) {
    if (value === null) return "-";
    if (!(layer instanceof FileLayer)) return String(Number(value.toPrecision(6)));
    if (layer.dtype !== "float32") return String(value);
    const digits = [6, 7, 8, 9].find((count) => Math.fround(value.toPrecision(count)) === value);
    return String(Number(value.toPrecision(digits || 9)));
  }

  async function valuesAt(rowOfScene, column) {
    const found = await Promise.all(layers.map((layer) => layer.at(rowOfScene, column)));
    return layers.map((layer, index) => ({ layer, values: found[index] })).filter(({ values }) => values);
  }

  async function showValues() {
    if (!cursor) return;
    const [y, x] = cursor, turn = ++asked;
    const found = await valuesAt(y, x);
    if (turn !== asked) return; // the cursor has moved on
    const lines = [`row ${Math.floor(y)}, column ${Math.floor(x)}`];
    if (scene.transform) {
      const [a, b, c, d, e, f] = scene.transform;
      const digits = Math.min(Math.max(Math.ceil(-Math.log10(Math.hypot(a, d))) + 1, 0), 10);
      lines.push(`x ${(a * x + b * y + c).toFixed(digits)}, y ${(d * x + e * y + f).toFixed(digits)}`);
    }
    if (scene.system) lines.push(scene.system);
    const coarse = 2 ** scene.layers[0].finest;
    if (coarse > 1) lines.push(`means of ${coarse} x ${coarse} pixels`);
    document.getElementById("place").textContent = lines.join("; ") + (held ? " (held)" : "");
    const many = found.filter(({ layer }) => layer.names.length > 1 && layer.role !== "difference");
    const plotted = many.map(({ layer, values }) => ({
      title: layer.role === "other" ? layer.title : layer.role, values, wavelengths: layer.wavelengths }));
    drawSpectrum(plotted);
    drawLegend(plotted);
    const titles = found.map(({ layer }) => (layer.role === "other" ? layer.title : layer.role));
    const widest = found.reduce((most, one) => (one.values.length > most.values.length ? one : most), found[0]);
    fillTable("values", ["", ...titles], (widest ? widest.layer.names : []).map((name, band) =>
      [name, ...found.map(({ layer, values }) => (band < values.length ? text(layer, values[band]) : ""))]));
  }

  map.on("mousemove", (event) => {
    if (held) return;
    cursor = [-event.latlng.lat, event.latlng.lng];
    showValues().catch(fail);
  });
  map.on("click", (event) => {
    held = !held;
    cursor = [-event.latlng.lat, event.latlng.lng];
    if (marker) marker.remove();
    marker = held ? L.circleMarker(event.latlng, { radius: 5, color: "#d62728" }).addTo(map) : null;
    showValues().catch(fail);
  });

  // What the page says about the run.
  document.title = scene.name;
  document.getElementById("name").textContent = scene.name;
  const notices = [...scene.notices];
  const reduced = layers.filter((layer) => layer instanceof FileLayer && layer.finest > 0);
  for (const layer of reduced)
    notices.push(`${layer.title}: this page has means of ${2 ** layer.finest} x ${2 ** layer.finest} ` +
      "pixels only; use rsfusion view --serve for the pixels themselves");
  document.getElementById("notices").replaceChildren(...notices.map((notice) => {
    const item = document.createElement("li");
    item.textContent = notice;
    return item;
  }));
  const labels = Object.keys(scene.report);
  if (labels.length)
    fillTable("report", ["index", ...labels], Object.keys(scene.report[labels[0]]).map((name) =>
      [name, ...labels.map((label) => scene.report[label][name])]));
  fillTable("facts", null, scene.facts);

  map.fitBounds([[0, 0], [-scene.size[0], scene.size[1]]]);
  const first = sides.map((side, index) => {
    map.createPane(side.name).style.zIndex = 200 + index;
    side.view = new View({ shows: () => side.layer, pane: side.name, minZoom: -8, maxZoom: 6 }).addTo(map);
    return new Promise((resolve) => side.view.once("load", resolve));
  });
  map.on("move zoom resize", clip);
  clip();
  refresh();
  // For tests and measurements: when both sides were first drawn, in milliseconds.
  window.viewer = { map, layers, sides, swipe, valuesAt, redraw };
  Promise.all(first).then(() => { document.body.dataset.drawn = Math.round(performance.now()); });
})();
