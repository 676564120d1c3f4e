// Every sentence that the pages say about what happens: to the person who publishes or
// plays, in plain words, with what to do.

// said returns what a page says about a problem: says is what happened, todo what to do.
// A code is one of docs/problems.md, or one of the page's own: "unreachable" (no answer
// to a request), "not-connected" (there never was a connection), "lost" (it broke),
// "silent" (the server sends nothing) and "stalled" (it answers over HTTP only). For an unknown
// code it is the server's detail.
export function said({ code = '', detail = '', status = 0 }, { stream = '', publishing = false } = {}) {
  const entry = problems[code] ?? byStatus(status, publishing);
  const words = entry ?? (status === 0 ? { says: `The page failed: ${detail}`, todo: reload } : { says: detail || `The server answered ${status}.`, todo: again });
  const pick = (part) => {
    const text = (publishing && words.publishing?.[part]) || words[part];
    return text.replaceAll('{stream}', () => stream);
  };
  // The server's own detail about a wrong request is more precise.
  return { says: words.precise && detail ? detail : pick('says'), todo: pick('todo') };
}

// sentence returns both in one line.
export function sentence(problem, circumstances) {
  const { says, todo } = said(problem, circumstances);
  return `${says} ${todo}`;
}

// isFinal reports whether trying again cannot help until somebody changes something.
export function isFinal({ code = '', status = 0 }) {
  return problems[code]?.final ?? (!code && [0, 401, 403].includes(status));
}

// byStatus is for servers that give no code.
function byStatus(status, publishing) {
  const codes = {
    401: 'unauthorized', 403: 'forbidden', 404: publishing ? 'no-resource' : 'not-found', 409: publishing ? 'already-publishing' : 'not-found',
    410: 'ended', 413: 'too-large', 415: 'media-type', 422: 'no-common-codec', 429: 'over-limit', 500: 'failed', 502: 'upstream', 503: 'over-limit', 504: 'timeout',
  };
  return problems[codes[status]];
}

const again = 'The page tries again by itself.';
const reload = 'Reload the page and try again.';

