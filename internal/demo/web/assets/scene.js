// The drawn source: a clock for people and one for machines, and a tick each
// second, as a MediaStream. It needs neither camera nor permission.

import { draw, now, place } from './clock.js';

const fps = 30;

export class Scene {
  #worker = null;
  #audio = null;
  #sound = null;
  #frame = 0;
  #nextTick = 0;

  constructor() {
    this.canvas = document.createElement('canvas');
  }

  // start returns the stream. scale 2 draws 1280x720, which leaves room for
  // the smaller layers of simulcast.
  start(scale = 1) {
    this.canvas.width = place.width * scale;
    this.canvas.height = place.height * scale;
    const context = this.canvas.getContext('2d', { alpha: false });
    context.scale(scale, scale);
    paint(context, this.#frame);

    let media = this.canvas.captureStream(0);
    const [track] = media.getVideoTracks();
    const request = track.requestFrame ? () => track.requestFrame() : () => {};
    if (!track.requestFrame) media = this.canvas.captureStream(fps);

    this.#worker = new Worker(new URL('./ticker.js', import.meta.url));
    this.#worker.onmessage = () => {
      try {
        paint(context, ++this.#frame);
        request();
        this.#tick();
      } finally { // or one failure would stop the clock for good
        this.#worker?.postMessage('drawn');
      }
    };
    this.#worker.postMessage(fps);
    media.addTrack(this.#startSound());
    return media;
  }

  stop() {
    this.#worker?.terminate();
    this.#audio?.close();
    this.#worker = this.#audio = null;
  }

  // startSound returns a track of silence with a tick each second. A browser
  // that wants a click before a page makes sound sends nothing until then
  // (Chromium's --autoplay-policy=no-user-gesture-required spares tests that).
  #startSound() {
    this.#audio = new AudioContext({ sampleRate: 48000, latencyHint: 'interactive' });
    this.#audio.resume().catch(() => {});
    addEventListener('pointerdown', () => this.#audio?.resume(), { once: true });
    const target = this.#audio.createMediaStreamDestination();
    const tone = this.#audio.createOscillator();
    tone.frequency.value = 880;
    this.#sound = this.#audio.createGain();
    this.#sound.gain.value = 0;
    tone.connect(this.#sound).connect(target);
    tone.start();
    return target.stream.getAudioTracks()[0];
  }

  // tick plans the sound of the next full second of the clock.
  #tick() {
    const time = now() / 10000;
    const next = Math.ceil(time);
    if (next === this.#nextTick || next - time > 0.2 || this.#audio.state !== 'running') return;
    this.#nextTick = next;
    const at = this.#audio.currentTime + (next - time);
    this.#sound.gain.setValueAtTime(0.25, at);
    this.#sound.gain.exponentialRampToValueAtTime(0.0001, at + 0.12);
    this.#sound.gain.setValueAtTime(0, at + 0.13);
  }
}

const font = 'ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace';

// paint draws the picture of this instant, 640x360.
function paint(c, frame) {
  const time = now();
  const date = new Date(time / 10);
  const second = (time % 10000) / 10000;
  const sway = frame / 90;

  const wash = c.createLinearGradient(320 + 320 * Math.cos(sway), 0, 320 - 320 * Math.cos(sway), 360);
  wash.addColorStop(0, '#0c3b3d');
  wash.addColorStop(0.55, '#0a1f2c');
  wash.addColorStop(1, '#1d1b3a');
  c.fillStyle = wash;
  c.fillRect(0, 0, 640, 360);

  c.lineWidth = 10;
  c.strokeStyle = 'rgb(94 234 212 / 18%)';
  ring(c, 0, 1);
  c.strokeStyle = '#5eead4';
  ring(c, 0, second);

  c.textAlign = 'center';
  c.fillStyle = '#fff';
  c.font = `700 40px ${font}`;
  c.fillText(date.toTimeString().slice(0, 8), 320, 140);
  c.font = `600 28px ${font}`;
  c.fillText(`.${String(date.getMilliseconds()).padStart(3, '0')}`, 320, 178);
  c.font = `500 15px ${font}`;
  c.fillStyle = 'rgb(255 255 255 / 60%)';
  c.fillText(String(frame).padStart(6, '0'), 320, 212);

  // A ball that shows by eye whether pictures come evenly.
  c.fillStyle = '#fbbf54';
  c.beginPath();
  c.arc(320 + 280 * Math.sin(frame / 24), 262, 9, 0, 2 * Math.PI);
  c.fill();
  draw(c, time);
}

function ring(c, from, to) {
  c.beginPath();
  c.arc(320, 144, 112, 2 * Math.PI * (from - 0.25), 2 * Math.PI * (to - 0.25));
  c.stroke();
}
