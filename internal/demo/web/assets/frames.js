// The frames that a <video> shows, and what tells them apart.

// A Follower follows the frames of a <video>, where the browser tells of them; of none
// until follow.
export class Follower {
  last = null; // the newest frame: { at (performance.now()), rtp, capture }
  count = 0;
  #listeners = new Set();
  #video = null;

  // works reports whether the browser tells of each frame, with its timestamps.
  static works(video) { return 'requestVideoFrameCallback' in video; }

  // follow has it follow video, and no other.
  follow(video) {
    if (video === this.#video) return;
    this.#video = video;
    if (!Follower.works(video)) video.addEventListener('timeupdate', () => this.#shown(video, {}));
    else this.#next(video);
  }

  #next(video) {
    video.requestVideoFrameCallback((_, metadata) => {
      if (this.#video !== video) return;
      this.#next(video);
      this.#shown(video, metadata);
    });
  }

  #shown(video, { rtpTimestamp: rtp, captureTime: capture }) {
    if (this.#video !== video) return;
    this.count += 1;
    this.last = { at: performance.now(), rtp, capture };
    for (const f of [...this.#listeners]) f(this.last);
  }

  // listen has f called with each frame, until the function that it returns is.
  listen(f) {
    this.#listeners.add(f);
    return () => this.#listeners.delete(f);
  }

  stop() {
    this.#video = null;
    this.#listeners.clear();
  }
}

// A Printer takes fingerprints of the pictures of a <video>. Two that have decoded
// the same frame have the same one.
export class Printer {
  #context;

  constructor() {
    const canvas = document.createElement('canvas');
    canvas.width = 64;
    canvas.height = 36;
    this.#context = canvas.getContext('2d', { willReadFrequently: true });
  }

  // print returns the fingerprint of the picture that video shows, null if there is none.
  print(video) {
    const { canvas } = this.#context;
    if (!video.videoWidth) return null;
    this.#context.drawImage(video, 0, 0, canvas.width, canvas.height);
    const words = new Uint32Array(this.#context.getImageData(0, 0, canvas.width, canvas.height).data.buffer);
    let hash = 0x811c9dc5; // FNV-1a, by words
    for (const word of words) hash = Math.imul(hash ^ word, 0x01000193);
    return hash;
  }
}
