// The publish page.

import { $, bitrate, count, el, figure, millis, showState, Spark, text } from './format.js';
import { fetchStatus, playURL, publishURL, showNode } from './node.js';
import { Programs } from './programs.js';
import { Publisher } from './publisher.js';
import { endpoint } from './signaling.js';
import { Choice } from './sources.js';
import { keepToken, takeToken } from './token.js';
import { sendableCodecs } from './whip.js';

const spark = new Spark($('spark'));
const choice = new Choice($('camera'), $('microphone'));
const programs = new Programs();
const publisher = new Publisher({ endpoint: ({ stream }) => endpoint('whip', stream), show, tell });
window.delta = publisher.report;

// ---- what the publisher tells ----

function show(state, words, tone, reason) {
  showState($('state'), state, words, tone);
  $('reason').textContent = reason;
  $('reason').hidden = !reason;
  const on = publisher.running;
  for (const field of $('form').querySelectorAll('input, select')) field.disabled = on;
  $('start').disabled = on;
  $('stop').disabled = !on;
  if (state === 'publishing') showWatch($('stream').value.trim());
  else $('watch-card').hidden = true;
}

function tell(name, value) {
  if (name === 'media') showMedia(value);
  else if (name === 'stats') showStats(value);
  else if (name === 'uplink') showUplink(value);
}

function showUplink(words) {
  $('uplink').textContent = words;
  $('uplink').hidden = !words;
}

function showMedia(media) {
  window.delta.media = media;
  $('preview').srcObject = media;
  if (media) $('preview').play().catch(() => {});
  $('veil').hidden = Boolean(media);
  if (media) choice.list(); // now the browser tells the devices' names
}

// showStats shows figures; null: there are none, since nothing is sent.
function showStats(s) {
  $('sending').hidden = !s;
  $('badge').hidden = !s?.width;
  showLayers(s?.layers ?? []);
  if (!s) {
    spark.clear();
    return;
  }
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

// showWatch leads to the stream on this node and on those that serve viewers.
async function showWatch(stream) {
  const status = await fetchStatus().catch(() => null);
  if (!status || publisher.report.state !== 'publishing') return;
  const link = (href, words) => el('a', { className: 'button slim', href, textContent: words, target: '_blank', rel: 'noopener' });
  const links = status.can_play ? [link(playURL(stream), 'here')] : [];
  for (const peer of status.peers) if (peer.role === 'edge' && peer.url) links.push(link(playURL(stream, peer.url), `on ${peer.name}`));
  $('watch').replaceChildren(...links);
  $('watch-card').hidden = links.length === 0;
}

// ---- the form ----

function readForm() {
  return {
    stream: $('stream').value.trim(),
    source: document.querySelector('input[name=source]:checked').value,
    camera: choice.camera,
    microphone: choice.microphone,
    codec: $('codec').value,
    bitrate: (Number.parseInt($('bitrate').value, 10) || 0) * 1000,
    simulcast: $('simulcast').checked,
    stereo: $('stereo').checked,
    token: $('token').value,
  };
}

function showDevices() {
  const { source } = readForm();
  $('camera-field').hidden = source !== 'camera';
  $('microphone-field').hidden = source !== 'camera';
}

function showPrograms() {
  const { stream, token } = readForm();
  programs.show(stream, token !== '');
}

function fillFromAddress() {
  const query = new URLSearchParams(location.search);
  $('codec').append(...sendableCodecs().map((c) => el('option', { value: c, textContent: c })));
  if (!navigator.mediaDevices?.getDisplayMedia) $('source-screen').disabled = true;
  for (const name of ['stream', 'bitrate']) if (query.has(name)) $(name).value = query.get(name);
  $('token').value = takeToken();
  const codec = (query.get('codec') || '').toUpperCase();
  if ([...$('codec').options].some((o) => o.value === codec)) $('codec').value = codec;
  for (const name of ['simulcast', 'stereo']) if (query.has(name)) $(name).checked = query.get(name) !== '0';
  const source = document.querySelector(`#source input[value="${CSS.escape(query.get('source') || '')}"]`);
  if (source) source.checked = true;
  return query.get('autostart') === '1';
}

async function showWhere() {
  const status = await fetchStatus().catch(() => null);
  if (!status) return;
  showNode(status);
  if (status.can_publish) return;
  const origins = status.peers.filter((p) => p.role === 'origin' && p.url);
  const links = origins.flatMap((p, i) => [i ? ', ' : ' ', el('a', { href: publishURL(p.url), textContent: p.name })]);
  $('not-here').replaceChildren('This node accepts no publishers.', ...(links.length ? [' Publish on', ...links, '.'] : []));
  $('not-here').hidden = false;
  $('addresses').hidden = true;
  $('start').disabled = true;
}

async function begin() {
  const autostart = fillFromAddress();
  showDevices();
  showPrograms();
  showWhere();
  $('form').addEventListener('submit', (event) => { event.preventDefault(); publisher.start(readForm()); });
  $('form').addEventListener('change', showDevices);
  $('form').addEventListener('input', showPrograms);
  $('token').addEventListener('change', () => keepToken($('token').value));
  $('stop').addEventListener('click', () => publisher.stop());
  addEventListener('pagehide', () => publisher.stop());
  await choice.list();
  if (autostart) publisher.start(readForm());
}

begin();
