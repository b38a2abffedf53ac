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

/** What the command wants in requests: its token, and the id of the event after which a stream is to go on. */
function headersOf({ token, after }) {
  const headers = {};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (after) headers['Last-Event-ID'] = after;
  return headers;
}

/** `fetch` that shows what the command wants in its headers. */
export function fetchAs(command) {
  return (url, init = {}) => fetch(url, { ...init, headers: { ...init.headers, ...headersOf(command) } });
}

/** Options of gRPC calls whose metadata shows what the command wants. */
export function callsAs(command) {
  const { InterceptingCall } = load('@grpc/grpc-js');
  const start = (metadata, listener, next) => {
    for (const [name, value] of Object.entries(headersOf(command))) metadata.set(name, value);
    next(metadata, listener);
  };
  return { interceptors: [(options, nextCall) => new InterceptingCall(nextCall(options), { start })] };
}
