// A WHEP client: one session that receives a stream from a node. Whoever uses
// it decides about trying again.

import { backoff, delay } from './patience.js';
import { whyNoConnection } from './sentences.js';
import { Resource, withOpusParameters, withRoundTrip } from './signaling.js';
import { Vigil } from './vigil.js';

// The events that are heard, and the pauses between attempts to hear them: a page that
// plays can do without for a while.
const names = ['ended', 'adaptation', 'codec', 'active', 'inactive', 'reconnect'];
const pauses = { first: 1000, last: 30000 }; // ms

export class WhepSession {
  #resource;
  #events = null;
  #abort = new AbortController();
  #goodbye;
  #vigil = null;
  #transport = null;
  #end;

  // options: url, token, tell (called with the name and the data of each of the
  // server's events but the last, and with 'silent' and the problem when nothing comes
  // any more, and 'heard' when it does again), events (whether to hear of them: that takes one
  // of the six connections that a browser makes to a server), patient (see Vigil).
  constructor({ url, token, tell = () => {}, events = true, patient }) {
    this.options = { events, tell, patient };
    this.#resource = new Resource(url, token);
    this.pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    this.media = new MediaStream();
    this.posted = 0; // performance.now() of the POST
    // ended resolves with {code, detail} when the session is over: code is the server's;
    // or "lost" if the connection broke, "not-connected" if there never was one, or "left"
    // after close.
    this.ended = new Promise((resolve) => { this.#end = resolve; });
    this.ended.then(() => {
      this.#abort.abort();
      this.#events?.close();
    });
  }

  get location() { return this.#resource.location; }

  // url is the endpoint; once open, the one that has answered.
  get url() { return this.#resource.url; }

  // open resolves once the server has answered; media follows.
  async open() {
    const { pc } = this;
    pc.addEventListener('track', ({ track, receiver }) => {
      this.media.addTrack(track);
      this.#follow(receiver.transport);
    });
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

  // listen has the server tell at once when and why the session ends, and what happens
  // until then. It resolves when the session is over, or has no events.
  async #listen() {
    if (!this.options.events) return;
    const { signal } = this.#abort;
    let url = null;
    for (let failures = 0; !signal.aborted; failures += 1) {
      let retryAfter;
      try {
        url ??= await this.#resource.subscribe(names, signal);
        if (!url || signal.aborted) return;
        if (await this.#receive(url)) failures = 0;
        if (signal.aborted) return;
        if (await this.#resource.isGone(url, signal)) url = null; // asking for another shows whether the session is
      } catch (error) {
        const status = error.problem?.status ?? 0;
        // No connection would tell of the end for a long time.
        if ([404, 410].includes(status)) this.#end(error.problem);
        if (status >= 400 && status < 500 && status !== 429) return;
        ({ retryAfter } = error);
      }
      await delay(backoff(failures, retryAfter, pauses));
    }
  }

  // receive passes on the events of a stream. It resolves when the session is over, or when
  // the browser gives the stream up for good, as it does at any answer but 200: with whether
  // it was ever open. When only the connection breaks, the browser opens the stream again by
  // itself.
  #receive(url) {
    const source = new EventSource(url);
    this.#events = source;
    for (const name of names) {
      source.addEventListener(name, ({ data }) => {
        let told = {};
        try { told = JSON.parse(data); } catch { /* nothing more is told */ }
        if (name === 'ended') this.#end({ code: told.code || 'ended', detail: told.detail || '' });
        else this.options.tell(name, told);
      });
    }
    return new Promise((resolve) => {
      let opened = false;
      source.addEventListener('open', () => { opened = true; });
      source.addEventListener('error', () => { if (source.readyState === EventSource.CLOSED) resolve(opened); });
      // Nothing comes of a source that is closed here, not even an error.
      this.#abort.signal.addEventListener('abort', () => resolve(opened), { once: true });
    });
  }

  // follow hears of the server's goodbye on the connection itself, of which its state
  // says nothing. Why is told by an event, if there are any, or when the server is asked.
  #follow(transport) {
    if (!transport || transport === this.#transport) return;
    this.#transport = transport;
    transport.addEventListener('statechange', () => {
      if (transport.state !== 'closed') return;
      this.#goodbye = setTimeout(() => this.#diagnose(), this.options.events ? 300 : 0);
    });
  }

  #changed() {
    switch (this.pc.connectionState) {
      case 'connected': this.#watch(); break;
      case 'failed': case 'closed': this.#diagnose();
    }
  }

  #watch() {
    this.#vigil ??= new Vigil({
      pc: this.pc,
      probe: (milliseconds) => this.#resource.probe(milliseconds),
      patient: this.options.patient,
      told: (what, problem) => (what === 'over' ? this.#end(problem) : this.options.tell(what, problem)),
    });
  }

  // diagnose finds out how a session is over whose connection has ended.
  #diagnose() {
    if (this.#vigil) this.#vigil.ask();
    else this.#end({ code: 'not-connected', detail: whyNoConnection(this.pc) });
  }

  // close ends the session here and at the server. It may be called at any
  // time, and more than once.
  close() {
    clearTimeout(this.#goodbye);
    this.#vigil?.stop();
    this.#abort.abort();
    const deleted = this.#resource.close();
    this.pc.close();
    this.#end({ code: 'left', detail: '' });
    return deleted;
  }
}
