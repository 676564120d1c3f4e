// A Player holds one session after the other for as long as the person wants to see the
// stream, and goes over to another node with overlap when the server asks for it.

import { Handover } from './handover.js';
import { isFinal, lowBandwidth, sentence, states, unplayable } from './sentences.js';
import { backoff, delay } from './patience.js';
import { View } from './view.js';
import { Watch } from './watch.js';

// When a session ends while the next one is being made, that has so many ms to show
// something. Then the page says that it connects again.
const lateBy = 3000;

export class Player {
  layer = '';
  current = null; // the View that is shown
  wanted = false; // whether the person wants to see the stream
  #stage;
  #endpoint;
  #show;
  #tell;
  #events;
  #place = ''; // the endpoint that played last
  #wake = null; // ends the pause between two attempts

  // stage is a Stage. endpoint returns this node's endpoint for a layer. show is called
  // with (state, words, tone, message) as they change, and tell with (name, value):
  // 'stats', 'latency', 'first' (ms) and 'bandwidth' (a sentence, '' if the path carries the
  // best there is). events: see WhepSession.
  constructor({ stage, stream, token = '', endpoint, events = true, show, tell = () => {} }) {
    this.stream = stream;
    this.token = token;
    this.#stage = stage;
    this.#endpoint = endpoint;
    this.#events = events;
    this.#show = show;
    this.#tell = tell;
    // report is what scripts and tests read: see play.html.
    this.report = {
      state: 'idle', message: '', bandwidth: '', problem: null, mismatch: null, away: false, stats: null, frames: 0, firstFrame: null, attempts: 0,
      reconnects: 0, moves: 0, lastMove: null, location: null, pc: null,
      latency: { p50: undefined, p95: undefined, last: undefined, samples: 0, misreads: 0 },
    };
  }

  start() {
    if (this.wanted) return;
    this.wanted = true;
    this.set('connecting', 'Connecting', 'busy', states.connecting);
    this.#run();
  }

  stop() {
    this.wanted = false;
    this.current?.close();
    this.#wake?.();
    this.#stage.shown.srcObject = null;
    this.#clear();
    this.set('idle', 'Stopped', 'idle', states.stopped);
  }

  // again begins a new session at once.
  again() {
    if (!this.wanted) { this.start(); return; }
    this.set('reconnecting', 'Reconnecting', 'busy', states.connecting);
    this.current?.close();
    this.#wake?.();
  }

  set(state, words, tone, message) {
    Object.assign(this.report, { state, message });
    this.#show(state, words, tone, message);
  }

  // tell passes on what a Watch has found out.
  tell(name, value) { this.#tell(name, value); }

  // clear has no figures be shown, since nothing is behind them.
  #clear() {
    this.report.stats = null;
    Object.assign(this.report.latency, { p50: undefined, p95: undefined });
    this.#bandwidth('');
    this.#tell('latency', null);
    this.#tell('stats', null);
  }

