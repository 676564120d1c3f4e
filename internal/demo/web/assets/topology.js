// The network as it is known: nodes, the links between them, and what goes by these.

import { Card } from './card.js';
import { age, bitrate, el, millis, text } from './format.js';

const tiers = ['origin', 'relay', 'edge'];
const percent = (share) => `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;

function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// A Topology draws nodes as cards in columns from the publisher's side on, and
// wires between them; and fills the tables that say the same in words.
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

  // render shows knowledge of the network.
  render(knowledge) {
    const { nodes, at } = knowledge;
    nameStandbys(nodes);
    for (const node of nodes) this.#card(node).update(node, knowledge);
    for (const [name, card] of this.#cards) {
      if (nodes.some((n) => n.name === name)) continue;
      card.root.remove();
      this.#cards.delete(name);
    }
    this.#drawn = linksOf(nodes, at, knowledge.past);
    this.#draw();
    this.#links.replaceChildren(...this.#drawn.map(linkRow));
    this.#fetches.replaceChildren(...nodes.flatMap((n) => n.streams.filter((s) => s.upstream).map((s) => fetchRow(n, s, at))));
  }

  #card(node) {
    let card = this.#cards.get(node.name);
    if (!card) {
      card = new Card(node.name, this.#press);
      this.#cards.set(node.name, card);
    }
    const column = this.#column(node.role);
    if (card.root.parentElement !== column) column.append(card.root);
    return card;
  }

  // column returns the column of a tier. That of nodes whose role is not known is the last.
  #column(role) {
    if (!this.#columns.has(role)) {
      const column = el('div', { className: 'tier' });
      this.#columns.set(role, column);
      const rank = (r) => [...tiers, ''].indexOf(r);
      const next = [...this.#columns].filter(([r]) => rank(r) > rank(role)).sort(([a], [b]) => rank(a) - rank(b))[0];
      this.#network.insertBefore(column, next?.[1] ?? null);
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

// linksOf returns each link once, as the node sees it that stands nearer to the publisher,
// if that one answers. What only a node says that does not answer is left out, unless all
// is of the past.
function linksOf(nodes, at, past = false) {
  const found = new Map();
  const rank = new Map(nodes.map((n, i) => [n.name, i]));
  for (const node of nodes) {
    if (node.state !== 'current' && !past) continue;
    for (const l of node.links) {
      const peer = nodes[rank.get(l.peer)];
      if (!peer || peer.state === 'killed') continue;
      const down = rank.get(node.name) < rank.get(l.peer);
      const [from, to] = down ? [node.name, l.peer] : [l.peer, node.name];
      const key = `${from} ${to}`;
      if (found.has(key)) continue;
      found.set(key, {
        key, from, to, age: age(l.up, at), rtt: l.rtt_ms, loss: l.loss,
        there: down ? l.bitrate_out : l.bitrate_in, back: down ? l.bitrate_in : l.bitrate_out,
        streams: [...new Set([...l.fetched, ...l.served])].sort(),
        row: (rank.get(from) + rank.get(to)) % 2, // of its label
        standby: nodes.some((n) => n.name === to && n.streams.some((s) => s.upstream?.standby === from)),
      });
    }
  }
  const order = (a, b) => rank.get(a.from) - rank.get(b.from) || rank.get(a.to) - rank.get(b.to);
  return [...found.values()].sort(order);
}

// nameStandbys names the nodes that streams would come from next.
function nameStandbys(nodes) {
  const name = (url) => nodes.find((n) => n.url === url)?.name ?? '';
  for (const { upstream } of nodes.flatMap((n) => n.streams)) {
    if (upstream) Object.assign(upstream, { node: upstream.node || name(upstream.url), standby: name(upstream.standby_url) });
  }
}

const cell = (words, className = '') => el('td', { textContent: words, className });

function linkRow(l) {
  const row = el('tr', {}, cell(l.from), cell(l.to), cell(l.age, 'n'), cell(text(millis(l.rtt)), 'n'), cell(percent(l.loss), 'n'),
    cell(text(bitrate(l.there)), 'n'), cell(text(bitrate(l.back)), 'n'), cell(l.streams.join(', ') || '–'));
  row.dataset.link = l.key;
  return row;
}

function fetchRow(node, { id, path, viewers, upstream }, at) {
  const way = [...path, node.name].join(' › ');
  const row = el('tr', { className: node.state === 'current' ? '' : 'past' }, cell(node.name), cell(id), cell(upstream.node || '–'), cell(upstream.standby || '–'), cell(way),
    cell(age(upstream.since, at), 'n'), cell(upstream.changes, 'n'), cell(viewers, 'n'));
  row.dataset.fetch = `${node.name} ${id}`;
  return row;
}
