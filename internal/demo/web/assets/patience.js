// How long to wait before trying again.

// backoff returns the ms before the next attempt: half to all of a time that doubles, so
// that many who lost one node do not come back in the same instant. retryAfter, in
// seconds, is what the server asks for. The time goes from first to last ms.
export function backoff(failures, retryAfter = 0, { first = 500, last = 5000 } = {}) {
  const limit = Math.min(first * 2 ** failures, last);
  return Math.max(limit / 2 + Math.random() * limit / 2, Math.min(retryAfter, 30) * 1000);
}

export function delay(time) {
  return new Promise((resolve) => { setTimeout(resolve, time); });
}
