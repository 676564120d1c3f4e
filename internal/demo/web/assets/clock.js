// The block clock: a time drawn into the picture so that a machine can read it
// back after encoding, and so measure the whole way from glass to glass.
//
// It is 2 rows of 22 black or white blocks of 24 px, on a picture of 640x360,
// the most significant bit first, row by row: 36 bits of time in units of
// 0.1 ms since 1970 (modulo 2^36, which is 7.9 days), then 8 bits of CRC over
// them, by which misread blocks are told. Scaled pictures scale the blocks.

const columns = 22;
const rows = 2;
const timeBits = 36;
const crcBits = 8;
const modulus = 2 ** timeBits;

// Where the blocks are, on a picture of 640x360.
export const place = { x: 56, y: 288, block: 24, width: 640, height: 360 };

// now returns the time in 0.1 ms, of the machine's clock.
export function now() {
  return Math.floor((performance.timeOrigin + performance.now()) * 10);
}

// crc is CRC-8 with the polynomial 0x07, begun with 0xff: an all-black picture
// is not a valid time.
function crc(bits) {
  let value = 0xff;
  for (const bit of bits) {
    const carry = (value >> 7) ^ bit;
    value = (value << 1) & 0xff;
    if (carry) value ^= 0x07;
  }
  return value;
}

function bitsOf(value, count) {
  return Array.from({ length: count }, (_, i) => Math.floor(value / 2 ** (count - 1 - i)) % 2);
}

function valueOf(bits) {
  return bits.reduce((value, bit) => value * 2 + bit, 0);
}

// encode returns the blocks of a time, 1 for white.
export function encode(time) {
  const bits = bitsOf(time % modulus, timeBits);
  return [...bits, ...bitsOf(crc(bits), crcBits)];
}

// decode returns the time in blocks, modulo 2^36, or null if they do not agree.
export function decode(blocks) {
  const bits = blocks.slice(0, timeBits);
  return crc(bits) === valueOf(blocks.slice(timeBits)) ? valueOf(bits) : null;
}

// draw paints a time onto a context scaled to a picture of 640x360.
export function draw(context, time) {
  const { x, y, block } = place;
  context.fillStyle = '#000';
  context.fillRect(x - 8, y - 8, columns * block + 16, rows * block + 16);
  context.fillStyle = '#fff';
  encode(time).forEach((bit, i) => {
    if (bit) context.fillRect(x + (i % columns) * block, y + Math.floor(i / columns) * block, block, block);
  });
}

// A Reader reads the clock from the pictures of a <video>.
export class Reader {
  #context;

  constructor() {
    const canvas = document.createElement('canvas');
    canvas.width = columns * 4;
    canvas.height = rows * 4;
    this.#context = canvas.getContext('2d', { willReadFrequently: true });
  }

  // latency returns how old the picture shown is, in ms, or null if there is
  // no clock in it.
  latency(video) {
    const at = now();
    const time = this.#read(video);
    if (time === null) return null;
    const age = ((at % modulus) - time + modulus) % modulus;
    return age < 60 * 10000 ? age / 10 : null; // a minute: a clock of another machine
  }

  #read(video) {
    const { x, y, block, width, height } = place;
    const sx = video.videoWidth / width;
    const sy = video.videoHeight / height;
    if (!sx || Math.abs(sx / sy - 1) > 0.02) return null;
    this.#context.drawImage(video, x * sx, y * sy, columns * block * sx, rows * block * sy, 0, 0, columns * 4, rows * 4);
    const { data } = this.#context.getImageData(0, 0, columns * 4, rows * 4);
    const blocks = [];
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        // The middle 2x2 of each 4x4, of the green channel.
        let sum = 0;
        for (const dy of [1, 2]) for (const dx of [1, 2]) sum += data[((row * 4 + dy) * columns * 4 + column * 4 + dx) * 4 + 1];
        blocks.push(sum > 4 * 128 ? 1 : 0);
      }
    }
    return decode(blocks);
  }
}
