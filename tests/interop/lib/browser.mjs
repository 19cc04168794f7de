// Players in headless Chromium, seen through their media element.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { ERROR_WITHIN } from './cases.mjs';

const FLAGS = [
  '--headless=new',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--autoplay-policy=no-user-gesture-required',
  // Several pages play at once, and only one of them is in front.
  '--disable-background-timer-throttling',
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
];

/** How long a step may take: a machine may be slow, a player may not hang. */
const STEP = 30_000;
/** How fast the film is played through. */
const RATE = 4;

/** The players, with what the page has to load for each. */
export function browserPlayers(folder, chromiumVersion) {
  const version = (name) => JSON.parse(readFileSync(join(folder, 'node_modules', name, 'package.json'), 'utf8')).version;
  const hls = (name) => ({ name: 'hls.js', version: version(name), adapter: 'hls', scripts: [`/lib/${name}/dist/hls.min.js`] });
  return [
    { id: 'hls.js', ...hls('hls.js') },
    { id: 'hls.js-1.5', ...hls('hls.js-1.5') },
    { id: 'hls.js-0', ...hls('hls.js-0') },
    {
      id: 'video.js', name: 'video.js', version: version('video.js'), adapter: 'videojs',
      scripts: ['/lib/video.js/dist/video.min.js'], styles: ['/lib/video.js/dist/video-js.min.css'],
    },
    {
      id: 'shaka', name: 'shaka-player', version: version('shaka-player'), adapter: 'shaka',
      scripts: ['/lib/shaka-player/dist/shaka-player.compiled.js'],
    },
    { id: 'native', name: 'Chromium, built in', version: chromiumVersion, adapter: 'native', scripts: [], fixed: true },
  ].map((player) => ({ ...player, browser: true }));
}

/** Starts Chromium with a new, empty profile. */
export const launch = () => chromium.launch({ executablePath: '/usr/bin/chromium', args: FLAGS, headless: true });

/** Opens the page of a player. `asked` counts the key requests that the page makes, those its cache answers too. */
export async function openPage(browser, assets, player, title) {
  const context = await browser.newContext({ viewport: { width: 800, height: 484 } });
  const page = await context.newPage();
  const asked = { keys: 0 };
  page.on('request', (request) => {
    if (new URL(request.url()).pathname.startsWith('/v1/keys/') && request.method() === 'GET') asked.keys += 1;
  });
  const query = new URLSearchParams({ adapter: player.adapter, title });
  for (const script of player.scripts) query.append('script', script);
  for (const style of player.styles ?? []) query.append('style', style);
  await page.goto(`${assets}/page/index.html?${query}`);
  await page.waitForFunction('window.ready === true', null, { timeout: STEP });
  return { context, page, asked };
}

const look = (page) => page.evaluate('look()');

/** Looks again and again until `test` holds. Throws when the player reports a fatal error, or after STEP. */
async function until(page, what, test) {
  const deadline = Date.now() + STEP;
  for (;;) {
    const seen = await look(page);
    const fatal = seen.error ?? seen.errors.find((error) => error.fatal)?.text;
    if (fatal) throw new Error(`${what}: ${fatal}`);
    if (test(seen)) return seen;
    if (Date.now() > deadline) {
      const { errors, ...rest } = seen;
      throw new Error(`${what}: not in ${STEP / 1000} s; ${JSON.stringify(rest)} ${errors.map((e) => e.text).join('; ')}`);
    }
    await page.waitForTimeout(50);
  }
}

/** Whether the media has gone on since `before`: time, and pictures or sound decoded. */
const advanced = (before, seconds, sound) => (now) =>
  now.time >= before.time + seconds && (sound ? now.audioBytes > before.audioBytes : now.frames > before.frames);

/**
 * Plays a ladder: start, forced switches down and up, through to the end, back to the middle, near the end, the end.
 * `checks` is filled as it goes on, so that what came before a failure is known.
 */
