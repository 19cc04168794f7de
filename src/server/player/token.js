// What a viewer pastes: a JSON Web Token, or a URL that carries one or was signed. It is kept in this tab alone.

const KEPT = 'keyrung.token';
const JWT = /^[\w-]+\.[\w-]+\.[\w-]*$/;
const SIGNED = /^v1\.[\w-]{1,32}\.[\w-]+\.[\w-]+$/;

/** The end that a token names, in milliseconds since 1970. It is read, not checked: the server decides. */
function jwtEnd(text) {
  try {
    const part = text.split('.')[1].replaceAll('-', '+').replaceAll('_', '/');
    const { exp } = JSON.parse(atob(part));
    return Number.isFinite(exp) ? exp * 1000 : null;
  } catch {
    return null;
  }
}

/** What was signed: five lines, of which the second is the path and the third the end. */
function signed(text) {
  let lines = [];
  try {
    lines = atob(text.split('.')[2].replaceAll('-', '+').replaceAll('_', '/')).split('\n');
  } catch {
    // The server will say what it thinks of it.
  }
  const [, path = '', seconds] = lines;
  // All beneath a package: its master playlist is.
  const master = path.match(/^(\/[^/]+\/)(~[0-9a-f]+\/)?\*$/) && path.replace('*', 'master.m3u8');
  return { end: Number(seconds) * 1000 || null, path: path.endsWith('.m3u8') ? path : master };
}

/**
 * Reads what was pasted. Resolves to `{ header, query, end, path }`: what key requests carry as `Authorization`, what URLs of
 * playlists carry, when it ends, and the playlist that a whole URL names. Null for what is none of these.
 */
export function parse(pasted) {
  const text = pasted.trim().replace(/^(Bearer\s+|\??(kr-signed|token)=)/i, '');
  if (!text) return null;
  if (SIGNED.test(text)) return { header: null, query: `kr-signed=${text}`, ...signed(text) };
  if (JWT.test(text)) return { header: `Bearer ${text}`, query: `token=${text}`, end: jwtEnd(text), path: null };
  let url;
  try {
    url = new URL(text, location.href);
  } catch {
    return null;
  }
  const value = (name) => url.searchParams.get(name);
  const inside = value('kr-signed') ?? value('token');
  const token = inside && !inside.includes('/') ? parse(inside) : null;
  if (!token) return null;
  const here = url.origin === location.origin && url.pathname.endsWith('.m3u8');
  return here ? { ...token, path: url.pathname } : token;
}

export function kept() {
  try {
    return parse(sessionStorage.getItem(KEPT) ?? '');
  } catch {
    return null;
  }
}

export function keep(pasted) {
  try {
    if (pasted) sessionStorage.setItem(KEPT, pasted);
    else sessionStorage.removeItem(KEPT);
  } catch {
    // A browser that keeps nothing for this page: the token lives as long as the page.
  }
}
