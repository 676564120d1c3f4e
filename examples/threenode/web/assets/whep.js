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

  // options: url, token, events (whether to hear from the server about the
  // end: that takes one of the six connections a browser makes to a server).
  constructor({ url, token, events = true }) {
    this.options = { events };
    this.#resource = new Resource(url, token);
    this.pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    this.media = new MediaStream();
    this.posted = 0; // performance.now() of the POST
    // ended resolves with {code, detail} when the session is over: code is the
    // server's, or "lost" if the connection broke, or "closed" after close.
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

  // listen lets the server say at once, and why, when the session ends.
  #listen() {
    if (!this.location || !this.options.events) return;
    this.#events = new EventSource(this.location);
    this.#events.addEventListener('ended', ({ data }) => {
      let told = {};
      try { told = JSON.parse(data); } catch { /* no reason given */ }
      this.#end({ code: told.code || 'ended', detail: told.detail || '' });
    });
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
