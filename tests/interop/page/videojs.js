// video.js with its defaults, but for overrideNative, without which Chromium's own demuxer would play, and for a short
// buffer while renditions are switched: a switch to one whose playlist it has already (8.24, fastQualityChange_) leaves
// the buffer as it is, and shows only behind it.

export function start(video, url) {
  video.className = 'video-js';
  const buffer = { goal: videojs.Vhs.GOAL_BUFFER_LENGTH, most: videojs.Vhs.MAX_GOAL_BUFFER_LENGTH };
  Object.assign(videojs.Vhs, { GOAL_BUFFER_LENGTH: 4, MAX_GOAL_BUFFER_LENGTH: 4 });
  const player = videojs(video, { html5: { vhs: { overrideNative: true } } });
  const errors = [];
  player.on('error', () => {
    const { code, message } = player.error() ?? {};
    errors.push({ fatal: true, text: `MediaError ${code} ${message}` });
  });
  player.src({ src: url, type: 'application/x-mpegURL' });
  return {
    errors,
    choose: (height) => {
      // It acts when a disabled rendition is enabled, and on nothing else.
      const all = player.tech(true).vhs.representations();
      for (const representation of all) representation.enabled(false);
      all.find((representation) => representation.height === height).enabled(true);
    },
    switched: () => Object.assign(videojs.Vhs, { GOAL_BUFFER_LENGTH: buffer.goal, MAX_GOAL_BUFFER_LENGTH: buffer.most }),
  };
}
