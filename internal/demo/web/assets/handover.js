// How the picture goes over from one session to another that plays the same stream:
// never to a frame older than one that was shown, and without a pause that is seen.
//
// For that the frames of both have to be compared. RTP timestamps alone do not tell: each
// session has its own, and a session that begins catches up, with timestamps that advance
// more slowly than its frames. But the same frame, decoded twice, is the same picture, to
// the bit. So pictures are compared, and each pair of equal ones tells the difference of
// the two sessions' timestamps. When that stays the same, the new session has caught up.
//
// If no picture is seen twice (the nodes send different layers, or nothing moves), the
// capture times are compared, which the browser computes from sender reports; and if it
// does not, the times at which frames are shown. Both are inexact: they get a margin.

import { Follower, Printer } from './frames.js';

const clock = 90; // ticks of a video's RTP timestamps a millisecond
const agreeing = 3; // pairs that have to agree
const alike = 2 * clock; // apart, in ticks, at most
const kept = 120; // fingerprints
// By then the new session has caught up, which takes 4 s at most, unless the node is set up
// otherwise. After that an inexact comparison will do.
const exactFor = 5000;
const margins = { picture: 0, capture: 50, arrival: 100 }; // ms
// How far behind the new session may be, in ms: the picture stands still for so long.
const behind = 150;
// If the new session has not come to what the picture shows by so many ms after it should
// have, the old one goes on.
const standFor = 250;
const quiet = 1000; // ms without a frame: none is coming

const after = (a, b) => (a - b) | 0; // how far timestamp a is after b, in ticks

// An Alignment finds out how the timestamps of two sessions compare.
class Alignment {
  #printer = new Printer();
  #prints = [new Map(), new Map()]; // of the old and the new one: fingerprint → timestamp, null if it had two
  #offsets = []; // of the newest pairs
  #offset = null; // that they agree on
  #steps = []; // between the newest frames of the old one, in ms
  #before; // the timestamp of the frame before
  // step is how far two frames are apart, in ms. Pairs may be off by one: what is told
  // of a frame and what is drawn of it are not always of the same one.
  step = 34;

  // shown notes a frame that the old session shows.
  shown({ rtp }, video) {
    this.#measure(rtp);
    const same = this.#pair(rtp, video, 0);
    if (same !== null) this.#found(after(rtp, same));
  }

  // coming notes a frame of the new one.
  coming({ rtp }, video) {
    const same = this.#pair(rtp, video, 1);
    if (same !== null) this.#found(after(same, rtp));
  }

  // pair notes the picture that one session shows, and returns with which timestamp the
  // other has shown it, null if it has not, or if that is not certain.
  #pair(rtp, video, which) {
    const print = this.#printer.print(video);
    if (print === null || rtp === undefined) return null;
    const [mine, other] = [this.#prints[which], this.#prints[1 - which]];
    const before = mine.get(print);
    mine.set(print, before === undefined || before === rtp ? rtp : null);
    if (mine.size > kept) mine.delete(mine.keys().next().value);
    return mine.get(print) === null ? null : other.get(print) ?? null;
  }

