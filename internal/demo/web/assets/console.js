// The console: asks its own node, each second, what it knows of the network.

import { Confirmation } from './confirm.js';
import { $, age, ago, bitrate, count, el, figure, showState, text } from './format.js';
import { playURL, publishURL, showNode } from './node.js';
import { Network } from './network.js';
import { said } from './sentences.js';
import { keepToken, takeToken } from './token.js';
import { Topology } from './topology.js';

window.delta = { state: 'loading', status: null, knowledge: null };

const network = new Network();
const topology = new Topology({ network: $('network'), links: $('link-rows'), fetches: $('fetch-rows'), press });
const confirmation = new Confirmation($('confirm'));
let answered = 0; // when the node did last (performance.now()); 0: never
let wake = null; // ends the pause between two polls

async function poll() {
  try {
    const { status, knowledge } = await network.ask();
    answered = performance.now();
    Object.assign(window.delta, { status, knowledge });
    render(status, knowledge);
    set('live', 'Live', 'good', '');
  } catch {
    const { says, todo } = said({ code: 'silent' });
    if (!answered) {
      set('offline', 'No answer', 'bad', `${says} ${todo}`);
      return;
    }
    const seconds = (performance.now() - answered) / 1000;
    window.delta.knowledge = asOf(window.delta.knowledge, seconds);
    render(window.delta.status, window.delta.knowledge);
    set('offline', 'No answer', 'bad', `${says} ${todo} This page shows how it was ${ago(seconds)}.`);
  }
}

// asOf returns knowledge as that of the past, when the node has answered so many seconds ago.
function asOf(knowledge, seconds) {
  const past = (node) => ({ ...node, state: node.state === 'current' ? 'stale' : node.state, age: seconds, problem: node.problem || ' ' });
  return { ...knowledge, canKill: false, past: true, nodes: knowledge.nodes.map(past) };
}

function set(state, words, tone, message) {
  window.delta.state = state;
  showState($('state'), state, words, tone);
  $('offline').textContent = message;
  $('offline').hidden = !message;
}

function render(status, knowledge) {
  const { nodes, mine, complete, refused } = knowledge;
  showNode(status);
  $('title').textContent = mine.name;
  document.title = `${mine.name} – delta`;
  $('link-publish').hidden = !status.can_publish;
  $('link-publish').href = publishURL(status.site);
  topology.render(knowledge);
  $('alone').hidden = complete || refused || nodes.length < 2;
  $('access').hidden = !refused;
  $('no-links').hidden = $('link-rows').childElementCount > 0;
  $('links-scroll').hidden = !$('no-links').hidden;
  $('fetches').hidden = $('fetch-rows').childElementCount === 0;
  figure('publishers', count(mine.sessions.publishers));
  figure('viewers', count(mine.sessions.viewers));
  figure('links', count(mine.links.length));
  figure('bitrate-in', bitrate(mine.totals.in));
  figure('bitrate-out', bitrate(mine.totals.out));
  figure('bytes-out', bytes(mine.totals.bytesOut ?? status.totals.bytes_out));
  const streams = streamsOf(nodes);
  $('streams').replaceChildren(...streams.map((s) => streamCard(s, status, knowledge)));
  $('no-streams').hidden = streams.length > 0;
  renderEmpty(status, knowledge, streams);
}

function bytes(n) {
  if (n === undefined) return ['–', ''];
  if (n >= 1e9) return [(n / 1e9).toFixed(2), 'GB'];
  if (n >= 1e6) return [(n / 1e6).toFixed(1), 'MB'];
  return [(n / 1e3).toFixed(0), 'kB'];
}

// press kills a node, if the person is sure, or restores it.
async function press(action, name) {
  if (action === 'kill' && !await confirmation.ask(name)) return;
  const note = $('refused');
  try {
    const response = await fetch(`/${action}?node=${encodeURIComponent(name)}`, { method: 'POST' });
    note.hidden = response.ok;
    if (!response.ok) note.textContent = (await response.text()).trim();
  } catch {
    note.hidden = false;
    note.textContent = said({ code: 'unreachable' }).says;
  }
  wake?.();
}

// streamsOf returns each stream once: { id, nodes that have it, best } with the report that
// says most of it, which is this node's, or else that of where it is published.
function streamsOf(nodes) {
  const found = new Map();
  for (const node of nodes) {
    for (const stream of node.streams) {
      const rank = (node.state === 'current' ? 4 : 0) + (node.mine ? 2 : 0) + (stream.published ? 1 : 0);
      const entry = found.get(stream.id) ?? { id: stream.id, nodes: [], rank: -1, best: null, at: null };
      entry.nodes.push({ node, stream });
      if (rank > entry.rank) Object.assign(entry, { rank, best: stream, at: node });
      found.set(stream.id, entry);
    }
  }
  return [...found.values()].sort((a, b) => a.id.localeCompare(b.id, 'en', { numeric: true }));
}

