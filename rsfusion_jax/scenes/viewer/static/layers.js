"use strict";
// What can be shown. Every layer has a grid on the pixels of the fused scene and levels that halve
// its size; `read` gives a window of one band as numbers, NaN where there is nothing.

function levelSize(layer, level) {
  return layer.size.map((length) => Math.ceil(length / 2 ** level));
}

// The coarsest level on which a pixel is no larger than `pixels` of the scene.
function fittingLevel(layer, pixels) {
  const level = Math.floor(Math.log2(pixels / Math.min(...layer.scale)) + 1e-6);
  return Math.min(Math.max(level, layer.finest), layer.levels - 1);
}

// Index in a level's pixels of a place in the scene's pixels, along rows (0) or columns (1).
function levelPosition(layer, level, axis, position) {
  return (position - layer.offset[axis]) / (layer.scale[axis] * 2 ** level);
}

class FileLayer {
  constructor(described, index, tiles, side) {
    Object.assign(this, described);
    Object.assign(this, { index, tiles, side });
  }

  tile(level, row, column, band) {
    const [height, width] = levelSize(this, level).map(
      (length, axis) => Math.min(this.side, length - [row, column][axis] * this.side));
    const name = `tile/${this.index}/${level}/${row}/${column}/${band}`;
    return this.tiles.get(name, this.dtype, height, width).then((tile) => ({ ...tile, height, width }));
  }

  async read(level, band, top, left, height, width) {
    const values = new Float64Array(height * width).fill(NaN);
    const first = [top, left].map((place) => Math.floor(place / this.side));
    const last = [top + height, left + width].map((place) => Math.floor((place - 1) / this.side));
    const jobs = [];
    for (let row = first[0]; row <= last[0]; row++)
      for (let column = first[1]; column <= last[1]; column++)
        jobs.push(this.tile(level, row, column, band).then((tile) => {
          const y0 = row * this.side, x0 = column * this.side;
          for (let y = Math.max(top, y0); y < Math.min(top + height, y0 + tile.height); y++)
            for (let x = Math.max(left, x0); x < Math.min(left + width, x0 + tile.width); x++) {
              const from = (y - y0) * tile.width + x - x0;
              if (!tile.valid || tile.valid[from])
                values[(y - top) * width + x - left] = Number(tile.values[from]);
            }
        }));
    await Promise.all(jobs);
    return values;
  }

  // Values of all bands at a place, exactly as stored; null where nothing is valid.
  async at(row, column) {
    const level = this.finest;
    const [y, x] = [row, column].map((place, axis) => Math.floor(levelPosition(this, level, axis, place)));
    const [height, width] = levelSize(this, level);
    if (y < 0 || x < 0 || y >= height || x >= width) return null;
    if (this.tiles.served) {
      const found = await this.tiles.get(`pixel/${this.index}/${y}/${x}`, this.dtype, 1, this.names.length);
      return Array.from(found.values, (value, band) => (!found.valid || found.valid[band] ? value : null));
    }
    const place = [Math.floor(y / this.side), Math.floor(x / this.side)];
    return Promise.all(this.names.map(async (_, band) => {
      const tile = await this.tile(level, ...place, band);
      const index = (y - place[0] * this.side) * tile.width + x - place[1] * this.side;
      return !tile.valid || tile.valid[index] ? tile.values[index] : null;
    }));
  }
}

// Weights of the cubic convolution (Keys, a = -1/2) of the four pixels around a position.
function cubicWeights(t) {
  return [
    ((-0.5 * t + 1) * t - 0.5) * t,
    (1.5 * t - 2.5) * t * t + 1,
    ((-1.5 * t + 2) * t + 0.5) * t,
    (0.5 * t - 0.5) * t * t,
  ];
}

// For pixels start..start+count-1 of a level of the scene: the four pixels of `ms` and their weights.
function cubicTaps(ms, level, axis, step, start, count) {
  const length = levelSize(ms, level)[axis];
  return Array.from({ length: count }, (_, i) => {
    const position = levelPosition(ms, level, axis, (start + i + 0.5) * step) - 0.5;
    const first = Math.floor(position) - 1;
    const inside = position > -1 && position < length;
    const taps = [0, 1, 2, 3].map((tap) => Math.min(Math.max(first + tap, 0), length - 1));
    return { taps, weights: cubicWeights(position - first - 1), inside };
  });
}

// MS enlarged to the grid of the scene, which is what a fusion adds detail to.
class EnlargedLayer {
  constructor(ms, scene) {
    this.title = "EXP: MS enlarged (cubic convolution)";
    this.role = "EXP";
    for (const key of ["names", "wavelengths", "rgb", "cuts"]) this[key] = ms[key];
    this.ms = ms;
    this.size = scene.size;
    this.scale = [1, 1];
    this.offset = [0, 0];
    this.levels = scene.levels;
    this.finest = scene.finest;
  }

