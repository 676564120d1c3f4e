// A WHEP client: one session that receives a stream from a node. Whoever uses
// it decides about trying again.

import { whyNoConnection } from './connectivity.js';
import { Resource, withOpusParameters, withRoundTrip } from './signaling.js';

export class WhepSession {
  #resource;
  #events = null;
  #abort = new AbortController();
  #grace;
  #connected = false; // at any time
  #end;

  // options: url, token, tell (called with the name and the data of each of the
  // server's events but the last), events (whether to hear of them: that takes one
  // of the six connections that a browser makes to a server).
  constructor({ url, token, tell = () => {}, events = true }) {
    this.options = { events, tell };
    this.#resource = new Resource(url, token);
    this.pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    this.media = new MediaStream();
    this.posted = 0; // performance.now() of the POST
    // ended resolves with {code, detail} when the session is over: code is the
    // server's, or "lost" if the connection broke, or "closed" after close; or
    // "reconnect", with the url if it is another one, if the server asks for that.
    this.ended = new Promise((resolve) => { this.#end = resolve; });
  }

  get location() { return this.#resource.location; }

  // open resolves once the server has answered; media follows.
  async open() {
    const { pc } = this;
    pc.addEventListener('track', ({ track }) => this.media.addTrack(track));
    pc.addEventListener('connectionstatechange', () => this.#changed());
    pc.addTransceiver('video', { direction: 'recvonly' });
    pc.addTransceiver('audio', { direction: 'recvonly' });
    this.posted = performance.now();
    await this.#resource.negotiate(pc, {
      // Without it a browser tells the sender that it plays mono (RFC 7587).
      munge: (sdp) => withRoundTrip(withOpusParameters(sdp, ['stereo=1'])),
      signal: this.#abort.signal,
    });
    this.#listen();
  }

  // listen lets the server tell at once, and why, when the session ends, and what
  // happens until then. It resolves when the server tells, or does not.
  async #listen() {
    if (!this.options.events) return;
    const names = ['ended', 'codec', 'active', 'inactive', 'reconnect'];
    const url = await this.#resource.subscribe(names, this.#abort.signal).catch(() => null);
    if (!url || this.#abort.signal.aborted) return;
    const source = new EventSource(url);
    this.#events = source;
    for (const name of names) {
      source.addEventListener(name, ({ data }) => {
        let told = {};
        try { told = JSON.parse(data); } catch { /* nothing more is told */ }
        if (name === 'ended') this.#end({ code: told.code || 'ended', detail: told.detail || '' });
        else if (name === 'reconnect') this.#end({ code: 'reconnect', detail: '', url: told.url });
        else this.options.tell(name, told);
      });
    }
  }

  #changed() {
    clearTimeout(this.#grace);
    switch (this.pc.connectionState) {
      case 'connected': this.#connected = true; break;
      case 'failed': this.lost('The connection failed.'); break;
      case 'closed': this.lost('The connection was closed.'); break;
      case 'disconnected':
        this.#grace = setTimeout(() => this.lost('The connection was lost.'), 3000);
    }
  }

  // lost gives the session up. Where there never was a connection, it says what to do.
  lost(detail) { this.#end({ code: 'lost', detail: this.#connected ? detail : whyNoConnection(this.pc) }); }

  // close ends the session here and at the server. It may be called at any
  // time, and more than once.
  close() {
    clearTimeout(this.#grace);
    this.#abort.abort();
    this.#events?.close();
    const deleted = this.#resource.close();
    this.pc.close();
    this.#end({ code: 'closed', detail: '' });
    return deleted;
  }
}
