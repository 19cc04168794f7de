// The result as a table for the terminal and as one self-contained page.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { keyFacts, word } from './readme.mjs';

const CHECKS = [
  ['start', 'starts'], ['down', 'switches down'], ['up', 'switches up'], ['end', 'reaches the end'], ['frames', 'pictures decoded'],
  ['middle', 'seeks to the middle'], ['near_end', 'seeks near the end'], ['errors', 'no media errors'],
];

const find = (report, player, testCase) => report.results.find((r) => r.player === player.id && r.case === testCase.id);

export function terminalReport(report) {
  const cells = [
    ['', ...report.cases.map((c) => c.id), 'key requests'],
    ...report.players.map((p) => [`${p.name} ${p.version}`, ...report.cases.map((c) => word(report, p, c)), keyCounts(report, p)]),
  ];
  const widths = cells[0].map((_, n) => Math.max(...cells.map((row) => row[n].length)));
  return cells.map((row) => row.map((cell, n) => cell.padEnd(widths[n])).join('  ').trimEnd()).join('\n');
}

/** How often the key of a ladder was fetched: as `keyrung serve` lets it be kept, and when nothing may be kept. */
function keyCounts(report, player) {
  const facts = keyFacts(report, player);
  return facts ? `${facts.kept}; no-store: ${facts.anew}` : '';
}

const escape = (text) => String(text).replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]);

const STYLE = `
:root { color-scheme: light dark; --line: #8884; --good: #18794e; --bad: #c62a2f; --soft: #8882; }
@media (prefers-color-scheme: dark) { :root { --good: #4cc38a; --bad: #ff8589; } }
* { box-sizing: border-box; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 80rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
th, td { overflow-wrap: normal; }
h1 { font-size: 1.5rem; margin: .5rem 0; } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: max-content; min-width: 100%; font-size: .9rem; }
th, td { text-align: left; padding: .4rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { font-weight: 600; max-width: 8rem; } tbody th { font-weight: 500; } td { max-width: 26rem; }
tr > :first-child { position: sticky; left: 0; background: Canvas; }
@media (max-width: 40rem) { tbody th { max-width: 8rem; } td { max-width: 16rem; } }
.pass { color: var(--good); } .fail, .known { color: var(--bad); } td code { margin-right: .3em; display: inline-block; } .fail { font-weight: 700; }
.small { font-size: .85rem; opacity: .8; }
.shots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); gap: 1rem; }
figure { margin: 0; } figure img { width: 100%; display: block; border-radius: .4rem; border: 1px solid var(--line); background: #000; }
figcaption { font-size: .85rem; padding: .25rem 0; }
details { border-bottom: 1px solid var(--line); padding: .3rem 0; } summary { cursor: pointer; }
code { background: var(--soft); padding: .1em .3em; border-radius: .2em; overflow-wrap: anywhere; }
`;

