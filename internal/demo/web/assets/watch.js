// A Watch follows a view's frames and figures, and tells its player of them for as long as
// the view is the one shown.

import { Reader } from './clock.js';
import { percentile } from './format.js';
import { states } from './sentences.js';
import { codecName, Reading } from './stats.js';

const noFrameFor = 2500; // ms, then the page says so

export class Watch {
  frames = 0;
  #view;
  #player;
  #reading = new Reading();
  #reader = new Reader();
  #ages = []; // [when, latency] of the last 5 s
  #lastFrame = performance.now();
  #decoded = 0; // frames, at the last tick
  #timer;
  #over = false;

  constructor(watched, player) {
    this.#view = watched;
    this.#player = player;
    watched.frames.listen(() => this.#frame());
    this.#timer = setInterval(() => this.#tick(), 1000);
  }

  stop() {
    this.#over = true;
    clearInterval(this.#timer);
  }

  get #isShown() { return this.#view === this.#player.current; }

  #frame() {
    this.frames += 1;
    this.#lastFrame = performance.now();
    if (!this.#isShown) return;
    this.#show(this.#lastFrame);
    this.#plays();
  }

  #show(at) {
    const { report } = this.#player;
    const age = this.#reader.latency(this.#view.video);
    if (age === null) report.latency.misreads += 1;
    else {
      this.#ages.push([at, age]);
      report.latency.last = age;
      report.latency.samples += 1;
    }
    report.frames += 1;
    if (this.frames === 1 && !this.#view.moved) {
      if (report.firstFrame !== null) report.reconnects += 1;
      report.firstFrame = at - this.#view.session.posted;
      this.#player.tell('first', report.firstFrame);
    }
  }

  // plays has the page say that the video plays.
  #plays() {
    const { report } = this.#player;
    this.#view.played();
    report.away = this.#view.away;
    if (report.state !== 'playing' && !this.#view.silent) this.#player.set('playing', 'Playing', 'good', '');
  }

  async #tick() {
    const now = await this.#reading.take(this.#view.session.pc);
    if (this.#over || this.#view.closed || !this.#isShown || this.#view.silent) return;
    const { report } = this.#player;
    this.#tellLatency();
    report.stats = read(now);
    this.#player.tell('stats', report.stats);
    this.#follow(report.stats.decoded ?? 0);
  }

  // follow judges by the number of decoded frames whether the video plays, once none was
  // shown for a while: browsers tell a page in a hidden tab of no frame.
  #follow(decoded) {
    const goesOn = decoded > this.#decoded;
    this.#decoded = decoded;
    if (performance.now() - this.#lastFrame <= noFrameFor) return;
    const { report } = this.#player;
    if (goesOn) {
      this.#lastFrame = performance.now();
      this.#plays();
    } else if (report.state === 'playing') {
      this.#player.set('waiting', 'Waiting for pictures', 'busy', report.away ? states.waitingForPublisher : states.noPictures);
    }
  }

  #tellLatency() {
    const since = performance.now() - 5000;
    this.#ages = this.#ages.filter(([at]) => at > since);
    const ages = this.#ages.map(([, age]) => age);
    const { latency } = this.#player.report;
    // A stray picture may pass for a clock, but not picture after picture.
    const seen = ages.length >= 5;
    latency.p50 = seen ? percentile(ages, 0.5) : undefined;
    latency.p95 = seen ? percentile(ages, 0.95) : undefined;
    this.#player.tell('latency', seen ? latency : null);
  }
}

function read(now) {
  const [v] = now.of('inbound-rtp', 'video');
  const [a] = now.of('inbound-rtp', 'audio');
  const received = v?.packetsReceived ?? 0;
  const lost = Math.max(0, v?.packetsLost ?? 0);
  return {
    width: v?.frameWidth, height: v?.frameHeight, fps: v?.framesPerSecond,
    bitrate: v && now.rate(v, 'bytesReceived') * 8, audioBitrate: a && now.rate(a, 'bytesReceived') * 8,
    codec: v && codecName(now.get(v.codecId)), audioCodec: a && codecName(now.get(a.codecId)),
    packets: received, lost, lostShare: received + lost > 0 ? lost / (received + lost) : undefined,
    bufferMillis: v && now.mean(v, 'jitterBufferDelay', 'jitterBufferEmittedCount') * 1000,
    decoded: v?.framesDecoded, dropped: v?.framesDropped, keyframes: v?.keyFramesDecoded,
    freezes: v?.freezeCount, frozen: v?.totalFreezesDuration,
    nack: v?.nackCount, pli: v?.pliCount, rtt: now.roundTrip,
    audioLevel: a?.audioLevel, audioPackets: a?.packetsReceived,
  };
}
