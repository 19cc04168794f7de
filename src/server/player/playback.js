// Plays one package: with hls.js, or with what the browser has of its own. Tells what happens through `tell`:
// `state(text)`, `log(text, bad)`, `key({ url, status, took, cached })`, `failed({ title, text })`.

import * as words from './words.js';

const MPEGURL = 'application/vnd.apple.mpegurl';
const isKey = (url) => new URL(url, location.href).pathname.startsWith('/v1/keys/');
const isOurs = (url) => new URL(url, location.href).origin === location.origin;

export const hasHls = () => Boolean(window.Hls?.isSupported());
export const hasNative = () => document.createElement('video').canPlayType(MPEGURL) !== '';

const hasToken = (url) => /[?&](token|kr-signed)=/.test(url);

const withQuery = (url, token) => (token?.query ? `${url}?${token.query}` : url);

/** Answers of these kinds stay as they are, however often one asks. */
const final = (status) => status >= 400 && status < 500 && status !== 429;

export function playHls(video, url, token, tell) {
  const keyUrls = new Set();
  const retry = { maxNumRetry: 6, retryDelayMs: 1000, maxRetryDelayMs: 8000, shouldRetry: (config, count, _timeout, answer, again) => (final(answer?.code) ? false : again && count < config.maxNumRetry) };
  const policy = { default: { maxTimeToFirstByteMs: 8000, maxLoadTimeMs: 20000, timeoutRetry: { ...retry, maxNumRetry: 2 }, errorRetry: retry } };
  const hls = new Hls({
    // A worker is made of a blob, which the page's policy does not allow.
    enableWorker: false,
    keyLoadPolicy: policy,
    startLevel: -1,
    xhrSetup(xhr, to) {
      if (!xhr.readyState) xhr.open('GET', to, true);
      if (!isKey(to) && !keyUrls.has(to)) return;
      // The token goes to this server's keys and to nothing else, and never beside one that the URI has: two are refused.
      if (token?.header && isOurs(to) && isKey(to) && !hasToken(to)) xhr.setRequestHeader('Authorization', token.header);
      const asked = performance.now();
      xhr.addEventListener('loadend', () => {
        const timing = performance.getEntriesByName(new URL(to, location.href).href).at(-1);
        const cached = xhr.status === 200 && timing?.transferSize === 0 && timing.decodedBodySize > 0;
        tell.key({ url: to, status: xhr.status, took: performance.now() - asked, cached });
      });
    },
  });
  let failed = false;
  const fail = (what) => {
    if (failed) return;
    failed = true;
    hls.stopLoad();
    tell.failed(what);
  };
  hls.on(Hls.Events.LEVEL_LOADED, (_, { details }) => {
    for (const { decryptdata } of details.fragments) if (decryptdata?.uri) keyUrls.add(decryptdata.uri);
  });
  hls.on(Hls.Events.MANIFEST_PARSED, (_, { levels }) => tell.log(`${levels.length} ${levels.length === 1 ? 'rendition' : 'renditions'} to choose from`));
  hls.on(Hls.Events.LEVEL_SWITCHED, (_, { level }) => tell.log(`plays ${name(hls.levels[level])}`));
  hls.on(Hls.Events.ERROR, (_, data) => {
    const what = explain(data, token);
    if (data.fatal || what.now) fail(what);
    else tell.log(what.title, !what.mild);
  });
  // A JSON Web Token goes in the header of key requests. What was signed for URLs has to be in the URLs.
  hls.loadSource(token && !token.header ? withQuery(url, token) : url);
  hls.attachMedia(video);
  return {
    name: `hls.js ${Hls.version}`,
    figures() {
      const level = hls.levels[hls.currentLevel];
      return { rendition: level ? name(level) : '–', bandwidth: hls.bandwidthEstimate };
    },
    stop: () => hls.destroy(),
  };
}

const name = (level) => [level.height ? `${level.height}p` : 'audio', words.bits(level.bitrate)].join(' · ');

