// What the console knows of the network: by the API of its own node, which asks the others
// over the links between them. A browser need not reach those.

import { fetchStatus } from './node.js';

// isLocal tells that the page may be on the node's own machine, where no token is needed.
const isLocal = /^(localhost|127\.[\d.]+|\[::1\])$/.test(location.hostname);

const tiers = ['origin', 'relay', 'edge'];

// A KnownNode is one node, in words of the page:
//   name, roles, role (that which stands nearest to the publisher), url, mine, draining
//   state: current | stale (of the past) | unknown (nothing but its name) | killed
//   age (of what is known, in seconds), problem (why it is not current)
//   started, sessions { publishers, viewers }, totals { in, out (bit/s), bytesOut }
//   links, streams: as in the API
//
// Knowledge is { nodes, mine (the KnownNode), canKill, complete, refused }: complete says
// that the node tells of others, refused that it does so for a token.

export class Network {
  token = '';
  #refused = false; // the token, or that there is none

  // ask resolves with { status, knowledge }. It rejects if this node does not answer.
  async ask() {
    const status = await fetchStatus();
    if (status.network === 'operators' && !this.token && !isLocal) this.#refused = true; // it would be
    const network = status.network && !this.#refused ? await this.#network() : null;
    return { status, knowledge: knowledgeOf(status, network, this.#refused) };
  }

  // retry has another token be used.
  retry(token) {
    this.token = token;
    this.#refused = false;
  }

  async #network() {
    const headers = this.token ? { Authorization: `Bearer ${this.token}` } : {};
    const response = await fetch('/api/v1/network', { headers, cache: 'no-store', signal: AbortSignal.timeout(5000) });
    if (response.ok) return response.json();
    this.#refused = true; // until there is another token: it is not asked over and over
    return null;
  }
}

function knowledgeOf(status, network, refused) {
  const at = Date.parse(network?.time ?? status.time);
  const known = new Map(network?.nodes.map((r) => [r.node.id, reported(r)]));
  const own = status.node.id || status.node.name;
  if (!known.has(own)) known.set(own, toldBy(status));
  known.get(own).mine = true;
  for (const peer of status.peers) {
    const node = known.get(peer.name) ?? { ...unknown(peer.name), role: peer.role, roles: [peer.role] };
    node.url ||= peer.url;
    if (peer.killed && node.state !== 'current') Object.assign(node, { state: 'killed', links: [], streams: [] });
    known.set(peer.name, node);
  }
  for (const link of status.links) if (!known.has(link.peer)) known.set(link.peer, unknown(link.peer));
  const nodes = [...known.values()].sort((a, b) => tiers.indexOf(a.role) - tiers.indexOf(b.role)
    || a.name.localeCompare(b.name, 'en', { numeric: true }));
  return { nodes, at, mine: known.get(own), canKill: status.can_kill, complete: Boolean(network), refused };
}

function reported({ state, age_seconds: age, problem, node, sessions, totals, links, streams }) {
  return {
    name: node.id, roles: node.roles, role: tiers.find((t) => node.roles.includes(t)) ?? '', url: node.url ?? '', draining: node.draining,
    mine: false, state, age, problem: problem ?? '', started: node.started, sessions,
    totals: { in: totals.bitrate_in, out: totals.bitrate_out, bytesOut: totals.bytes_out }, links, streams,
  };
}

const unknown = (name) => ({
  name, roles: [], role: '', url: '', draining: false, mine: false, state: 'unknown', age: undefined, problem: '',
  started: undefined, sessions: { publishers: 0, viewers: 0 }, totals: {}, links: [], streams: [],
});

// toldBy makes of what a node says of itself what the API would.
function toldBy({ node, can_publish: takes, can_play: plays, sessions, totals, links, fetches, streams }) {
  const roles = [...new Set([node.role, takes && 'origin', plays && 'edge'])].filter(Boolean);
  return {
    ...unknown(node.id || node.name), role: node.role ?? '', roles, url: node.url, state: 'current', age: 0, started: node.since, sessions,
    totals: { in: totals.bitrate_in_bps, out: totals.bitrate_out_bps, bytesOut: totals.bytes_out },
    links: links.map((l) => ({ ...l, node: node.id, bitrate_in: l.bitrate_in_bps, bitrate_out: l.bitrate_out_bps })),
    streams: streams.map((s) => {
      const fetched = fetches.find((f) => f.stream === s.id);
      return {
        id: s.id, started: s.since, live: s.state === 'live', published: s.state === 'live' && s.path.length === 0, path: s.path, delays_ms: s.delays_ms,
        upstream: fetched && { node: fetched.node, url: fetched.url, standby_url: fetched.standby_url, since: fetched.since, changes: fetched.changes },
        viewers: s.viewers, downstreams: s.downstreams,
        tracks: s.tracks.map((t) => ({ ...t, layers: t.layers.map((l) => ({ ...l, bitrate: l.bitrate_bps })) })),
      };
    }),
  };
}
