// libdatachannel (libjuice, usrsctp, libsrtp, its own TLS library) as a client:
// "publish URL" or "play URL".

import { readFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import datachannel from 'node-datachannel';
import { action, count, say, signal, untilEnd } from './driver.mjs';
import { Frames, publish } from './media.mjs';

const { version } = JSON.parse(readFileSync(new URL('node_modules/node-datachannel/package.json', import.meta.url)));
say({ version: `node-datachannel ${version}, libdatachannel ${datachannel.getLibraryVersion?.() ?? '?'}, Node.js ${process.version}` });
datachannel.initLogger('Warning', (level, text) => console.error(level, text));

const pc = new datachannel.PeerConnection('client', { iceServers: [] });
let state = 'new';
let end = () => {};
const direction = action === 'publish' ? 'SendOnly' : 'RecvOnly';
const video = new datachannel.Video('0', direction);
video.addVP8Codec(96);
const audio = new datachannel.Audio('1', direction);
audio.addOpusCodec(111);
const ssrc = { video: randomBytes(4).readUInt32BE() || 1, audio: randomBytes(4).readUInt32BE() || 2 };
if (action === 'publish') {
  video.addSSRC(ssrc.video, 'client', 'client', 'video');
  audio.addSSRC(ssrc.audio, 'client', 'client', 'audio');
}
const tracks = { video: pc.addTrack(video), audio: pc.addTrack(audio) };
if (action === 'play') {
  const frames = new Frames(count);
  tracks.video.setMediaHandler(new datachannel.RtcpReceivingSession());
  tracks.video.onMessage((packet) => frames.take(packet));
  tracks.video.onOpen(() => tracks.video.requestKeyframe());
  tracks.audio.setMediaHandler(new datachannel.RtcpReceivingSession());
  tracks.audio.onMessage(() => { count.audio += 1; });
}
pc.onStateChange((s) => {
  state = s;
  if (s === 'connected' && action === 'publish') {
    const send = (track) => (packet) => { if (track.isOpen()) track.sendMessageBinary(packet); };
    end = publish({
      video: { pt: 96, ssrc: ssrc.video, send: send(tracks.video) },
      audio: { pt: 111, ssrc: ssrc.audio, send: send(tracks.audio) },
      count,
    });
  }
});
const gathered = new Promise((resolve) => { pc.onGatheringStateChange((s) => { if (s === 'complete') resolve(); }); });
pc.setLocalDescription();
await gathered;
const { sdp, resource } = await signal(pc.localDescription().sdp);
pc.setRemoteDescription(sdp, 'answer');
await untilEnd(resource, () => state);
end();
pc.close();
datachannel.cleanup();
