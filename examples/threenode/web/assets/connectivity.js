// Why media does not come through, in words for the person at the browser.

function candidates(description) {
  return [...(description?.sdp || '').matchAll(/^a=candidate:\S+ \d+ \S+ \d+ (\S+) (\d+) /gm)].map(([, address, port]) => ({ address, port }));
}

const isLoopback = ({ address }) => /^127\.|^::1$/.test(address);

// whyNoConnection says what to do about a PeerConnection that was never connected.
export function whyNoConnection(pc) {
  const mine = candidates(pc.localDescription);
  const theirs = candidates(pc.remoteDescription);
  if (theirs.length > 0 && theirs.every(isLoopback) && !mine.some(isLoopback)) {
    return 'The connection failed: the node takes media at a loopback address only, which Firefox does not use and other machines do not reach. '
      + 'Start the node with -public and an address of its machine (examples/node also without -udp).';
  }
  if (mine.length === 0) {
    return 'The connection failed: the browser has no network address to use. Connect this machine to a network and try again.';
  }
  const where = [...new Set(theirs.map(({ address }) => address))].join(', ') || location.hostname;
  return `The connection failed: nothing came through. Media takes UDP port ${theirs[0]?.port || location.port} of ${where}: `
    + 'does a firewall or a container stand between? Other machines reach the node at the address that it is given with -public.';
}
