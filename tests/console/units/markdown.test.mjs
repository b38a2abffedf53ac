// Markdown becomes nodes, and whatever a model writes becomes no others than these.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { attributesOf, elements, shown } from './dom.mjs';

const { MarkdownView, safeUrl } = await import('../../../opencode_a2a/console/markdown.js');
const markdown = (source) => {
  const view = new MarkdownView();
  view.show(source);
  return view.node.childNodes;
};
const text = (nodes) => nodes.map((node) => (typeof node === 'string' ? node : node.textContent)).join('\n');

const CASES = [
  ['plain words', '<p>plain words</p>'],
  ['two\n\nparagraphs', '<p>two</p><p>paragraphs</p>'],
  ['# One\n### Three #', '<h3>One</h3><h5>Three</h5>'],
  ['###### Six', '<h6>Six</h6>'],
  ['#nothing', '<p>#nothing</p>'],
  ['*a* _b_ **c** __d__ ***e*** ~~f~~', '<p><em>a</em> <em>b</em> <strong>c</strong> <strong>d</strong> <strong><em>e</em></strong> <del>f</del></p>'],
  ['**a *b* c**', '<p><strong>a <em>b</em> c</strong></p>'],
  ['snake_case_name and 2 * 3 * 4', '<p>snake_case_name and 2 * 3 * 4</p>'],
  ['**not closed and *neither', '<p>**not closed and *neither</p>'],
  ['`a *b* c` and ``d ` e``', '<p><code>a *b* c</code> and <code>d ` e</code></p>'],
  ['a `b', '<p>a `b</p>'],
  ['**a `**` b**', '<p><strong>a <code>**</code> b</strong></p>'],
  ['\\*a\\* \\\\ \\q', '<p>*a* \\ \\q</p>'],
  ['one  \ntwo\\\nthree', '<p>one<br></br>two<br></br>three</p>'],
  ['```python\na < b\n\n# no heading\n```\nafter', '<pre><code>a < b\n\n# no heading</code></pre><p>after</p>'],
  ['~~~\n```\n~~~', '<pre><code>```</code></pre>'],
  ['```\nopen at the end', '<pre><code>open at the end</code></pre>'],
  ['- a\n- b\n  - c\n- d', '<ul><li>a</li><li>b<ul><li>c</li></ul></li><li>d</li></ul>'],
  ['3. a\n4. b', '<ol start=3><li>a</li><li>b</li></ol>'],
  ['- a\n\n- b', '<ul><li><p>a</p></li><li><p>b</p></li></ul>'],
  ['- a\n\nafter', '<ul><li>a</li></ul><p>after</p>'],
  ['- [ ] to do\n- [x] done', '<ul><li>☐ to do</li><li>☑ done</li></ul>'],
  ['- ```\n  code\n  ```\n- b', '<ul><li><pre><code>code</code></pre></li><li>b</li></ul>'],
  ['> a\n> b\n>\n> > c', '<blockquote><p>a\nb</p><blockquote><p>c</p></blockquote></blockquote>'],
  ['a\n\n---\n\nb', '<p>a</p><hr></hr><p>b</p>'],
  ['a\n> b', '<p>a</p><blockquote><p>b</p></blockquote>'],
  [
    '| a | b |\n| - | -: |\n| 1 | `x\\|y` |\n| 2 |',
    '<div><table><thead><tr><th>a</th><th>b</th></tr></thead><tbody><tr><td>1</td><td><code>x|y</code></td></tr><tr><td>2</td><td></td></tr></tbody></table></div>',
  ],
  ['a | b\nno rule', '<p>a | b\nno rule</p>'],
  ['[a](https://x.test/p)', '<p><a href=https://x.test/p>a</a><span> (x.test)</span></p>'],
  ['[a *b*](<https://x.test/a b> "title")', '<p><a href=https://x.test/a%20b>a <em>b</em></a><span> (x.test)</span></p>'],
  ['[https://x.test/](https://x.test/)', '<p><a href=https://x.test/>https://x.test/</a></p>'],
  ['see https://x.test/a_b_c, please', '<p>see <a href=https://x.test/a_b_c>https://x.test/a_b_c</a>, please</p>'],
  ['(https://x.test) <https://y.test>', '<p>(<a href=https://x.test/>https://x.test</a>) <a href=https://y.test/>https://y.test</a></p>'],
  ['![a cat](https://x.test/cat.png)', '<p><a href=https://x.test/cat.png>image: a cat</a><span> (x.test)</span></p>'],
  ['[a] (b) [c][d] ]', '<p>[a] (b) [c][d] ]</p>'],
];

for (const [source, wanted] of CASES) test(JSON.stringify(source), () => assert.equal(shown(markdown(source)), wanted));

test('a link says where it leads, whatever its label says', () => {
  const source = '[https://bank.test](https://thief.test/bank.test)';
  assert.equal(shown(markdown(source)), '<p><a href=https://thief.test/bank.test>https://bank.test</a><span> (thief.test)</span></p>');
});

const TAGS = 'P H3 H4 H5 H6 EM STRONG DEL CODE PRE BR HR UL OL LI BLOCKQUOTE DIV TABLE THEAD TBODY TR TH TD A SPAN'.split(' ');
const ATTRIBUTES = ['class', 'title', 'tabIndex', 'role', 'aria-label', 'rel', 'target', 'href', 'start', 'scope'];

