// How a driver is spoken to: one JSON command a line on standard input, one JSON reply a line on standard output.
// Must not know which client does the work.

import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

/** Loads a module of the project folder named on the command line, where the clients are installed. */
export const load = createRequire(`${process.argv[2]}/package.json`);

/** Does commands until standard input ends, at once, so that one may wait for another. */
export function converse(operations, explain) {
  createInterface({ input: process.stdin }).on('line', (line) => answer(operations, explain, JSON.parse(line)));
}

async function answer(operations, explain, command) {
  const say = (reply) => console.log(JSON.stringify({ id: command.id, ...reply }));
  try {
    for await (const item of operations[command.operation](command)) say({ item });
    say({ done: true });
  } catch (error) {
    say({ error: { name: error.constructor.name, text: String(error.message), ...explain(error) } });
  }
}

/** `fetch` that shows the command's token, and the id of the event after which a stream is to go on. */
export function fetchAs({ token, after }) {
  const more = {};
  if (token) more.Authorization = `Bearer ${token}`;
  if (after) more['Last-Event-ID'] = after;
  return (url, init = {}) => fetch(url, { ...init, headers: { ...init.headers, ...more } });
}
