// The tables in README.md and src/manual/players.md, each between two marks. A run that found something else than what
// stands there fails.

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const BEGIN = '<!-- players: begin; written by scripts/interop --update-readme -->';
const END = '<!-- players: end -->';
const SEGMENTS = 12;

/** What a cell says. */
export function word(report, player, testCase) {
  const result = report.results.find((r) => r.player === player.id && r.case === testCase.id);
  if (!result) return '';
  if (testCase.fails) return result.verdict === 'pass' ? 'error' : 'silent';
  if (result.verdict === 'pass') return 'plays';
  return result.checks.end === 'pass' ? 'plays, but' : 'no';
}

function table(report) {
  const head = `| | ${report.cases.map((c) => c.title).join(' | ')} |`;
  const rule = `|---|${report.cases.map(() => '---').join('|')}|`;
  const rows = report.players.map((p) => `| ${p.name} ${p.version} | ${report.cases.map((c) => word(report, p, c)).join(' | ')} |`);
  const gaps = report.results.filter((r) => r.verdict === 'known').map((r) => {
    const player = report.players.find((p) => p.id === r.player);
    return `* ${player.name} ${player.version}, ${report.cases.find((c) => c.id === r.case).title}: ${r.detail.replace(/ \(.*\)$/s, '')}.`;
  });
  return [head, rule, ...rows, ...(gaps.length ? ['', ...gaps] : [])].join('\n');
}

/** How often a key was fetched, in words that do not change with every run. */
function often(count, renditions) {
  if (count === 1) return 'one';
  if (count >= SEGMENTS) return 'one for each segment';
  return count === renditions ? 'one for each rendition' : String(count);
}

/** What the key requests of each player are like; null when the run left out a case that tells. */
export function keyFacts(report, player) {
  const of = (id) => report.results.find((r) => r.player === player.id && r.case === id);
  const [kept, anew, refused] = [of('aes'), of('programs'), of('refused')];
  if (!kept || !anew || !refused) return null;
  const once = (result) => often(Math.round(result.keys.answered / (result.checks.opens ?? 1)), 3);
  return {
    kept: once(kept),
    anew: once(anew),
    sends: kept.keys.sends.map((field) => `\`${field}\``).join(' '),
    refused: refused.verdict === 'pass' ? `${refused.keys.answered}` : 'without end',
    // Paths and keys differ from run to run.
    says: refused.verdict === 'pass' ? refused.detail.replace(/^after [\d.]+ s: /, '').replace(/ [\x27/].*$/, '').trim() : 'nothing',
  };
}

function keyTable(report) {
  const rows = report.players.map((player) => {
    const facts = keyFacts(report, player);
    return `| ${player.name} ${player.version} | ${[facts.kept, facts.anew, facts.sends, facts.refused, facts.says].join(' | ')} |`;
  });
  return [
    '| | key requests for a ladder | when the answer is `no-store` | the request carries | requests for a key that is refused | what it says then |',
    '|---|---|---|---|---|---|',
    ...rows,
  ].join('\n');
}

/** The files that hold a table, and what makes it. */
const TABLES = [
  ['README.md', table],
  ['src/manual/players.md', keyTable],
];

async function parts(path) {
  const text = await readFile(path, 'utf8');
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`${path} has no place for the players' table`);
  return [text.slice(0, begin + BEGIN.length), text.slice(begin + BEGIN.length, end).trim(), text.slice(end)];
}

export async function updateTables(root, report) {
  for (const [file, make] of TABLES) {
    const [before, , after] = await parts(join(root, file));
    await writeFile(join(root, file), `${before}\n${make(report)}\n${after}`);
  }
}

/** Null, or the first line that the run contradicts. Versions of what the system brings may be others. */
export async function tablesDiffer(root, report) {
  const rows = (text) => text.split('\n').filter((line) => line.startsWith('|')).map((line) => line.replace(/^(\| [^|]*?) v?\d[\w.+~-]* \|/, '$1 |'));
  for (const [file, make] of TABLES) {
    const [, there] = await parts(join(root, file));
    const [stands, found] = [rows(there), rows(make(report))];
    for (let n = 0; n < Math.max(stands.length, found.length); n += 1) {
      if (stands[n] !== found[n]) return `${file} has ${stands[n] ?? 'no line'}; found ${found[n] ?? 'none'}`;
    }
  }
  return null;
}
