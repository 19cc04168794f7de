// Child processes: run to the end with what they said, or kept running and ended by their own handle.

import { spawn } from 'node:child_process';

const running = new Set();

/** Starts a program, which `endAll` ends. */
export function start(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  running.add(child);
  child.once('exit', () => running.delete(child));
  child.once('error', () => running.delete(child));
  return child;
}

export function endAll() {
  for (const child of running) child.kill('SIGKILL');
}

/** Runs a program to its end. Resolves with `{ code, out, err }`; code is null when it was killed after `seconds`. */
export function run(command, args, { seconds = 60, ...options } = {}) {
  return new Promise((resolve, reject) => {
    const child = start(command, args, options);
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (text) => (out += text));
    child.stderr.setEncoding('utf8').on('data', (text) => (err += text));
    const timer = setTimeout(() => child.kill('SIGKILL'), seconds * 1000);
    child.once('error', (error) => {
      clearTimeout(timer);
      reject(new Error(`${command}: ${error.message}`));
    });
    child.once('close', (code) => {
      clearTimeout(timer);
      resolve({ code, out, err });
    });
  });
}

/** The same, for programs that have to succeed. */
export async function must(command, args, options) {
  const { code, out, err } = await run(command, args, options);
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}:\n${err || out}`);
  return out;
}