  async read(level, band, top, left, height, width) {
    const step = 2 ** level, from = fittingLevel(this.ms, step);
    const rows = cubicTaps(this.ms, from, 0, step, top, height);
    const columns = cubicTaps(this.ms, from, 1, step, left, width);
    const ends = (all) => {
      const places = all.flatMap((one) => one.taps);
      return [places.reduce((a, b) => Math.min(a, b)), places.reduce((a, b) => Math.max(a, b)) + 1];
    };
    const [[y0, y1], [x0, x1]] = [ends(rows), ends(columns)];
    const source = await this.ms.read(from, band, y0, x0, y1 - y0, x1 - x0);
    const wide = new Float64Array((y1 - y0) * width);
    for (let y = 0; y < y1 - y0; y++)
      columns.forEach(({ taps, weights }, x) => {
        for (let i = 0; i < 4; i++)
          wide[y * width + x] += weights[i] * source[y * (x1 - x0) + taps[i] - x0];
      });
    const values = new Float64Array(height * width);
    rows.forEach(({ taps, weights, inside }, y) => {
      for (let x = 0; x < width; x++) {
        let sum = 0;
        for (let i = 0; i < 4; i++) sum += weights[i] * wide[(taps[i] - y0) * width + x];
        values[y * width + x] = inside && columns[x].inside ? sum : NaN;
      }
    });
    return values;
  }

  at(row, column) {
    return readPixel(this, row, column);
  }
}

// The fused scene, or what stands first in its place, minus another layer of its bands.
class DifferenceLayer {
  constructor(fused, other) {
    this.title = `difference: ${fused.role} - ${other.role === "EXP" ? "EXP" : other.title}`;
    this.role = "difference";
    for (const key of ["names", "wavelengths", "rgb", "size", "scale", "offset", "levels", "finest"])
      this[key] = fused[key];
    Object.assign(this, { fused, other });
  }

  async read(level, band, top, left, height, width) {
    const step = 2 ** level, other = this.other;
    const from = fittingLevel(other, step), size = levelSize(other, from);
    const places = [[top, height], [left, width]].map(([start, count], axis) =>
      Array.from({ length: count }, (_, i) =>
        Math.floor(levelPosition(other, from, axis, (start + i + 0.5) * step))));
    const kept = places.map((all, axis) => all.filter((place) => place >= 0 && place < size[axis]));
    const values = await this.fused.read(level, band, top, left, height, width);
    if (!kept[0].length || !kept[1].length) return values.fill(NaN);
    const [y0, x0] = [kept[0][0], kept[1][0]];
    const [high, wide] = kept.map((all) => all[all.length - 1] - all[0] + 1);
    const theirs = await other.read(from, band, y0, x0, high, wide);
    places[0].forEach((y, row) => places[1].forEach((x, column) => {
      const inside = y >= y0 && y < y0 + high && x >= x0 && x < x0 + wide;
      values[row * width + column] -= inside ? theirs[(y - y0) * wide + x - x0] : NaN;
    }));
    return values;
  }

  at(row, column) {
    return readPixel(this, row, column);
  }
}

async function readPixel(layer, row, column) {
  const level = layer.finest, size = levelSize(layer, level);
  const [y, x] = [row, column].map((place, axis) => Math.floor(levelPosition(layer, level, axis, place)));
  if (y < 0 || x < 0 || y >= size[0] || x >= size[1]) return null;
  const values = await Promise.all(layer.names.map((_, band) => layer.read(level, band, y, x, 1, 1)));
  return values.map(([value]) => (Number.isNaN(value) ? null : value));
}

// The files' layers, then what is computed from them.
function makeLayers(scene) {
  const tiles = new Tiles(scene.served);
  const layers = scene.layers.map((described, index) => new FileLayer(described, index, tiles, scene.tile));
  const [fused] = layers, ms = layers.find((layer) => layer.role === "MS");
  const compared = layers.filter(
    (layer) => layer !== fused && layer !== ms && layer.names.length === fused.names.length);
  if (ms) {
    const enlarged = new EnlargedLayer(ms, fused);
    layers.push(enlarged);
    if (ms.names.length === fused.names.length) compared.unshift(enlarged);
  }
  // Half widths and deviations are differences already.
  for (const other of compared)
    if (!["PAN", "half width", "deviation"].includes(other.role))
      layers.push(new DifferenceLayer(fused, other));
  return layers;
}
