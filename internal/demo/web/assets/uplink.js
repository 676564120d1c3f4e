// Whether the connection of a publisher carries what it has to send: by the browser's own
// figures, and by what the node sees of it.

import { fetchStatus } from './node.js';
import { narrowUplink } from './sentences.js';

const askEvery = 3000; // ms
// Browsers begin with a small picture, and call that limited, too.
const limitedFor = 8000; // ms

export class Uplink {
  #stream;
  #asked = -Infinity;
  #limited = null; // since when the browser says so
  #seen = null; // what the node sees

  constructor(stream) { this.#stream = stream; }

  // words returns the sentence to show, '' if all is well. It is called with each reading
  // of the figures.
  words(stats) {
    const now = performance.now();
    if (now - this.#asked >= askEvery) {
      this.#asked = now;
      this.#ask();
    }
    const limited = stats.limit === 'bandwidth' || stats.layers.some((l) => l.limit === 'bandwidth');
    if (!limited) this.#limited = null;
    else this.#limited ??= now;
    const held = limited && now - this.#limited >= limitedFor;
    return narrowUplink({ node: this.#seen?.narrow ? this.#seen : null, limited: held });
  }

  async #ask() {
    const status = await fetchStatus('', { stream: this.#stream }).catch(() => null); // the session notices a node that is gone
    this.#seen = status?.streams.find(({ id }) => id === this.#stream)?.uplink ?? null;
  }
}
