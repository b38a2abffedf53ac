// Markdown of a model as nodes of the page. HTML in it is text; nothing is loaded; links lead to http and https alone.
//
// A document is cut into blocks, and only blocks that have changed are built again while a text streams in.

import { h } from './dom.js';

const DEEPEST = 6; // levels of quotes, lists and emphasis; what is nested deeper stays text
const LONGEST_INLINE = 20_000; // characters of one paragraph; a longer one stays text
const LONGEST_LABEL = 2_000;

/** The URL of a link, or null for any but an absolute one of http or https. */
export function safeUrl(text) {
  try {
    return /^https?:\/\//i.test(text) ? new URL(text) : null;
  } catch {
    return null;
  }
}

const plain = (nodes) => nodes.map((node) => (typeof node === 'string' ? node : node.textContent)).join('');

/** A link that names its host, unless its label shows the very address. */
function link(url, label) {
  const isHonest = plain(label).trim().replace(/\/$/, '') === url.href.replace(/\/$/, '');
  return [
    h('a', { href: url.href, rel: 'noopener noreferrer', target: '_blank', title: url.href }, label),
    isHonest ? null : h('span', { class: 'hint' }, ` (${url.host})`),
  ];
}

const EMPHASIS = [['***', ['strong', 'em']], ['___', ['strong', 'em']], ['**', ['strong']], ['__', ['strong']], ['~~', ['del']], ['*', ['em']], ['_', ['em']]];
const isWord = (character) => /[\p{L}\p{N}]/u.test(character ?? '');
const isSpace = (character) => character === undefined || /\s/.test(character);

