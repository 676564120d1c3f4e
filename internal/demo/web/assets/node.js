// What a page knows of its node, and the line at the top of each page.

import { $ } from './format.js';

// fetchStatus returns a node's status, of this one if url is "". A node that asks for
// credentials tells of no stream but the one that is named.
export async function fetchStatus(url = '', { stream = '', milliseconds = 3000 } = {}) {
  const at = new URL('/status.json', url || location.href);
  if (stream) at.searchParams.set('stream', stream);
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
  return url ? new URL('/publish', url).href : '/publish';
}

// showNode fills the top line: the node's name, and links to what works here, or at the
// site, where the page comes from another listener.
export function showNode({ node, site, can_publish: publishes, can_play: plays }) {
  $('node-name').textContent = node.name || node.id;
  $('node-role').textContent = node.role === node.name ? '' : node.role;
  const works = { publish: publishes, play: plays, twoway: publishes || plays };
  for (const [page, yes] of Object.entries(works)) {
    $(`nav-${page}`).hidden = !yes;
    $(`nav-${page}`).href = site ? new URL(`/${page}`, site).href : `/${page}`;
  }
}
