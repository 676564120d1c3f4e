// The play page.

import { Reader } from './clock.js';
import { $, bitrate, count, el, figure, millis, percentile, showState, Spark } from './format.js';
import { fetchStatus, playURL, showNode } from './node.js';
import { endpoint } from './signaling.js';
import { codecName, Reading } from './stats.js';
import { WhepSession } from './whep.js';

const query = new URLSearchParams(location.search);
const stream = query.get('stream') || '';
const video = $('video');
const sparkBitrate = new Spark($('spark'));
const sparkLatency = new Spark($('spark-latency'), { floor: 50 });

window.delta = {
  state: 'idle', message: '', mismatch: null, away: false, stats: null, frames: 0, firstFrame: null, attempts: 0, reconnects: 0, location: null, pc: null,
  latency: { p50: undefined, p95: undefined, last: undefined, samples: 0, misreads: 0 },
};

let layer = query.get('layer') || '';
let session = null; // the WhepSession that is on
let elsewhere = ''; // the endpoint that the server has sent us to
let wanted = false; // whether the person wants to see the stream
let wake = null; // ends the pause between two attempts

// ---- staying connected ----

const firstPause = 500;
const lastPause = 5000;

// run holds one session after the other for as long as the stream is wanted.
async function run() {
  let failures = 0;
  while (wanted) {
    const outcome = await attempt();
    if (!wanted) break;
    if (outcome.played) failures = 0;
    if (outcome.code === 'reconnect') elsewhere = outcome.url || '';
    explain(outcome);
    if (outcome.at !== 'reload') await pause(failures++, outcome.retryAfter);
  }
}

// attempt holds one session and resolves with how it went.
async function attempt() {
  const mine = new WhepSession({
    url: elsewhere || endpoint('whep', stream, { layer }), token: query.get('token') || '',
    tell, events: query.get('events') !== '0',
  });
  elsewhere = '';
  window.delta.mismatch = null;
  window.delta.away = false;
  session = mine;
  window.delta.attempts += 1;
  window.delta.pc = mine.pc;
  if (document.body.dataset.state === 'idle') set('connecting', 'Connecting', 'busy', 'Connecting …');
  let watch = null;
  try {
    await mine.open();
    window.delta.location = mine.location;
    watch = new Watch(mine);
    const end = await mine.ended;
    return { at: end.code === 'closed' ? 'reload' : 'end', ...end, played: watch.frames > 0 };
  } catch (error) {
    const closed = error.name === 'AbortError' || mine.pc.signalingState === 'closed';
    return { at: closed ? 'reload' : 'refused', code: error.code, status: error.status, detail: error.message, retryAfter: error.retryAfter, played: false };
  } finally {
    watch?.stop();
    mine.close();
  }
}

// tell takes what the server tells of the session while it lasts.
function tell(name, data) {
  if (name === 'codec') {
    window.delta.mismatch = data;
    if (data.kind !== 'video') return; // the picture is worth more than a complaint
    set('unplayable', 'Cannot be played here', 'bad', `The stream's video is ${data.stream}. This browser plays ${data.offered || 'no video'}.`);
    return;
  }
  if (name !== 'active' && name !== 'inactive') return;
  window.delta.away = name === 'inactive';
  if (window.delta.away && window.delta.state !== 'playing') set('waiting', 'Waiting for the publisher', 'busy', away);
}

const away = 'The publisher is gone. The picture continues when it comes back.';

// explain says why there is no picture now.
function explain({ at, code, status, detail }) {
  const unpublished = code === 'not-found' || code === 'ended' || status === 404 || (status === 409 && !code);
  if ((at === 'refused' && unpublished) || (at === 'end' && code === 'not-found')) {
    set('waiting', 'Waiting for the stream', 'busy', `Waiting for "${stream}". It starts playing as soon as somebody publishes it.`);
  } else if (code === 'no-common-codec') {
    set('unplayable', 'Cannot be played here', 'bad', detail);
  } else if (at === 'refused') {
    set('reconnecting', 'Reconnecting', 'bad', detail);
  } else if (at === 'end' && !['lost', 'timeout', 'reconnect'].includes(code)) {
    set('ended', 'Ended', 'idle', `${detail || 'The stream has ended.'} Waiting for it to come back.`);
  } else {
    set('reconnecting', 'Reconnecting', 'busy', detail ? `${detail} Connecting again …` : 'Connecting …');
  }
}

// pause waits before the next attempt: half to all of a time that doubles, so
// that many viewers of one stream do not come back in the same instant.
function pause(failures, retryAfter = 0) {
  const limit = Math.min(firstPause * 2 ** failures, lastPause);
  const time = Math.max(limit / 2 + Math.random() * limit / 2, Math.min(retryAfter, 30) * 1000);
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, time);
    wake = () => { clearTimeout(timer); resolve(); };
  });
}

