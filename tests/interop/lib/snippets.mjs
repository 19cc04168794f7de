// The snippets of src/manual/players.md, run as they stand there against a key server that wants a token.
//
// A block of code is run when a comment stands before it: `<!-- interop: PLAYER,... RULE -->`. With ` refused` at the end
// it has to fail: the player does not send what the snippet asks it to send.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openPage } from './browser.mjs';
import { run } from './process.mjs';
import { startRelay, TOKEN } from './relay.mjs';

const MARKED = /<!-- interop: (\S+) (\S+?)( refused)? -->\n+```(\w+)\n([\s\S]*?)```/g;

export async function readSnippets(path) {
  const text = await readFile(path, 'utf8');
  const blocks = [...text.matchAll(MARKED)];
  const marks = text.match(/<!-- interop: /g)?.length ?? 0;
  if (blocks.length === 0 || blocks.length !== marks) throw new Error(`${path}: ${marks} marks, but ${blocks.length} snippets`);
  return blocks.flatMap(([, players, rule, refused, language, code]) =>
    players.split(',').map((player) => ({ player, rule, refused: Boolean(refused), language, code })),
  );
}

/** Runs one snippet. Resolves with `{ ok, detail, keys }`. */
export async function runSnippet(snippet, { browser, assets, players, upstream }) {
  const relay = await startRelay(upstream, { rule: snippet.rule });
  try {
    const id = snippet.rule === 'query' ? 'tokened' : 'aes';
    const url = `${relay.base}/${id}/master.m3u8`;
    const player = players.find((p) => p.id === snippet.player);
    if (!player) throw new Error(`there is no player ${snippet.player}`);
    const detail = player.browser ? await inPage(snippet, player, url, browser, assets) : await inShell(snippet, url);
    const keys = relay.keys();
    const served = keys.some((request) => request.status === 200);
    const played = detail === null;
    const statuses = [...new Set(keys.map((request) => request.status))].join(', ') || 'nothing: it was not asked';
    if (snippet.refused) return { ok: !played && keys.length > 0 && !served, keys, detail: `the key server answers ${statuses}` };
    return { ok: played && served, keys, detail: played ? `plays; the key server answers ${statuses}` : `${detail}; the key server answers ${statuses}` };
  } finally {
    await relay.close();
  }
}

/** Null when it plays, else what is wrong. */
async function inPage({ code, rule }, player, url, browser, assets) {
  const { context, page } = await openPage(browser, assets, player, `${player.name}: ${rule}`);
  try {
    if (rule === 'cookie') await context.addCookies([{ name: 'keyrung', value: TOKEN, domain: '127.0.0.1', path: '/' }]);
    await page.evaluate(([code, url, token]) => window.snippet(code, url, token), [code, url, TOKEN]);
    await page.waitForFunction('look().time > 0.5 && look().frames > 0', null, { timeout: 30_000 });
    return null;
  } catch (error) {
    return error.message.split('\n')[0];
  } finally {
    await context.close();
  }
}

async function inShell({ code, language }, url) {
  const [command, args] = language === 'python' ? ['/usr/bin/python3', ['-c', code]] : ['bash', ['-ec', code]];
  const cwd = await mkdtemp(join(tmpdir(), 'keyrung-snippet-'));
  try {
    // What a snippet for people leaves out: there is no screen here, and no time to watch the film.
    await writeFile(join(cwd, 'mpv.conf'), 'vo=null\nao=null\nend=1\nytdl=no\n');
    const env = { ...process.env, URL: url, TOKEN, MPV_HOME: cwd };
    const { code: status, out, err } = await run(command, args, { seconds: 60, cwd, env });
    return status === 0 ? null : `ended with ${status}: ${(err || out).trim().split('\n').pop()}`;
  } finally {
    await rm(cwd, { recursive: true, force: true });
  }
}
