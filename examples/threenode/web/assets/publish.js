// The publish page.

import { $, bitrate, count, el, figure, millis, showState, Spark, text } from './format.js';
import { fetchStatus, playURL, publishURL, showNode } from './node.js';
import { Scene } from './scene.js';
import { endpoint } from './signaling.js';
import { codecName, Reading, sum } from './stats.js';
import { sendableCodecs, WhipClient } from './whip.js';

window.delta = { state: 'idle', reason: '', stats: null, frames: 0, location: null, pc: null };

const spark = new Spark($('spark'));
let running = null; // { client, media, scene, timer } of the session that is on

// ---- sources ----

async function openSource(kind, { simulcast, stereo }) {
  if (kind === 'canvas') {
    const scene = new Scene();
    return { media: scene.start(simulcast ? 2 : 1), scene };
  }
  const devices = navigator.mediaDevices;
  if (!devices) throw new Error('The browser gives cameras and screens only to pages from https or localhost.');
  if (kind === 'screen') {
    return { media: await devices.getDisplayMedia({ video: { frameRate: 30 }, audio: true }) };
  }
  const audio = stereo ? { channelCount: 2, echoCancellation: false, noiseSuppression: false, autoGainControl: false } : true;
  return { media: await devices.getUserMedia({ video: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } }, audio }) };
}

function explain(error) {
  const words = {
    NotAllowedError: 'The browser was not allowed to use the source.',
    NotFoundError: 'No camera or microphone was found.',
    NotReadableError: 'The camera or microphone is in use by another program.',
  };
  return words[error.name] || error.message || String(error);
}

// ---- start and stop ----

async function start() {
  if (running) return;
  const wish = readForm();
  const session = { client: null, media: null, scene: null, timer: 0 };
  running = session;
  lock(true);
  fail('');
  showState('connecting', 'Connecting', 'busy');
  try {
    Object.assign(session, await openSource(wish.source, wish));
    if (running !== session) return release(session);
    show(session.media);
    session.client = new WhipClient({ ...wish, url: endpoint('whip', wish.stream), media: session.media, sharp: wish.source !== 'camera' });
    window.delta.pc = session.client.pc;
    session.client.addEventListener('lost', ({ detail }) => stop(session, detail));
    session.media.getVideoTracks()[0]?.addEventListener('ended', () => stop(session, 'The source has ended.'));
    await session.client.start();
    if (running !== session) return undefined;
    window.delta.location = session.client.location;
    showState('publishing', 'Publishing', 'good');
    begin(session, wish);
  } catch (error) {
    if (running === session) stop(session, explain(error));
  }
  return undefined;
}

// stop ends a session; with a reason, it has failed.
function stop(session, reason = '') {
  if (!session || running !== session) return;
  running = null;
  release(session);
  lock(false);
  $('preview').srcObject = null;
  $('veil').hidden = false;
  $('badge').hidden = true;
  $('watch-card').hidden = true;
  fail(reason);
  if (reason) showState('failed', 'Failed', 'bad');
  else showState('idle', 'Idle', 'idle');
}

function release(session) {
  clearInterval(session.timer);
  session.client?.stop();
  session.scene?.stop();
  session.media?.getTracks().forEach((track) => track.stop());
}

function begin(session, wish) {
  $('sending').hidden = false;
  spark.clear();
  const reading = new Reading();
  const tick = async () => {
    const now = await reading.take(session.client.pc);
    if (running === session) showStats(now);
  };
  session.timer = setInterval(tick, 1000);
  tick();
  showWatch(wish.stream);
}

// ---- figures ----

function showStats(now) {
  const video = now.of('outbound-rtp', 'video').filter((r) => r.active !== false || r.bytesSent > 0);
  const [audio] = now.of('outbound-rtp', 'audio');
  const remote = now.of('remote-inbound-rtp', 'video');
  const best = video.reduce((a, b) => ((b.frameWidth || 0) > (a?.frameWidth || 0) ? b : a), video[0]);
  const total = (key) => sum(video.map((r) => r[key])) ?? 0;
  const loss = remote.length > 0 ? Math.max(...remote.map((r) => r.fractionLost ?? 0)) : undefined;
  const rtt = remote.find((r) => r.roundTripTime !== undefined)?.roundTripTime * 1000;
  const stats = {
    width: best?.frameWidth, height: best?.frameHeight, fps: best?.framesPerSecond,
    bitrate: sum(video.map((r) => now.rate(r, 'bytesSent') * 8)),
    audioBitrate: audio && now.rate(audio, 'bytesSent') * 8,
    codec: best && codecName(now.get(best.codecId)), audioCodec: audio && codecName(now.get(audio.codecId)),
    encodeMillis: best && now.mean(best, 'totalEncodeTime', 'framesEncoded') * 1000,
    limit: best?.qualityLimitationReason, rtt: Number.isFinite(rtt) ? rtt : now.roundTrip, loss,
    nack: total('nackCount'), pli: total('pliCount'), fir: total('firCount'),
    framesSent: best?.framesSent ?? 0, keyframes: total('keyFramesEncoded'),
    layers: video.filter((r) => r.rid).map((r) => layerStats(now, r)),
  };
  window.delta.stats = stats;
  window.delta.frames = stats.framesSent;
  showFigures(stats);
  showLayers(stats.layers);
}

