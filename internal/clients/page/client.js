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

let seen = null; // what watch has noted

// note appends what getStats says now.
async function note() {
  const s = { t: Date.now(), state: pc.connectionState };
  for (const r of (await pc.getStats()).values()) {
    if (r.type === 'candidate-pair' && r.nominated) s.rtt = (r.currentRoundTripTime ?? 0) * 1000;
    if (r.type !== 'inbound-rtp') continue;
    const buffer = r.jitterBufferEmittedCount ? r.jitterBufferDelay / r.jitterBufferEmittedCount * 1000 : 0;
    if (r.kind === 'video') {
      Object.assign(s, {
        bytes: r.bytesReceived, packets: r.packetsReceived, lost: r.packetsLost, decoded: r.framesDecoded ?? 0,
        dropped: r.framesDropped ?? 0, height: r.frameHeight ?? 0, freezes: r.freezeCount ?? 0, frozen: r.totalFreezesDuration ?? 0,
        nacks: r.nackCount ?? 0, plis: r.pliCount ?? 0, repeated: r.retransmittedPacketsReceived ?? 0, buffer,
      });
    } else {
      Object.assign(s, {
        audioPackets: r.packetsReceived, audioLost: r.packetsLost, audioBuffer: buffer,
        concealed: (r.concealedSamples ?? 0) - (r.silentConcealedSamples ?? 0), samples: r.totalSamplesReceived ?? 0,
      });
    }
  }
  seen.samples.push(s);
}

window.client = {
  // watch plays, and notes what there is four times a second and when each frame is
  // shown.
  async watch(url) {
    receive();
    seen = { samples: [], frames: [] };
    const video = document.getElementById('video');
    const shown = (now) => {
      seen.frames.push(Math.round(performance.timeOrigin + now));
      video.requestVideoFrameCallback(shown);
    };
    video.requestVideoFrameCallback(shown);
    setInterval(note, 250);
    await signal(url);
    return 'ok';
  },

  seen() { return JSON.stringify(seen); },

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