export async function htmlReport(report, out) {
  const failures = report.results.filter((r) => r.verdict === 'fail').length + report.endings.filter((e) => !e.ok).length + report.snippets.filter((s) => !s.ok).length + (report.page.ok ? 0 : 1);
  const total = report.results.length + report.endings.length + report.snippets.length + 1;
  const row = (cells, tag = 'td') => `<tr>${cells.map((cell, n) => (n === 0 ? `<th scope="row">${cell}</th>` : `<${tag}>${cell}</${tag}>`)).join('')}</tr>`;
  const headed = (head, rows) => `<div class="wide"><table><thead><tr>${head.map((h) => `<th scope="col">${escape(h)}</th>`).join('')}</tr></thead><tbody>${rows.join('\n')}</tbody></table></div>`;
  const name = (p) => escape(`${p.name} ${p.version}`);

  const main = headed(['', ...report.cases.map((c) => c.title)], report.players.map((p) => row([
    name(p),
    ...report.cases.map((c) => {
      const result = find(report, p, c);
      return result ? `<span class="${result.verdict}" title="${escape(result.detail)}">${word(report, p, c)}</span>` : '';
    }),
  ])));
  const gaps = report.results.filter((r) => r.verdict === 'known').map((r) => {
    const title = report.cases.find((c) => c.id === r.case).title;
    return `<li>${name(report.players.find((p) => p.id === r.player))}, ${escape(title)}: ${escape(r.detail)}</li>`;
  });
  const keys = headed(['', 'requests', 'when the answer is no-store', 'the request carries', 'requests when refused', 'what it says then'], report.players.flatMap((p) => {
    const facts = keyFacts(report, p);
    if (!facts) return [];
    return [row([name(p), facts.kept, facts.anew, facts.sends.replace(/`([^`]*)`/g, '<code>$1</code>'), facts.refused, escape(facts.says)])];
  }));
  const snippets = headed(['', 'way', 'result', 'the key request carries'], report.snippets.map((s) => row([
    escape(s.player), escape(s.refused ? `${s.rule}, which does not work` : s.rule), `<span class="${s.ok ? 'pass' : 'fail'}">${escape(s.detail)}</span>`,
    s.sends.map((f) => `<code>${escape(f)}</code>`).join(' '),
  ])));
  const endings = headed(['', 'what it does'], report.endings.map((e) => row([
    name(report.players.find((p) => p.id === e.player)), `<span class="${e.ok ? 'pass' : 'fail'}">${escape(e.detail)}</span>`,
  ])));
  const details = report.players.map((p) => {
    const rows = report.cases.map((c) => [c, find(report, p, c)]).filter(([, r]) => r).map(([c, r]) => row([
      escape(c.title),
      ...CHECKS.map(([id]) => (r.checks[id] ? `<span class="${r.checks[id] === 'none' ? '' : r.checks[id]}">${{ pass: 'yes', fail: 'no', none: '–' }[r.checks[id]]}</span>` : '')),
      `${r.seconds.toFixed(1)} s`, `<span class="small">${escape(r.detail)}</span>`,
    ]));
    return `<details><summary>${name(p)}</summary>${headed(['', ...CHECKS.map(([, title]) => title), 'took', 'said'], rows)}</details>`;
  });
  const figure = async (file, caption) => {
    const data = await readFile(join(out, file)).catch(() => null);
    if (!data) return '';
    const type = file.endsWith('.png') ? 'png' : 'jpeg';
    return `<figure><img alt="${escape(caption)}" src="data:image/${type};base64,${data.toString('base64')}"><figcaption>${escape(caption)}</figcaption></figure>`;
  };
  const browser = (p) => !['ffmpeg', 'mpv', 'gstreamer'].includes(p.id);
  const shots = await Promise.all(report.players.map((p) => figure(`${p.id}-aes.${browser(p) ? 'jpg' : 'png'}`, `${p.name} ${p.version}: AES-128`)));
  const own = await Promise.all(report.page.pictures.map((file) => figure(file, file.replace(/\.jpg$/, '').replaceAll('-', ' '))));

  return `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>keyrung in real players</title><link rel="icon" href="data:,"><style>${STYLE}</style></head><body>
<h1>keyrung in real players</h1>
<p class="${failures ? 'fail' : 'pass'}">${failures ? `${failures} of ${total} failed` : `all ${total} passed`}, in ${report.seconds.toFixed(0)} s</p>
<p>Every package was made and served by keyrung; pages and players come from another origin than media and keys.</p>
<h2>Players and packages</h2>${main}
<p class="small">plays: every check under <a href="#checks">Checks</a> that the player allows. error: the player reports one, as it should. silent: it does not. In red: what the player is known not to do:</p>
<ul class="small">${gaps.join('')}</ul>
<h2>Key requests for one ladder</h2>${keys}
<p class="small">keyrung serve answers keys with <code>Cache-Control: private, max-age=300</code>. The ladder has 3 renditions of 12 segments.</p>
<h2>A token that ends while the film plays</h2>${endings}
<p class="small">The key may not be kept, and after the end another rendition is chosen where one can be.</p>
<h2>Snippets of the manual</h2>${snippets}
<h2 id="checks">Checks</h2>${details.join('\n')}
<h2>Pictures</h2><div class="shots">${shots.join('\n')}</div>
<h2>keyrung's own page</h2><p class="${report.page.ok ? 'pass' : 'fail'}">${escape(report.page.detail)}</p><div class="shots">${own.join('\n')}</div>
</body></html>
`;
}
