// What the scripts for Node.js have in common: they print lines of JSON, signal by
// WHIP or WHEP, and end when their input does.

export const [, , action, url] = process.argv;
export const count = { video: 0, audio: 0, keyframes: 0, width: 0 };

export function say(what) { process.stdout.write(`${JSON.stringify(what)}\n`); }

export async function signal(sdp) {
  const answer = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: sdp });
  const text = await answer.text();
  if (answer.status !== 201) throw new Error(`${answer.status} ${text}`);
  return { sdp: text, resource: new URL(answer.headers.get('Location'), url) };
}

// untilEnd reports until the test closes our input, and deletes the session.
export async function untilEnd(resource, state) {
  const timer = setInterval(() => say({ state: state(), ...count }), 200);
  for await (const _ of process.stdin) ; // nothing is said there
  clearInterval(timer);
  const gone = await fetch(resource, { method: 'DELETE' });
  say({ deleted: gone.status });
}

process.on('unhandledRejection', (e) => { console.error(e); process.exit(1); });
