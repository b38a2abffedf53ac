// Drives Node's own WebSocket: `node --experimental-websocket websocket_node.mjs FOLDER`. One connection does it all.

import { converse } from './dialogue.mjs';
import { connect, operations } from './websocket_talk.mjs';

const connections = new Map();

/** The connection to a server; a command without a token of ours has one of its own. */
function connected(command) {
  const key = `${command.url} ${command.token}`;
  if (!connections.has(key)) connections.set(key, connect(command));
  return connections.get(key);
}

const allow = async () => {};
const explain = ({ code = null, status = null }) => ({ code, status });

const commands = Object.entries(operations).map(([name, run]) => [
  name,
  async function* (command) {
    yield* run({ ...command, allow, connection: await connected(command) });
  },
]);
converse(Object.fromEntries(commands), explain);
