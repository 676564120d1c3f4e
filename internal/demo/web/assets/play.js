// The play page.

import { $, bitrate, count, el, figure, millis, showState, Spark } from './format.js';
import { fetchStatus, playURL, showNode } from './node.js';
import { delay } from './patience.js';
import { Player } from './player.js';
import { endpoint } from './signaling.js';
import { Stage } from './stage.js';
import { keepToken, takeToken } from './token.js';

const query = new URLSearchParams(location.search);
const stream = query.get('stream') || '';
const stage = new Stage($('video'), $('spare'));
const sparkBitrate = new Spark($('spark'));
const sparkLatency = new Spark($('spark-latency'), { floor: 50 });
const player = new Player({
  stage, stream, token: takeToken(), events: query.get('events') !== '0', show, tell,
  endpoint: (layer) => endpoint('whep', stream, { layer }),
});
player.layer = query.get('layer') || '';
window.delta = player.report;

// ---- what the player tells ----

function show(state, words, tone, message) {
  showState($('state'), state, words, tone);
  $('message').textContent = message;
  $('veil').hidden = !message;
  $('spinner').hidden = ['idle', 'refused'].includes(state);
  if (state !== 'playing') $('badge').hidden = true;
  $('start').hidden = player.wanted;
  $('stop').hidden = !player.wanted;
  const { code, status } = player.report.problem ?? {};
  $('token-card').hidden = state !== 'refused' || !(['unauthorized', 'expired', 'forbidden'].includes(code) || [401, 403].includes(status));
  showSound();
}

function tell(name, value) {
  if (name === 'first') figure('s-first', millis(value, 0));
  else if (name === 'stats') showStats(value);
  else if (name === 'latency') showLatency(value);
  else if (name === 'bandwidth') showBandwidth(value);
}

function showBandwidth(words) {
  $('bandwidth').textContent = words;
  $('bandwidth').hidden = !words;
}

function showLatency(latency) {
  $('latency').hidden = !latency;
  $('badge').hidden = !latency || player.report.state !== 'playing';
  if (!latency) return;
  $('s-latency').textContent = latency.p50.toFixed(0);
  $('s-latency95').textContent = latency.p95.toFixed(0);
  $('badge').textContent = `${latency.p50.toFixed(0)} ms glass to glass`;
  sparkLatency.add(latency.p50);
}

// showStats shows figures; null: there are none, since nothing is received.
function showStats(s) {
  if (!s) {
    for (const dd of document.querySelectorAll('#network dd, #picture dd')) dd.textContent = '–';
    figure('s-reconnects', count(player.report.reconnects));
    sparkBitrate.clear();
    return;
  }
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
  figure('s-reconnects', count(player.report.reconnects));
  figure('s-first', millis(player.report.firstFrame, 0));
  sparkBitrate.add(s.bitrate);
}

// ---- the page ----

function showSound() {
  const { heard } = stage;
  const muted = heard.muted || heard.volume === 0;
  $('mute').textContent = muted ? 'Unmute' : 'Mute';
  $('mute').setAttribute('aria-pressed', String(muted));
  $('sound').hidden = !heard.muted || player.report.state !== 'playing';
}

function setMuted(muted) {
  const { heard } = stage;
  heard.muted = muted;
  if (!muted && heard.volume === 0) {
    heard.volume = 0.8;
    $('volume').value = 80;
  }
  heard.play().catch(() => {});
  showSound();
}

async function fullscreen() {
  if (document.fullscreenElement) await document.exitFullscreen();
  else if ($('stage').requestFullscreen) await $('stage').requestFullscreen();
  else stage.shown.webkitEnterFullscreen?.(); // iPhone
}

// showLayers offers the layers of the stream, once they are known.
function showLayers(status) {
  const found = status.streams.find((s) => s.id === stream);
  const names = found?.tracks.find((t) => t.kind === 'video' && t.layers.length > 1)?.layers.map((l) => l.name) ?? [];
  if (names.join() === [...$('layer').options].slice(1).map((o) => o.value).join()) return;
  const words = { l: 'Low', m: 'Medium', h: 'High' };
  $('layer').replaceChildren(el('option', { value: '', textContent: 'Best' }),
    ...names.map((name) => el('option', { value: name, textContent: words[name] || name })));
  $('layer').value = names.includes(player.layer) ? player.layer : '';
  $('layer-label').hidden = names.length === 0;
}

// follow shows what the node says that plays. While nothing plays, this one is asked.
async function follow() {
  for (;;) {
    const { location: session, state } = player.report;
    const status = ['playing', 'waiting'].includes(state) ? await fetchStatus(session ?? '', { stream }).catch(() => null) : null;
    if (status) {
      showNode(status);
      showLayers(status);
    }
    await delay(status ? 3000 : 500);
  }
}

async function pick() {
  $('picker').hidden = false;
  $('pick-token').value = takeToken();
  $('picker').addEventListener('submit', () => keepToken($('pick-token').value));
  const status = await fetchStatus().catch(() => null);
  if (!status) return;
  showNode(status);
  $('picks').replaceChildren(...status.streams.map((s) => el('a', { className: 'button', href: playURL(s.id), textContent: s.id })));
}

function begin() {
  $('player').hidden = false;
  $('title').textContent = stream;
  document.title = `${stream} – delta`;
  stage.heard.volume = $('volume').value / 100;
  $('start').addEventListener('click', () => player.start());
  $('stop').addEventListener('click', () => player.stop());
  $('reload').addEventListener('click', () => player.again());
  $('fullscreen').addEventListener('click', () => fullscreen().catch(() => {}));
  $('sound').addEventListener('click', () => setMuted(false));
  $('mute').addEventListener('click', () => setMuted(!(stage.heard.muted || stage.heard.volume === 0)));
  $('volume').addEventListener('input', () => {
    const { heard } = stage;
    heard.volume = $('volume').value / 100;
    if (heard.volume > 0 && heard.muted) setMuted(false);
    showSound();
  });
  $('layer').addEventListener('change', () => { player.layer = $('layer').value; player.again(); });
  $('token-card').addEventListener('submit', (event) => {
    event.preventDefault();
    player.token = $('token').value;
    keepToken(player.token);
    player.start();
  });
  addEventListener('pagehide', () => { if (player.wanted) player.stop(); });
  follow();
  if (query.get('autostart') === '0') player.stop();
  else player.start();
}

if (stream) begin();
else pick();
