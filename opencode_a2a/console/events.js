// A task's stream: the parser of Server-Sent Events, and the subscription that survives broken connections.

import { ApiError, resultOf, stream } from './api.js';

/** Parses Server-Sent Events that arrive in pieces. A line ends with LF, CR or both (HTML standard, 9.2.6). */
export class EventParser {
  #rest = '';
  #data = [];
  #id = null;

  /** Takes a piece of text and returns the events that it completes. */
  push(text) {
    const events = [];
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    for (const line of lines) {
      if (line === '') {
        if (this.#data.length) events.push({ id: this.#id, data: this.#data.join('\n') });
        this.#data = [];
        continue;
      }
      const [, name, value] = /^([^:]*):? ?([^]*)$/.exec(line);
      if (name === 'data') this.#data.push(value);
      else if (name === 'id') this.#id = value;
    }
    return events;
  }
}

const ENDED = ['COMPLETED', 'FAILED', 'CANCELED', 'REJECTED', 'AUTH_REQUIRED'].map((state) => `TASK_STATE_${state}`);
/** Whether nothing more comes of a task in this state by itself. */
export const hasEnded = (state) => ENDED.includes(state);

const FIRST_PAUSE = 500; // milliseconds
const LONGEST_PAUSE = 15_000;

/**
 * Follows a task until it ends, over broken connections and restarts of the server.
 * `onEvent` takes each response of the stream. `onState` takes `live`, `lost` with the pause in ms, or `ended`.
 */
export class Subscription {
  #controller = null;
  #wake = null;
  #last = null;
  #isClosed = false;
  #state = null;
  #pause = FIRST_PAUSE;

  constructor(taskId, { onEvent, onState, onError }) {
    this.taskId = taskId;
    this.onEvent = onEvent;
    this.onState = onState;
    this.onError = onError;
    this.isDone = this.#run();
  }

  close() {
    this.#isClosed = true;
    this.#controller?.abort();
    this.#wake?.();
  }

  retry() {
    this.#wake?.();
  }

  async #run() {
    while (!this.#isClosed && !hasEnded(this.#state)) {
      try {
        await this.#read();
        if (this.#isClosed || hasEnded(this.#state)) break;
      } catch (error) {
        if (this.#isClosed) break;
        if (error instanceof ApiError && !error.isTemporary) return this.onError(error);
        if (error.retryAfter) this.#pause = Math.max(this.#pause, error.retryAfter * 1000);
      }
      const pause = this.#pause * (0.75 + Math.random() / 2);
      this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
      this.onState('lost', pause);
      await this.#paused(pause);
    }
    if (!this.#isClosed) this.onState('ended');
  }

  #paused(pause) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, pause);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #read() {
    this.#controller = new AbortController();
    const { signal } = this.#controller;
    const answer = await stream('SubscribeToTask', { id: this.taskId }, { after: this.#last, signal });
    if (!/^text\/event-stream/.test(answer.headers.get('Content-Type'))) {
      resultOf(await answer.json());
      return;
    }
    this.onState('live');
    const [reader, decoder, parser] = [answer.body.getReader(), new TextDecoder(), new EventParser()];
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      for (const { id, data } of parser.push(decoder.decode(value, { stream: true }))) {
        const response = resultOf(JSON.parse(data));
        this.#pause = FIRST_PAUSE;
        if (id !== null) this.#last = id;
        this.#state = (response.task ?? response.statusUpdate)?.status.state ?? this.#state;
        if (!this.#isClosed) this.onEvent(response);
      }
    }
  }
}
