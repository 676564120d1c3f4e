// A WHIP client (RFC 9725): sends a MediaStream to a node.

import { whyNoConnection } from './connectivity.js';
import { Resource, withOpusParameters } from './signaling.js';

// Video codecs that can be asked for, and which of them this browser sends.
export function sendableCodecs() {
  const capabilities = RTCRtpSender.getCapabilities?.('video');
  const has = (name) => capabilities?.codecs.some((c) => c.mimeType.toLowerCase() === `video/${name.toLowerCase()}`);
  return ['VP8', 'H264', 'AV1', 'VP9'].filter(has);
}

// The layers of simulcast, the lowest first: how much smaller, and how much of
// the bitrate each takes.
const layers = [
  { rid: 'l', scaleResolutionDownBy: 4, share: 0.08 },
  { rid: 'm', scaleResolutionDownBy: 2, share: 0.27 },
  { rid: 'h', scaleResolutionDownBy: 1, share: 0.65 },
];

export class WhipClient extends EventTarget {
  #resource;
  #abort = new AbortController();
  #grace;

  // options: url, token, media (MediaStream), codec ('' for the browser's
  // choice), bitrate (bits a second, 0: unlimited), simulcast, stereo, sharp
  // (rather fewer pictures than smaller ones).
  constructor(options) {
    super();
    this.options = options;
    this.pc = new RTCPeerConnection();
    this.#resource = new Resource(options.url, options.token);
  }

  // start resolves when media flows and rejects if it never does. Later loss
  // of the connection is the event "lost", whose detail says why.
  async start() {
    const { media, stereo } = this.options;
    for (const track of media.getTracks()) this.#add(track);
    const connected = this.#connected();
    connected.catch(() => {}); // may be settled before it is awaited
    const munge = (sdp) => (stereo ? withOpusParameters(sdp, ['stereo=1', 'sprop-stereo=1']) : sdp);
    // What the encoder does follows from the answer's a=fmtp (RFC 7587).
    await this.#resource.negotiate(this.pc, { munge, mungeAnswer: munge, signal: this.#abort.signal });
    await connected;
  }

  get location() { return this.#resource.location; }

  // stop ends the session. It may be called at any time, and more than once.
  stop() {
    clearTimeout(this.#grace);
    this.#abort.abort();
    const deleted = this.#resource.close();
    this.pc.close();
    return deleted;
  }

  #add(track) {
    const { media, codec, bitrate, simulcast, sharp } = this.options;
    const video = track.kind === 'video';
    const init = { direction: 'sendonly', streams: [media] };
    if (video && simulcast) {
      init.sendEncodings = layers.map(({ share, ...layer }) => (
        { ...layer, ...(bitrate ? { maxBitrate: Math.round(bitrate * share) } : {}) }));
    } else if (video && bitrate) {
      init.sendEncodings = [{ maxBitrate: bitrate }];
    }
    const transceiver = this.pc.addTransceiver(track, init);
    if (video && codec) preferCodec(transceiver, codec);
    if (video && sharp && !simulcast) keepSize(transceiver.sender);
  }

  #connected() {
    return new Promise((resolve, reject) => {
      let connected = false; // at any time
      const timer = setTimeout(() => reject(new Error(whyNoConnection(this.pc))), 15000);
      const over = (why) => {
        clearTimeout(timer);
        reject(new Error(why));
        this.dispatchEvent(new CustomEvent('lost', { detail: why }));
      };
      this.pc.addEventListener('connectionstatechange', () => {
        clearTimeout(this.#grace);
        switch (this.pc.connectionState) {
          case 'connected': connected = true; clearTimeout(timer); resolve(); break;
          case 'failed': over(connected ? 'The connection to the server was lost.' : whyNoConnection(this.pc)); break;
          case 'closed': over('The server ended the session.'); break;
          case 'disconnected':
            this.#grace = setTimeout(() => over('The server does not answer any more.'), 5000);
        }
      });
    });
  }
}

// preferCodec leaves codec, and what repairs it, as the only choice.
function preferCodec(transceiver, codec) {
  if (!transceiver.setCodecPreferences) return;
  const all = RTCRtpSender.getCapabilities('video').codecs;
  const named = (...names) => all.filter((c) => names.includes(c.mimeType.toLowerCase()));
  const wanted = named(`video/${codec.toLowerCase()}`);
  // Packetization mode 1 lets a picture span packets (RFC 6184).
  wanted.sort((a, b) => mode(b) - mode(a));
  if (wanted.length > 0) transceiver.setCodecPreferences([...wanted, ...named('video/rtx')]);
}

function keepSize(sender) {
  const parameters = sender.getParameters();
  parameters.degradationPreference = 'maintain-resolution';
  sender.setParameters(parameters).catch(() => {}); // not every browser knows it
}

function mode(codec) {
  return /packetization-mode=1/.test(codec.sdpFmtpLine || '') ? 1 : 0;
}