export const problems = {
  __proto__: null, // codes come from elsewhere
  // About the stream and the session.
  'unauthorized': {
    says: 'This stream needs a valid token.', todo: 'Enter the token that you were given, and start again.', final: true,
  },
  'expired': { says: 'The token has expired.', todo: 'Ask for a new one, enter it, and start again.', final: true },
  'forbidden': {
    says: 'The token does not allow you to play "{stream}".', todo: 'Ask the person who gave it to you for one that does.', final: true,
    publishing: { says: 'The token does not allow you to publish "{stream}".' },
  },
  'not-found': {
    says: 'Waiting for "{stream}".', todo: 'It starts playing as soon as somebody publishes it.',
    publishing: { says: 'The server does not know "{stream}".', todo: 'Start again to publish it.' },
  },
  'already-publishing': {
    says: 'Somebody already publishes "{stream}".', todo: 'Choose another name, or wait until they stop.', final: true,
  },
  'stale': {
    says: 'A newer publication of "{stream}" exists.', todo: again,
    publishing: { todo: 'Start again to publish it anew.' }, final: true,
  },
  'no-common-codec': {
    says: 'This browser cannot play the codecs of "{stream}".', todo: 'Use another browser, or publish the stream with another codec.', final: true,
    publishing: { says: 'The server accepts none of the codecs that were offered.', todo: 'Choose another codec and start again.' },
  },
  'unsupported': {
    says: 'The server does not support this request.', todo: 'Choose other settings, or reload the page if it is older than the server.', final: true, precise: true,
  },
  'invalid': { says: 'The server did not understand the request.', todo: reload, final: true, precise: true },
  'ended': {
    says: 'The stream has ended.', todo: 'It plays again as soon as somebody publishes it.',
    publishing: { says: 'The server has ended the stream.', todo: 'Start again to go on.' },
  },
  'superseded': {
    says: 'Another publisher has taken over "{stream}".', todo: 'Playback continues by itself.',
    publishing: { todo: 'Choose another name, or start again to take it back.' },
  },
  'too-slow': { says: 'The connection is too slow for this stream.', todo: 'Choose a lower layer, or use another network.' },
  'over-limit': { says: 'The server accepts no more sessions at the moment.', todo: again },
  'draining': { says: 'This server is about to shut down.', todo: 'The page moves to another one by itself.' },
  'unavailable': { says: 'The server cannot check tokens at the moment.', todo: again },
  'left': { says: 'The session was ended here.', todo: 'Press Play to begin again.', publishing: { todo: 'Press Publish to begin again.' } },
  'closed': { says: 'The server has closed the session.', todo: again },
  'peer-lost': { says: 'The server has lost the connection.', todo: 'Check the network of this device. The page tries again by itself.' },
  'timeout': { says: 'The server did not get an answer in time.', todo: again },
  'loop': { says: 'The servers ask each other for this stream in a circle.', todo: 'Tell the operator: the points of entry are set up wrongly.' },
  'upstream': { says: 'The server cannot fetch the stream from another one.', todo: `${again} The reason is in the server's log.` },
  'failed': { says: 'Something failed in the server.', todo: `${again} The reason is in the server's log.` },

  // About the request.
  'no-resource': { says: 'This server has nothing at that address.', todo: 'Check the address. Perhaps this server accepts no publishers, or serves no viewers.', final: true },
  'bad-stream': {
    says: 'That is no name for a stream.', todo: 'Use letters, digits and . _ ~ @ + = : -, in elements separated by /.', final: true,
  },
  'no-session': { says: 'The server has been restarted and does not know the session.', todo: again },
  'no-event-stream': { says: 'The server sends no events about the session.', todo: reload },
  'method': { says: 'The server does not accept this request.', todo: 'Check that a proxy in front of it passes POST, PATCH and DELETE.', final: true },
  'media-type': { says: 'The server does not accept this kind of request.', todo: reload, final: true },
  'too-large': { says: 'The request is too large for the server.', todo: 'Choose fewer layers or codecs.', final: true },
  'slow-body': { says: 'The request took too long to reach the server.', todo: again },
  'broken-body': { says: 'The request broke off on its way.', todo: again },
  'if-match-missing': { says: 'A header was lost on the way to the server.', todo: 'Check that a proxy in front of it passes If-Match.' },
  'if-match-stale': { says: 'The connection has been restarted since.', todo: again },
  'answered': { says: 'The session is set up already.', todo: reload },
  'unknown-event': { says: 'The server does not know an event that the page uses.', todo: 'Reload the page if it is older than the server.' },
  'too-many-event-streams': { says: 'Too many pages listen to this session.', todo: 'Close some of them.' },

  // The page's own.
  'unreachable': { says: 'The server cannot be reached.', todo: `Check the network of this device. ${again}` },
  'lost': { says: 'The connection to the server was lost.', todo: again },
  'not-connected': { says: 'The connection failed: no packet came through.', todo: again, precise: true, publishing: { todo: 'Then start again.' } },
  'stalled': { says: 'The server answers, but no media comes from it.', todo: `A firewall may block UDP. ${again}` },
  'silent': { says: 'The server does not answer.', todo: `Check the network of this device. ${again}` },
};

// What happens on the device of the person who publishes.
export const devices = {
  NotAllowedError: 'The browser was not allowed to use the source. Allow it in the address bar, and start again.',
  NotFoundError: 'No such camera or microphone was found. Connect one, or choose another.',
  OverconstrainedError: 'The camera or microphone that was chosen is gone. Choose another one.',
  NotReadableError: 'The camera or microphone is in use by another program. Close that program, and start again.',
  insecure: 'The browser gives cameras and screens only to pages from https or localhost. Open this page by https.',
  ended: 'The source has ended: the device was disconnected, or sharing was stopped. Choose a source and start again.',
};

