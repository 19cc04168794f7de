// Loads one player's library and its adapter, and leaves `begin` and `snippet` for the script that drives the page.

const query = new URLSearchParams(location.search);
document.querySelector('h1').textContent = query.get('title') ?? '';

const add = (name, attributes) =>
  new Promise((resolve, reject) => {
    const element = Object.assign(document.createElement(name), attributes);
    element.onload = resolve;
    element.onerror = () => reject(new Error(`cannot load ${attributes.src ?? attributes.href}`));
    document.head.append(element);
  });

for (const href of query.getAll('style')) await add('link', { rel: 'stylesheet', href });
for (const src of query.getAll('script')) await add('script', { src });

const video = document.getElementById('video');
const adapter = await import(`/page/${query.get('adapter')}.js`);

/** The media element that plays now: a player may have put another in the place of ours. */
const media = () => document.querySelector('video');

window.session = { errors: [] };

/** Starts playback of `url` with the player's own defaults. */
window.begin = async (url) => {
  window.session = await adapter.start(video, url);
  watch();
};

/** Runs a snippet of the manual: it finds `video`, `url` and `token`, and may await. */
window.snippet = async (code, url, token) => {
  const body = new Function('video', 'url', 'token', `return (async () => {\n${code}\n})();`);
  await body(video, url, token);
  watch();
};

const watch = () => {
  media().addEventListener('error', () => {
    const { code, message } = media().error ?? {};
    window.session.errors.push({ fatal: true, text: `MediaError ${code} ${message}` });
  });
  media().muted = true;
  media().play().catch(() => {});
};

/** What can be seen of playback at this moment. */
window.look = () => {
  const element = media();
  const quality = element.getVideoPlaybackQuality();
  return {
    time: element.currentTime,
    duration: element.duration,
    ended: element.ended,
    paused: element.paused,
    seeking: element.seeking,
    height: element.videoHeight,
    frames: quality.totalVideoFrames,
    dropped: quality.droppedVideoFrames,
    audioBytes: element.webkitAudioDecodedByteCount,
    error: element.error && `MediaError ${element.error.code} ${element.error.message}`,
    errors: window.session.errors,
  };
};

window.seek = (time) => {
  media().currentTime = time;
  media().play().catch(() => {});
};
/** There will be no more switches. */
window.switched = () => void window.session.switched?.();
window.rate = (rate) => void (media().playbackRate = rate);
window.ready = true;
