// A listener of its own for every session, between a player and `keyrung serve`: it counts what is asked for, notes what
// the player sends with it, and stands in for an authorising key server. For tests only: it has no notion of safety.

import http from 'node:http';

export const TOKEN = 'token-of-the-interop-test';
const COOKIE = `keyrung=${TOKEN}`;

/** How a session's key requests are answered. `pass` hands them to `keyrung serve`. */
export const KEY_RULES = {
  pass: () => 'pass',
  wrong: () => 'wrong',
  missing: () => 404,
  refused: () => 403,
  bearer: (request) => (request.headers.authorization === `Bearer ${TOKEN}` ? 'pass' : 401),
  cookie: (request) => ((request.headers.cookie ?? '').split('; ').includes(COOKIE) ? 'pass' : 401),
  query: (request) => (new URL(request.url, 'http://x').searchParams.get('token') === TOKEN ? 'pass' : 401),
};

/**
 * Starts a relay to `upstream` (port). `cache` null leaves the upstream's Cache-Control on keys, a text replaces it.
 * Its `requests` grow as they come: `{ method, path, kind, status, at, headers }`.
 */
export async function startRelay(upstream, { rule = 'pass', cache = null } = {}) {
  const requests = [];
  const agent = new http.Agent({ keepAlive: true });
  const server = http.createServer((request, response) => {
    const path = request.url.split('?')[0];
    const kind = path.startsWith('/v1/keys/') ? 'key' : path.endsWith('.m3u8') ? 'playlist' : path.endsWith('.ts') ? 'segment' : 'other';
    const entry = { method: request.method, path: request.url, kind, status: 0, at: Date.now(), headers: request.headers };
    requests.push(entry);
    response.on('finish', () => (entry.status = response.statusCode));

    const origin = request.headers.origin;
    const authorises = !['pass', 'wrong', 'missing', 'refused'].includes(rule);
    // What a page of another origin needs before it may send a token or a cookie (PLY-021).
    const cors = origin && authorises ? { 'access-control-allow-origin': origin, 'access-control-allow-credentials': 'true', vary: 'Origin' } : {};
    if (request.method === 'OPTIONS' && authorises) {
      response.writeHead(204, { ...cors, 'access-control-allow-methods': 'GET, HEAD', 'access-control-allow-headers': 'Authorization, Range', 'access-control-max-age': '600' });
      return response.end();
    }
    const verdict = kind === 'key' ? KEY_RULES[rule](request) : 'pass';
    if (typeof verdict === 'number') {
      const readable = origin ? { 'access-control-allow-origin': origin, ...cors } : {};
      response.writeHead(verdict, { ...readable, 'content-type': 'text/plain', 'cache-control': 'no-store' });
      return response.end('refused\n');
    }
    const onward = http.request({ host: '127.0.0.1', port: upstream, agent, method: request.method, path: request.url, headers: request.headers }, (answer) => {
      const headers = { ...answer.headers, ...cors };
      if (kind === 'key' && cache !== null) headers['cache-control'] = cache;
      response.writeHead(answer.statusCode, headers);
      if (verdict === 'wrong' && answer.statusCode === 200) {
        answer.resume();
        return response.end(Buffer.alloc(16, 0x5a));
      }
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    onward.end();
  });
  await new Promise((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  const base = `http://127.0.0.1:${server.address().port}`;
  return {
    base,
    requests,
    /** Key requests that reached the server, preflights left out. */
    keys: () => requests.filter((r) => r.kind === 'key' && r.method !== 'OPTIONS'),
    close: () => {
      agent.destroy();
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}
