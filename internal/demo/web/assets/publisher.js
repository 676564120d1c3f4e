// A Publisher sends one source to a node for as long as the person wants it to. When the
// node is gone it connects again by itself, with the same tracks: the browser is not asked
// for the camera twice.

import { explainDevice, devices, isFinal, sentence } from './sentences.js';
import { backoff, delay } from './patience.js';
import { openSource } from './sources.js';
import { Reading } from './stats.js';
import { readSent } from './sent.js';
import { Uplink } from './uplink.js';
import { WhipClient } from './whip.js';

// These end a session that was running for good: somebody meant it.
const meant = ['ended', 'superseded', 'left'];
// A server that has lost us may take a while to see that, and calls us its publisher.
const patientFor = 30000; // ms

export class Publisher {
  #endpoint;
  #show;
  #tell;
  #run = null; // { media, scene, client } while it is wanted
  #wake = null; // ends the pause between two attempts

  // endpoint returns the URL for a request. show is called with (state, words, tone, message)
  // as they change, and tell with (name, value): 'media' (MediaStream or null), 'stats', and
  // 'uplink' (a sentence, '' if the connection carries what is sent).
  constructor({ endpoint, show, tell = () => {} }) {
    this.#endpoint = endpoint;
    this.#show = show;
    this.#tell = tell;
    // report is what scripts and tests read: see publish.html.
    this.report = { state: 'idle', reason: '', problem: null, stats: null, uplink: '', frames: 0, attempts: 0, reconnects: 0, location: null, pc: null };
  }

  get running() { return this.#run !== null; }

  // start publishes by a request: stream, token, source and what openSource and WhipClient
  // take, until stop. It resolves when that is over.
  async start(request) {
    if (this.#run) return;
    const run = { media: null, scene: null, client: null };
    this.#run = run;
    this.#set('connecting', 'Connecting', 'busy', '');
    try {
      Object.assign(run, await openSource(request));
    } catch (error) {
      this.#finish(run, explainDevice(error));
      return;
    }
    if (this.#run !== run) {
      release(run);
      return;
    }
    this.#tell('media', run.media);
    run.media.getVideoTracks()[0]?.addEventListener('ended', () => this.#finish(run, devices.ended));
    await this.#hold(run, request);
  }

  stop() { this.#finish(this.#run); }

  // hold makes one session after the other.
  async #hold(run, request) {
    let failures = 0;
    let lost = 0; // when the last session was, 0: there was none
    while (this.#run === run) {
      const { problem, retryAfter, connected } = await this.#attempt(run, request, lost > 0);
      if (this.#run !== run) return;
      this.#clear();
      const words = sentence(problem, { stream: request.stream, publishing: true });
      if (connected) {
        failures = 0;
        lost = performance.now();
      }
      const waits = problem.code === 'already-publishing' && lost > 0 && performance.now() - lost < patientFor;
      const over = connected ? meant.includes(problem.code) : problem.code === 'not-connected' && lost === 0;
      if (!waits && (over || isFinal(problem))) {
        this.report.problem = problem;
        this.#finish(run, words);
        return;
      }
      this.#set('reconnecting', 'Reconnecting', 'bad', words);
      const woken = new Promise((resolve) => { this.#wake = resolve; });
      await Promise.race([woken, delay(backoff(failures++, retryAfter))]);
    }
  }

  // attempt holds one session, and resolves with the problem that has ended it.
  async #attempt(run, request, again) {
    const client = new WhipClient({
      ...request, url: this.#endpoint(request), media: run.media, sharp: request.source !== 'camera',
      tell: (what, problem) => (what === 'silent' ? this.#silent(problem, request) : this.#publishing(run)),
    });
    run.client = client;
    this.report.attempts += 1;
    this.report.pc = client.pc;
    let timer;
    try {
      await client.start();
      if (this.#run !== run) return { problem: { code: 'left' } };
      this.report.location = client.location;
      if (again) this.report.reconnects += 1;
      this.#publishing(run);
      timer = this.#measure(client, new Uplink(request.stream));
      return { problem: await client.ended, connected: true };
    } catch (error) {
      return { problem: error.problem ?? { code: '', detail: error.message, status: 0 }, retryAfter: error.retryAfter, connected: false };
    } finally {
      clearInterval(timer);
      client.stop();
    }
  }

  #publishing(run) {
    if (this.#run === run) this.#set('publishing', 'Publishing', 'good', '');
  }

  #silent(problem, request) {
    this.#clear();
    this.#set('reconnecting', 'No answer', 'bad', sentence(problem, { stream: request.stream, publishing: true }));
  }

  // measure tells of the figures each second.
  #measure(client, uplink) {
    const reading = new Reading();
    const tick = async () => {
      const now = await reading.take(client.pc);
      if (this.#run?.client !== client || this.report.state !== 'publishing') return;
      this.report.stats = readSent(now);
      this.report.frames = this.report.stats.framesSent;
      this.#tell('stats', this.report.stats);
      this.#uplink(uplink.words(this.report.stats));
    };
    tick();
    return setInterval(tick, 1000);
  }

  #uplink(words) {
    if (words === this.report.uplink) return;
    this.report.uplink = words;
    this.#tell('uplink', words);
  }

  #clear() {
    this.report.stats = null;
    this.#tell('stats', null);
    this.#uplink('');
  }

  // finish ends it; with a reason, it has failed.
  #finish(run, reason = '') {
    if (!run || this.#run !== run) return;
    this.#run = null;
    this.#wake?.();
    release(run);
    this.#clear();
    this.#tell('media', null);
    if (reason) this.#set('failed', 'Stopped', 'bad', reason);
    else this.#set('idle', 'Idle', 'idle', '');
  }

  #set(state, words, tone, reason) {
    Object.assign(this.report, { state, reason });
    this.#show(state, words, tone, reason);
  }
}

function release({ client, scene, media }) {
  client?.stop();
  scene?.stop();
  media?.getTracks().forEach((track) => track.stop());
}
