// A browser as a client: publish or play, and count. The page of both Chromium
// and Firefox.

let pc = null;
let resource = null;
let library = null; // the session of whip-whep, where that is used
let failure = '';

addEventListener('error', (e) => { failure = e.message; });
addEventListener('unhandledrejection', (e) => { failure = String(e.reason); });

async function signal(url) {
  await pc.setLocalDescription();
  const answer = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: pc.localDescription.sdp });
  if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`);
  resource = new URL(answer.headers.get('Location'), url);
  await pc.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
}

function receive() {
  pc = new RTCPeerConnection();
  const media = new MediaStream();
  pc.ontrack = (e) => media.addTrack(e.track);
  pc.addTransceiver('video', { direction: 'recvonly' });
  pc.addTransceiver('audio', { direction: 'recvonly' });
  const video = document.getElementById('video');
  video.srcObject = media;
  video.play().catch(() => {});
}

window.client = {
  async publish(url) {
    pc = new RTCPeerConnection();
    const media = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 }, audio: true });
    for (const track of media.getTracks()) {
      pc.addTransceiver(track, { direction: 'sendonly', streams: [media] });
    }
    await signal(url);
    return 'ok';
  },

  async play(url) {
    receive();
    await signal(url);
    return 'ok';
  },

  // playByLibrary and publishByLibrary leave the signaling to whip-whep, as npm has it.
  async playByLibrary(url) {
    const { WHEPClient } = await import('/npm/whip-whep/whep.js');
    receive();
    library = new WHEPClient();
    await library.view(pc, url);
    return 'ok';
  },

  async publishByLibrary(url) {
    const { WHIPClient } = await import('/npm/whip-whep/whip.js');
    pc = new RTCPeerConnection();
    const media = await navigator.mediaDevices.getUserMedia({ video: true, audio: true });
    for (const track of media.getTracks()) pc.addTransceiver(track, { direction: 'sendonly', streams: [media] });
    library = new WHIPClient();
    await library.publish(pc, url);
    return 'ok';
  },

  // restart begins ICE anew, and resolves with the user name fragments that the
  // server had before and has now.
  async restart() {
    const fragment = () => pc.remoteDescription.sdp.match(/^a=ice-ufrag:(.*?)\r?$/m)[1];
    const before = fragment();
    await library.restart();
    return JSON.stringify([before, fragment()]);
  },

  // counts returns what has been sent or received: frames encoded or decoded.
  async counts() {
    const out = { state: pc?.connectionState, ice: pc?.iceConnectionState, video: 0, audio: 0, keyframes: 0, width: 0, failure };
    for (const s of (await pc?.getStats() ?? new Map()).values()) {
      if (s.type === 'inbound-rtp' && s.kind === 'video') {
        out.video = s.framesDecoded ?? 0;
        out.keyframes = s.keyFramesDecoded ?? 0;
        out.width = s.frameWidth ?? 0;
      } else if (s.type === 'inbound-rtp') {
        out.audio = s.packetsReceived ?? 0;
      } else if (s.type === 'outbound-rtp' && s.kind === 'video') {
        out.video = s.framesEncoded ?? 0;
      } else if (s.type === 'outbound-rtp') {
        out.audio = s.packetsSent ?? 0;
      }
    }
    return JSON.stringify(out);
  },

  async stop() {
    if (library) {
      await library.stop();
      return 'ok';
    }
    pc.close();
    if (resource) await fetch(resource, { method: 'DELETE' });
    return 'ok';
  },
};