/** What holds for the nodes of any text. */
function harmless(nodes) {
  for (const element of elements(nodes)) {
    assert.ok(TAGS.includes(element.tagName), element.tagName);
    assert.deepEqual(Object.keys(element.listeners), []);
    for (const [name, value] of Object.entries(attributesOf(element))) {
      assert.ok(ATTRIBUTES.includes(name), `${element.tagName} ${name}`);
      if (name === 'href') assert.match(value, /^https?:\/\//);
    }
    if (element.tagName === 'A') assert.equal(attributesOf(element).rel, 'noopener noreferrer');
  }
}

const HOSTILE = [
  '<script>alert(1)</script>',
  '<img src=x onerror=alert(1)>',
  '<svg/onload=alert(1)>',
  '<a href="javascript:alert(1)">a</a>',
  '[a](javascript:alert(1))',
  '[a](JaVaScRiPt:alert(1))',
  '[a](java\tscript:alert(1))',
  '[a](<java\u0000script:alert(1)>)',
  '[a](data:text/html;base64,PHNjcmlwdD4=)',
  '[a](vbscript:x)',
  '[a](//evil.test)',
  '[a](/console/session)',
  '[a](blob:https://x.test/1)',
  '[a](file:///etc/passwd)',
  '[a](https:evil.test)',
  '![a](javascript:alert(1))',
  '![a](data:image/svg+xml,<svg onload=alert(1)>)',
  '<javascript:alert(1)>',
  '<https://x.test" onclick="alert(1)>',
  '[a](https://x.test"onclick="alert(1))',
  '[a](https://x.test "title" onclick=alert(1))',
  '[<img src=x onerror=alert(1)>](https://x.test)',
  '```"><script>alert(1)</script>\nx\n```',
  '| <script> | [a](javascript:b) |\n| - | - |\n| <b onclick=x> | y |',
  '> <iframe src=javascript:alert(1)>',
  '- <style>*{display:none}</style>',
  '# <form action=//evil.test>',
  '&lt;script&gt; &#60;script&#62;',
  '[x]: javascript:alert(1)\n\n[x]',
  'https://x.test/<script>alert(1)</script>',
  "https://x.test/'onmouseover='alert(1)",
];

for (const source of HOSTILE) {
  test(`harmless: ${JSON.stringify(source)}`, () => {
    const nodes = markdown(source);
    harmless(nodes);
    // Nothing that the model wrote is hidden: the words of an attack are there to be read.
    for (const word of source.match(/alert|onerror|script|evil/g) ?? []) {
      const all = text(nodes) + [...elements(nodes)].map((one) => attributesOf(one)['aria-label'] ?? attributesOf(one).href ?? '').join();
      if (!/^!?\[.*"title"/.test(source)) assert.ok(all.includes(word), word);
    }
  });
}

test('no text makes other nodes', () => {
  let seed = 7;
  const random = (limit) => (seed = (seed * 48271) % 2147483647) % limit;
  const pieces = ['*', '**', '_', '~~', '`', '``', '```\n', '[', ']', '(', ')', '![', '](', '<', '>', '\n', '\n\n', '- ', '1. ', '# ', '| ', '|-|\n', '    ', '\\', 'a', ' ', 'https://x.test', 'javascript:x', '"', '<script>', '\u0000', '🌱', '~~~'];
  for (let round = 0; round < 4000; round += 1) {
    const source = Array.from({ length: 1 + random(30) }, () => pieces[random(pieces.length)]).join('');
    harmless(markdown(source));
  }
});

test('no text takes long', () => {
  const begun = process.cpuUsage();
  for (const piece of ['*', '**a', '_a_', '`', '`` `', '[', '[a](', '![', '](', '<', '> ', '- ', '1. a\n', '  - a\n', '| ', '|a|\n|-|\n', '\\', '#', '~', '~~~\n', '```\n', 'https://', '*a `', '((', '[[](', '***a** ', 'a\n']) {
    markdown(piece.repeat(30_000 / piece.length));
    markdown(`${piece.repeat(6_000)}\n\n`.repeat(3));
  }
  const { user } = process.cpuUsage(begun);
  assert.ok(user < 10_000_000, `${user / 1000} ms`);
});

test('a growing text keeps the nodes of what it had', () => {
  const view = new MarkdownView();
  view.show('# A\n\nfirst\n\nsec');
  const [heading, first, second] = view.node.childNodes;
  view.show('# A\n\nfirst\n\nsecond **wo');
  assert.equal(view.node.childNodes[0], heading);
  assert.equal(view.node.childNodes[1], first);
  assert.notEqual(view.node.childNodes[2], second);
  view.show('other');
  assert.equal(shown(view.node.childNodes), '<p>other</p>');
});

test('every prefix ends up as the whole', () => {
  const source = '# A\n\n- a\n- b\n\n> c\n\n```js\nd\n```\n\n| e | f |\n| - | - |\n| g | h |\n\n**i** `j`';
  const view = new MarkdownView();
  for (let end = 0; end <= source.length; end += 1) view.show(source.slice(0, end));
  assert.equal(shown(view.node.childNodes), shown(markdown(source)));
});

test('only absolute addresses of http and https are links', () => {
  assert.equal(safeUrl('https://x.test/a').href, 'https://x.test/a');
  for (const other of ['', '/a', 'x', '//x', ' https://x', 'https:x', 'https://', 'ftp://x', 'javascript://x/%0aalert(1)']) assert.equal(safeUrl(other), null, other);
});
