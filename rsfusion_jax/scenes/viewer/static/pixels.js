"use strict";
// Tiles as the page carries them or the server sends them, decoded to the values of the file.

const ARRAYS = {
  uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array, int16: Int16Array,
  uint32: Uint32Array, int32: Int32Array, uint64: BigUint64Array, int64: BigInt64Array,
  float32: Float32Array, float64: Float64Array,
};
const KEPT_TILES = 800;

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// The inverse of `encode_tile` in tiles.py.
function unpack(bytes, dtype, height, width) {
  const Type = ARRAYS[dtype], size = Type.BYTES_PER_ELEMENT, count = height * width;
  const ordered = new Uint8Array(count * size);
  for (let byte = 0; byte < size; byte++)
    for (let i = 0; i < count; i++) ordered[i * size + byte] = bytes[byte * count + i];
  const values = new Type(ordered.buffer);
  if (!dtype.startsWith("float") && size <= 4)
    for (let row = 0; row < height; row++)
      for (let i = row * width + 1; i < (row + 1) * width; i++) values[i] += values[i - 1];
  const valid = bytes.length > count * size ? bytes.subarray(count * size) : null;
  return { values, valid };
}

// Where tiles come from: elements of this page, or the server. Those used last are kept.
class Tiles {
  constructor(served) {
    this.served = served;
    this.kept = new Map();
  }

  async bytes(name) {
    if (this.served) {
      const answer = await fetch("/" + name);
      if (!answer.ok) throw new Error(await answer.text());
      return new Uint8Array(await answer.arrayBuffer());
    }
    const element = document.getElementById(name);
    if (!element) throw new Error(`this page is not complete: it has no ${name}`);
    return Uint8Array.from(atob(element.textContent), (letter) => letter.charCodeAt(0));
  }

  get(name, dtype, height, width) {
    let tile = this.kept.get(name);
    if (tile) {
      this.kept.delete(name);
    } else {
      tile = this.bytes(name).then(inflate).then((bytes) => unpack(bytes, dtype, height, width));
      tile.catch(() => this.kept.delete(name));
      if (this.kept.size >= KEPT_TILES) this.kept.delete(this.kept.keys().next().value);
    }
    this.kept.set(name, tile);
    return tile;
  }
}
