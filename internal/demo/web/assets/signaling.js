// The HTTP half of WHIP (RFC 9725) and WHEP, which is the same for both: POST
// the offer, PATCH candidates as they turn up (RFC 8840), DELETE at the end.

// A SignalingError is a refusal, as the server's problem document (RFC 9457) tells of it.
export class SignalingError extends Error {
  // problem is { code, detail, status }: code "" if the server gave none, status 0 if it
  // was not reached. retryAfter is in seconds, or undefined.
  constructor(problem, retryAfter) {
    super(problem.detail || problem.code || `status ${problem.status}`);
    this.problem = problem;
    this.retryAfter = retryAfter;
  }
}

async function refusal(response) {
  const wait = Number.parseInt(response.headers.get('Retry-After'), 10);
  return new SignalingError(await problemOf(response), Number.isNaN(wait) ? undefined : wait);
}

async function problemOf(response) {
  const { status } = response;
  const isJSON = (response.headers.get('Content-Type') || '').includes('json');
  const told = isJSON ? await response.json().catch(() => ({})) : {};
  return { code: told.code || '', detail: told.detail || told.title || '', status };
}

const unreachable = { code: 'unreachable', detail: '', status: 0 };

// A Resource is one session at the server, made by POSTing an offer.
export class Resource {
  #headers;
  #etag = null;
  #links = '';
  #queue = []; // candidates not sent yet; null at the end of candidates
  #sending = false;
  #trickles = true;
  #pc;

  constructor(url, token) {
    this.url = url;
    this.location = null;
    this.#headers = token ? { Authorization: `Bearer ${token}` } : {};
  }

