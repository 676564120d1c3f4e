// How long to wait before trying again.

const first = 500; // ms
const last = 5000;

// backoff returns the ms before the next attempt: half to all of a time that doubles, so
// that many who lost one node do not come back in the same instant. retryAfter, in
// seconds, is what the server asks for.
export function backoff(failures, retryAfter = 0) {
  const limit = Math.min(first * 2 ** failures, last);
  return Math.max(limit / 2 + Math.random() * limit / 2, Math.min(retryAfter, 30) * 1000);
}

export function delay(time) {
  return new Promise((resolve) => { setTimeout(resolve, time); });
}
