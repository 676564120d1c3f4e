// A WHIP client (RFC 9725): sends a MediaStream to a node.

import { whyNoConnection } from './sentences.js';
import { Resource, SignalingError, withOpusParameters } from './signaling.js';
import { Vigil } from './vigil.js';

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

const connectWithin = 15000; // ms

export class WhipClient {
  #resource;
  #abort = new AbortController();
  #vigil = null;
  #end;

  // options: url, token, media (MediaStream), codec ('' for the browser's
  // choice), bitrate (bits a second, 0: unlimited), simulcast, stereo, sharp
  // (rather fewer pictures than smaller ones), tell (called with 'silent' and the problem when
  // nothing comes from the server any more, and with 'heard' when it does again).
  constructor(options) {
    this.options = options;
    this.pc = new RTCPeerConnection();
    this.#resource = new Resource(options.url, options.token);
    // ended resolves with the problem, as of a SignalingError, when a session that was
    // connected is over; with one of code "left" after stop.
    this.ended = new Promise((resolve) => { this.#end = resolve; });
  }

  // start resolves when media flows, and rejects with a SignalingError if it never does.
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
    this.#vigil?.stop();
    this.#abort.abort();
    const deleted = this.#resource.close();
    this.pc.close();
    this.#end({ code: 'left' });
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
    const { pc } = this;
    return new Promise((resolve, reject) => {
      const fail = () => reject(new SignalingError({ code: 'not-connected', detail: whyNoConnection(pc), status: 0 }));
      const timer = setTimeout(fail, connectWithin);
      pc.addEventListener('connectionstatechange', () => {
        switch (pc.connectionState) {
          case 'connected': clearTimeout(timer); this.#watch(); resolve(); break;
          case 'failed': case 'closed':
            clearTimeout(timer);
            fail(); // unless it was connected
            this.#vigil?.ask();
        }
      });
    });
  }

  // watch has a Vigil tell of the end, of which the server says goodbye on the connection.
  #watch() {
    if (this.#vigil) return;
    this.#vigil = new Vigil({
      pc: this.pc,
      probe: (milliseconds) => this.#resource.probe(milliseconds),
      told: (what, problem) => (what === 'over' ? this.#end(problem) : this.options.tell?.(what, problem)),
    });
    const { transport } = this.pc.getSenders()[0];
    transport?.addEventListener('statechange', () => { if (transport.state === 'closed') this.#vigil.ask(); });
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