  // negotiate makes pc's offer, passed through munge, posts it without waiting
  // for candidates and applies the answer.
  async negotiate(pc, { munge = (sdp) => sdp, mungeAnswer = (sdp) => sdp, signal } = {}) {
    this.#pc = pc;
    pc.addEventListener('icecandidate', ({ candidate }) => {
      this.#queue.push(candidate && candidate.candidate ? candidate : null);
      this.#flush();
    });
    const offer = await pc.createOffer();
    const sdp = munge(offer.sdp);
    const answer = await this.#post(sdp, signal);
    // What the browser gathers candidates from is fixed by setLocalDescription.
    const servers = iceServers(this.#links);
    if (servers.length > 0) pc.setConfiguration({ ...pc.getConfiguration(), iceServers: servers });
    await pc.setLocalDescription({ type: 'offer', sdp });
    await pc.setRemoteDescription({ type: 'answer', sdp: mungeAnswer(answer) });
    this.#flush();
  }

  async #post(sdp, signal) {
    const offer = (url) => fetch(url, {
      method: 'POST', body: sdp, signal,
      headers: { ...this.#headers, 'Content-Type': 'application/sdp' },
    });
    let response;
    try {
      response = await offer(this.url);
      // A browser that follows a redirect to another server leaves the token out. The
      // page's policy says which servers those can be.
      if (response.redirected && response.status === 401 && this.#headers.Authorization) response = await offer(response.url);
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new SignalingError(unreachable);
    }
    if (!response.ok) throw await refusal(response);
    this.url = response.url;
    const location = response.headers.get('Location');
    if (location) this.location = new URL(location, response.url).href;
    this.#etag = response.headers.get('ETag');
    this.#links = response.headers.get('Link') || '';
    return response.text();
  }

  // subscribe asks for the session's events of those names and returns the URL of
  // their stream; null if the server has none. Those that it does not announce are
  // left out. It throws a SignalingError where that fails: of status 404 or 410 if the
  // session is over.
  async subscribe(names, signal) {
    const links = [coreEvents, ownEvents].map((rel) => findLink(this.#links, rel)).filter((link) => link);
    if (links.length === 0) return null;
    const known = links.flatMap(({ events }) => events);
    const url = new URL(links[0].target, this.location).href;
    const response = await fetch(url, {
      method: 'POST', body: JSON.stringify(names.filter((n) => known.includes(n))), signal,
      headers: { ...this.#headers, 'Content-Type': 'application/json' },
    }).catch(() => { throw new SignalingError(unreachable); });
    if (!response.ok) throw await refusal(response);
    const location = response.headers.get('Location');
    return location ? new URL(location, url).href : null;
  }

  // isGone asks whether the server says that it does not have the event stream at url.
  async isGone(url, signal) {
    const response = await fetch(url, { method: 'HEAD', cache: 'no-store', signal }).catch(() => null);
    return [404, 410].includes(response?.status);
  }

  // flush sends the candidates that are there, one request at a time.
  async #flush() {
    if (this.#sending || !this.#trickles || !this.location || this.#queue.length === 0) return;
    if (!this.#pc.remoteDescription) return;
    this.#sending = true;
    const fragment = sdpFragment(this.#pc.localDescription.sdp, this.#queue.splice(0));
    const headers = { ...this.#headers, 'Content-Type': 'application/trickle-ice-sdpfrag' };
    if (this.#etag) headers['If-Match'] = this.#etag;
    try {
      const response = await fetch(this.location, { method: 'PATCH', body: fragment, headers });
      if (response.status === 405 || response.status === 501) this.#trickles = false;
    } catch {
      // The server may learn the candidate from the connectivity checks.
    }
    this.#sending = false;
    this.#flush();
  }

  // probe asks whether the server still has the session. It resolves with null if so, else
  // with the problem: that of the session's end, or that nothing answers within so many ms.
  async probe(milliseconds) {
    if (!this.location) return null;
    try {
      const response = await fetch(this.location, { cache: 'no-store', signal: AbortSignal.timeout(milliseconds) });
      if ([404, 410].includes(response.status)) return await problemOf(response);
      return response.status >= 500 ? unreachable : null; // a proxy says that of a server that is gone
    } catch {
      return unreachable;
    }
  }

  // close deletes the session. It also works while the page is being left.
  close() {
    const location = this.location;
    this.location = null;
    if (!location) return Promise.resolve();
    return fetch(location, { method: 'DELETE', headers: this.#headers, keepalive: true }).catch(() => {});
  }
}

// The extensions by which a WHEP server tells of a session, the draft's and ours.
const coreEvents = 'urn:ietf:params:whep:ext:core:server-sent-events';
const ownEvents = 'urn:deltacdn:whep:ext:events';

// parseLinks returns the links of a Link header (RFC 8288), as { target, rel, … } with all
// their parameters.
function parseLinks(header) {
  const links = [];
  for (const [, target, parameters] of header.matchAll(/<([^>]*)>((?:\s*;\s*[^\s=;,]+=(?:"(?:[^"\\]|\\.)*"|[^\s;,]*))*)/g)) {
    const link = { target };
    for (const [, name, quoted, plain] of parameters.matchAll(/([^\s=;,]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;,]*))/g)) {
      link[name.toLowerCase()] = quoted === undefined ? plain : quoted.replace(/\\(.)/g, '$1');
    }
    links.push(link);
  }
  return links;
}

// findLink returns the target and the events of the link of that relation, null if there
// is none.
export function findLink(header, rel) {
  const link = parseLinks(header).find((l) => l.rel === rel);
  return link ? { target: link.target, events: (link.events || '').split(',').filter((n) => n) } : null;
}

// iceServers returns the STUN and TURN servers in a Link header, as an RTCPeerConnection
// takes them (RFC 9725 section 4.6).
export function iceServers(header) {
  return parseLinks(header).filter(({ rel, target }) => rel === 'ice-server' && /^(stun|turn)s?:/.test(target))
    .map(({ target, username, credential }) => (
      username === undefined ? { urls: target } : { urls: target, username, credential: credential ?? '' }))
    .filter(({ urls, username }) => username !== undefined || urls.startsWith('stun')); // a browser throws at TURN without
}

// withRoundTrip has the browser measure the round trip (RFC 3611 section 4.4),
// without which it waits for 100 ms before it asks again for a lost packet.
export function withRoundTrip(sdp) {
  return sdp.replace(/^a=rtcp-fb:(\d+) nack\r\n/gm, '$&a=rtcp-fb:$1 rrtr\r\n');
}

// sdpFragment returns candidates (null: there are no more) as an SDP fragment.
export function sdpFragment(sdp, candidates) {
  const ufrag = sdp.match(/^a=ice-ufrag:.*$/m)[0].trim();
  const pwd = sdp.match(/^a=ice-pwd:.*$/m)[0].trim();
  const media = sdp.split(/^(?=m=)/m).slice(1).map((section) => ({
    line: section.split(/\r?\n/, 1)[0],
    mid: (section.match(/^a=mid:(.*)$/m) || ['', '0'])[1].trim(),
  }));
  const lines = [ufrag, pwd];
  media.forEach(({ line, mid }, index) => {
    const mine = candidates.filter((c) => c && (c.sdpMid === mid || (c.sdpMid === null && c.sdpMLineIndex === index)));
    const last = index === 0 && candidates.includes(null);
    if (mine.length === 0 && !last) return;
    lines.push(line, `a=mid:${mid}`, ...mine.map((c) => `a=${c.candidate}`));
    if (last) lines.push('a=end-of-candidates');
  });
  return `${lines.join('\r\n')}\r\n`;
}

// withOpusParameters adds parameters to the a=fmtp of Opus in sdp.
export function withOpusParameters(sdp, parameters) {
  const payload = sdp.match(/^a=rtpmap:(\d+) opus\/48000/im);
  if (!payload) return sdp;
  const line = new RegExp(`^a=fmtp:${payload[1]} (.*?)(\\r?)$`, 'm');
  const missing = (have) => parameters.filter((p) => !have.split(';').map((s) => s.trim()).includes(p));
  if (line.test(sdp)) {
    return sdp.replace(line, (_, have, cr) => `a=fmtp:${payload[1]} ${[have, ...missing(have)].join(';')}${cr}`);
  }
  return sdp.replace(/^a=rtpmap:\d+ opus\/48000.*$/im, (map) => `${map.trimEnd()}\r\na=fmtp:${payload[1]} ${parameters.join(';')}`);
}

// The parameters of the pages' own addresses. Others, such as those of a signed URL, go
// with the requests.
const own = ['stream', 'layer', 'autostart', 'events', 'source', 'codec', 'bitrate', 'simulcast', 'stereo', 'publish', 'play'];

// endpoint returns the URL of a stream below /whip/ or /whep/ of a node, of this one if
// base is "".
export function endpoint(kind, stream, query = {}, base = '') {
  const path = stream.split('/').map(encodeURIComponent).join('/');
  const url = new URL(`/${kind}/${path}`, base || location.href);
  for (const [key, value] of new URLSearchParams(location.search)) if (!own.includes(key)) url.searchParams.append(key, value);
  for (const [key, value] of Object.entries(query)) if (value) url.searchParams.set(key, value);
  return url.href;
}
