// The snippets of src/manual/players.md, run as they stand there against a key server that wants a token.
//
// A block of code is run when a comment stands before it: `<!-- interop: PLAYER RULE -->`. With ` refused` at the end
// it has to fail: the player does not send what the snippet asks it to send.

import { readFile } from 'node:fs/promises';
import { openPage } from './browser.mjs';
import { run } from './process.mjs';
import { startRelay, TOKEN } from './relay.mjs';

const MARKED = /<!-- interop: (\S+) (\S+?)( refused)? -->\n+```(\w+)\n([\s\S]*?)```/g;

export async function readSnippets(path) {
  const text = await readFile(path, 'utf8');
  const snippets = [...text.matchAll(MARKED)].map(([, player, rule, refused, language, code]) => ({ player, rule, refused: Boolean(refused), language, code }));
  const marks = text.match(/<!-- interop: /g)?.length ?? 0;
  if (snippets.length === 0 || snippets.length !== marks) throw new Error(`${path}: ${marks} marks, but ${snippets.length} snippets`);
  return snippets;
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
    const ok = snippet.refused ? !played && keys.length > 0 && !served : played && served;
    return { ok, keys, detail: detail ?? (served ? 'plays' : `plays, but the key server gave no key: ${keys.map((k) => k.status)}`) };
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
  const { code: status, out, err } = await run(command, args, { seconds: 60, env: { ...process.env, URL: url, TOKEN } });
  return status === 0 ? null : `ended with ${status}: ${(err || out).trim().split('\n').pop()}`;
}
