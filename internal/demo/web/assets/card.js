// A Card is one node on the map of the network. It stays what it is from one state of
// knowledge to the next, so that a button that is being pressed is still there.

import { age, ago, bitrate, el, text } from './format.js';

const plural = (n, one, many) => `${n} ${n === 1 ? one : many}`;

const states = { current: 'running', stale: 'stale', unknown: 'unknown', killed: 'killed' };

export class Card {
  // press is called with ("kill" or "restore", the name) when the button is pressed.
  constructor(name, press) {
    this.name = name;
    this.link = el('a', { textContent: name });
    this.tag = el('span', { className: 'tag' });
    this.facts = el('p', { className: 'facts' });
    this.note = el('p', { className: 'age' });
    this.carried = el('ul', { className: 'carried' });
    this.button = el('button', { type: 'button', className: 'slim', hidden: true });
    let pressed = false; // a button that is disabled meanwhile would lose the focus
    this.button.addEventListener('click', async () => {
      if (pressed) return;
      pressed = true;
      try {
        await press(this.button.dataset.action, name);
      } finally { // whatever comes of it, the button answers again
        pressed = false;
      }
    });
    this.root = el('article', { className: 'node' },
      el('div', { className: 'name' }, el('span', { className: 'live' }), this.link, this.tag), this.facts, this.note, this.carried, this.button);
    this.root.dataset.node = name;
    this.root.setAttribute('aria-label', name);
  }

  update(node, { at, canKill }) {
    const { state, mine } = node;
    this.root.dataset.state = states[state];
    this.root.classList.toggle('mine', mine);
    if (node.url && !mine) this.link.href = node.url;
    else this.link.removeAttribute('href');
    this.tag.textContent = [node.role, mine && 'this node'].filter(Boolean).join(' · ');
    this.tag.hidden = !this.tag.textContent;
    this.facts.replaceChildren(...(node.started && state !== 'killed' ? factsOf(node, at) : []));
    this.note.textContent = noteOf(node);
    this.note.hidden = !this.note.textContent;
    this.carried.replaceChildren(...node.streams.map((s) => carriedItem(s)));
    this.carried.hidden = node.streams.length === 0;
    const action = state === 'killed' ? 'restore' : 'kill';
    this.button.dataset.action = action;
    this.button.textContent = action === 'kill' ? 'Kill' : 'Restore';
    this.button.setAttribute('aria-label', `${this.button.textContent} ${this.name}`);
    this.button.hidden = !canKill || mine; // the page comes from this one
  }
}

function noteOf({ state, age: seconds, problem, draining }) {
  if (state === 'killed') return 'Killed.';
  if (state === 'unknown') return problem || 'Linked. Nothing else is known about it.';
  if (state === 'stale') return `As it was ${ago(seconds)}. ${problem || 'It does not answer.'}`;
  return draining ? 'It is draining: it accepts no new sessions.' : '';
}

function factsOf({ started, sessions, totals }, at) {
  const fact = (value, words) => el('span', {}, el('b', { textContent: value }), ` ${words}`);
  return [
    el('span', {}, 'up for ', el('b', { textContent: age(started, at) || '0 s' })),
    ...(sessions.publishers > 0 ? [fact(sessions.publishers, sessions.publishers === 1 ? 'publisher' : 'publishers')] : []),
    fact(sessions.viewers, sessions.viewers === 1 ? 'viewer' : 'viewers'),
    fact(text(bitrate(totals.out)), 'out'),
  ];
}

// carriedItem says of a stream where it comes from, and would come from next.
function carriedItem({ id, live, published, upstream, viewers }) {
  const item = el('li', {}, el('b', { textContent: id }));
  item.dataset.stream = id;
  const words = [];
  if (published) words.push('published here');
  else if (upstream) words.push(`from ${upstream.node || '?'}`);
  else words.push(live ? 'live' : 'not there yet');
  if (upstream?.standby) words.push(`standby ${upstream.standby}`);
  if (viewers > 0) words.push(plural(viewers, 'viewer', 'viewers'));
  item.append(` ${words.join(', ')}`);
  return item;
}
