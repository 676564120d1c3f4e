// A View is one session and the <video> that plays it.

import { Follower } from './frames.js';
import { WhepSession } from './whep.js';

// A browser may show pictures for so many ms after the server has sent the last one.
const heldBack = 2500;

export class View {
  over = null; // when the session ended (performance.now()); null: it has not
  away = false; // the publisher is gone
  closed = false; // by us
  silent = null; // the problem that nothing comes from the server
  mismatch = null; // what the server told of a track that this browser cannot play
  adaptation = null; // how the server has last fitted the video to the path
  next = null; // the View that is to take its place
  target = null; // the endpoint that the server sends us to, "": the same; null: nowhere
  moved = false; // it has taken another one's place
  frames = new Follower();
  #sent;
  #awaySince = 0; // when the server told that the publisher is gone

  // url, token and events are those of a WhepSession; told is called with the view when
  // the server has told something.
  constructor({ video, url, token, events, told }) {
    this.video = video;
    // sent resolves when the server sends us elsewhere.
    this.sent = new Promise((resolve) => { this.#sent = resolve; });
    this.session = new WhepSession({ url, token, events, tell: (name, data) => this.#tell(name, data, told), patient: () => this.away });
    this.session.ended.then(() => { this.over = performance.now(); });
  }

  #tell(name, data, told) {
    if (name === 'reconnect') {
      this.target = isEndpoint(data.url) ? data.url : '';
      this.#sent();
    } else if (name === 'codec') this.mismatch = data;
    else if (name === 'adaptation') this.adaptation = data;
    else if (name === 'silent' || name === 'heard') this.silent = name === 'silent' ? data : null;
    else if (name === 'active' || name === 'inactive') {
      this.away = name === 'inactive';
      this.#awaySince = performance.now();
    }
    told(this, name);
  }

  // played notes that video has just come. The publisher is back if it comes long after the
  // server told that it is gone: the event of its return may be late, or lost.
  played() {
    if (performance.now() - this.#awaySince > heldBack) this.away = false;
  }

  // open resolves once the server has answered; pictures follow.
  async open() {
    await this.session.open();
    this.playOn(this.video);
  }

  // playOn plays the session on video.
  playOn(video) {
    this.video = video;
    video.srcObject = this.session.media;
    video.play().catch(() => {});
    this.frames.follow(video);
  }

  // clear has the <video> show nothing, a little later: when Firefox shows another one in
  // this moment, that would stand still from then on.
  clear() {
    setTimeout(() => {
      if (this.video.srcObject === this.session.media) this.video.srcObject = null;
    }, 1000);
  }

  // close ends the session, and that of the view that is to take its place. The last
  // picture stays.
  close() {
    this.closed ||= this.over === null;
    this.frames.stop();
    this.session.close();
    this.next?.close();
    this.next?.clear();
    this.next = null;
  }
}

function isEndpoint(url) {
  return URL.canParse(url) && /^https?:$/.test(new URL(url).protocol);
}
