// The view of what waits for the person: permissions and questions of all their tasks.

import { h } from './dom.js';
import { cards } from './interrupts.js';

export function waitingView({ watch }) {
  const heading = h('h1', { tabIndex: -1 }, 'Waiting for you');
  const empty = h('p', { class: 'empty' }, 'Nothing waits for you. Permissions and questions of your tasks appear here by themselves.');
  const tidy = h('button', { type: 'button', onclick: () => watch.clear() }, 'Hide what is answered');
  const list = cards(watch, { withTask: true, onChange: (count) => {
    empty.hidden = count > 0;
    tidy.hidden = ![...watch.interrupts.values()].some(({ outcome }) => outcome) || count === 0;
  } });
  return { title: 'Waiting', node: h('section', null, heading, empty, list.node, tidy), close: list.close };
}
