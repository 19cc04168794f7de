// The page: what is served, which of it plays, and what happens meanwhile.

import { hasHls, hasNative, playHls, playNative } from './playback.js';
import * as tokens from './token.js';
import * as words from './words.js';

const $ = (id) => document.getElementById(id);
const video = $('video');
const KEPT_LINES = 200;

let packages = [];
let audience = 'everyone';
let token = tokens.kept();
let chosen = null;
let session = null;
let engine = hasHls() ? 'hls' : 'native';
let asked = 0;

/** An element with a text; nothing that comes from outside is ever read as markup. */
const make = (tag, text = '', attributes = {}) => {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};

// --- what is served ---

async function load() {
  let answer = null;
  try {
    const query = token && !token.header ? `?${token.query}` : '';
    answer = await fetch(`/v1/packages${query}`, { headers: token?.header ? { Authorization: token.header } : {}, cache: 'no-store' });
    if (!answer.ok) throw new Error(`${answer.status}`);
    ({ packages, audience } = await answer.json());
  } catch {
    packages = [];
    return notice({ title: answer ? `The list of packages was answered with ${answer.status}.` : 'The server cannot be reached.', text: 'Reload the page to try again.' });
  }
  showList();
  showToken();
}

const heights = ({ renditions }) => renditions.map((r) => (r.resolution ? `${r.resolution.split('x')[1]}p` : 'audio'));
/** No line ends within a fact. */
const facts = (one) =>
  [
    heights(one).join(' '), one.seconds ? words.seconds(one.seconds) : '', one.bytes ? words.bytes(one.bytes) : '',
    one.key_ids.length ? 'AES-128' : 'not encrypted',
  ].filter(Boolean).map((fact) => fact.replaceAll(' ', '\u00a0').replaceAll('-', '\u2011')).join(' · ');

function showList() {
  $('count').textContent = packages.length || '';
  $('packages').replaceChildren(...packages.map((one) => {
    const link = make('a', '', { href: `#${encodeURIComponent(one.content_id)}` });
    link.append(make('b', one.content_id), make('span', facts(one)));
    if (one.content_id === chosen?.content_id) link.setAttribute('aria-current', 'true');
    // One that is shown already, since it is the only one or the URL names it, begins.
    link.addEventListener('click', () => one.content_id === chosen?.content_id && video.play().catch(() => {}));
    const item = make('li');
    item.append(link);
    return item;
  }));
  $('none').hidden = packages.length > 0;
  $('none').textContent = audience === 'everyone' ? 'No package is served.' : 'None for this viewer. A token shows what it is for; a signed URL plays by itself.';
  $('audience').textContent = { everyone: 'this machine only', stranger: 'for viewers with a token', known: 'for this viewer' }[audience];
  $('token-section').hidden = audience === 'everyone' && !token;
}

// --- the token ---

function showToken() {
  $('token-clear').hidden = !token;
  const state = $('token-state');
  const over = token?.end && token.end <= Date.now();
  state.classList.toggle('bad', Boolean(over));
  if (!token) state.textContent = audience === 'known' ? 'A cookie says who you are.' : 'It stays in this tab, and goes to this server alone.';
  else if (over) state.textContent = `It ended at ${words.time(token.end)}.`;
  else if (token.end) state.textContent = `Ends in ${words.seconds((token.end - Date.now()) / 1000)}.`;
  else state.textContent = 'It does not say when it ends.';
}

$('token-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const pasted = $('token').value;
  const read = tokens.parse(pasted);
  if (!read) {
    $('token-state').classList.add('bad');
    $('token-state').textContent = 'That is neither a token nor a URL with one.';
    return;
  }
  $('token').value = '';
  token = read;
  tokens.keep(pasted);
  await load();
  if (read.path) chooseUrl(read.path);
  else if (chosen) choose(chosen);
});

$('token-clear').addEventListener('click', async () => {
  token = null;
  tokens.keep('');
  await load();
  if (chosen) choose(chosen);
});

// --- which of it plays ---

/** A playlist that is not in the list: its URL was signed, or its name known. */
function chooseUrl(path) {
  const content_id = decodeURIComponent(path.split('/')[1]);
  choose(packages.find((one) => one.content_id === content_id) ?? { content_id, url: path, generation_url: path, key_ids: [], renditions: [], unlisted: true });
}

function choose(one) {
  chosen = one;
  $('title').textContent = one.content_id;
  $('facts').textContent = one.unlisted ? 'not listed' : facts(one);
  $('command').textContent = `ffplay ${location.origin}${one.url}`;
  $('elsewhere').hidden = false;
  showList();
  begin();
}

function named() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return '';
  }
}

function fromHash() {
  const wanted = named();
  if (!wanted) return packages[0] && !chosen && packages.length === 1 ? choose(packages[0]) : undefined;
  if (wanted === chosen?.content_id) return undefined;
  const one = packages.find((p) => p.content_id === wanted);
  return one ? choose(one) : chooseUrl(`/${encodeURIComponent(wanted)}/master.m3u8`);
}

