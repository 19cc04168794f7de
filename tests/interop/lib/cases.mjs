// What is played, what has to come of it, and where a player is known to fall short.

/** The columns of the table. `rule` and `cache` are the relay's; `fails` are cases that have to end in an error. */
export const CASES = [
  { id: 'clear', title: 'clear', ladder: 'clear' },
  { id: 'aes', title: 'AES-128', ladder: 'aes' },
  // Also: how often players ask for the key when nothing may keep it.
  { id: 'programs', title: 'from a multi-program stream', ladder: 'programs', cache: 'no-store' },
  { id: 'joined', title: 'timestamps begin again', ladder: 'joined' },
  { id: 'resized', title: 'picture size changes', ladder: 'resized' },
  { id: 'overlap', title: 'audio steps back', ladder: 'overlap' },
  { id: 'sound', title: 'audio alone', ladder: 'sound' },
  { id: 'tokened', title: 'token in the key URI', ladder: 'tokened', rule: 'query' },
  // From a server that knows viewers. The token is in the query of the master playlist, and the player knows nothing of it.
  { id: 'jwt', title: 'JWT', ladder: 'aes', access: 'jwt' },
  { id: 'signed', title: 'signed URL', ladder: 'aes', access: 'signed' },
  { id: 'expired', title: 'token has ended', ladder: 'aes', access: 'ended', fails: true },
  { id: 'wrong', title: 'wrong key', ladder: 'aes', rule: 'wrong', fails: true },
  { id: 'missing', title: 'no key (404)', ladder: 'aes', rule: 'missing', fails: true },
  { id: 'refused', title: 'key refused (403)', ladder: 'aes', rule: 'refused', fails: true },
];

/** Where a token ends while it plays: clean is an error, or the end with the key that the player has. */
export const ENDING = { id: 'ending', title: 'token ends while it plays', ladder: 'aes', access: 'ending', cache: 'no-store' };

/** How long a player may take to tell that a key is wrong or not to be had, in seconds. */
export const ERROR_WITHIN = 75;

/**
 * What players are known not to do, each with the reason: the check at which they stop (none for a case that has to end in
 * an error), and why. Such a cell does not fail the run. One that is not so any more does, so that the list stays true.
 */
export const KNOWN = [
  { player: 'hls.js-0', case: 'wrong', why: 'goes on after parsing errors that it does not call fatal' },
  { player: 'video.js', case: 'missing', why: 'asks for the key again and again and tells nobody' },
  { player: 'video.js', case: 'refused', why: 'asks for the key again and again and tells nobody' },
  { player: 'video.js', case: 'expired', why: 'asks for the key again and again and tells nobody' },
  { player: 'video.js', case: 'ending', why: 'asks for the key again and again and tells nobody' },
  { player: 'native', case: 'overlap', check: 'start', why: 'refuses a segment in which audio steps back, 8 ms here, where the files were joined' },
  { player: 'ffmpeg', case: 'joined', check: 'near_end', why: 'seeks by the timestamps of the stream, and finds nothing behind the place where they begin again' },
  { player: 'mpv', case: 'joined', check: 'middle', why: 'seeks by the timestamps of the stream, as FFmpeg does' },
];

/** The entry for what happened: this player in this case, stopped at this check. */
export const known = (player, testCase, checks) => {
  const entry = KNOWN.find((k) => k.player === player && k.case === testCase);
  const stopped = Object.keys(checks).find((check) => checks[check] === 'fail');
  return entry && { ...entry, as_known: !entry.check || entry.check === stopped };
};