function start() {
  if (wanted) return;
  wanted = true;
  $('start').hidden = true;
  $('stop').hidden = false;
  set('connecting', 'Connecting', 'busy', 'Connecting …');
  run();
}

function stop() {
  wanted = false;
  $('start').hidden = false;
  $('stop').hidden = true;
  session?.close();
  wake?.();
  video.srcObject = null;
  set('idle', 'Stopped', 'idle', 'Stopped.');
}

// again begins a new session at once.
function again() {
  if (!wanted) { start(); return; }
  set('reconnecting', 'Reconnecting', 'busy', 'Connecting …');
  session?.close();
  wake?.();
}

// ---- watching a session ----

// A Watch shows a session's pictures and figures while it lasts.
class Watch {
  frames = 0;
  #session;
  #reading = new Reading();
  #reader = new Reader();
  #ages = []; // [when, latency] of the last 5 s
  #lastFrame = performance.now();
  #heard = 0;
  #lastHeard = performance.now();
  #timer;
  #over = false;

  constructor(watched) {
    this.#session = watched;
    video.srcObject = watched.media;
    video.play().catch(() => {});
    this.#nextFrame();
    this.#timer = setInterval(() => this.#tick(), 1000);
  }

  stop() {
    this.#over = true;
    clearInterval(this.#timer);
  }

  #nextFrame() {
    if (!video.requestVideoFrameCallback) {
      video.addEventListener('timeupdate', () => { if (!this.#over) this.#frame(); });
      return;
    }
    video.requestVideoFrameCallback(() => {
      if (this.#over) return;
      this.#frame();
      this.#nextFrame();
    });
  }

  #frame() {
    const at = performance.now();
    const { latency } = window.delta;
    const age = this.#reader.latency(video);
    if (age === null) latency.misreads += 1;
    else {
      this.#ages.push([at, age]);
      latency.last = age;
      latency.samples += 1;
    }
    this.frames += 1;
    this.#lastFrame = at;
    window.delta.frames += 1;
    if (this.frames === 1) {
      if (window.delta.firstFrame !== null) window.delta.reconnects += 1;
      window.delta.firstFrame = at - this.#session.posted;
      figure('s-first', millis(window.delta.firstFrame, 0));
    }
    if (window.delta.state !== 'playing') set('playing', 'Playing', 'good', '');
  }

  async #tick() {
    this.#showLatency();
    const now = await this.#reading.take(this.#session.pc);
    if (this.#over) return;
    window.delta.stats = read(now);
    showStats(window.delta.stats);
    this.#listen(window.delta.stats.heard);
    if (window.delta.state === 'playing' && performance.now() - this.#lastFrame > 2500) {
      set('waiting', 'Waiting for pictures', 'busy', window.delta.away ? away : 'No pictures are coming.');
    }
  }

  // listen gives the session up when nothing at all comes any more, which a
  // browser itself takes some ten seconds to say.
  #listen(heard) {
    const at = performance.now();
    if (heard !== this.#heard) {
      this.#heard = heard;
      this.#lastHeard = at;
    } else if (at - this.#lastHeard > 5000) {
      this.#session.lost('The server does not answer.');
    }
  }

  #showLatency() {
    const since = performance.now() - 5000;
    this.#ages = this.#ages.filter(([at]) => at > since);
    const ages = this.#ages.map(([, age]) => age);
    const { latency } = window.delta;
    // A stray picture may pass for a clock, but not picture after picture.
    const seen = ages.length >= 5;
    latency.p50 = seen ? percentile(ages, 0.5) : undefined;
    latency.p95 = seen ? percentile(ages, 0.95) : undefined;
    $('latency').hidden = !seen;
    $('badge').hidden = !seen || window.delta.state !== 'playing';
    if (!seen) return;
    $('s-latency').textContent = latency.p50.toFixed(0);
    $('s-latency95').textContent = latency.p95.toFixed(0);
    $('badge').textContent = `${latency.p50.toFixed(0)} ms glass to glass`;
    sparkLatency.add(latency.p50);
  }
}

// ---- figures ----

function read(now) {
  const [v] = now.of('inbound-rtp', 'video');
  const [a] = now.of('inbound-rtp', 'audio');
  const received = v?.packetsReceived ?? 0;
  const lost = Math.max(0, v?.packetsLost ?? 0);
  return {
    width: v?.frameWidth, height: v?.frameHeight, fps: v?.framesPerSecond,
    bitrate: v && now.rate(v, 'bytesReceived') * 8, audioBitrate: a && now.rate(a, 'bytesReceived') * 8,
    codec: v && codecName(now.get(v.codecId)), audioCodec: a && codecName(now.get(a.codecId)),
    packets: received, lost, lostShare: received + lost > 0 ? lost / (received + lost) : undefined,
    bufferMillis: v && now.mean(v, 'jitterBufferDelay', 'jitterBufferEmittedCount') * 1000,
    decoded: v?.framesDecoded, dropped: v?.framesDropped, keyframes: v?.keyFramesDecoded,
    freezes: v?.freezeCount, frozen: v?.totalFreezesDuration,
    nack: v?.nackCount, pli: v?.pliCount, rtt: now.roundTrip,
    audioLevel: a?.audioLevel, audioPackets: a?.packetsReceived,
    // Grows with anything that comes, if only answers to connectivity checks.
    heard: received + (a?.packetsReceived ?? 0) + (now.pair?.responsesReceived ?? 0),
  };
}

function showStats(s) {
  figure('s-resolution', s.width ? [`${s.width}×${s.height}`, ''] : undefined);
  figure('s-fps', [s.fps ?? '–', s.fps ? 'fps' : '']);
  figure('s-bitrate', bitrate(s.bitrate));
  figure('s-audio', bitrate(s.audioBitrate));
  figure('s-codec', [[s.codec, s.audioCodec].filter(Boolean).join(' + ') || '–', '']);
  figure('s-rtt', millis(s.rtt));
  figure('s-lost', s.lostShare === undefined ? undefined : [count(s.lost)[0], `${(s.lostShare * 100).toFixed(1)} %`]);
  figure('s-buffer', millis(s.bufferMillis));
  figure('s-decoded', count(s.decoded));
  figure('s-dropped', count(s.dropped));
  figure('s-freezes', [s.freezes ?? '–', s.frozen ? `${s.frozen.toFixed(1)} s` : '']);
  figure('s-nack', count(s.nack));
  figure('s-pli', count(s.pli));
  figure('s-reconnects', count(window.delta.reconnects));
  sparkBitrate.add(s.bitrate);
}

// ---- the page ----

function set(state, words, tone, message) {
  showState(state, words, tone);
  window.delta.message = message;
  $('message').textContent = message;
  $('veil').hidden = !message;
  $('spinner').hidden = state === 'idle';
  if (state !== 'playing') $('badge').hidden = true;
  showSound();
}

function showSound() {
  const muted = video.muted || video.volume === 0;
  $('mute').textContent = muted ? 'Unmute' : 'Mute';
  $('mute').setAttribute('aria-pressed', String(muted));
  $('sound').hidden = !video.muted || window.delta.state !== 'playing';
}

function setMuted(muted) {
  video.muted = muted;
  if (!muted && video.volume === 0) {
    video.volume = 0.8;
    $('volume').value = 80;
  }
  video.play().catch(() => {});
  showSound();
}

async function fullscreen() {
  if (document.fullscreenElement) await document.exitFullscreen();
  else if ($('stage').requestFullscreen) await $('stage').requestFullscreen();
  else video.webkitEnterFullscreen?.(); // iPhone
}

// showLayers offers the layers of the stream, once they are known.
function showLayers(status) {
  const found = status.streams.find((s) => s.id === stream);
  const names = found?.tracks.find((t) => t.kind === 'video' && t.layers.length > 1)?.layers.map((l) => l.name) ?? [];
  if (names.join() === [...$('layer').options].slice(1).map((o) => o.value).join()) return;
  const words = { l: 'Low', m: 'Medium', h: 'High' };
  $('layer').replaceChildren(el('option', { value: '', textContent: 'Best' }),
    ...names.map((name) => el('option', { value: name, textContent: words[name] || name })));
  $('layer').value = names.includes(layer) ? layer : '';
  $('layer-label').hidden = names.length === 0;
}

async function follow() {
  for (;;) {
    const status = await fetchStatus().catch(() => null);
    if (status) {
      showNode(status);
      showLayers(status);
    }
    await new Promise((resolve) => { setTimeout(resolve, 3000); });
  }
}

async function pick() {
  $('picker').hidden = false;
  const status = await fetchStatus().catch(() => null);
  if (!status) return;
  showNode(status);
  $('picks').replaceChildren(...status.streams.map((s) => el('a', { className: 'button', href: playURL(s.id), textContent: s.id })));
}

function begin() {
  $('player').hidden = false;
  $('title').textContent = stream;
  document.title = `${stream} – delta`;
  video.volume = $('volume').value / 100;
  $('start').addEventListener('click', start);
  $('stop').addEventListener('click', stop);
  $('reload').addEventListener('click', again);
  $('fullscreen').addEventListener('click', () => fullscreen().catch(() => {}));
  $('sound').addEventListener('click', () => setMuted(false));
  $('mute').addEventListener('click', () => setMuted(!(video.muted || video.volume === 0)));
  $('volume').addEventListener('input', () => {
    video.volume = $('volume').value / 100;
    if (video.volume > 0 && video.muted) setMuted(false);
    showSound();
  });
  $('layer').addEventListener('change', () => { layer = $('layer').value; again(); });
  addEventListener('pagehide', () => { if (wanted) stop(); });
  follow();
  if (query.get('autostart') === '0') stop();
  else start();
}

if (stream) begin();
else pick();
