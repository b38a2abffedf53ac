// The view of what waits for the person: permissions and questions of all their tasks.

import { button, h, heading } from './dom.js';
import { cards } from './interrupts.js';

export function waitingView({ watch }) {
  const empty = h('p', { class: 'empty' }, 'Nothing waits for you. Permissions and questions of your tasks appear here by themselves.');
  const tidy = button('Hide what is answered', () => watch.clear());
  const list = cards(watch, { withTask: true, onChange: (count) => {
    empty.hidden = count > 0;
    tidy.hidden = ![...watch.interrupts.values()].some(({ outcome }) => outcome) || count === 0;
  } });
  return { title: 'Waiting', node: h('section', null, heading('Waiting for you'), empty, list.node, tidy), close: list.close };
}
