// The page that `keyrung serve` shows at /, in its own origin and under its own content security policy.

import { join } from 'node:path';
import { startRelay } from './relay.mjs';

const SIZES = [
  { name: 'phone', width: 390, height: 844 },
  { name: 'desk', width: 1280, height: 900 },
];
const STEP = 60_000;

/** Opens the page, and gathers what the browser complains of. */
async function open(browser, url, { engine = 'hls', ...options } = {}) {
  const { width, height } = SIZES[1];
  const context = await browser.newContext({ viewport: { width, height }, ...options });
  const page = await context.newPage();
  // As of a build without hls.js.
  if (engine === 'native') await page.route('**/v1/player/hls.js', (route) => route.fulfill({ body: '', contentType: 'text/javascript' }));
  const errors = [];
  page.on('console', (message) => message.type() === 'error' && errors.push(`${message.text()} ${message.location().url}`));
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('request', (request) => {
    const { protocol, origin } = new URL(request.url());
    if (protocol.startsWith('http') && url.startsWith('http') && origin !== new URL(url).origin) errors.push(`it asks ${origin}`);
  });
  await page.goto(url);
  if (url !== 'about:blank') await page.waitForFunction(() => document.querySelector('#packages a, #none:not([hidden])'), null, { timeout: STEP });
  return { context, page, errors };
}

/** Chooses a film with the keyboard alone. */
async function choose(page, id) {
  await page.evaluate(() => { document.getElementById('video').muted = true; });
  await page.locator(`#packages a[href="#${id}"]`).focus();
  await page.keyboard.press('Enter');
}

const plays = (page) => page.waitForFunction(() => {
  const video = document.getElementById('video');
  return video.currentTime > 1 && video.getVideoPlaybackQuality().totalVideoFrames > 10;
}, null, { timeout: STEP }).catch(async () => {
  throw new Error(`it does not play: ${(await page.locator('main').innerText()).replaceAll(/\s+/g, ' ').slice(0, 900)}`);
});

/** Clicks the word, as a viewer does: the button itself cannot be seen, and the page moves while things are told. */
const playBy = (page, engine) => page.locator(`#engines label:has(input[value=${engine}])`).click({ timeout: STEP });

const textOf = (page, id) => page.locator(`#${id}`).innerText();

/** Waits for the notice, and for nothing to go on behind it. */
async function notice(page, wanted) {
  await page.waitForSelector('#notice:not([hidden])', { timeout: STEP });
  const said = await textOf(page, 'notice');
  if (!said.includes(wanted)) throw new Error(`it says "${said}", not "${wanted}"`);
  if ((await textOf(page, 'state')) !== 'stopped') throw new Error(`after "${said}" it is ${await textOf(page, 'state')}`);
  return said;
}

async function shoot(page, out, pictures, name) {
  const file = `own-page-${name}.jpg`;
  await page.screenshot({ path: join(out, file), type: 'jpeg', quality: 80, fullPage: true });
  pictures.push(file);
}

/** The film plays in light and dark, on a phone and on a desk, and the panel tells what happens. */
async function looks(browser, port, out, pictures) {
  for (const colorScheme of ['light', 'dark']) {
    for (const { name, ...viewport } of SIZES) {
      const { context, page, errors } = await open(browser, `http://127.0.0.1:${port}/`, { viewport, colorScheme });
      await choose(page, 'aes');
      await plays(page);
      await page.evaluate(() => document.getElementById('video').pause());
      await page.waitForTimeout(700);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (wide > 0) throw new Error(`at ${viewport.width} pixels the page is ${wide} too wide`);
      for (const [id, wanted] of [['rendition', /^\d+p · /], ['buffer', /^\d+\.\d s$/], ['bandwidth', /bit\/s$/], ['pictures', /^\d+/], ['keys', /given · 200/], ['state', /paused/]]) {
        const text = await textOf(page, id);
        if (!wanted.test(text)) throw new Error(`${id} shows "${text}"`);
      }
      await shoot(page, out, pictures, `${name}-${colorScheme}`);
      await context.close();
      if (errors.length) throw new Error(`the browser complains: ${errors[0]}`);
    }
  }
}

/** The browser's own player, from the same page. */
async function native(browser, port) {
  const { context, page, errors } = await open(browser, `http://127.0.0.1:${port}/#aes`);
  await page.evaluate(() => { document.getElementById('video').muted = true; });
  await playBy(page, 'native');
  await plays(page);
  if (!(await textOf(page, 'engine-version')).includes('the browser')) throw new Error('it does not say who plays');
  await context.close();
  if (errors.length) throw new Error(`the browser complains: ${errors[0]}`);
}

