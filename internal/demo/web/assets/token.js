// The token that a person was given. An address has it as a fragment, #token=…, which a
// browser sends to no server. It leaves the address bar and the history at once, and stays
// with the tab until that is closed, so that the pages of a node share it.

const key = 'delta.token';

// takeToken returns the token of the address, or the tab's.
export function takeToken() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const token = fragment.get('token');
  if (token !== null) {
    keepToken(token);
    history.replaceState(history.state, '', location.pathname + location.search);
  }
  try { return token ?? sessionStorage.getItem(key) ?? ''; } catch { return token ?? ''; }
}

export function keepToken(token) {
  try {
    if (token) sessionStorage.setItem(key, token);
    else sessionStorage.removeItem(key);
  } catch { /* the browser keeps nothing for this page */ }
}