function explain(data, token) {
  const status = data.response?.code ?? 0;
  const url = data.response?.url || data.url || data.frag?.decryptdata?.uri || location.href;
  const { ErrorDetails: is } = Hls;
  switch (data.details) {
    case is.KEY_LOAD_ERROR:
    case is.KEY_LOAD_TIMEOUT: {
      const key = data.frag?.decryptdata?.uri ?? url;
      return { ...words.keyRefused(status, key, token), now: final(status) };
    }
    case is.MANIFEST_LOAD_ERROR:
    case is.LEVEL_LOAD_ERROR:
    case is.FRAG_LOAD_ERROR:
      if (status === 404) return words.gone;
      if (status === 0) return words.unreachable(url, 'A part of the package');
      return { title: `The server answered ${status}.`, text: '' };
    case is.FRAG_DECRYPT_ERROR:
    case is.FRAG_PARSING_ERROR:
      return data.frag?.encrypted ? words.wrongKey : { title: 'A segment makes no sense.', text: 'keyrung verify tells what is wrong with it.' };
    case is.MANIFEST_INCOMPATIBLE_CODECS_ERROR:
    case is.BUFFER_ADD_CODEC_ERROR:
    case is.BUFFER_INCOMPATIBLE_CODECS_ERROR:
      return words.noDecoder(data.mimeType ?? data.frag?.level?.codecs);
    // What mended itself.
    case is.BUFFER_STALLED_ERROR:
      return { title: 'waits for segments', text: '', mild: true };
    case is.BUFFER_SEEK_OVER_HOLE:
      return { title: 'jumped over a gap of the time stamps', text: '', mild: true };
    case is.BUFFER_NUDGE_ON_STALL:
      return { title: 'was nudged on', text: '', mild: true };
    case is.FRAG_LOAD_TIMEOUT:
    case is.LEVEL_LOAD_TIMEOUT:
    case is.MANIFEST_LOAD_TIMEOUT:
      return { title: 'The server takes too long to answer.', text: '' };
    default:
      return { title: `${data.details}${status ? ` (${status})` : ''}`, text: data.error?.message ?? '' };
  }
}

/** No script sees what the browser asks for. What it stumbled on is asked again afterwards, to tell it in words. */
export function playNative(video, url, token, tell) {
  let stopped = false;
  const onError = async () => {
    const what = await diagnose(withQuery(url, token), token, tell).catch(() => null);
    if (!stopped) tell.failed(what ?? words.notNative);
  };
  video.addEventListener('error', onError);
  video.src = withQuery(url, token);
  tell.log('the browser plays by itself: it shows neither renditions nor key requests');
  return {
    name: 'the browser',
    figures: () => ({ rendition: video.videoHeight ? `${video.videoHeight}p` : '–', bandwidth: Number.NaN }),
    stop() {
      stopped = true;
      video.removeEventListener('error', onError);
      video.removeAttribute('src');
      video.load();
    },
  };
}

async function diagnose(url, token, tell) {
  const get = async (to) => {
    const answer = await fetch(to).catch(() => null);
    if (!answer) return { problem: words.unreachable(to, 'A part of the package') };
    if (!answer.ok) return { problem: answer.status === 404 ? words.gone : { title: `The server answered ${answer.status}.`, text: '' } };
    return { text: await answer.text() };
  };
  let at = new URL(url, location.href);
  let { problem, text } = await get(at);
  if (problem) return problem;
  const variant = text.match(/^#EXT-X-STREAM-INF.*\n(?:#.*\n|\s*\n)*([^#\s].*)$/m)?.[1];
  if (variant) {
    at = new URL(variant.trim(), at);
    ({ problem, text } = await get(at));
    if (problem) return problem;
  }
  const uri = text.match(/^#EXT-X-KEY:.*URI="([^"]+)"/m)?.[1];
  if (!uri) return null;
  const key = new URL(uri, at).href;
  const asked = performance.now();
  const answer = await fetch(key).catch(() => null);
  const status = answer?.status ?? 0;
  tell.key({ url: key, status, took: performance.now() - asked, cached: false });
  return status === 200 ? null : words.keyRefused(status, key, token);
}
