// Plays what keyrung makes in real players. Started by scripts/interop, which installs them.
//
// usage: main.mjs --keyrung PROGRAM [--update-readme] [--only PLAYER,...] [--cases CASE,...]

import { rmSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { protect, SOON } from './lib/access.mjs';
import { serveAssets } from './lib/assets.mjs';
import { browserPlayers, expectError, launch, openPage, outlive, playLadder } from './lib/browser.mjs';
import { CASES, ENDING, ERROR_WITHIN, known } from './lib/cases.mjs';
import { consolePlayers } from './lib/console.mjs';
import { makeLadders, serve } from './lib/ladders.mjs';
import { ownPage } from './lib/own_page.mjs';
import { endAll } from './lib/process.mjs';
import { startRelay, TOKEN } from './lib/relay.mjs';
import { htmlReport, terminalReport } from './lib/report.mjs';
import { tablesDiffer, updateTables } from './lib/readme.mjs';
import { readSnippets, runSnippet } from './lib/snippets.mjs';

const folder = dirname(fileURLToPath(import.meta.url));
const root = resolve(folder, '../..');
const { values: options } = parseArgs({
  options: { keyrung: { type: 'string' }, 'update-readme': { type: 'boolean' }, only: { type: 'string' }, cases: { type: 'string' } },
});
if (!options.keyrung) throw new Error('which program? --keyrung PROGRAM');
const keyrung = resolve(options.keyrung);
const partial = Boolean(options.only || options.cases);
const listed = (list, id) => !list || list.split(',').includes(id);

const began = Date.now();
const out = join(root, 'target/interop');
await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
const work = await mkdtemp(join(tmpdir(), 'keyrung-interop-'));
let browser;
// However it ends, nothing is left running, and nothing lying about.
process.on('exit', () => {
  endAll();
  rmSync(work, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(130));

async function main() {
  const { env, ladders } = await makeLadders({ keyrung, root, work, token: TOKEN });
  const upstream = await serve({ keyrung, work, env, ladders });
  const assets = await serveAssets(folder);
  const access = await protect({ keyrung, work, env, ladders, origins: [assets.base] });
  browser = await launch();
  const players = [...browserPlayers(folder, browser.version()), ...(await consolePlayers())];
  const setting = { browser, assets: assets.base, players, upstream, access };

  const sessions = [];
  for (const testCase of CASES) {
    for (const player of players) {
      if (!listed(options.only, player.id) || !listed(options.cases, testCase.id)) continue;
      sessions.push({ player, testCase, ladder: ladders[testCase.ladder] });
    }
  }
  const results = [];
  const runSession = async (session) => {
    const result = await play(session, setting);
    results.push(result);
    const mark = { pass: 'ok  ', known: 'know', fail: 'FAIL' }[result.verdict];
    console.log(`${mark} ${result.player.padEnd(12)} ${result.case.padEnd(9)} ${result.seconds.toFixed(1).padStart(5)} s  ${result.detail}`);
  };
  // Those that wait for an error cost nothing but time. The others decode, but not all the while.
  const waiting = sessions.filter((s) => s.testCase.fails);
  const decoding = sessions.filter((s) => !s.testCase.fails);
  await Promise.all([pool(waiting, 4, runSession), pool(decoding, 1 + availableParallelism(), runSession)]);

  const endings = [];
  await pool(players.filter((p) => p.browser && listed(options.only, p.id) && listed(options.cases, ENDING.id)), 3, async (player) => {
    const result = await playOn(player, ladders[ENDING.ladder], setting);
    endings.push(result);
    console.log(`${result.ok ? 'ok  ' : 'FAIL'} ${player.id.padEnd(12)} ${ENDING.title}: ${result.detail}`);
  });

  const snippets = [];
  await pool(await readSnippets(join(root, 'src/manual/players.md')), 3, async (snippet) => {
    if (!listed(options.only, snippet.player)) return;
    const result = await runSnippet(snippet, setting);
    snippets.push({ player: snippet.player, rule: snippet.rule, refused: snippet.refused, ok: result.ok, detail: result.detail, sends: sent(result.keys) });
    console.log(`${result.ok ? 'ok  ' : 'FAIL'} ${snippet.player.padEnd(12)} snippet: ${snippet.rule}${snippet.refused ? ', refused' : ''}: ${result.detail}`);
  });
  const page = await ownPage(browser, upstream, access, out);
  console.log(`${page.ok ? 'ok  ' : 'FAIL'} keyrung's own page: ${page.detail}`);

  const order = (list, id) => list.findIndex((x) => x.id === id);
  results.sort((a, b) => order(players, a.player) - order(players, b.player) || order(CASES, a.case) - order(CASES, b.case));
  snippets.sort((a, b) => order(players, a.player) - order(players, b.player));
  const report = {
    players: players.filter((p) => listed(options.only, p.id)).map(({ id, name, version }) => ({ id, name, version })),
    cases: CASES.filter((c) => listed(options.cases, c.id)).map(({ id, title, fails = false }) => ({ id, title, fails })),
    results, endings, snippets, page, seconds: (Date.now() - began) / 1000,
  };
  await writeFile(join(out, 'report.json'), `${JSON.stringify(report, null, 2)}\n`);
  await writeFile(join(out, 'report.html'), await htmlReport(report, out));
  console.log(`\n${terminalReport(report)}\n`);
  console.log(`${report.seconds.toFixed(0)} s; target/interop/report.html, target/interop/report.json`);

  const failures = [...results.filter((r) => r.verdict === 'fail'), ...endings.filter((e) => !e.ok), ...snippets.filter((s) => !s.ok), ...(page.ok ? [] : [page])];
  if (failures.length) throw new Error(`${failures.length} of ${results.length + endings.length + snippets.length + 1} failed`);
  if (partial) return;
  if (options['update-readme']) return updateTables(root, report);
  const differs = await tablesDiffer(root, report);
  if (differs) throw new Error(`${differs}\nhint: scripts/interop --update-readme`);
}

/** One player, one case. Never throws: what goes wrong is the result. */
async function play({ player, testCase, ladder }, { browser, assets, upstream, access }) {
  const started = Date.now();
  const relay = await startRelay(testCase.access ? access.port : upstream, { rule: testCase.rule, cache: testCase.cache ?? null });
  // The query is the playlist's own: no player may hand it on to the key (RFC 3986 section 5.2.2).
  const token = testCase.access ? `&${await access.query(testCase.access, ladder.id)}` : '';
  const url = `${relay.base}/${ladder.id}/master.m3u8?viewer=7${token}`;
  const shot = join(out, `${player.id}-${testCase.id}.${player.browser ? 'jpg' : 'png'}`);
  const checks = {};
  let detail = '';
  let failed = false;
  let page;
  try {
    if (player.browser) page = await openPage(browser, assets, player, `${player.name} ${player.version}: ${testCase.title}`);
    if (testCase.fails) {
      const { error, after, ended, told } = player.browser ? await expectError(page.page, url, ERROR_WITHIN) : await player.fail(url, ERROR_WITHIN);
      failed = !error;
      checks.after = after;
      detail = error ? `after ${after.toFixed(1)} s: ${error}` : `no error in ${ERROR_WITHIN} s${ended ? ', it says that it ended' : ''}; ${told?.join('; ') ?? ''}`;
    } else {
      if (player.browser) await playLadder(page.page, player, url, ladder, checks, () => page.page.screenshot({ path: shot, type: 'jpeg', quality: 75 }));
      else await player.play(url, ladder, checks, shot, work);
      detail = checks.notes?.length ? `notes: ${[...new Set(checks.notes)].join('; ')}` : '';
    }
  } catch (error) {
    failed = true;
    detail = error.message.split('\n')[0];
  }
  detail = detail.replaceAll(relay.base, '').replace(/; *$/, '');
  const asked = page?.asked.keys ?? null;
  await page?.context.close();
  const keys = relay.keys();
  if (keys.some((request) => request.path.includes('viewer='))) [failed, detail] = [true, 'the key request carries the query of the playlist'];
  const gap = known(player.id, testCase.id, checks);
  let verdict = failed ? 'fail' : 'pass';
  if (gap && !failed) [verdict, detail] = ['fail', 'passes now: take it off KNOWN in lib/cases.mjs'];
  if (gap && failed && gap.as_known) [verdict, detail] = ['known', `${gap.why} (${detail})`];
  await relay.close();
  return {
    player: player.id, case: testCase.id, verdict, detail, checks, seconds: (Date.now() - started) / 1000,
    keys: { asked, answered: keys.length, sends: sent(keys), preflights: relay.requests.filter((r) => r.method === 'OPTIONS').length },
  };
}

/** One player and a token that ends after SOON seconds. Never throws. */
async function playOn(player, ladder, { browser, assets, access }) {
  const relay = await startRelay(access.port, { cache: ENDING.cache });
  const { context, page } = await openPage(browser, assets, player, `${player.name} ${player.version}: ${ENDING.title}`);
  try {
    const query = await access.query(ENDING.access, ladder.id);
    const ends = Date.now() + SOON * 1000;
    const detail = await outlive(page, player, `${relay.base}/${ladder.id}/master.m3u8?${query}`, ladder, ends);
    const given = relay.keys().filter((request) => request.status === 200);
    const late = given.filter((request) => request.at > ends + 1000);
    if (!given.length) return { player: player.id, ok: false, detail: `it was never given the key; ${detail.text}` };
    if (late.length) return { player: player.id, ok: false, detail: `given the key ${late.length} times after the end` };
    const why = known(player.id, ENDING.id, {})?.why;
    return { player: player.id, ok: detail.clean !== Boolean(why), detail: why ? `${why} (${detail.text})` : detail.text };
  } catch (error) {
    return { player: player.id, ok: false, detail: error.message.split('\n')[0] };
  } finally {
    await context.close();
    await relay.close();
  }
}

/** The fields that a player's first key request carried, those left out that tell nothing. */
function sent(keys) {
  const dull = new Set(['host', 'connection', 'accept', 'accept-encoding', 'accept-language', 'icy-metadata', 'pragma', 'cache-control', 'priority']);
  const fields = Object.keys(keys[0]?.headers ?? {});
  return fields.filter((name) => !dull.has(name) && !name.startsWith('sec-')).sort();
}

async function pool(items, size, act) {
  const queue = [...items];
  await Promise.all(Array.from({ length: size }, async () => {
    while (queue.length) await act(queue.shift());
  }));
}

let status = 0;
try {
  await main();
} catch (error) {
  console.error(`error: ${error.message}`);
  status = 1;
}
await browser?.close().catch(() => {});
process.exit(status);