  #found(offset) {
    this.#offsets.push(offset);
    if (this.#offsets.length > 2 * agreeing) this.#offsets.shift();
    if (this.#offsets.filter((o) => Math.abs(o - offset) <= alike).length >= agreeing) this.#offset = offset;
  }

  // measure takes the least of the last steps.
  #measure(rtp) {
    if (this.#before !== undefined && rtp !== undefined) {
      this.#steps.push(after(rtp, this.#before) / clock);
      if (this.#steps.length > 10) this.#steps.shift();
      this.step = Math.max(Math.min(...this.#steps), 0) + 1;
    }
    this.#before = rtp;
  }

  // same reports whether both show the same picture now.
  same(a, b) {
    const print = this.#printer.print(a);
    return print !== null && print === this.#printer.print(b);
  }

  // compare returns { offset, by }: what to add to the timestamps of the new session,
  // and by what that is known. null: it is not. rough: it need not be exact.
  compare(old, young, rough) {
    if (this.#offset !== null) return { offset: this.#offset, by: 'picture' };
    if (!rough) return null;
    const apart = after(old.rtp, young.rtp);
    if (old.capture !== undefined && young.capture !== undefined) {
      return { offset: apart + Math.round((young.capture - old.capture) * clock), by: 'capture' };
    }
    return { offset: apart + Math.round((young.at - old.at) * clock), by: 'arrival' };
  }
}

// A Handover has the picture go over from one view to another, which plays behind it.
export class Handover {
  #from;
  #to;
  #stage;
  #alignment = new Alignment();
  #begun = performance.now();
  #ready = null; // since when the new session is connected
  #stands = null; // since when the picture stands still; null: it does not
  #until; // when it is to go on, if nothing has come of that
  #drawn = 0; // how many times the page was drawn since
  #resting = 0; // until when it is not tried again
  #undo = [];
  #settle;

  // from and to have a video, its frames (a Follower) and a session; stage has the
  // sound, and then the picture, of one of them be that of the page.
  constructor(from, to, stage) {
    this.#from = from;
    this.#to = to;
    this.#stage = stage;
  }

  // run resolves with { by, stood, at, took } once it is done: by what the frames were
  // compared, for how many ms the picture stood still, when that was over
  // (performance.now()), and how many ms all of it took. It rejects when the new session
  // ends before that.
  run() {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      const { frames: old, video } = this.#from;
      const timer = setInterval(() => this.#look(), 100);
      this.#undo.push(
        () => clearInterval(timer),
        old.listen((frame) => this.#alignment.shown(frame, video)),
        this.#to.frames.listen((frame) => {
          this.#alignment.coming(frame, this.#to.video);
          this.#look();
        }),
      );
      this.#to.session.ended.then(({ code, detail }) => this.stop(Object.assign(new Error(detail || code), { code })));
    });
  }

  // stop gives it up, unless it is done.
  stop(error) {
    if (this.#undo.length === 0) return;
    this.#goOn();
    this.#clear();
    this.#settle.reject(error);
  }

  #clear() {
    for (const undo of this.#undo.splice(0)) undo();
  }

  #finish(by) {
    const stood = this.#stands === null ? 0 : performance.now() - this.#stands;
    this.#clear();
    this.#stage.show(this.#to);
    this.#settle.resolve({ by, stood, at: performance.now(), took: performance.now() - this.#begun });
  }

  // look decides what is to be done now.
  #look() {
    const { frames: old, over } = this.#from;
    const { frames: young } = this.#to;
    const now = performance.now();
    if (this.#ready === null && this.#to.session.pc.connectionState === 'connected') this.#ready = now;
    // The browser does not tell of frames, or nobody sees them, or there were none.
    if (!Follower.works(this.#to.video) || document.hidden || old.count === 0) {
      if (this.#ready !== null && now - this.#ready > quiet) this.#finish('nothing');
      return;
    }
    if (young.count === 0) return;
    const rough = now - this.#begun > exactFor || (over !== null && now - over > quiet);
    if (rough && (old.last.rtp === undefined || young.last.rtp === undefined)) { // it does not tell enough
      this.#finish('nothing');
      return;
    }
    const found = this.#alignment.compare(old.last, young.last, rough);
    if (this.#stands !== null || over !== null || now - old.last.at > quiet) this.#await(found, now);
    else if (found && now > this.#resting) this.#consider(found, now);
  }

  // consider has the picture stand still if the new session is near enough.
  #consider({ offset, by }, now) {
    const { frames: old, video } = this.#from;
    const { frames: young } = this.#to;
    const late = after(old.last.rtp, young.last.rtp + offset) / clock + margins[by];
    const limit = now - this.#begun > exactFor ? Infinity : behind;
    if (late > limit || now - young.last.at > behind) return;
    this.#stands = now;
    this.#until = now + Math.max(late, 0) + standFor;
    this.#drawn = 0;
    this.#stage.hear(this.#to.video);
    video.pause();
    const drawn = () => {
      this.#drawn += 1;
      if (this.#stands !== null && this.#undo.length > 0) requestAnimationFrame(drawn);
    };
    requestAnimationFrame(drawn);
  }

  // await has the new session be shown once it has come to what stands still.
  #await(found, now) {
    // The frame that pause has left on the screen may not have been told of yet.
    if (this.#stands !== null && this.#drawn < 2) return;
    if (this.#alignment.same(this.#from.video, this.#to.video)) {
      this.#finish('picture');
    } else if (found && this.#past(found) >= this.#alignment.step) {
      this.#finish(found.by);
    } else if (this.#stands !== null && this.#from.over === null && now > this.#until) {
      this.#goOn();
    }
  }

  // past is by how many ms the new session is ahead of what stands still.
  #past({ offset, by }) {
    return after(this.#to.frames.last.rtp + offset, this.#from.frames.last.rtp) / clock - margins[by];
  }

  // goOn has the old session go on.
  #goOn() {
    if (this.#stands === null) return;
    this.#stands = null;
    this.#resting = performance.now() + 1000;
    const { video } = this.#from;
    this.#stage.hear(video);
    video.play().catch(() => {});
  }
}
