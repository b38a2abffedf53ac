// A task as its stream describes it. Pure: responses in, a task out.

const shared = (holder) => holder?.metadata?.shared ?? {};

/** Whether a part continues the text before it: it comes without a `part_id` of its own. */
const continues = (artifact) => !('part_id' in (shared(artifact).stream ?? {}));

function appended(old, update) {
  const parts = [...(old.parts ?? [])];
  for (const part of update.parts ?? []) {
    const last = parts.at(-1);
    if (part.text !== undefined && last?.text !== undefined && continues(update)) {
      parts[parts.length - 1] = { ...last, text: last.text + part.text };
    } else parts.push(part);
  }
  return { ...old, parts };
}

/** The lists of what a task waits for and of what has ended, after an event about one request. */
function listsAfter({ interrupts = [], resolved_interrupts: resolved = [] }, { phase, ...entry }) {
  const others = (list) => list.filter(({ request_id: id }) => id !== entry.request_id);
  if (phase === 'asked') return { interrupts: [...others(interrupts), entry] };
  return { interrupts: others(interrupts), resolved_interrupts: [...others(resolved), entry].slice(-50) };
}

/** Returns the task with what an event of its stream changes. Artifacts that do not change stay the same objects. */
export function applied(task, { task: whole, statusUpdate, artifactUpdate }) {
  if (whole) return { ...whole, artifacts: whole.artifacts ?? [] };
  if (statusUpdate) {
    const metadata = { ...task.metadata, ...statusUpdate.metadata };
    const { interrupt } = shared(statusUpdate);
    metadata.shared = { ...shared(task), ...shared(statusUpdate), ...(interrupt ? listsAfter(shared(task), interrupt) : {}) };
    return { ...task, status: statusUpdate.status, metadata };
  }
  if (!artifactUpdate) return task;
  const { artifact, append } = artifactUpdate;
  const artifacts = [...task.artifacts];
  const index = artifacts.findIndex(({ artifactId }) => artifactId === artifact.artifactId);
  if (index < 0) artifacts.push(artifact);
  else artifacts[index] = append ? appended(artifacts[index], artifact) : artifact;
  return { ...task, artifacts };
}

/** The permission or question that a status event reports, as `opencode.permissions.list` has it; or null. */
export function interruptOf({ statusUpdate }) {
  const { interrupt, session } = shared(statusUpdate);
  if (!interrupt) return null;
  const { taskId, contextId } = statusUpdate;
  return { details: {}, ...interrupt, interrupt_type: interrupt.type, task_id: taskId, context_id: contextId, session_id: session?.id };
}

/** The kind of an artifact: `text`, `reasoning`, `tool_call` or `file`. */
export function kindOf({ artifactId = '', metadata, parts = [] }) {
  const kind = metadata?.shared?.stream?.block_type;
  if (kind) return kind;
  return parts.some(({ text }) => text !== undefined) ? 'text' : artifactId.includes(':tool_call:') ? 'tool_call' : 'file';
}

export const usageOf = (task) => shared(task).usage ?? null;
export const sessionOf = (task) => shared(task).session ?? null;

/** The permissions and questions that a task waits for, as `opencode.permissions.list` has them. */
export function interruptsOf(task) {
  const { interrupts = [], session } = shared(task);
  return interrupts.map(({ request_id, type, details }) => (
    { request_id, interrupt_type: type, task_id: task.id, context_id: task.contextId, session_id: session?.id, details: details ?? {} }
  ));
}

/** What has ended, oldest first. */
export const resolvedOf = (task) => shared(task).resolved_interrupts ?? [];

export const waitingCalls = (task) => (shared(task).interrupts ?? []).map((entry) => entry.call_id).filter(Boolean);

/** How a request has ended, in words. `principal`: the person, whose tasks nobody else can answer here. */
export function outcomeOf({ type, resolution, reply, answer, by }, principal) {
  const done = { once: 'allowed once', always: 'allowed always', reject: 'rejected' }[reply];
  const otherwise = resolution === 'replied' ? 'answered' : type === 'question' ? 'left unanswered' : 'rejected';
  const who = { client: `by ${principal}`, opencode: 'elsewhere, in OpenCode', timeout: 'as nobody answered in time', end: 'as the turn ended' };
  const words = answer ? ` “${answer}”` : '';
  return `${done ?? otherwise}${type === 'question' ? words : ''} ${who[by] ?? 'elsewhere'}${type === 'question' || !words ? '' : `, with the reason${words}`}`;
}

/** The model that was used, as `provider/model`, or the one asked for while the task runs; null where neither is known. */
export function modelOf(task) {
  const { history = [] } = task;
  const model = usageOf(task)?.model ?? history.map((message) => shared(message).model).findLast(Boolean);
  return model ? `${model.providerID}/${model.modelID}` : null;
}

export const textOf = (message) => (message?.parts ?? []).map(({ text }) => text ?? '').join('\n').trim();

export const stateName = (state) => (state ?? '').replace('TASK_STATE_', '').toLowerCase().replaceAll('_', ' ');

/** The fragment of the URL that names the view of a task. */
export const addressOf = (id) => `#/task/${encodeURIComponent(id)}`;

/** The first words of a task, or the title of its session. */
export function titleOf(task) {
  const text = (task.history ?? []).filter(({ role }) => role === 'ROLE_USER').map(textOf).find(Boolean) || sessionOf(task)?.title || task.id;
  return text.length > 90 ? `${text.slice(0, 90)}…` : text;
}
