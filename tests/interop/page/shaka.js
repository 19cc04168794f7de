// shaka-player with its defaults.

export async function start(video, url) {
  shaka.polyfill.installAll();
  const player = new shaka.Player();
  const errors = [];
  const note = (error) => {
    // What WebCrypto throws comes through as it is: a DOMException.
    if (!(error instanceof shaka.util.Error)) return errors.push({ fatal: true, text: `${error.name} ${error.message}`.trim() });
    const fatal = error.severity === shaka.util.Error.Severity.CRITICAL;
    const name = Object.entries(shaka.util.Error.Code).find(([, code]) => code === error.code)?.[0] ?? '';
    const status = name === 'BAD_HTTP_STATUS' ? ` ${error.data[1]}` : '';
    errors.push({ fatal, text: `${error.code} ${name}${status}` });
  };
  player.addEventListener('error', (event) => note(event.detail));
  await player.attach(video);
  // Not awaited: whoever drives the page waits for what comes of it.
  player.load(url).catch(note);
  return {
    errors,
    choose: (height) => {
      player.configure({ abr: { enabled: false } });
      player.selectVariantTrack(player.getVariantTracks().find((track) => track.height === height), true);
    },
  };
}