/** What goes wrong is told in plain words, whoever plays. */
async function words(browser, port, out, pictures) {
  for (const engine of ['hls', 'native']) {
    for (const [rule, wanted] of [
      ['refused', 'The server does not give this viewer the key.'],
      ['missing', 'The key server does not know the key.'],
      ['wrong', engine === 'hls' ? 'The key does not open the segments.' : 'The browser gave up.'],
    ]) {
      const relay = await startRelay(port, { rule });
      const { context, page } = await open(browser, `${relay.base}/`, { engine });
      await choose(page, 'aes');
      await notice(page, wanted).catch((error) => { throw new Error(`${engine}, ${rule}: ${error.message}`); });
      if (rule === 'refused') await shoot(page, out, pictures, `refused-${engine}`);
      await context.close();
      await relay.close();
    }
  }
  const relay = await startRelay(port, {});
  const { context, page } = await open(browser, `${relay.base}/`);
  await relay.close();
  await choose(page, 'aes');
  await notice(page, 'The server cannot be reached.');
  await context.close();
}

/** A viewer pastes a token, or has a cookie, and plays; the token is nowhere to be seen. */
async function viewers(browser, access, out, pictures) {
  const base = `http://127.0.0.1:${access.port}/`;
  const listed = (page, id) => page.waitForSelector(`#packages a[href="#${id}"]`, { timeout: STEP });
  const paste = async (page, text) => {
    await page.evaluate(() => { document.getElementById('video').muted = true; });
    await page.locator('#token').fill(text);
    await page.keyboard.press('Enter');
  };

  const token = await access.jwt('aes');
  let { context, page, errors } = await open(browser, base);
  if (!(await textOf(page, 'none')).includes('None for this viewer')) throw new Error('a stranger is shown packages');
  await shoot(page, out, pictures, 'stranger');
  await paste(page, token);
  await listed(page, 'aes');
  if ((await page.locator('#packages a').count()) !== 1) throw new Error('a token for one content shows others');
  await choose(page, 'aes');
  await plays(page);
  const shown = await page.evaluate(() => `${location.href} ${document.documentElement.outerHTML} ${JSON.stringify(localStorage)} ${document.cookie}`);
  if (shown.includes(token)) throw new Error('the page shows the token');
  await shoot(page, out, pictures, 'token');
  await page.reload();
  await listed(page, 'aes');
  if (errors.length) throw new Error(`with a token the browser complains: ${errors[0]}`);
  // Without it the same film is asked for again, as a stranger.
  await page.locator('#token-clear').click();
  await page.waitForSelector('#none:not([hidden])', { timeout: STEP });
  await notice(page, 'The server does not give this viewer the key.');
  await context.close();

  // Played by the browser itself, which sends no header: the token is in the URIs that the server wrote.
  ({ context, page } = await open(browser, base, { engine: 'native' }));
  await paste(page, token);
  await listed(page, 'aes');
  await choose(page, 'aes');
  await plays(page);
  await context.close();

  ({ context, page, errors } = await open(browser, 'about:blank'));
  await context.addCookies([await access.cookie('aes')]);
  await page.goto(base);
  await listed(page, 'aes');
  await choose(page, 'aes');
  await plays(page);
  await context.close();
  if (errors.length) throw new Error(`with a cookie the browser complains: ${errors[0]}`);

  // A signed URL that ends while it plays: what was begun goes on, and the next key is refused in plain words.
  ({ context, page } = await open(browser, base));
  const query = await access.query('ending', 'aes');
  await paste(page, `${base}aes/master.m3u8?${query}`);
  await plays(page);
  await page.waitForFunction(() => document.getElementById('token-state').textContent.startsWith('It ended'), null, { timeout: STEP });
  if (await page.locator('#notice').isVisible()) throw new Error('what was begun does not go on');
  await playBy(page, 'native');
  await playBy(page, 'hls');
  const said = await notice(page, 'The server does not give this viewer the key.');
  if (!said.includes('The token ended at')) throw new Error(`of a token that ended it says "${said}"`);
  await shoot(page, out, pictures, 'ended');
  await context.close();
}

/** Runs all of it. Resolves with `{ ok, detail, pictures }`. */
export async function ownPage(browser, port, access, out) {
  const pictures = [];
  try {
    await looks(browser, port, out, pictures);
    await native(browser, port);
    await words(browser, port, out, pictures);
    await viewers(browser, access, out, pictures);
    const detail = 'plays, fits and is quiet in light and dark at 390 and 1280 pixels, with a token, a cookie and a signed URL; tells of keys that are refused, missing and wrong, and of tokens that end';
    return { ok: true, detail, pictures };
  } catch (error) {
    // The step that failed, which this function calls.
    const where = error.stack.match(/own_page.mjs:\d+/g)?.at(-2) ?? '';
    return { ok: false, detail: `${error.message.split('\n')[0]} (${where})`, pictures };
  }
}
