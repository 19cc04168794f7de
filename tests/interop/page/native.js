// The browser's own HLS. It chooses renditions itself, and nobody else can.

export function start(video, url) {
  video.src = url;
  return { errors: [] };
}
