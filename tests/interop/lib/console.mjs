// Players without a browser: ffmpeg, mpv and GStreamer. Each has `play`, which fills `checks` as it goes on and throws at
// the first thing that is wrong, and `fail`, which resolves with the error that the player gives.

import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { must, run, start } from './process.mjs';

const STEP = 30;
/** Of the segments, in seconds; a seek that is not exact may be that far off. */
const SEGMENT = 2;

const first = (text) => text.split('\n').map((line) => line.trim()).find((line) => line) ?? '';

/** Marks `name` as failed, runs, and marks it as passed. */
const stepper = (checks) => async (name, act) => {
  checks[name] = 'fail';
  await act();
  checks[name] = 'pass';
};

// ffmpeg has no notion of a switch while it plays: each rendition is decoded whole, and that is what the table says.
async function ffmpegPlay(url, ladder, checks, shot) {
  const step = stepper(checks);
  const sound = ladder.heights.length === 0;
  checks.opens = 0;
  const decode = async (program, from) => {
    checks.opens += 1;
    // Behind a discontinuity ffmpeg's own clock goes on while the timestamps begin again; an accurate seek would drop all.
    const seek = from ? ['-noaccurate_seek', '-ss', `${from}`] : [];
    const args = ['-hide_banner', '-nostdin', '-v', 'error', ...seek, '-i', url, '-map', `0:p:${program}`];
    const { code, out, err } = await run('ffmpeg', [...args, '-f', 'null', '-progress', 'pipe:1', '-'], { seconds: STEP });
    // The null muxer's own complaints are about what is written, not about what was read.
    const faults = err.split('\n').filter((line) => line.trim() && !line.startsWith('[null @'));
    if (code !== 0 || faults.length) throw new Error(`ffmpeg ended with ${code}: ${faults[0] ?? first(err)}`);
    const last = (name) => Number(out.match(new RegExp(`.*^${name}=(\\d+)`, 'ms'))?.[1] ?? 0);
    const want = ladder.seconds - from;
    const pictures = Math.round((ladder.frames * want) / ladder.seconds);
    const more = from ? SEGMENT : 0;
    const most = Math.round((ladder.frames * (want + more)) / ladder.seconds);
    if (last('frame') < pictures - 2 || last('frame') > most + 2) throw new Error(`${last('frame')} of ${pictures} pictures decoded`);
    if (sound && Math.abs(last('out_time_us') / 1e6 - want) > more + 0.5) throw new Error(`${last('out_time_us') / 1e6} s of ${want} s decoded`);
  };
  checks.start = checks.frames = 'fail';
  await step('end', async () => {
    for (let program = 0; program < Math.max(1, ladder.heights.length); program += 1) await decode(program, 0);
  });
  checks.start = checks.frames = 'pass';
  checks.down = checks.up = 'none';
  // It begins with the segment that holds the time.
  await step('middle', () => decode(0, ladder.seconds / 2));
  await step('near_end', () => decode(0, ladder.seconds - 1.5));
  checks.errors = 'pass';
  if (sound) return;
  checks.opens += 1;
  await must('ffmpeg', ['-v', 'error', '-y', '-ss', `${ladder.seconds / 2}`, '-i', url, '-map', '0:p:0:v', '-frames:v', '1', '-vf', 'scale=800:-2', shot], { seconds: STEP });
}

async function ffmpegFail(url, seconds) {
  const began = Date.now();
  const { code, err } = await run('ffmpeg', ['-hide_banner', '-nostdin', '-v', 'error', '-i', url, '-map', '0:p:0', '-f', 'null', '-'], { seconds });
  return { error: code ? first(err).replace(/^\[.*?\] /, '') : null, after: (Date.now() - began) / 1000 };
}

const MPV = ['--no-config', '--vo=null', '--ao=null', '--ytdl=no', '--msg-level=all=error'];

/** mpv with its control socket open. `get` reads a property, `command` runs a command. */
async function mpvStart(url, work) {
  const path = join(work, `mpv-${process.pid}-${mpvStart.count++}.sock`);
  const child = start('mpv', [...MPV, '--keep-open=yes', `--input-ipc-server=${path}`, url]);
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (said += text));
  let socket;
  for (let tries = 0; !socket; tries += 1) {
    await sleep(50);
    const attempt = connect(path);
    try {
      await once(attempt, 'connect');
      socket = attempt;
    } catch {
      if (tries > 200) throw new Error('mpv does not open its control socket');
    }
  }
  const waiting = new Map();
  let text = '';
  let count = 0;
  socket.on('error', () => {});
  socket.setEncoding('utf8').on('data', (part) => {
    text += part;
    const lines = text.split('\n');
    text = lines.pop();
    for (const line of lines) {
      const message = JSON.parse(line);
      if (message.request_id) waiting.get(message.request_id)?.(message);
    }
  });
  const command = (...command) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`mpv does not answer; it said ${first(said)}`)), STEP * 1000);
      waiting.set((count += 1), (message) => {
        clearTimeout(timer);
        resolve(message);
      });
      socket.write(`${JSON.stringify({ command, request_id: count })}\n`);
    });
  return {
    command,
    get: async (name) => (await command('get_property', name)).data,
    set: (name, value) => command('set_property', name, value),
    said: () => said,
    end: () => {
      socket.destroy();
      child.kill('SIGKILL');
    },
  };
}
mpvStart.count = 0;

