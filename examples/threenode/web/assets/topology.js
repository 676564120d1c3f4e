// The network as it runs: nodes, the links between them, and what goes by these.

import { age, bitrate, el, millis, text } from './format.js';

const tiers = ['origin', 'relay', 'edge'];
const percent = (share) => `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;
const plural = (n, one, many) => `${n} ${n === 1 ? one : many}`;

function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// A Topology draws nodes as cards in columns from the publisher's side on, and
// wires between them; and fills the tables that say the same in words. Cards
// stay what they are from one status to the next, so that a button that is being
// pressed is still there.
export class Topology {
  #network;
  #links;
  #fetches;
  #press;
  #columns = new Map(); // by role
  #cards = new Map(); // by name
  #wires = svg('svg', { class: 'wires', id: 'wires', 'aria-hidden': 'true' });
  #drawn = []; // the links, as last drawn

  constructor({ network, links, fetches, press }) {
    this.#network = network;
    this.#links = links;
    this.#fetches = fetches;
    this.#press = press;
    network.append(this.#wires);
    new ResizeObserver(() => this.#draw()).observe(network);
  }

  render(status, peers) {
    const nodes = [
      { ...status.node, mine: true, status },
      ...status.peers.map((p) => ({ ...p, role: peers[p.url]?.node.role || p.role, status: peers[p.url] })),
    ];
    const order = (a, b) => tiers.indexOf(a.role) - tiers.indexOf(b.role) || (a.name || '').localeCompare(b.name || '', 'en', { numeric: true });
    nodes.sort(order);
    for (const node of nodes) this.#card(node).update(node, status.can_kill);
    this.#drawn = linksOf(nodes);
    this.#draw();
    this.#links.replaceChildren(...this.#drawn.map(linkRow));
    this.#fetches.replaceChildren(...nodes.flatMap((n) => (n.status ? n.status.fetches.map((f) => fetchRow(n, f)) : [])));
  }

  #card(node) {
    const name = node.name || node.id;
    let card = this.#cards.get(name);
    if (!card) {
      card = new Card(name, node, this.#press);
      this.#cards.set(name, card);
      this.#column(node.role).append(card.root);
    }
    return card;
  }

  #column(role) {
    if (!this.#columns.has(role)) {
      const column = el('div', { className: 'tier' });
      this.#columns.set(role, column);
      this.#network.append(column); // nodes come in the order of their tiers
    }
    return this.#columns.get(role);
  }

  // draw lays the wires from card to card. On each side of a card they are spread
  // in the order of where they lead to.
  #draw() {
    const frame = this.#network.getBoundingClientRect();
    const boxes = new Map([...this.#cards].map(([name, card]) => {
      const r = card.root.getBoundingClientRect();
      return [name, { left: r.left - frame.left, right: r.right - frame.left, top: r.top - frame.top, bottom: r.bottom - frame.top }];
    }));
    // Tiers stand beside each other, or one below the other where it is narrow.
    const tierOf = (name) => this.#cards.get(name).root.parentElement.getBoundingClientRect();
    const ends = this.#drawn.filter((l) => boxes.has(l.from) && boxes.has(l.to)).map((link) => {
      const a = boxes.get(link.from);
      const b = boxes.get(link.to);
      return { link, a, b, across: tierOf(link.to).left >= tierOf(link.from).right };
    });
    const place = (box, across, mine, all, other) => {
      const middle = (o) => (across ? o.top + o.bottom : o.left + o.right);
      const rank = all.filter((w) => middle(other(w)) < middle(other(mine))).length;
      const share = (rank + 1) / (all.length + 1);
      return across ? box.top + (box.bottom - box.top) * share : box.left + (box.right - box.left) * share;
    };
    const drawn = ends.map((w) => {
      const { link, a, b, across } = w;
      const out = place(a, across, w, ends.filter((o) => o.a === a && o.across === across), (o) => o.b);
      const into = place(b, across, w, ends.filter((o) => o.b === b && o.across === across), (o) => o.a);
      return across ? wire(link, [a.right, out], [b.left, into], [1, 0]) : wire(link, [out, a.bottom], [into, b.top], [0, 1]);
    });
    this.#wires.replaceChildren(...drawn.map((w) => w.g), ...drawn.map(label)); // no wire crosses out a label
  }
}

// wire is one link: a curve that leaves and arrives in a direction.
function wire(link, [x1, y1], [x2, y2], [dx, dy]) {
  const bend = (Math.abs(x2 - x1) * dx + Math.abs(y2 - y1) * dy) / 2;
  const path = svg('path', { d: `M${x1} ${y1} C${x1 + dx * bend} ${y1 + dy * bend} ${x2 - dx * bend} ${y2 - dy * bend} ${x2} ${y2}` });
  const g = svg('g', { class: link.streams.length > 0 ? 'wire carries' : 'wire', 'data-from': link.from, 'data-to': link.to }, path);
  return { g, path, link, at: dx ? 0.62 : null };
}

// label says what is known of a wire's link: nearer to its end, since many wires
// may begin at one place, and cross in the middle. Below each other, labels are
// wider than cards are apart, and stand in two rows.
function label({ path, link, at }) {
  const { x, y } = path.getPointAtLength(path.getTotalLength() * (at ?? 0.3 + 0.4 * link.row));
  const lines = [`${text(millis(link.rtt))} · ${percent(link.loss)} lost`];
  lines.push(link.streams.length > 0 ? text(bitrate(link.there)) : link.standby ? 'standby' : 'idle');
  const width = 6.4 * Math.max(...lines.map((l) => l.length));
  const kind = link.streams.length > 0 ? 'label carries' : link.standby ? 'label' : 'label idle';
  return svg('g', { class: kind },
    svg('rect', { x: x - width / 2, y: y - 16, width, height: 32, rx: 6 }),
    svg('text', { x, y: y - 3 }, svg('tspan', { x }, lines[0]), svg('tspan', { x, dy: 14 }, lines[1])));
}

// linksOf returns each link once, as the node sees it that stands nearer to the
// publisher, if that one answers.
function linksOf(nodes) {
  const found = new Map();
  const rank = new Map(nodes.map((n, i) => [n.name, i]));
  for (const node of nodes) {
    if (!node.status) continue;
    for (const l of node.status.links) {
      if (!rank.has(l.peer)) continue;
      const down = rank.get(node.name) < rank.get(l.peer);
      const key = down ? `${node.name} ${l.peer}` : `${l.peer} ${node.name}`;
      if (found.has(key)) continue;
      const [from, to] = key.split(' ');
      found.set(key, {
        key, from, to, age: age(l.up, Date.parse(node.status.time)), rtt: l.rtt_ms, loss: l.loss,
        there: down ? l.bitrate_out_bps : l.bitrate_in_bps, back: down ? l.bitrate_in_bps : l.bitrate_out_bps,
        streams: [...new Set([...l.fetched, ...l.served])].sort(),
        row: (rank.get(from) + rank.get(to)) % 2, // of its label
        standby: nodes.some((n) => n.name === to && n.status?.fetches.some((f) => f.standby === from)),
      });
    }
  }
  const order = (a, b) => rank.get(a.from) - rank.get(b.from) || rank.get(a.to) - rank.get(b.to);
  return [...found.values()].sort(order);
}

// A Card is one node.
class Card {
  constructor(name, { mine, role, url }, press) {
    this.name = name;
    this.link = mine ? el('span', { textContent: name }) : el('a', { textContent: name, href: url });
    this.facts = el('div', { className: 'facts' });
    this.carried = el('ul', { className: 'carried' });
    this.button = el('button', { type: 'button', hidden: true });
    this.button.addEventListener('click', async () => {
      this.button.disabled = true;
      await press(this.button.dataset.action, name);
      this.button.disabled = false;
    });
    this.root = el('div', { className: mine ? 'node mine' : 'node' },
      el('div', { className: 'name' }, el('span', { className: 'live' }), this.link,
        el('span', { className: mine ? 'tag mine' : 'tag', textContent: mine ? `${role} · this node` : role })),
      this.facts, this.carried, this.button);
    this.root.dataset.node = name;
  }

  update({ mine, killed, status }, canKill) {
    this.root.dataset.state = killed ? 'killed' : status ? 'running' : 'away';
    this.root.classList.toggle('away', !status);
    this.facts.replaceChildren(...(status ? factsOf(status) : [killed ? 'killed' : 'does not answer']));
    this.carried.replaceChildren(...(status ? status.streams.map((s) => carriedItem(s, status)) : []));
    const action = killed ? 'restore' : 'kill';
    this.button.dataset.action = action;
    this.button.textContent = killed ? 'Restore' : 'Kill';
    this.button.setAttribute('aria-label', `${this.button.textContent} ${this.name}`);
    this.button.hidden = !canKill || Boolean(mine); // the page comes from this one
  }
}

function factsOf({ node, time, sessions, totals }) {
  const fact = (value, words) => el('span', {}, el('b', { textContent: value }), ` ${words}`);
  return [
    fact(`running`, `for ${age(node.since, Date.parse(time))}`),
    fact(sessions.viewers, sessions.viewers === 1 ? 'viewer' : 'viewers'),
    fact(text(bitrate(totals.bitrate_out_bps)), 'out'),
  ];
}

// carriedItem says of a stream where it comes from, and would come from next.
function carriedItem(stream, status) {
  const item = el('li', {}, el('b', { textContent: stream.id }));
  item.dataset.stream = stream.id;
  const fetched = status.fetches.find((f) => f.stream === stream.id);
  const words = [fetched ? `from ${fetched.node || '?'}` : stream.source];
  if (fetched?.standby) words.push(`standby ${fetched.standby}`);
  if (stream.viewers > 0) words.push(plural(stream.viewers, 'viewer', 'viewers'));
  item.append(` ${words.join(', ')}`);
  return item;
}

const cell = (words, className = '') => el('td', { textContent: words, className });

function linkRow(l) {
  const row = el('tr', {}, cell(l.from), cell(l.to), cell(l.age, 'n'), cell(text(millis(l.rtt)), 'n'), cell(percent(l.loss), 'n'),
    cell(text(bitrate(l.there)), 'n'), cell(text(bitrate(l.back)), 'n'), cell(l.streams.join(', ') || '–'));
  row.dataset.link = l.key;
  return row;
}

function fetchRow(node, f) {
  const stream = node.status.streams.find((s) => s.id === f.stream);
  const path = [...(stream?.path ?? []), node.name].join(' › ');
  const row = el('tr', {}, cell(node.name), cell(f.stream), cell(f.node || '–'), cell(f.standby || '–'), cell(path),
    cell(age(f.since, Date.parse(node.status.time)), 'n'), cell(f.changes, 'n'), cell(stream?.viewers ?? 0, 'n'));
  row.dataset.fetch = `${node.name} ${f.stream}`;
  return row;
}