function begin() {
  session?.stop();
  session = null;
  asked = 0;
  $('keys').replaceChildren();
  $('log').replaceChildren();
  $('keys-none').hidden = false;
  $('key-count').textContent = '';
  notice(null);
  const both = hasHls() && hasNative();
  $('engines').hidden = !both;
  for (const input of document.getElementsByName('engine')) input.checked = input.value === engine;
  if (!hasHls() && !hasNative()) {
    state('cannot play');
    return notice(words.noPlayer);
  }
  state('loads');
  // A URL with the generation in it is kept by caches for good. What was signed was signed for the plain one.
  const url = token && !token.header ? chosen.url : chosen.generation_url;
  session = (engine === 'hls' ? playHls : playNative)(video, url, token, tell);
  $('engine-version').textContent = `Played by ${session.name}.`;
  // Nothing plays by itself when the page opens.
  if (navigator.userActivation?.hasBeenActive === false) return state('ready');
  return video.play().catch(() => $('notice').hidden && state('ready'));
}

for (const input of document.getElementsByName('engine')) {
  input.addEventListener('change', () => {
    engine = input.value;
    if (chosen) begin();
  });
}

// --- what happens ---

const state = (text, bad = false) => {
  $('state').textContent = text;
  $('state').classList.toggle('bad', bad);
};

function notice(what) {
  $('notice').hidden = !what;
  $('notice').classList.add('bad');
  $('notice-title').textContent = what?.title ?? '';
  $('notice-text').textContent = what?.text ?? '';
}

const answers = { 0: 'no answer', 200: 'given', 401: 'refused', 403: 'refused', 404: 'not known', 429: 'too many', 503: 'not now' };

const tell = {
  log(text, bad = false) {
    const line = make('li');
    line.append(make('time', words.time()), make('span', text, bad ? { class: 'bad' } : {}));
    $('log').prepend(line);
    if ($('log').children.length > KEPT_LINES) $('log').lastChild.remove();
  },
  key({ url, status, took, cached }) {
    asked += 1;
    const { pathname } = new URL(url, location.href);
    const id = pathname.split('/').at(-1);
    const row = make('tr');
    const key = make('td', '', { title: pathname });
    key.append(make('code', id.length > 13 ? `${id.slice(0, 8)}…` : id));
    const said = `${answers[status] ?? 'odd'}${status ? ` · ${status}` : ''}${cached ? ' · from the browser’s cache' : ''}`;
    row.append(make('td', words.time()), key, make('td', said, { class: status === 200 ? 'good' : 'bad' }), make('td', `${Math.round(took)} ms`, { class: 'number' }));
    $('keys').prepend(row);
    if ($('keys').children.length > KEPT_LINES) $('keys').lastChild.remove();
    $('keys-none').hidden = true;
    $('key-count').textContent = asked;
  },
  failed(what) {
    video.pause();
    state('stopped', true);
    tell.log(what.title, true);
    notice(what);
    // Wherever the key comes from, it may want one.
    $('token-section').hidden = false;
  },
};

for (const [event, text] of Object.entries({ playing: 'plays', pause: 'paused', waiting: 'waits for bytes', seeking: 'seeks', ended: 'at the end' })) {
  video.addEventListener(event, () => {
    if ($('notice').hidden) state(text);
  });
}

function buffered() {
  const { buffered: ranges, currentTime: at } = video;
  for (let n = 0; n < ranges.length; n += 1) {
    if (ranges.start(n) <= at + 0.1 && at < ranges.end(n)) return ranges.end(n) - at;
  }
  return 0;
}

function look() {
  showToken();
  if (!session) return;
  const { rendition, bandwidth } = session.figures();
  const ahead = buffered();
  const { totalVideoFrames: shown, droppedVideoFrames: dropped } = video.getVideoPlaybackQuality?.() ?? {};
  $('rendition').textContent = rendition;
  $('buffer').textContent = `${ahead.toFixed(1)} s`;
  $('buffer-bar').style.setProperty('--full', `${Math.min(100, (ahead / 30) * 100)}%`);
  $('bandwidth').textContent = words.bits(bandwidth);
  $('pictures').textContent = shown === undefined ? '–' : `${shown}${dropped ? `, ${dropped} dropped` : ''}`;
}

addEventListener('hashchange', fromHash);
document.addEventListener('securitypolicyviolation', ({ blockedURI }) => tell.log(`the page may not ask ${blockedURI}`, true));
setInterval(look, 500);
$('engine-version').textContent = hasHls() ? `Plays with hls.js ${Hls.version}.` : 'This build has no hls.js (scripts/build-player); the browser plays by itself where it can.';
await load();
fromHash();