function streamCard({ id, nodes, best, at }, status, knowledge) {
  const stale = at.state !== 'current';
  const card = el('article', { className: stale ? 'card stream past' : 'card stream' });
  card.dataset.stream = id;
  const live = nodes.some(({ node, stream }) => stream.live && node.state === 'current');
  const state = el('span', { className: 'pill', textContent: stale ? 'stale' : live ? 'live' : 'waiting' });
  state.dataset.tone = stale ? 'idle' : live ? 'good' : 'busy';
  const since = age(best.started, knowledge.at);
  const where = best.published ? (at.mine ? 'published here' : `published at ${at.name}`) : `from ${[...best.path, at.name].join(' › ')}`;
  card.append(el('div', { className: 'head' },
    el('h3', { textContent: id }), state,
    el('span', { className: 'soft small', textContent: [stale ? `as it was ${ago(at.age)}` : where, since && `for ${since}`, lateness(best, at)].filter(Boolean).join(', ') }),
    el('span', { className: 'end soft small', textContent: audience(nodes) })));
  if (best.tracks.some((t) => t.layers.length > 0)) card.append(scroll(`Tracks of ${id}`, trackTable(best.tracks)));
  const links = playLinks(id, status, knowledge);
  if (links.length > 0) card.append(el('div', { className: 'play' }, el('span', { className: 'soft small', textContent: 'Play' }), ...links));
  return card;
}

// scroll has a table that is wider than the page be scrolled, by keyboard as well.
function scroll(label, table) {
  const box = el('div', { className: 'scroll', tabIndex: 0, role: 'region' }, table);
  box.setAttribute('aria-label', label);
  return box;
}

// lateness says how long media takes to the node, hop by hop.
function lateness({ delays_ms: delays = [] }, at) {
  if (delays.length === 0) return '';
  const sum = delays.reduce((a, b) => a + b, 0);
  const hops = delays.length > 1 ? ` (${delays.map((d) => d.toFixed(1)).join(' + ')})` : '';
  return `${sum.toFixed(1)} ms from the origin to ${at.mine ? 'here' : at.name}${hops}`;
}

// audience counts the viewers of a stream at all nodes that answer, or did.
function audience(all) {
  const current = all.filter(({ node }) => node.state === 'current');
  const nodes = current.length > 0 ? current : all;
  const viewers = nodes.reduce((sum, { stream }) => sum + stream.viewers, 0);
  const words = [`${viewers} ${viewers === 1 ? 'viewer' : 'viewers'}`];
  if (nodes.length > 1) words.push(`carried by ${nodes.length} nodes`);
  return words.join(', ');
}

// playLinks leads to the stream on this node and on each other that serves viewers.
function playLinks(stream, status, { nodes }) {
  const link = (href, words, first) => el('a', { className: first ? 'button slim primary' : 'button slim', href, textContent: words });
  const links = status.can_play ? [link(playURL(stream, status.site), 'here', true)] : [];
  for (const node of nodes) {
    if (!node.mine && node.url && node.state === 'current' && node.roles.includes('edge')) links.push(link(playURL(stream, node.url), `on ${node.name}`, false));
  }
  return links;
}

function trackTable(tracks) {
  const most = Math.max(1, ...tracks.flatMap((t) => t.layers.map((l) => l.bitrate)));
  const body = el('tbody');
  for (const track of tracks) {
    for (const layer of track.layers) body.append(layerRow(track, layer, most));
  }
  const heads = [['Track'], ['Codec'], ['Layer'], ['Bitrate', 'n'], ['', 'bar'], ['Packets', 'n'], ['Keyframes', 'n'], ['Lost', 'n']];
  const head = el('tr', {}, ...heads.map(([words, className = '']) => el(words ? 'th' : 'td', { textContent: words, className })));
  return el('table', {}, el('thead', {}, head), body);
}

function layerRow(track, layer, most) {
  const fill = el('i');
  fill.style.width = `${Math.round(100 * layer.bitrate / most)}%`;
  const cell = (words, className = '') => el('td', { textContent: words, className });
  return el('tr', {},
    cell(track.kind), cell(track.codec), cell(layer.name || '–'),
    cell(text(bitrate(layer.bitrate)), 'n'),
    el('td', { className: 'bar' }, el('span', { className: 'meter' }, fill)),
    cell(text(count(layer.packets)), 'n'),
    cell(track.kind === 'video' ? text(count(layer.keyframes)) : '–', 'n'),
    cell(text(count(layer.lost)), 'n'));
}

// renderEmpty leads to where a stream can be published, where there is none.
function renderEmpty(status, { nodes }, streams) {
  if (streams.length > 0) return;
  const origin = nodes.find((n) => n.roles.includes('origin') && n.url && !n.mine);
  const links = status.can_publish || !origin ? [] : [el('a', { className: 'button slim', href: publishURL(origin.url), textContent: `Publish on ${origin.name}` })];
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

$('access').addEventListener('submit', (event) => {
  event.preventDefault();
  keepToken($('token').value);
  network.retry($('token').value);
  wake?.();
});
network.token = takeToken();
run();
