// Drives npm's @a2a-js/sdk 0.3: `node javascript_0_3.mjs FOLDER`, where FOLDER has it installed as `a2a-sdk-0.3`.
// Says what the client understood in words of its own, which every driver shares.

import { randomUUID } from 'node:crypto';
import { callsAs, converse, fetchAs, load } from './dialogue.mjs';

const { ClientFactory, DefaultAgentCardResolver, JsonRpcTransportFactory, RestTransportFactory } =
  load('a2a-sdk-0.3/client');
const { GrpcTransportFactory } = load('a2a-sdk-0.3/client/grpc');

const TRANSPORTS = { jsonrpc: JsonRpcTransportFactory, rest: RestTransportFactory, grpc: GrpcTransportFactory };

/** A client that chose the wanted binding by the agent's own card. */
function connected(command) {
  const fetchImpl = fetchAs(command);
  const factory = new ClientFactory({
    transports: [new TRANSPORTS[command.binding]({ fetchImpl, grpcCallOptions: callsAs(command) })],
    cardResolver: new DefaultAgentCardResolver({ fetchImpl }),
  });
  return factory.createFromUrl(command.url);
}

// --- what the client understood ---

const textOf = (parts) => parts.map((part) => (part.kind === 'text' ? part.text : '')).join('');

const messageOf = (message) => ({ kind: 'message', role: message.role, text: textOf(message.parts) });

const taskOf = (task) => ({
  kind: 'task',
  task: task.id,
  context: task.contextId,
  state: task.status.state,
  text: task.status.message ? textOf(task.status.message.parts) : null,
  artifacts: (task.artifacts ?? []).map(({ artifactId, parts }) => ({ artifact: artifactId, text: textOf(parts) })),
  history: (task.history ?? []).map(messageOf),
});

const ITEMS = {
  task: taskOf,
  message: messageOf,
  'status-update': ({ taskId, status }) => ({
    kind: 'status',
    task: taskId,
    state: status.state,
    text: status.message ? textOf(status.message.parts) : null,
  }),
  'artifact-update': ({ taskId, artifact, append }) => ({
    kind: 'artifact',
    task: taskId,
    artifact: artifact.artifactId,
    text: textOf(artifact.parts),
    append: Boolean(append),
  }),
};

const itemOf = (item) => ITEMS[item.kind](item);

const configOf = ({ taskId, pushNotificationConfig: { id, url, token } }) => ({
  kind: 'push',
  task: taskId,
  config: id,
  url,
  token: token ?? null,
});

const skillsOf = (card) => card.skills.map((skill) => skill.id);

// --- operations ---

const pushFrom = ({ config, url, token, scheme, credentials }) => ({
  id: config,
  url,
  token,
  authentication: scheme ? { schemes: [scheme], credentials } : undefined,
});

const paramsFrom = (command) => ({
  message: {
    kind: 'message',
    role: 'user',
    messageId: command.message ?? randomUUID(),
    parts: [{ kind: 'text', text: command.text }],
    taskId: command.task ?? undefined,
    contextId: command.context ?? undefined,
  },
  configuration: {
    blocking: command.blocking ?? true,
    acceptedOutputModes: command.modes ?? undefined,
    pushNotificationConfig: command.push ? pushFrom(command.push) : undefined,
  },
});

const operations = {
  async *card({ url }) {
    const card = await new DefaultAgentCardResolver().resolve(url);
    const interfaces = [{ transport: card.preferredTransport, url: card.url }, ...(card.additionalInterfaces ?? [])];
    yield {
      kind: 'card',
      name: card.name,
      streaming: card.capabilities.streaming,
      push: card.capabilities.pushNotifications,
      extended: card.supportsAuthenticatedExtendedCard,
      interfaces: [...new Set(interfaces.map(({ transport, url }) => `${transport} ${url}`))].sort(),
      security: (card.security ?? []).flatMap((entry) => Object.keys(entry)).sort(),
      schemes: Object.fromEntries(Object.entries(card.securitySchemes ?? {}).map(([name, { scheme }]) => [name, scheme])),
      skills: skillsOf(card),
    };
  },
  async *extended_card(command) {
    const card = await (await connected(command)).getAgentCard();
    yield { kind: 'card', name: card.name, skills: skillsOf(card) };
  },
  async *send(command) {
    yield itemOf(await (await connected(command)).sendMessage(paramsFrom(command)));
  },
  async *stream(command) {
    for await (const item of (await connected(command)).sendMessageStream(paramsFrom(command))) yield itemOf(item);
  },
  async *get(command) {
    const query = { id: command.task, historyLength: command.history_length ?? undefined };
    yield taskOf(await (await connected(command)).getTask(query));
  },
  async *cancel(command) {
    yield taskOf(await (await connected(command)).cancelTask({ id: command.task }));
  },
  async *subscribe(command) {
    for await (const item of (await connected(command)).resubscribeTask({ id: command.task })) yield itemOf(item);
  },
  async *push_set(command) {
    const params = { taskId: command.task, pushNotificationConfig: pushFrom(command.push) };
    yield configOf(await (await connected(command)).setTaskPushNotificationConfig(params));
  },
  async *push_get(command) {
    const params = { id: command.task, pushNotificationConfigId: command.config };
    yield configOf(await (await connected(command)).getTaskPushNotificationConfig(params));
  },
  async *push_list(command) {
    for (const config of await (await connected(command)).listTaskPushNotificationConfig({ id: command.task })) {
      yield configOf(config);
    }
  },
  async *push_delete(command) {
    const params = { id: command.task, pushNotificationConfigId: command.config };
    await (await connected(command)).deleteTaskPushNotificationConfig(params);
    yield { kind: 'deleted' };
  },
  async *read_push({ body }) {
    yield itemOf(body);
  },
};

/** The JSON-RPC code or HTTP status the client reports, where it does. */
function explain(error) {
  const known = error.cause ?? error;
  return { code: known.errorResponse?.error?.code ?? null, status: null };
}

converse(operations, explain);