async function mpvPlay(url, ladder, checks, shot, work) {
  const step = stepper(checks);
  const sound = ladder.heights.length === 0;
  const mpv = await mpvStart(url, work);
  const until = async (what, test) => {
    const deadline = Date.now() + STEP * 1000;
    while (!(await test())) {
      if (Date.now() > deadline) throw new Error(`${what}: not in ${STEP} s, at ${await mpv.get('time-pos')} s; ${first(mpv.said())}`);
      await sleep(50);
    }
  };
  const at = async () => (await mpv.get('time-pos')) ?? -1;
  const from = async (time, what) => until(what, async () => (await at()) > time + 0.3);
  const ended = () => mpv.get('eof-reached');
  try {
    await step('start', () => from(0.2, 'start'));
    if (ladder.heights.length > 1) {
      const to = async (height) => {
        const track = (await mpv.get('track-list')).find((t) => t.type === 'video' && t['demux-h'] === height);
        const time = await at();
        await mpv.set('vid', track.id);
        // The other rendition was not read so far; without a seek it begins behind all that is buffered.
        await mpv.command('seek', time, 'absolute', 'exact');
        await until(`switch to ${height}p`, async () => (await mpv.get('video-params'))?.h === height);
        await from(time + 0.2, `play on in ${height}p`);
      };
      const [highest, lowest] = [ladder.heights[0], ladder.heights.at(-1)];
      await step('down', async () => { await to(highest); await to(lowest); });
      await step('up', () => to(highest));
    } else {
      checks.down = checks.up = 'none';
    }
    if (!sound) {
      const { error } = await mpv.command('screenshot-to-file', shot, 'video');
      if (error !== 'success') throw new Error(`screenshot: ${error}`);
    }
    await mpv.set('speed', 4);
    await step('end', () => until('play to the end', ended));
    await step('frames', async () => {
      const got = await mpv.get('estimated-frame-number');
      // An estimate from the timestamps: a few off where parts meet, and lost where they begin again.
      if (!sound && !ladder.restarts && Math.abs(got - ladder.frames) > 0.05 * ladder.frames) throw new Error(`ended at picture ${got} of ${ladder.frames}`);
    });
    await mpv.set('speed', 1);
    const to = async (time) => {
      await mpv.command('seek', time, 'absolute', 'exact');
      await mpv.set('pause', false);
      await until(`seek to ${time} s`, async () => !(await mpv.get('seeking')) && Math.abs((await at()) - time) < 1);
      await from(time, `play on at ${time} s`);
    };
    await step('middle', () => to(ladder.seconds / 2));
    await step('near_end', async () => {
      await to(ladder.seconds - 1.5);
      await until('end again', ended);
    });
    checks.errors = 'fail';
    if (mpv.said().trim()) throw new Error(first(mpv.said()));
    checks.errors = 'pass';
  } finally {
    mpv.end();
  }
}

async function mpvFail(url, seconds) {
  const began = Date.now();
  const { code, out, err } = await run('mpv', [...MPV, '--untimed', url], { seconds });
  return { error: code ? first(err + out).replace(/^\[.*?\] /, '') : null, after: (Date.now() - began) / 1000 };
}

const GSTREAMER = new URL('gstreamer.py', import.meta.url).pathname;

async function gstreamer(mode, url, ladder, shot, seconds) {
  const heights = [ladder.heights[0] ?? 0, ladder.heights.at(-1) ?? 0];
  const args = [GSTREAMER, mode, url, `${seconds}`, ...heights.map(String), `${ladder.frames}`, shot];
  const { code, out, err } = await run('/usr/bin/python3', args, { seconds: 150 });
  try {
    return JSON.parse(out);
  } catch {
    throw new Error(`GStreamer ended with ${code}: ${first(err || out)}`);
  }
}

async function gstreamerPlay(url, ladder, checks, shot) {
  const { checks: got, error } = await gstreamer('play', url, ladder, shot, ladder.seconds);
  Object.assign(checks, got);
  if (error) throw new Error(error);
}

async function gstreamerFail(url, seconds) {
  const began = Date.now();
  const { error } = await gstreamer('fail', url, { heights: [], frames: 0 }, '', seconds);
  // What it says when nothing came in time is not the player's word.
  return { error: error?.startsWith('no end: not in') ? null : (error?.replace('no end: ', '') ?? null), after: (Date.now() - began) / 1000 };
}

export async function consolePlayers() {
  const version = async (command, args, pattern) => (await must(command, args)).match(pattern)[1];
  return [
    { id: 'ffmpeg', name: 'FFmpeg', version: await version('ffmpeg', ['-version'], /version (\d[\d.]*)/), play: ffmpegPlay, fail: ffmpegFail },
    { id: 'mpv', name: 'mpv', version: await version('mpv', ['--version'], /mpv (\S+)/), play: mpvPlay, fail: mpvFail },
    { id: 'gstreamer', name: 'GStreamer', version: await version('gst-inspect-1.0', ['--version'], /GStreamer (\S+)/), play: gstreamerPlay, fail: gstreamerFail },
  ].map((player) => ({ ...player, browser: false }));
}
