// Drives npm's @a2a-js/sdk 1.x: `node javascript_1.mjs FOLDER`, where FOLDER has it installed as `a2a-sdk-1`.
// Says what the client understood in words of its own, which every driver shares. With version 0.3 the client is
// shown a card that offers this version alone, and takes its own way back to it.

import { randomUUID } from 'node:crypto';
import { callsAs, converse, fetchAs, load } from './dialogue.mjs';

const { Role, StreamResponse, TaskState, verifyAgentCardSignature } = load('a2a-sdk-1');
const { ClientFactory, DefaultAgentCardResolver, JsonRpcTransportFactory, RestTransportFactory } =
  load('a2a-sdk-1/client');
const { GrpcTransportFactory } = load('a2a-sdk-1/client/grpc');
const { legacyPushNotificationToV1StreamResponse } = load('a2a-sdk-1/compat/v0_3');

// The verifier tells of each signature that is not its own, where replies belong.
console.debug = console.error;

const TRANSPORTS = { jsonrpc: JsonRpcTransportFactory, rest: RestTransportFactory, grpc: GrpcTransportFactory };
const legacyCompat = { enabled: true };

/** A client that chose the wanted binding, and the newest version, by the agent's own card. */
async function connected(command) {
  const fetchImpl = fetchAs(command);
  const factory = new ClientFactory({
    transports: [new TRANSPORTS[command.binding]({ fetchImpl, grpcCallOptions: callsAs(command), legacyCompat })],
    cardResolver: new DefaultAgentCardResolver({ fetchImpl, legacyCompat }),
  });
  if (command.version !== '0.3') return factory.createFromUrl(command.url);
  const card = await new DefaultAgentCardResolver({ fetchImpl, legacyCompat }).resolve(command.url);
  const old = card.supportedInterfaces.filter(({ protocolVersion }) => protocolVersion === '0.3');
  return factory.createFromAgentCard({ ...card, supportedInterfaces: old });
}

// --- what the client understood ---

/** The name as version 0.3 writes it: `TASK_STATE_INPUT_REQUIRED` is `input-required`. */
const plain = (name, prefix) => name.replace(prefix, '').toLowerCase().replaceAll('_', '-');

const textOf = (parts) => parts.map(({ content }) => (content?.$case === 'text' ? content.value : '')).join('');

const messageOf = ({ role, parts }) => ({ kind: 'message', role: plain(Role[role], 'ROLE_'), text: textOf(parts) });

const statusOf = ({ state, message }) => ({
  state: plain(TaskState[state], 'TASK_STATE_'),
  text: message ? textOf(message.parts) : null,
});

const taskOf = ({ id, contextId, status, artifacts, history }) => ({
  kind: 'task',
  task: id,
  context: contextId,
  ...statusOf(status),
  artifacts: artifacts.map(({ artifactId, parts }) => ({ artifact: artifactId, text: textOf(parts) })),
  history: history.map(messageOf),
});

const ITEMS = {
  task: taskOf,
  message: messageOf,
  statusUpdate: ({ taskId, status }) => ({ kind: 'status', task: taskId, ...statusOf(status) }),
  artifactUpdate: ({ taskId, artifact, append }) => ({
    kind: 'artifact',
    task: taskId,
    artifact: artifact.artifactId,
    text: textOf(artifact.parts),
    append,
  }),
};

const itemOf = ({ payload }) => ITEMS[payload.$case](payload.value);

const configOf = ({ taskId, id, url, token }) => ({ kind: 'push', task: taskId, config: id, url, token });

const cardOf = ({ name, skills }) => ({ kind: 'card', name, skills: skills.map(({ id }) => id) });

// --- operations ---

const pushFrom = (push, taskId = '') => ({
  tenant: '',
  taskId,
  id: push.config ?? '',
  url: push.url,
  token: push.token ?? '',
  authentication: push.scheme ? { scheme: push.scheme, credentials: push.credentials ?? '' } : undefined,
});

const paramsFrom = (command) => ({
  tenant: '',
  message: {
    messageId: command.message ?? randomUUID(),
    contextId: command.context ?? '',
    taskId: command.task ?? '',
    role: Role.ROLE_USER,
    parts: [{ content: { $case: 'text', value: command.text }, filename: '', mediaType: '' }],
    extensions: [],
    referenceTaskIds: [],
  },
  configuration: {
    acceptedOutputModes: command.modes ?? [],
    returnImmediately: !(command.blocking ?? true),
    taskPushNotificationConfig: command.push ? pushFrom(command.push) : undefined,
  },
});

