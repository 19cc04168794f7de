// Errors in the words of whoever watches.

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
export const time = (at = Date.now()) => clock.format(at);

const elsewhere = (url) => {
  const { origin } = new URL(url, location.href);
  return origin === location.origin ? null : origin;
};

/** Why a key is not given, and what may be done. `token` is what the viewer pasted. */
export function keyRefused(status, url, token) {
  const other = elsewhere(url);
  if (status === 401 || status === 403) {
    return { title: 'The server does not give this viewer the key.', text: whyRefused(token, other) };
  }
  if (status === 404) return { title: 'The key server does not know the key.', text: 'The package was made for another server, or its key is gone.' };
  if (status === 429) return { title: 'The server is asked for keys too often.', text: 'Wait a little, then play again.' };
  if (status === 503) return { title: 'The server cannot open the key at the moment.', text: 'It is asked again by itself.' };
  if (status >= 500) return { title: `The server failed to give the key (${status}).`, text: 'Its log says why.' };
  if (status === 0) return unreachable(url, 'The key');
  return { title: `The key was answered with ${status}.`, text: '' };
}

function whyRefused(token, other) {
  if (other) return `The key is on ${other}, to which this page sends no token.`;
  if (!token) return 'It may want a token, and none was given. Paste one under Token.';
  if (token.end && token.end <= Date.now()) return `The token ended at ${time(token.end)}. Paste a new one to go on.`;
  return 'The token is for other content, was withdrawn, or is not one that this server takes.';
}

/** No answer that a script may read. */
export function unreachable(url, what) {
  const other = elsewhere(url);
  if (!other) return { title: 'The server cannot be reached.', text: 'It was stopped, or the network is gone.' };
  return {
    title: `${what} is on another server, ${other}.`,
    text: 'This page may speak to its own server alone. Players elsewhere can fetch it if that server allows their origin (CORS).',
  };
}

export const wrongKey = {
  title: 'The key does not open the segments.',
  text: 'It is the key of other content, or the segments were damaged. keyrung verify tells which.',
};

export const noDecoder = (codecs) => ({
  title: 'This browser cannot decode the film.',
  text: codecs ? `It is in ${codecs}.` : 'It has no decoder for one of its streams.',
});

export const gone = {
  title: 'The package is not there any more.',
  text: 'It was made anew or removed. Reload the page.',
};

export const notNative = {
  title: 'The browser gave up.',
  text: 'It plays HLS by itself and does not say why it stopped. Everything that could be asked from here was answered well.',
};

export const noPlayer = {
  title: 'This browser cannot play HLS without help, and this build of keyrung has no hls.js.',
  text: 'Run scripts/build-player and build again, or play with ffplay (below).',
};

export function seconds(value) {
  const whole = Math.round(value);
  const part = (n) => String(n).padStart(2, '0');
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}:${part(m)}:${part(s)}` : `${m}:${part(s)}`;
}

export function bits(value) {
  if (!Number.isFinite(value) || value <= 0) return '–';
  return value >= 1e6 ? `${(value / 1e6).toFixed(value >= 1e7 ? 0 : 1)} Mbit/s` : `${Math.round(value / 1e3)} kbit/s`;
}

export function bytes(value) {
  if (value >= 1e9) return `${(value / 1e9).toFixed(1)} GB`;
  return value >= 1e6 ? `${Math.round(value / 1e6)} MB` : `${Math.max(1, Math.round(value / 1e3))} kB`;
}
