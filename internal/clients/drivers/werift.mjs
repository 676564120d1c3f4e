// werift (WebRTC in TypeScript, down to DTLS and SRTP) as a client: "publish URL"
// or "play URL".

import { readFileSync } from 'node:fs';
import * as werift from 'werift';
import { action, count, say, signal, untilEnd } from './driver.mjs';
import { Frames, publish } from './media.mjs';

const { MediaStreamTrack, RTCPeerConnection, RTCRtpCodecParameters } = werift;
const { version } = JSON.parse(readFileSync(new URL('node_modules/werift/package.json', import.meta.url)));
say({ version: `werift ${version}, Node.js ${process.version}` });

const pc = new RTCPeerConnection({
  iceServers: [],
  codecs: {
    video: [new RTCRtpCodecParameters({
      mimeType: 'video/VP8', clockRate: 90000,
      rtcpFeedback: [{ type: 'nack' }, { type: 'nack', parameter: 'pli' }, { type: 'goog-remb' }],
    })],
    audio: [new RTCRtpCodecParameters({ mimeType: 'audio/opus', clockRate: 48000, channels: 2 })],
  },
});
let end = () => {};
let transceivers;
if (action === 'publish') {
  const tracks = { video: new MediaStreamTrack({ kind: 'video' }), audio: new MediaStreamTrack({ kind: 'audio' }) };
  transceivers = [pc.addTransceiver(tracks.video, { direction: 'sendonly' }), pc.addTransceiver(tracks.audio, { direction: 'sendonly' })];
  pc.connectionStateChange.subscribe((s) => {
    if (s !== 'connected') return;
    const source = (t, track) => ({ pt: t.codecs[0].payloadType, ssrc: t.sender.ssrc, send: (packet) => track.writeRtp(packet) });
    end = publish({ video: source(transceivers[0], tracks.video), audio: source(transceivers[1], tracks.audio), count });
  });
} else {
  const frames = new Frames(count);
  transceivers = [pc.addTransceiver('video', { direction: 'recvonly' }), pc.addTransceiver('audio', { direction: 'recvonly' })];
  for (const t of transceivers) {
    t.onTrack.subscribe((track) => {
      track.onReceiveRtp.subscribe((packet) => {
        if (track.kind === 'audio') count.audio += 1;
        else frames.payload(packet.header.marker, packet.header.sequenceNumber, packet.payload);
      });
    });
  }
}
await pc.setLocalDescription(await pc.createOffer());
const { sdp, resource } = await signal(pc.localDescription.sdp);
await pc.setRemoteDescription({ type: 'answer', sdp });
await untilEnd(resource, () => pc.connectionState);
end();
await pc.close();
process.exit(0); // its timers