const operations = {
  async *card({ url }) {
    const card = await new DefaultAgentCardResolver({ legacyCompat }).resolve(url);
    yield {
      ...cardOf(card),
      streaming: card.capabilities.streaming,
      push: card.capabilities.pushNotifications,
      extended: card.capabilities.extendedAgentCard,
      interfaces: card.supportedInterfaces
        .map(({ protocolBinding, url, protocolVersion }) => `${protocolBinding} ${url} ${protocolVersion}`)
        .sort(),
      security: card.securityRequirements.flatMap(({ schemes }) => Object.keys(schemes)).sort(),
      schemes: Object.fromEntries(
        // A card that also speaks version 0.3 is handed on as it came, in the form of the wire.
        Object.entries(card.securitySchemes).map(([name, scheme]) => [name, scheme.httpAuthSecurityScheme.scheme]),
      ),
    };
  },
  async *extended_card(command) {
    yield cardOf(await (await connected(command)).getAgentCard());
  },
  async *verify(command) {
    // The client forgets the security schemes of an extended card when it verifies what it has parsed itself, so the
    // verifier is given the card as it came.
    const fetched = { public: '/.well-known/agent-card.json', extended: '/extendedAgentCard' }[command.card];
    const headers = { 'A2A-Version': '1.0' };
    const card = await (await fetchAs(command)(`${command.url}${fetched}`, { headers })).json();
    await verifyAgentCardSignature(async (kid, jku) => {
      const { keys } = command.keys ?? (await (await fetch(jku)).json());
      return keys.find((key) => key.kid === kid);
    })(card);
    yield cardOf(card);
  },
  async *send(command) {
    const answer = await (await connected(command)).sendMessage(paramsFrom(command));
    yield 'messageId' in answer ? messageOf(answer) : taskOf(answer);
  },
  async *stream(command) {
    for await (const item of (await connected(command)).sendMessageStream(paramsFrom(command))) yield itemOf(item);
  },
  async *get(command) {
    const query = { tenant: '', id: command.task, historyLength: command.history_length ?? undefined };
    yield taskOf(await (await connected(command)).getTask(query));
  },
  async *list(command) {
    const page = await (await connected(command)).listTasks({
      tenant: '',
      contextId: command.context ?? '',
      status: TaskState[command.status ?? 'TASK_STATE_UNSPECIFIED'],
      statusTimestampAfter: command.since ?? undefined,
      historyLength: command.history_length ?? undefined,
      pageSize: command.page_size ?? undefined,
      pageToken: command.page_token ?? '',
      includeArtifacts: command.include_artifacts ?? undefined,
    });
    yield {
      kind: 'page',
      tasks: page.tasks.map((task) => ({ ...taskOf(task), updated: task.status.timestamp })),
      next: page.nextPageToken,
      size: page.pageSize,
      total: page.totalSize,
    };
  },
  async *cancel(command) {
    yield taskOf(await (await connected(command)).cancelTask({ tenant: '', id: command.task }));
  },
  async *subscribe(command) {
    const params = { tenant: '', id: command.task };
    for await (const item of (await connected(command)).resubscribeTask(params)) yield itemOf(item);
  },
  async *push_set(command) {
    const client = await connected(command);
    yield configOf(await client.createTaskPushNotificationConfig(pushFrom(command.push, command.task)));
  },
  async *push_get(command) {
    const params = { tenant: '', taskId: command.task, id: command.config };
    yield configOf(await (await connected(command)).getTaskPushNotificationConfig(params));
  },
  async *push_list(command) {
    const params = { tenant: '', taskId: command.task, pageSize: 0, pageToken: '' };
    const { configs } = await (await connected(command)).listTaskPushNotificationConfig(params);
    for (const config of configs) yield configOf(config);
  },
  async *push_delete(command) {
    const params = { tenant: '', taskId: command.task, id: command.config };
    await (await connected(command)).deleteTaskPushNotificationConfig(params);
    yield { kind: 'deleted' };
  },
  async *read_push({ version, body }) {
    yield itemOf(version === '0.3' ? legacyPushNotificationToV1StreamResponse(body) : StreamResponse.fromJSON(body));
  },
};

/** The JSON-RPC code or HTTP status the client reports, where it does; its errors have a class for each kind. */
function explain(error) {
  return { code: error.envelope?.error?.code ?? null, status: error.transport?.statusCode ?? error.statusCode ?? null };
}

converse(operations, explain);
