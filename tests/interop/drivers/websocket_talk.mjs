// Speaks the WebSocket binding by the `WebSocket` and the `fetch` that the platform has: in Node, and in a page.
// Must not know how it is driven. Says what came in the words that every driver shares.

const BINDING = 'urn:opencode-a2a:binding:websocket:v1';
const STAYS_OPEN = 'urn:opencode-a2a:extension:interactive-interrupt:v1';

/** Gets a ticket, as a page does, and opens a connection with it. */
export async function connect({ url, token }) {
  const card = await (await fetch(`${url}/.well-known/agent-card.json`)).json();
  const found = card.supportedInterfaces.find(
    ({ protocolBinding, protocolVersion }) => protocolBinding === BINDING && protocolVersion === '1.0',
  );
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(`${url}/websocket/ticket`, { method: 'POST', headers });
  if (!answer.ok) throw Object.assign(new Error(`no ticket: ${answer.status}`), { status: answer.status });
  return open(found.url, (await answer.json()).subprotocol);
}

/** Opens a connection with the subprotocol that holds a ticket. */
export async function open(url, ticket) {
  const socket = new WebSocket(url, ['a2a.v1', ticket]);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(Object.assign(new Error('the handshake was refused'), { status: 401 }));
  });
  return new Connection(socket, url, ticket);
}

class Connection {
  #waiting = new Map();
  #next = 0;

  constructor(socket, url, ticket) {
    Object.assign(this, { socket, url, ticket });
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      this.#waiting.get(message.id)?.(message);
    };
    socket.onclose = ({ code }) => {
      for (const take of this.#waiting.values()) take({ error: { code, message: `closed with ${code}` } });
    };
  }

  /** Sends a request; yields the messages that answer it, the last of which is an error, a result or a `streamEnd`. */
  async *ask(method, params, serviceParams) {
    const id = `r${(this.#next += 1)}`;
    const messages = [];
    let wake = () => {};
    this.#waiting.set(id, (message) => {
      messages.push(message);
      wake();
    });
    try {
      this.socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, params, serviceParams }));
      while (true) {
        while (!messages.length) await new Promise((resolve) => (wake = resolve));
        const message = messages.shift();
        if (message.error) {
          throw Object.assign(new Error(message.error.message), { code: message.error.code });
        }
        yield message;
        if (message.streamEnd) return;
      }
    } finally {
      this.#waiting.delete(id);
    }
  }

  /** The result of a request that has one answer. */
  async one(method, params) {
    for await (const { result } of this.ask(method, params)) return result;
  }

  /** Leaves a stream, by a message that answers one of its requests. */
  leave({ id }) {
    this.socket.send(JSON.stringify({ jsonrpc: '2.0', id, cancelStream: true }));
  }
}

// --- what came ---

const textOf = (parts) => parts.map(({ text }) => text ?? '').join('');

const stateOf = ({ state }) => state.replace('TASK_STATE_', '').toLowerCase().replaceAll('_', '-');

const ITEMS = {
  task: ({ id, status, artifacts = [] }) => ({
    kind: 'task',
    task: id,
    state: stateOf(status),
    artifacts: artifacts.map(({ artifactId, parts }) => ({ artifact: artifactId, text: textOf(parts) })),
  }),
  statusUpdate: ({ taskId, status }) => ({ kind: 'status', task: taskId, state: stateOf(status) }),
  artifactUpdate: ({ taskId, artifact, append }) => ({
    kind: 'artifact',
    task: taskId,
    artifact: artifact.artifactId,
    text: textOf(artifact.parts),
    append: Boolean(append),
  }),
};

function itemOf({ result, eventId }) {
  const [kind] = Object.keys(result);
  return { ...ITEMS[kind](result[kind]), event: Number(eventId) };
}

// `crypto.randomUUID` is for pages of https alone.
const newId = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(16)).join('-');

const messageOf = (text) => ({
  message: { messageId: newId(), role: 'ROLE_USER', parts: [{ text }] },
});

// --- the operations; `allow` returns once somebody allows what a task asks for ---

export const operations = {
  async *card({ connection }) {
    yield { interface: connection.url, subprotocol: connection.socket.protocol };
  },

  async *send({ connection, text }) {
    yield ITEMS.task((await connection.one('SendMessage', messageOf(text))).task);
  },

  async *stream({ connection, text }) {
    for await (const message of connection.ask('SendStreamingMessage', messageOf(text))) {
      if (message.result) yield itemOf(message);
    }
  },

  async *get({ connection, task }) {
    yield ITEMS.task(await connection.one('GetTask', { id: task }));
  },

  async *list({ connection }) {
    for (const task of (await connection.one('ListTasks', {})).tasks) yield ITEMS.task(task);
  },

  async *cancel({ connection, text }) {
    const begun = { ...messageOf(text), configuration: { returnImmediately: true } };
    const { task } = await connection.one('SendMessage', begun);
    yield ITEMS.task(await connection.one('CancelTask', { id: task.id }));
  },

  /** Leaves a stream in its middle, and goes on after the last event that came. */
  async *subscribe({ connection, text }) {
    let last;
    for await (const message of connection.ask('SendStreamingMessage', messageOf(text))) {
      if (!message.result || last?.event > 5) continue;
      last = itemOf(message);
      yield last;
      if (last.event > 5) connection.leave(message);
    }
    const after = { 'Last-Event-ID': String(last.event) };
    for await (const message of connection.ask('SubscribeToTask', { id: last.task }, after)) {
      if (message.result) yield itemOf(message);
    }
  },

  /** Answers a permission on the connection that the stream is on. */
  async *dialogue({ connection, text, allow }) {
    const params = { 'A2A-Extensions': STAYS_OPEN };
    for await (const message of connection.ask('SendStreamingMessage', messageOf(text), params)) {
      if (!message.result) continue;
      const item = itemOf(message);
      yield item;
      if (item.state !== 'input-required') continue;
      const { items } = await connection.one('opencode.permissions.list', {});
      const { request_id, details } = items.find(({ task_id }) => task_id === item.task);
      await allow(details);
      await connection.one('a2a.interrupt.permission.reply', { request_id, reply: 'once' });
    }
  },

  /** Presents a ticket that was used. */
  async *again({ connection }) {
    await open(connection.url, connection.ticket);
    yield {};
  },
};
