// The console: asks this node and its peers for their status each second.

import { $, age, bitrate, count, el, figure, showState, text } from './format.js';
import { fetchStatus, playURL, publishURL, showNode } from './node.js';
import { Topology } from './topology.js';

window.delta = { state: 'loading', status: null, peers: {} };

const topology = new Topology({ network: $('network'), links: $('link-rows'), fetches: $('fetch-rows'), press });
let wake = null; // ends the pause between two polls

async function poll() {
  try {
    const status = await fetchStatus();
    window.delta.status = status;
    window.delta.peers = await askPeers(status.peers);
    render(status, window.delta.peers);
    showState('live', 'Live', 'good');
  } catch {
    showState('offline', 'The node does not answer', 'bad');
  }
}

// askPeers returns the status of each peer by URL; null where none came.
async function askPeers(peers) {
  const asked = await Promise.all(peers.map((p) => (p.killed ? null : fetchStatus(p.url, 900).catch(() => null))));
  return Object.fromEntries(peers.map((p, i) => [p.url, asked[i]]));
}

function render(status, peers) {
  showNode(status);
  const name = status.node.name || status.node.id;
  $('title').textContent = name;
  document.title = `${name} – delta`;
  $('link-publish').hidden = !status.can_publish;
  topology.render(status, peers);
  $('no-links').hidden = $('link-rows').childElementCount > 0;
  $('fetches').hidden = $('fetch-rows').childElementCount === 0;
  figure('publishers', count(status.sessions.publishers));
  figure('viewers', count(status.sessions.viewers));
  figure('links', count(status.sessions.links));
  figure('bitrate-in', bitrate(status.totals.bitrate_in_bps));
  figure('bitrate-out', bitrate(status.totals.bitrate_out_bps));
  figure('bytes-out', bytes(status.totals.bytes_out));
  $('streams').replaceChildren(...status.streams.map((s) => streamCard(s, status, peers)));
  $('no-streams').hidden = status.streams.length > 0;
  renderElsewhere(status, peers);
}

function bytes(n) {
  if (n >= 1e9) return [(n / 1e9).toFixed(2), 'GB'];
  if (n >= 1e6) return [(n / 1e6).toFixed(1), 'MB'];
  return [(n / 1e3).toFixed(0), 'kB'];
}

// press kills or restores a node.
async function press(action, name) {
  const note = $('refused');
  try {
    const response = await fetch(`/${action}?node=${encodeURIComponent(name)}`, { method: 'POST' });
    note.hidden = response.ok;
    if (!response.ok) note.textContent = (await response.text()).trim();
  } catch {
    note.hidden = false;
    note.textContent = 'The node does not answer.';
  }
  wake?.();
}

function streamCard(stream, status, peers) {
  const card = el('article', { className: 'card stream' });
  card.dataset.stream = stream.id;
  const tone = { live: 'good', ended: 'bad' }[stream.state] || 'busy';
  const state = el('span', { className: 'pill', textContent: stream.state });
  state.dataset.tone = tone;
  const since = age(stream.since, Date.parse(status.time));
  card.append(el('div', { className: 'head' },
    el('h3', { textContent: stream.id }), state,
    el('span', { className: 'soft small', textContent: [stream.source, since && `for ${since}`, stream.path.length > 1 && `by way of ${stream.path.join(' › ')}`].filter(Boolean).join(', ') }),
    el('span', { className: 'end soft small', textContent: audience(stream) })));
  if (stream.tracks.length > 0) card.append(el('div', { className: 'scroll' }, trackTable(stream.tracks)));
  const links = playLinks(stream.id, status, peers);
  if (links.length > 0) card.append(el('div', { className: 'play' }, el('span', { className: 'soft small', textContent: 'Play' }), ...links));
  return card;
}

function audience({ viewers, downstreams }) {
  const words = [`${viewers} ${viewers === 1 ? 'viewer' : 'viewers'}`];
  if (downstreams > 0) words.push(`${downstreams} ${downstreams === 1 ? 'node' : 'nodes'} downstream`);
  return words.join(', ');
}

// playLinks leads to the stream on this node and on each other that plays.
function playLinks(stream, status, peers) {
  const link = (href, words, first) => el('a', { className: first ? 'button slim primary' : 'button slim', href, textContent: words });
  const links = [];
  if (status.can_play) links.push(link(playURL(stream), 'here', true));
  for (const peer of status.peers) {
    if (peers[peer.url]?.can_play) links.push(link(playURL(stream, peer.url), `on ${peer.name}`, false));
  }
  return links;
}

function trackTable(tracks) {
  const most = Math.max(1, ...tracks.flatMap((t) => t.layers.map((l) => l.bitrate_bps)));
  const body = el('tbody');
  for (const track of tracks) {
    for (const layer of track.layers) body.append(layerRow(track, layer, most));
  }
  const heads = [['Track'], ['Codec'], ['Layer'], ['Bitrate', 'n'], [''], ['Packets', 'n'], ['Keyframes', 'n'], ['Lost', 'n']];
  const head = el('tr', {}, ...heads.map(([words, className = '']) => el('th', { textContent: words, className })));
  return el('table', {}, el('thead', {}, head), body);
}

function layerRow(track, layer, most) {
  const fill = el('i');
  fill.style.width = `${Math.round(100 * layer.bitrate_bps / most)}%`;
  const cell = (words, className = '') => el('td', { textContent: words, className });
  return el('tr', {},
    cell(track.kind), cell(track.codec), cell(layer.name || '–'),
    cell(text(bitrate(layer.bitrate_bps)), 'n'),
    el('td', {}, el('span', { className: 'meter' }, fill)),
    cell(text(count(layer.packets)), 'n'),
    cell(track.kind === 'video' ? text(count(layer.keyframes)) : '–', 'n'),
    cell(text(count(layer.lost)), 'n'));
}

// renderElsewhere offers, where nothing is here, what other nodes have.
function renderElsewhere(status, peers) {
  if (status.streams.length > 0) return;
  const known = new Set(Object.values(peers).flatMap((p) => (p ? p.streams.map((s) => s.id) : [])));
  const links = status.can_play ? [...known].map((id) => el('a', { className: 'button slim', href: playURL(id), textContent: `Play ${id} here` })) : [];
  if (links.length === 0 && !status.can_publish) {
    const origin = status.peers.find((p) => peers[p.url]?.can_publish);
    if (origin) links.push(el('a', { className: 'button slim', href: publishURL(origin.url), textContent: `Publish on ${origin.name}` }));
  }
  $('elsewhere').replaceChildren(...links);
}

async function run() {
  for (;;) {
    await poll();
    await new Promise((resolve) => {
      wake = resolve;
      setTimeout(resolve, 1000);
    });
  }
}

run();