export async function playLadder(page, player, url, ladder, checks, shoot) {
  const sound = ladder.heights.length === 0;
  const step = async (name, run) => {
    checks[name] = 'fail';
    const result = await run();
    checks[name] = 'pass';
    return result;
  };
  await page.evaluate((u) => window.begin(u), url);
  await step('start', () => until(page, 'start', advanced({ time: 0, frames: 0, audioBytes: 0 }, 0.5, sound)));

  if (ladder.heights.length > 1 && !player.fixed) {
    const to = async (height) => {
      const before = await look(page);
      await page.evaluate((h) => window.session.choose(h), height);
      const there = await until(page, `switch to ${height}p`, (now) => now.height === height && !now.seeking);
      await until(page, `play on in ${height}p`, advanced({ ...there, time: Math.max(there.time, before.time) }, 0.3, sound));
    };
    const [highest, lowest] = [ladder.heights[0], ladder.heights.at(-1)];
    // Whatever rendition it began with: both ways are gone.
    await step('down', async () => { await to(highest); await to(lowest); });
    await step('up', () => to(highest));
  } else {
    checks.down = checks.up = 'none';
  }

  await shoot();
  await page.evaluate('switched()');
  await page.evaluate((rate) => window.rate(rate), RATE);
  const before = await look(page);
  const ended = await step('end', () => until(page, 'play to the end', (now) => now.ended));
  await step('frames', async () => {
    // Only what came after the switches: some players decode a part twice there, others skip one. And not all of
    // it: at four times the speed Chromium leaves pictures out before they are counted.
    const frames = Math.floor((ladder.frames * (ladder.seconds - before.time)) / ladder.seconds);
    const decoded = ended.frames - before.frames;
    if (decoded < 0.8 * frames) throw new Error(`only ${decoded} of ${frames} pictures decoded`);
    if (sound && ended.audioBytes === 0) throw new Error('no sound decoded');
    if (Math.abs(ended.time - ladder.seconds) > 0.6) throw new Error(`ended at ${ended.time} s of ${ladder.seconds} s`);
  });
  await page.evaluate((rate) => window.rate(rate), 1);
  const to = async (time) => {
    await page.evaluate((t) => window.seek(t), time);
    const there = await until(page, `seek to ${time} s`, (now) => !now.seeking && !now.ended && Math.abs(now.time - time) < 2);
    await until(page, `play on at ${time} s`, advanced(there, 0.3, sound));
  };
  await step('middle', () => to(ladder.seconds / 2));
  await step('near_end', async () => {
    await to(ladder.seconds - 1.5);
    await until(page, 'end again', (now) => now.ended);
  });
  await step('errors', async () => {
    const { errors } = await look(page);
    // hls.js tells of stalls and nudges that mended themselves as errors that are not fatal; they are kept as notes.
    checks.notes = errors.map((error) => error.text);
  });
}

/**
 * Plays a ladder whose key is wrong or not to be had. Resolves with the error that the player gives, or null when it
 * gave none within `seconds`.
 */
export async function expectError(page, url, seconds) {
  const began = Date.now();
  await page.evaluate((u) => window.begin(u), url);
  for (;;) {
    const seen = await look(page);
    const after = (Date.now() - began) / 1000;
    const error = seen.error ?? seen.errors.find((e) => e.fatal)?.text;
    if (error) return { error, after, frames: seen.frames };
    if (after > seconds) {
      return { error: null, after, frames: seen.frames, told: [...new Set(seen.errors.map((e) => e.text))], ended: seen.ended };
    }
    await page.waitForTimeout(100);
  }
}

/**
 * Plays on while the token ends, then asks for what was not loaded before: another rendition, where one can be chosen. Resolves
 * with `{ clean, text }`: clean is an error that is told, or the end of the film with the key that was given in time.
 */
export async function outlive(page, player, url, ladder, ends) {
  await page.evaluate((u) => window.begin(u), url);
  const begun = await until(page, 'start', advanced({ time: 0, frames: 0, audioBytes: 0 }, 0.5, false));
  await page.waitForTimeout(Math.max(0, ends - Date.now()) + 500);
  const now = await look(page);
  const other = [ladder.heights[0], ladder.heights.at(-1)].find((height) => height !== now.height);
  if (!player.fixed) await page.evaluate((height) => window.session.choose(height), other);
  await page.evaluate((rate) => window.rate(rate), RATE);
  const deadline = Date.now() + ERROR_WITHIN * 1000;
  for (;;) {
    const seen = await look(page);
    const error = seen.error ?? seen.errors.find((e) => e.fatal)?.text;
    if (error) return { clean: true, text: `says ${error.split("'")[0].trim()}` };
    if (seen.ended) return { clean: true, text: 'plays to the end with the key that it has' };
    if (Date.now() > deadline) return { clean: false, text: `stands at ${seen.time.toFixed(1)} s of ${begun.duration?.toFixed(1)} s and tells nothing` };
    await page.waitForTimeout(100);
  }
}
