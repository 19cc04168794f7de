// hls.js with its defaults.

export function start(video, url) {
  const hls = new Hls();
  const errors = [];
  hls.on(Hls.Events.ERROR, (_, data) => {
    const status = data.response?.code ? ` ${data.response.code}` : '';
    errors.push({ fatal: data.fatal, text: `${data.type} ${data.details}${status}` });
  });
  hls.loadSource(url);
  hls.attachMedia(video);
  return {
    errors,
    choose: (height) => void (hls.currentLevel = hls.levels.findIndex((level) => level.height === height)),
  };
}
