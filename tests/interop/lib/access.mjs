// A key server that knows viewers, and what it takes from them: made by the program under test.

import { mkdir, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { serve } from './ladders.mjs';
import { must } from './process.mjs';

/** How long the tokens live that end while something plays, in seconds. */
export const SOON = 8;

/**
 * Serves the packages to viewers with a token, for pages of these origins. Resolves with its `port`, and with `query(kind, id)`:
 * what the URL of a master playlist carries.
 */
export async function protect({ keyrung, work, env, ladders, origins }) {
  const folder = join(work, 'access');
  await mkdir(folder, { recursive: true });
  for (const name of ['jwt.secret', 'url.secret']) await writeFile(join(folder, name), randomBytes(32).toString('hex'), { mode: 0o600 });
  const config = join(folder, 'server.toml');
  await writeFile(config, `allowed_origins = ${JSON.stringify(origins)}

[limits]
client_rate = 0
connections_per_client = 0
subject_rate = 0

[audit]
file = ${JSON.stringify(join(folder, 'audit.jsonl'))}

[[authorizer]]
type = "jwt"
issuer = "https://id.example.com"
audience = "keyrung"

[[authorizer.key]]
kid = "interop"
algorithm = "HS256"
file = "jwt.secret"

[[authorizer]]
type = "signed"

[[authorizer.secret]]
id = "interop"
file = "url.secret"
`);
  const port = await serve({ keyrung, work, env, ladders, flags: ['--config', config] });
  const token = async (...args) => (await must(keyrung, ['token', ...args, '--config', config], { env })).trim();
  const jwt = (id, life = '1h') => token('mint', '--content', id, '--life', life);
  const signed = (id, life = '1h') => token('url', `http://127.0.0.1/${id}/*`, '--life', life);
  const kinds = {
    jwt: async (id) => `token=${await jwt(id)}`,
    signed: (id) => signed(id),
    // Nothing is forgiven at the end of a signed URL.
    ended: async (id) => {
      const query = await signed(id, '1s');
      await new Promise((resolve) => setTimeout(resolve, 1500));
      return query;
    },
    ending: (id) => signed(id, `${SOON}s`),
  };
  /** A signed cookie for all of a content, as Playwright takes it. */
  const cookie = async (id) => {
    const [pair] = (await token('url', 'http://127.0.0.1/*', '--content', id, '--cookie')).split(';');
    const [name, value] = pair.split(/=(.*)/s);
    return { name, value, domain: '127.0.0.1', path: '/' };
  };
  return { port, jwt, signed, cookie, query: (kind, id) => kinds[kind](id) };
}
