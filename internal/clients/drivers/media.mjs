// What a client without codecs publishes and counts: the demo's clip as VP8 in RTP
// (RFC 7741), and silence as Opus.

import { readFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';

const clip = new URL('../../demo/countdown.ivf', import.meta.url);
const maxPayload = 1150;
const silence = Buffer.from([0xf8, 0xff, 0xfe]);

function readIVF() {
  const file = readFileSync(clip);
  const frames = [];
  for (let at = file.readUInt16LE(6); at < file.length;) {
    const size = file.readUInt32LE(at);
    frames.push(file.subarray(at + 12, at + 12 + size));
    at += 12 + size;
  }
  return frames;
}

// Stream writes the packets of one SSRC.
class Stream {
  constructor(pt, ssrc) {
    this.header = Buffer.alloc(12);
    this.header[0] = 0x80;
    this.pt = pt;
    this.header.writeUInt32BE(ssrc, 8);
    this.seq = randomBytes(2).readUInt16BE();
    this.base = randomBytes(4).readUInt32BE();
  }

  packet(time, marker, ...payload) {
    const header = Buffer.from(this.header);
    header[1] = this.pt | (marker ? 0x80 : 0);
    header.writeUInt16BE(this.seq, 2);
    header.writeUInt32BE((this.base + time) >>> 0, 4);
    this.seq = (this.seq + 1) & 0xffff;
    return Buffer.concat([header, ...payload]);
  }
}

// publish sends the clip over and over, and returns a function that ends it.
// count is told of each frame.
export function publish({ video, audio, count }) {
  const frames = readIVF();
  const v = new Stream(video.pt, video.ssrc);
  const a = new Stream(audio.pt, audio.ssrc);
  const begun = performance.now();
  let nextFrame = 0;
  let nextSound = 0;
  const timer = setInterval(() => {
    const now = performance.now() - begun;
    for (; nextFrame * 1000 / 30 <= now; nextFrame++) {
      const frame = frames[nextFrame % frames.length];
      for (let at = 0; at < frame.length; at += maxPayload) {
        const last = at + maxPayload >= frame.length;
        const descriptor = Buffer.from([at === 0 ? 0x10 : 0]);
        video.send(v.packet(nextFrame * 3000, last, descriptor, frame.subarray(at, at + maxPayload)));
      }
      count.video += 1;
    }
    for (; nextSound * 20 <= now; nextSound++) {
      audio.send(a.packet(nextSound * 960, nextSound === 0, silence));
      count.audio += 1;
    }
  }, 5);
  return () => clearInterval(timer);
}

// Frames counts the whole VP8 frames in the packets of a track.
export class Frames {
  constructor(count) {
    this.count = count;
    this.begun = false; // by a keyframe
    this.expected = null;
    this.parts = [];
  }

  take(packet) {
    const csrcs = packet[0] & 0x0f;
    let at = 12 + 4 * csrcs;
    if (packet[0] & 0x10) at += 4 + 4 * packet.readUInt16BE(at + 2);
    const end = packet[0] & 0x20 ? packet.length - packet[packet.length - 1] : packet.length;
    this.payload((packet[1] & 0x80) !== 0, packet.readUInt16BE(2), packet.subarray(at, end));
  }

  payload(marker, seq, payload) {
    if (payload.length === 0) return;
    if (this.expected !== null && seq !== this.expected) this.parts = [];
    this.expected = (seq + 1) & 0xffff;
    let at = 1;
    if (payload[0] & 0x80) {
      const x = payload[1];
      at += 1;
      if (x & 0x80) at += payload[at] & 0x80 ? 2 : 1;
      if (x & 0x40) at += 1;
      if (x & 0x30) at += 1;
    }
    const starts = (payload[0] & 0x10) !== 0 && (payload[0] & 0x07) === 0;
    if (starts) this.parts = [];
    else if (this.parts.length === 0) return;
    this.parts.push(payload.subarray(at));
    if (!marker) return;
    const frame = Buffer.concat(this.parts);
    this.parts = [];
    const key = (frame[0] & 1) === 0;
    if (key && frame[3] === 0x9d && frame[4] === 0x01 && frame[5] === 0x2a) {
      this.begun = true;
      this.count.keyframes += 1;
      this.count.width = frame.readUInt16LE(6) & 0x3fff;
    }
    if (this.begun) this.count.video += 1;
  }
}