function layerStats(now, r) {
  return {
    rid: r.rid, width: r.frameWidth, height: r.frameHeight, fps: r.framesPerSecond,
    bitrate: now.rate(r, 'bytesSent') * 8, pli: r.pliCount, limit: r.qualityLimitationReason,
  };
}

function showFigures(s) {
  figure('s-resolution', s.width ? [`${s.width}×${s.height}`, ''] : undefined);
  figure('s-fps', [s.fps ?? '–', s.fps ? 'fps' : '']);
  figure('s-bitrate', bitrate(s.bitrate));
  figure('s-audio', bitrate(s.audioBitrate));
  figure('s-codec', [[s.codec, s.audioCodec].filter(Boolean).join(' + ') || '–', '']);
  figure('s-encode', millis(s.encodeMillis));
  figure('s-limit', [!s.limit || s.limit === 'none' ? 'nothing' : s.limit, '']);
  figure('s-rtt', millis(s.rtt));
  figure('s-loss', s.loss === undefined ? undefined : [(s.loss * 100).toFixed(1), '%']);
  figure('s-nack', count(s.nack));
  figure('s-pli', count(s.pli));
  figure('s-fir', count(s.fir));
  spark.add(s.bitrate);
  $('badge').hidden = !s.width;
  $('badge').textContent = `${s.width}×${s.height}  ${text(bitrate(s.bitrate))}`;
}

function showLayers(layers) {
  $('layers-card').hidden = layers.length === 0;
  const order = ['l', 'm', 'h'];
  layers.sort((a, b) => order.indexOf(a.rid) - order.indexOf(b.rid));
  $('layers').replaceChildren(...layers.map((l) => {
    const cell = (words, className = '') => el('td', { textContent: words, className });
    const row = el('tr', {}, cell(l.rid), cell(l.width ? `${l.width}×${l.height}` : 'not sent'),
      cell(l.fps ?? '–', 'n'), cell(text(bitrate(l.bitrate)), 'n'), cell(l.pli ?? 0, 'n'), cell(l.limit ?? '–'));
    row.dataset.rid = l.rid;
    return row;
  }));
}

async function showWatch(stream) {
  const status = await fetchStatus().catch(() => null);
  if (!status || !running) return;
  const link = (href, words) => el('a', { className: 'button slim', href, textContent: words, target: '_blank', rel: 'noopener' });
  const links = status.can_play ? [link(playURL(stream), 'here')] : [];
  // An origin that serves no viewers itself may still be told of ones that do.
  const others = await Promise.all(status.peers.map((p) => fetchStatus(p.url).catch(() => null)));
  status.peers.forEach((peer, i) => { if (others[i]?.can_play) links.push(link(playURL(stream, peer.url), `on ${peer.name}`)); });
  $('watch').replaceChildren(...links);
  $('watch-card').hidden = links.length === 0;
}

// ---- the form ----

function readForm() {
  return {
    stream: $('stream').value.trim(),
    source: document.querySelector('input[name=source]:checked').value,
    codec: $('codec').value,
    bitrate: (Number.parseInt($('bitrate').value, 10) || 0) * 1000,
    simulcast: $('simulcast').checked,
    stereo: $('stereo').checked,
    token: $('token').value,
  };
}

function lock(on) {
  for (const field of $('form').querySelectorAll('input, select')) field.disabled = on;
  $('start').disabled = on;
  $('stop').disabled = !on;
}

function fail(reason) {
  window.delta.reason = reason;
  $('reason').textContent = reason;
  $('reason').hidden = !reason;
}

function show(media) {
  $('preview').srcObject = media;
  $('preview').play().catch(() => {});
  $('veil').hidden = true;
}

function fillFromAddress() {
  const query = new URLSearchParams(location.search);
  $('codec').append(...sendableCodecs().map((c) => el('option', { value: c, textContent: c })));
  if (!navigator.mediaDevices?.getDisplayMedia) $('source-screen').disabled = true;
  for (const name of ['stream', 'bitrate', 'token']) if (query.has(name)) $(name).value = query.get(name);
  const codec = (query.get('codec') || '').toUpperCase();
  if ([...$('codec').options].some((o) => o.value === codec)) $('codec').value = codec;
  for (const name of ['simulcast', 'stereo']) if (query.has(name)) $(name).checked = query.get(name) !== '0';
  const source = document.querySelector(`#source input[value="${CSS.escape(query.get('source') || '')}"]`);
  if (source) source.checked = true;
  if (query.has('token')) $('advanced').open = true;
  return query.get('autostart') === '1';
}

async function showWhere() {
  const status = await fetchStatus().catch(() => null);
  if (!status) return;
  showNode(status);
  if (status.can_publish) return;
  const origins = status.peers.filter((p) => p.role === 'origin');
  const links = origins.flatMap((p, i) => [i ? ', ' : ' ', el('a', { href: publishURL(p.url), textContent: p.name })]);
  $('not-here').replaceChildren('This node takes no publishers.', ...(links.length ? [' Publish on', ...links, '.'] : []));
  $('not-here').hidden = false;
  $('start').disabled = true;
}

$('form').addEventListener('submit', (event) => { event.preventDefault(); start(); });
$('stop').addEventListener('click', () => stop(running));
addEventListener('pagehide', () => stop(running));
showWhere();
if (fillFromAddress()) start();
