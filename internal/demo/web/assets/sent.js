// The figures of what is sent, from a Reading.

import { codecName, sum } from './stats.js';

export function readSent(now) {
  const video = now.of('outbound-rtp', 'video').filter((r) => r.active !== false || r.bytesSent > 0);
  const [audio] = now.of('outbound-rtp', 'audio');
  const remote = now.of('remote-inbound-rtp', 'video');
  const best = video.reduce((a, b) => ((b.frameWidth || 0) > (a?.frameWidth || 0) ? b : a), video[0]);
  const total = (key) => sum(video.map((r) => r[key])) ?? 0;
  const loss = remote.length > 0 ? Math.max(...remote.map((r) => r.fractionLost ?? 0)) : undefined;
  const rtt = remote.find((r) => r.roundTripTime !== undefined)?.roundTripTime * 1000;
  return {
    width: best?.frameWidth, height: best?.frameHeight, fps: best?.framesPerSecond,
    bitrate: sum(video.map((r) => now.rate(r, 'bytesSent') * 8)),
    audioBitrate: audio && now.rate(audio, 'bytesSent') * 8,
    codec: best && codecName(now.get(best.codecId)), audioCodec: audio && codecName(now.get(audio.codecId)),
    encodeMillis: best && now.mean(best, 'totalEncodeTime', 'framesEncoded') * 1000,
    limit: best?.qualityLimitationReason, rtt: Number.isFinite(rtt) ? rtt : now.roundTrip, loss,
    nack: total('nackCount'), pli: total('pliCount'), fir: total('firCount'),
    framesSent: best?.framesSent ?? 0, keyframes: total('keyFramesEncoded'),
    layers: video.filter((r) => r.rid).map((r) => layerOf(now, r)),
  };
}

function layerOf(now, r) {
  return {
    rid: r.rid, width: r.frameWidth, height: r.frameHeight, fps: r.framesPerSecond,
    bitrate: now.rate(r, 'bytesSent') * 8, pli: r.pliCount, limit: r.qualityLimitationReason,
  };
}
