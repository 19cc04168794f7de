// The page that `keyrung serve` shows at /, in its own origin and under its own content security policy.

import { join } from 'node:path';

const SIZES = [
  { name: 'phone', width: 390, height: 844 },
  { name: 'desk', width: 1280, height: 900 },
];

/** Plays a film on it, and takes its picture in light and dark, on a phone and on a desk. */
export async function ownPage(browser, port, out) {
  const pictures = [];
  try {
    for (const colorScheme of ['light', 'dark']) {
      for (const { name, ...viewport } of SIZES) {
        const context = await browser.newContext({ viewport, colorScheme });
        const page = await context.newPage();
        const errors = [];
        page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
        page.on('pageerror', (error) => errors.push(error.message));
        await page.goto(`http://127.0.0.1:${port}/`);
        const wide = await page.evaluate('document.documentElement.scrollWidth - innerWidth');
        if (wide > 0) throw new Error(`at ${viewport.width} pixels the page is ${wide} too wide`);
        const film = page.locator('video[src^="/aes/"]');
        await film.evaluate((video) => {
          video.muted = true;
          return video.play();
        });
        await page.waitForFunction((video) => video.currentTime > 1 && video.getVideoPlaybackQuality().totalVideoFrames > 10, await film.elementHandle(), { timeout: 30_000 });
        await film.evaluate((video) => video.pause());
        const file = `own-page-${name}-${colorScheme}.jpg`;
        await page.screenshot({ path: join(out, file), type: 'jpeg', quality: 75 });
        pictures.push(file);
        await context.close();
        if (errors.length) throw new Error(`the browser complains: ${errors[0]}`);
      }
    }
    return { ok: true, detail: 'plays, fits and is quiet in light and dark at 390 and 1280 pixels', pictures };
  } catch (error) {
    return { ok: false, detail: error.message.split('\n')[0], pictures };
  }
}
