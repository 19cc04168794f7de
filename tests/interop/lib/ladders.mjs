// The packages that are played: made by the program under test from the samples and fixtures, and served by it.

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { must, start } from './process.mjs';

const FPS = 25;
/** Of the segments, in seconds: the samples' GOP. */
const SEGMENT = 2;

/**
 * Makes every package below `work`. Each has `id`, `seconds`, `heights` (of its renditions, highest first; empty for
 * sound alone), `frames` (pictures in one rendition) and, where
 * timestamps begin again, `restarts`.
 */
export async function makeLadders({ keyrung, root, work, token }) {
  const env = { ...process.env, KEYRUNG_HOME: join(work, 'home') };
  const sample = (name) => join(root, 'samples', name);
  const ladder = (height) => sample(`ladder/${height}p.ts`);

  const pack = async ({ id, inputs, flags = [] }) => {
    const out = join(work, 'packages', id);
    await must(keyrung, ['-q', 'package', ...inputs, '--out', out, '--content-id', id, '--segment-duration', `${SEGMENT}`, ...flags], { env });
    return out;
  };

  const film = { seconds: 24, frames: 24 * FPS };
  const wanted = [
    { id: 'clear', inputs: [ladder(720), ladder(360)], flags: ['--protection', 'none'], heights: [720, 360], ...film },
    { id: 'aes', inputs: [ladder(1080), ladder(720), ladder(360)], heights: [1080, 720, 360], ...film },
    { id: 'programs', inputs: [sample('ladder.ts')], heights: [1080, 720, 360], ...film },
    { id: 'overlap', inputs: [join(root, 'fixtures/resolution-change.ts')], heights: [108], seconds: 6, frames: 6 * FPS },
    { id: 'sound', inputs: [sample('audio-only.ts')], heights: [], seconds: 24, frames: 0 },
    { id: 'tokened', inputs: [join(root, 'fixtures/plain.ts')], flags: ['--key-uri', `/v1/keys/{key_id}?token=${token}`], heights: [108], seconds: 6, frames: 6 * FPS },
  ];
  for (const one of wanted) await pack(one);

  // Parts of the film that keyrung itself cut cleanly, one behind the other.
  const parts = async (name, ...places) => {
    const segments = [];
    for (const [height, from, to] of places) {
      for (let n = from / SEGMENT; n < to / SEGMENT; n += 1) {
        segments.push(await readFile(join(work, 'packages/clear', `${height}p`, `${String(n).padStart(5, '0')}.ts`)));
      }
    }
    const path = join(work, `${name}.ts`);
    await writeFile(path, Buffer.concat(segments));
    return path;
  };
  const half = film.seconds / 2;
  const more = [
    {
      id: 'joined', heights: [720, 360], restarts: true, ...film,
      inputs: [`720p=${await parts('twice-720', [720, 0, half], [720, 0, half])}`, `360p=${await parts('twice-360', [360, 0, half], [360, 0, half])}`],
    },
    { id: 'resized', heights: [720], seconds: half, frames: half * FPS, inputs: [await parts('resized', [720, 0, half / 2], [360, half / 2, half])] },
  ];
  for (const one of more) await pack(one);
  const ladders = [...wanted, ...more].map(({ inputs, flags, ...ladder }) => [ladder.id, ladder]);
  return { env, ladders: Object.fromEntries(ladders) };
}

/** Serves the packages with `keyrung serve`. Resolves with its port when it listens. */
export function serve({ keyrung, work, env, ladders, flags = [] }) {
  const folders = Object.keys(ladders).map((id) => join(work, 'packages', id));
  const child = start(keyrung, ['--json', 'serve', ...folders, '--listen', '127.0.0.1:0', ...flags], { env });
  let err = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (err += text));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`keyrung serve ended with ${code}: ${err}`)));
    let text = '';
    createInterface({ input: child.stdout }).on('line', (line) => {
      text += line;
      try {
        const { address } = JSON.parse(text);
        resolve(Number(address.split(':').pop()));
      } catch {
        // The document goes on in the next line.
      }
    });
  });
}