// explainDevice says why a source cannot be used.
export function explainDevice(error) {
  return devices[error.name] || error.message || String(error);
}

export const states = {
  waitingForPublisher: 'The publisher is gone. Playback continues when it comes back.',
  noPictures: 'Connected, but no video arrives. Playback continues as soon as the publisher sends some.',
  connecting: 'Connecting …',
  reconnecting: 'Connecting again …',
  stopped: 'Stopped.',
  remote: 'The stream that you play appears here.',
};

export const unplayable = (codec, offered) => `The stream's video is ${codec}. This browser plays ${offered || 'no video'}. Use another browser, or publish the stream with another codec.`;

// lowBandwidth says what is shown because the viewer's path does not carry more: adaptation
// is what the server has last told, null: nothing. It is '' if the path limits nothing.
export function lowBandwidth(adaptation) {
  if (!adaptation?.limited) return '';
  const { mode, height, layer } = adaptation;
  if (mode === 'paused') return 'Low bandwidth: sound only';
  if (mode === 'keyframes') return 'Low bandwidth: still pictures';
  const picture = height ? `${height}p` : layer && `layer ${layer}`;
  const shown = [picture, mode === 'partial' && 'fewer pictures a second'].filter(Boolean).join(', ');
  return shown ? `Low bandwidth: ${shown}` : 'Low bandwidth';
}

// narrowUplink says what a publisher's connection does not carry, and what that means: node
// is what the node sees (null: nothing wrong), limited whether the browser holds back.
export function narrowUplink({ node, limited }) {
  const todo = 'Close other uploads, use a cable, or choose a lower bitrate.';
  if (node?.missing?.length > 0) {
    const which = node.missing.length > 1 ? `layers ${node.missing.join(', ')}` : `layer ${node.missing[0]}`;
    return `This connection is too slow for all layers: ${which} cannot be sent. Viewers get the lower ones. ${todo}`;
  }
  if (node?.loss >= 0.05) return `This connection loses ${Math.round(node.loss * 100)} % of what is sent. Viewers may see disturbances. ${todo}`;
  if (node) return `This connection is too slow for what is sent. Viewers get it late, or in lower quality. ${todo}`;
  if (limited) return `The browser sends a smaller or coarser picture: the connection, or the bitrate that was chosen, is too low for the source. ${todo}`;
  return '';
}

// ---- why media does not come through ----

function candidates(description) {
  return [...(description?.sdp || '').matchAll(/^a=candidate:\S+ \d+ (\S+) \d+ (\S+) (\d+) /gm)].map(([, protocol, address, port]) => ({ protocol: protocol.toLowerCase(), address, port }));
}

const isLoopback = ({ address }) => /^127\.|^::1$/.test(address);

// whyNoConnection says what to do about a PeerConnection that was never connected.
export function whyNoConnection(pc) {
  const mine = candidates(pc.localDescription);
  const theirs = candidates(pc.remoteDescription);
  if (theirs.length > 0 && theirs.every(isLoopback) && !mine.some(isLoopback)) {
    return 'The connection failed: the node takes media at a loopback address only. Firefox and other machines do not reach that. '
      + 'Start the node with -public and an address of its machine.';
  }
  if (mine.length === 0) {
    return 'The connection failed: the browser has no network address to use. Connect this machine to a network and try again.';
  }
  const where = [...new Set(theirs.map(({ address }) => address))].join(', ') || location.hostname;
  const port = (protocol) => theirs.find((c) => c.protocol === protocol)?.port;
  const orTCP = port('tcp') ? `, or TCP port ${port('tcp')},` : '';
  return `The connection failed: no packet came through. Media uses UDP port ${port('udp') || location.port}${orTCP} of ${where}. `
    + 'Check that no firewall or container blocks it, and that -public names the address by which this machine reaches the node.';
}