  #bandwidth(words) {
    if (words === this.report.bandwidth) return;
    this.report.bandwidth = words;
    this.#tell('bandwidth', words);
  }

  // ---- staying connected ----

  async #run() {
    let failures = 0;
    let next = null; // a View that is shown already
    while (this.wanted) {
      const mine = next ?? this.#view(this.#stage.shown, this.#whereTo(failures));
      const outcome = await this.#attempt(mine);
      next = outcome.next;
      if (!this.wanted) break;
      if (next) continue;
      if (outcome.played) {
        failures = 0;
        this.#place = mine.session.url;
      }
      if (outcome.at === 'reload') continue;
      this.#explain(outcome);
      if (this.wanted) await this.#pause(failures++, outcome.retryAfter);
    }
    next?.close();
  }

  // whereTo returns the endpoint to try: where it played last, and this node, by turns.
  #whereTo(failures) {
    if (!this.#place || failures % 2 === 1) return this.#endpoint(this.layer);
    const at = new URL(this.#place);
    if (this.layer) at.searchParams.set('layer', this.layer);
    else at.searchParams.delete('layer');
    return at.href;
  }

  #view(video, url) {
    return new View({ video, url, token: this.token, events: this.#events, told: (view, name) => this.#told(view, name) });
  }

  // attempt holds one session, and resolves with how it went, or with the view that has
  // taken its place.
  async #attempt(mine) {
    this.current = mine;
    this.#told(mine);
    if (this.report.state === 'idle') this.set('connecting', 'Connecting', 'busy', states.connecting);
    try {
      if (!mine.watch) await this.#open(mine);
      const leading = this.#lead(mine);
      await Promise.race([mine.session.ended, leading]);
      const next = await leading;
      if (next) return { next };
      const end = await mine.session.ended;
      return { at: mine.closed ? 'reload' : 'end', problem: end, played: mine.watch.frames > 0 };
    } catch (error) {
      const problem = error.problem ?? { code: '', detail: error.message, status: 0 };
      return { at: mine.closed ? 'reload' : 'refused', problem, retryAfter: error.retryAfter, played: false };
    } finally {
      mine.watch?.stop();
      mine.close();
    }
  }

  // open makes the session of a view.
  async #open(mine) {
    this.report.attempts += 1;
    if (mine === this.current) this.report.pc = mine.session.pc;
    await mine.open();
    if (mine === this.current) this.report.location = mine.session.location;
    mine.watch = new Watch(mine, this);
  }

  // lead waits until a view's server sends us elsewhere, has another view take its place,
  // and returns that once it is shown. Until then the first one goes on, and what fails is
  // tried again. lead returns null if the first one ends and nothing has taken its place.
  async #lead(from) {
    await Promise.race([from.sent, from.session.ended]);
    for (let failures = 0; from.over === null; failures += 1) {
      const to = this.#view(this.#stage.spare, from.target || from.session.url);
      from.next = to;
      try {
        await Promise.race([this.#goOver(from, to), tooLate(from)]);
        from.next = null;
        return to;
      } catch (error) {
        to.watch?.stop();
        to.close();
        to.clear();
        from.next = null;
        await Promise.race([from.session.ended, delay(backoff(failures, error.retryAfter))]);
      }
    }
    return null;
  }

  // goOver has to's picture and sound take the place of from's.
  async #goOver(from, to) {
    await this.#open(to);
    const how = await new Handover(from, to, this.#stage).run();
    from.clear();
    this.current = to;
    to.moved = true;
    Object.assign(this.report, { moves: this.report.moves + 1, lastMove: how, pc: to.session.pc, location: to.session.location });
    this.#told(to);
  }

  // told shows what the server has told of the session that is shown.
  #told(mine, name = '') {
    if (mine !== this.current) return;
    this.report.mismatch = mine.mismatch;
    this.report.away = mine.away;
    this.#bandwidth(mine.silent ? '' : lowBandwidth(mine.adaptation));
    const { kind, stream: codec, offered } = mine.mismatch ?? {};
    if (name === 'codec' && kind === 'video') { // the picture is worth more than a complaint
      this.set('unplayable', 'Cannot be played here', 'bad', unplayable(codec, offered));
    } else if (name === 'inactive' && this.report.state !== 'playing') {
      this.set('waiting', 'Waiting for the publisher', 'busy', states.waitingForPublisher);
    } else if (name === 'active' && this.report.message === states.waitingForPublisher) {
      this.set('waiting', 'Waiting for pictures', 'busy', states.noPictures);
    } else if (name === 'silent') {
      this.#clear();
      this.set('reconnecting', 'No answer', 'bad', this.#sentence(mine.silent));
    } else if (name === 'heard') { // a frame will say more
      this.set('waiting', 'Waiting for pictures', 'busy', mine.away ? states.waitingForPublisher : states.noPictures);
    }
  }

  #sentence(problem) { return sentence(problem, { stream: this.stream }); }

  // explain says why there is no picture now, and stops where trying again cannot help.
  #explain({ at, problem }) {
    const { code = '', status } = problem;
    this.report.problem = problem;
    this.#clear();
    const words = this.#sentence(problem);
    const unpublished = ['not-found', 'ended'].includes(code) || (!code && [404, 409].includes(status));
    if (at === 'refused' ? unpublished : code === 'not-found') {
      this.set('waiting', 'Waiting for the stream', 'busy', this.#sentence({ code: 'not-found' }));
    } else if (code === 'no-common-codec') {
      this.set('unplayable', 'Cannot be played here', 'bad', words);
    } else if (isFinal(problem)) {
      this.wanted = false;
      this.set('refused', 'Refused', 'bad', words);
    } else if (at === 'end' && ['ended', 'superseded', 'too-slow', 'peer-lost'].includes(code)) {
      this.set('ended', 'Ended', 'idle', words);
    } else {
      this.set('reconnecting', 'Reconnecting', at === 'refused' ? 'bad' : 'busy', words);
    }
  }

  // pause waits before the next attempt, until wake is called.
  #pause(failures, retryAfter) {
    const woken = new Promise((resolve) => { this.#wake = resolve; });
    return Promise.race([woken, delay(backoff(failures, retryAfter))]);
  }
}

// tooLate rejects when a view was closed, or lateBy after it has ended otherwise.
async function tooLate(view) {
  await view.session.ended;
  if (!view.closed) await delay(lateBy);
  throw new Error('The session has ended.');
}