/** What a sticky pattern finds at a place. */
function foundAt(pattern, text, at) {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

/** Reads the inline elements of a text. Each kind of search that failed once is not tried again: the time is linear. */
class Inline {
  constructor(text, depth, isInLink) {
    this.text = text;
    this.depth = depth;
    this.isInLink = isInLink;
    this.failed = new Set();
    this.nodes = [];
    this.plain = '';
  }

  flush() {
    if (this.plain) this.nodes.push(this.plain);
    this.plain = '';
  }

  add(nodes, length) {
    this.flush();
    this.nodes.push(...[nodes].flat(3).filter(Boolean));
    return length;
  }

  read() {
    let at = 0;
    while (at < this.text.length) {
      const taken = this.element(at);
      if (!taken) this.plain += this.text[at];
      at += taken || 1;
    }
    this.flush();
    return this.nodes;
  }

  /** Reads an element that begins here; returns its length, or 0. */
  element(at) {
    const { text } = this;
    switch (text[at]) {
      case '\\':
        if (text[at + 1] === '\n') return this.add(h('br'), 2);
        if (!/[!-/:-@[-`{-~]/.test(text[at + 1] ?? '')) return 0;
        this.plain += text[at + 1];
        return 2;
      case '\n': {
        const isHard = /  $/.test(this.plain);
        this.plain = this.plain.replace(/ +$/, '');
        if (isHard) return this.add(h('br'), 1);
        this.plain += '\n';
        return 1;
      }
      case '`':
        return this.code(at);
      case '!':
        return text[at + 1] === '[' ? this.link(at + 1, 1) : 0;
      case '[':
        return this.link(at, 0);
      case '<':
      case 'h':
      case 'H':
        return this.address(at);
      case '*':
      case '_':
      case '~':
        return this.emphasis(at);
      default:
        return 0;
    }
  }

  code(at) {
    const [ticks] = foundAt(/`+/y, this.text, at);
    const end = this.closing(ticks, at + ticks.length);
    if (end < 0) {
      this.plain += ticks;
      return ticks.length;
    }
    const inner = this.text.slice(at + ticks.length, end).replaceAll('\n', ' ');
    const isPadded = /^ .*[^ ].* $/.test(inner) || /^ `.*` $/.test(inner);
    return this.add(h('code', null, isPadded ? inner.slice(1, -1) : inner), end + ticks.length - at);
  }

  /** The place of a run of just these backticks, or -1. */
  closing(ticks, from) {
    if (this.failed.has(ticks)) return -1;
    for (let end = this.text.indexOf(ticks, from); end >= 0; ) {
      let after = end + ticks.length;
      if (this.text[after] !== '`') return end;
      while (this.text[after] === '`') after += 1;
      end = this.text.indexOf(ticks, after);
    }
    this.failed.add(ticks);
    return -1;
  }

  /** `[label](address "title")`. An image is a link to it: nothing is loaded that a model names. */
  link(at, before) {
    const { text } = this;
    if (this.depth >= DEEPEST || this.isInLink) return 0;
    let level = 0;
    let end = at;
    const last = Math.min(text.length, at + LONGEST_LABEL);
    for (; end < last; end += 1) {
      if (text[end] === '\\') end += 1;
      else if (text[end] === '[') level += 1;
      else if (text[end] === ']' && (level -= 1) === 0) break;
    }
    if (end >= last || text[end + 1] !== '(') return 0;
    const target = /\(\s*(?:<([^<>\n]*)>|((?:[^\s()\\]|\\.|\([^\s()]*\))*))(?:\s+(?:"[^"]*"|'[^']*'))?\s*\)/y;
    const found = foundAt(target, text, end + 1);
    if (!found) return 0;
    const url = safeUrl((found[1] ?? found[2]).replace(/\\([!-/:-@[-`{-~])/g, '$1'));
    const words = text.slice(at + 1, end);
    const label = before ? [`image: ${words || 'without a description'}`] : inline(words, this.depth + 1, true);
    const length = before + end + 1 - at + found[0].length;
    // What must not be a link keeps its text, so that nothing the model wrote is hidden.
    return url ? this.add(link(url, label), length) : this.add([...label, ` (${found[1] ?? found[2]})`], length);
  }

  /** `<https://…>` or a bare address. */
  address(at) {
    const { text } = this;
    const isQuoted = text[at] === '<';
    if (this.isInLink || (!isQuoted && isWord(text[at - 1]))) return 0;
    const pattern = isQuoted ? /<(https?:\/\/[^\s<>]{1,2000})>/iy : /https?:\/\/[^\s<>"'`\\|]{1,2000}/iy;
    const found = foundAt(pattern, text, at);
    if (!found) return 0;
    let address = found[1] ?? found[0];
    if (!isQuoted) {
      address = address.replace(/[.,:;!?*_~]+$/, '');
      if (address.endsWith(')') && !address.includes('(')) address = address.slice(0, -1);
    }
    const url = safeUrl(address);
    return url ? this.add(link(url, [address]), isQuoted ? found[0].length : address.length) : 0;
  }

  emphasis(at) {
    const { text } = this;
    if (this.depth >= DEEPEST) return 0;
    for (const [mark, tags] of EMPHASIS) {
      if (!text.startsWith(mark, at)) continue;
      const from = at + mark.length;
      if (isSpace(text[from]) || text[from] === mark[0] || this.failed.has(mark)) continue;
      if (mark[0] === '_' && isWord(text[at - 1])) continue;
      const end = this.closed(mark, from);
      if (end < 0) {
        this.failed.add(mark);
        continue;
      }
      const children = inline(text.slice(from, end), this.depth + 1, this.isInLink);
      return this.add(tags.reduceRight((inner, tag) => [h(tag, null, inner)], children), end + mark.length - at);
    }
    // A run of marks that opens nothing is text as a whole.
    const [marks] = foundAt(new RegExp(`\\${text[at]}+`, 'y'), text, at);
    this.plain += marks;
    return marks.length;
  }

  /** The place of the mark that closes an emphasis, beyond code; or -1. */
  closed(mark, from) {
    const { text } = this;
    for (let at = from + 1; at < text.length; at += 1) {
      if (text[at] === '\\') at += 1;
      else if (text[at] === '`') {
        const [ticks] = /^`+/.exec(text.slice(at, at + 100));
        const end = this.closing(ticks, at + ticks.length);
        at = (end < 0 ? at : end) + ticks.length - 1;
      } else if (text[at] === mark[0]) {
        let length = 1;
        while (text[at + length] === mark[0]) length += 1;
        const closes = length >= mark.length && !isSpace(text[at - 1]) && (mark.length > 1 || length !== 2);
        if (closes && !(mark[0] === '_' && isWord(text[at + length]))) return at + length - mark.length;
        at += length - 1;
      }
    }
    return -1;
  }
}

function inline(text, depth = 0, isInLink = false) {
  if (depth > DEEPEST || text.length > LONGEST_INLINE) return [text];
  return new Inline(text, depth, isInLink).read();
}

const FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]*([^`\n]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$/;
const RULE = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])(?:([ \t]+)(.*)|[ \t]*)$/;
const TABLE_RULE = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
const isBlank = (line) => /^[ \t]*$/.test(line);

const cells = (line) => line.trim().replace(/^\|/, '').replace(/\|$/, '').split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll('\\|', '|'));

/** Whether a line begins a block that ends a paragraph before it. */
const interrupts = (line) =>
  FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) || /^ {0,3}(?:[-*+]|1[.)])[ \t]+\S/.test(line);

/** Cuts lines into blocks: the lines of each, and the function that builds its node. */
function blocks(lines, depth) {
  const found = [];
  let at = 0;
  const take = (end, build) => {
    found.push({ source: lines.slice(at, end).join('\n'), build });
    at = end;
  };
  /** The first line from here on that is blank or begins another block. */
  const unbroken = (end, goesOn = () => false) => {
    while (end < lines.length && !isBlank(lines[end]) && (goesOn(lines[end]) || !interrupts(lines[end]))) end += 1;
    return end;
  };
  while (at < lines.length) {
    const [begin, line] = [at, lines[at]];
    const [fence, heading] = [FENCE.exec(line), HEADING.exec(line)];
    if (isBlank(line)) at += 1;
    else if (fence) {
      const closes = new RegExp(`^ {0,3}\\${fence[1][0]}{${fence[1].length},}[ \\t]*$`);
      let end = at + 1;
      while (end < lines.length && !closes.test(lines[end])) end += 1;
      const language = fence[2].trim().split(/\s/)[0];
      take(Math.min(end + 1, lines.length), () =>
        h('pre', { class: 'code', tabIndex: 0, ...(language ? { 'aria-label': `code, ${language}` } : {}) }, h('code', null, lines.slice(begin + 1, end).join('\n'))));
    } else if (heading) {
      // The page has h1 and h2 of its own.
      take(at + 1, () => h(`h${Math.min(6, heading[1].length + 2)}`, null, inline(heading[2] ?? '')));
    } else if (RULE.test(line)) take(at + 1, () => h('hr'));
    else if (QUOTE.test(line) && depth < DEEPEST) {
      const end = unbroken(at + 1, (one) => QUOTE.test(one));
      take(end, () => h('blockquote', null, built(lines.slice(begin, end).map((one) => one.replace(QUOTE, '')), depth + 1)));
    } else if (ITEM.test(line) && depth < DEEPEST) {
      const end = endOfList(lines, at);
      take(end, () => list(lines.slice(begin, end), depth));
    } else if (line.includes('|') && TABLE_RULE.test(lines[at + 1] ?? '') && cells(line).length === cells(lines[at + 1]).length) {
      const end = unbroken(at + 2);
      take(end, () => table(lines.slice(begin, end)));
    } else {
      const end = unbroken(at + 1);
      take(end, () => h('p', null, inline(lines.slice(begin, end).map((one) => one.replace(/^[ \t]+/, '')).join('\n'))));
    }
  }
  return found;
}

const kindOfItem = (line) => ITEM.exec(line)?.[2].at(-1);

function endOfList(lines, at) {
  const kind = kindOfItem(lines[at]);
  let end = at + 1;
  for (; end < lines.length; end += 1) {
    const line = lines[end];
    if (isBlank(line)) {
      const next = lines[end + 1];
      if (next === undefined || isBlank(next) || !(/^[ \t]{2,}/.test(next) || kindOfItem(next) === kind)) break;
    } else if (!/^[ \t]{2,}/.test(line) && kindOfItem(line) !== kind && (interrupts(line) || isBlank(lines[end - 1]))) break;
  }
  return end;
}

function list(lines, depth) {
  const items = [];
  let isLoose = false;
  for (const line of lines) {
    const item = ITEM.exec(line);
    const isDeeper = items.length && /^[ \t]/.test(line) && line.search(/\S/) >= items.at(-1).indent;
    if (item && !isDeeper) items.push({ indent: item[1].length + item[2].length + Math.min(item[3]?.length || 1, 4), lines: [item[4] ?? ''] });
    else {
      if (isBlank(line)) isLoose = true;
      const { indent } = items.at(-1);
      items.at(-1).lines.push(line.replace(new RegExp(`^(?: {0,${indent}}|\\t)`), ''));
    }
  }
  const number = /^ {0,3}(\d+)/.exec(lines[0]);
  const node = h(number ? 'ol' : 'ul', number ? { start: Number(number[1]) } : null);
  for (const { lines: own } of items) {
    const tick = /^\[([ xX])\] /.exec(own[0]);
    if (tick) own[0] = `${tick[1] === ' ' ? '☐' : '☑'} ${own[0].slice(4)}`;
    const children = built(own, depth + 1);
    // A tight item has no paragraph of its own.
    if (!isLoose && children[0]?.tagName === 'P') children.splice(0, 1, ...children[0].childNodes);
    node.append(h('li', null, children));
  }
  return node;
}

function table(lines) {
  const head = cells(lines[0]);
  const sides = cells(lines[1]).map((rule) => (rule.endsWith(':') ? (rule.startsWith(':') ? 'center' : 'right') : 'left'));
  const row = (tag, line) => h('tr', null, head.map((_, index) => h(tag, { class: sides[index], ...(tag === 'th' ? { scope: 'col' } : {}) }, inline(line[index] ?? ''))));
  const body = lines.slice(2).map((line) => row('td', cells(line)));
  return h('div', { class: 'wide', tabIndex: 0, role: 'region', 'aria-label': 'Table' }, h('table', null, h('thead', null, row('th', head)), h('tbody', null, body)));
}

const built = (lines, depth) => blocks(lines, depth).map(({ build }) => build());

const asLines = (text) => text.replace(/\r\n?/g, '\n').split('\n');

/** Shows a growing text in a node. Blocks that are as before keep their nodes, and so does what is selected in them. */
export class MarkdownView {
  #sources = [];

  constructor() {
    this.node = h('div', { class: 'markdown' });
  }

  show(text) {
    const next = blocks(asLines(text), 0);
    let same = 0;
    while (same < next.length && next[same].source === this.#sources[same]) same += 1;
    while (this.node.childNodes.length > same) this.node.lastChild.remove();
    this.node.append(...next.slice(same).map(({ build }) => build()));
    this.#sources = next.map(({ source }) => source);
  }
}
