// What a page knows of its node, and the line at the top of each page.

import { $ } from './format.js';

// fetchStatus returns a node's status, of this one if url is "".
export async function fetchStatus(url = '', milliseconds = 3000) {
  const at = new URL('/status.json', url || location.href);
  const response = await fetch(at, { signal: AbortSignal.timeout(milliseconds) });
  if (!response.ok) throw new Error(`${at.host} answered ${response.status}`);
  return response.json();
}

// playURL and publishURL return addresses of pages, of this node if url is "".
export function playURL(stream, url = '') {
  const at = new URL('/play', url || location.href);
  at.searchParams.set('stream', stream);
  return url ? at.href : at.pathname + at.search;
}

export function publishURL(url = '') {
  return new URL('/publish', url || location.href).href;
}

// showNode fills the top line: the node's name, and links to what works here.
export function showNode(status) {
  $('node-name').textContent = status.node.name || status.node.id;
  $('node-role').textContent = status.node.role === status.node.name ? '' : status.node.role;
  $('nav-publish').hidden = !status.can_publish;
  $('nav-play').hidden = !status.can_play;
}
