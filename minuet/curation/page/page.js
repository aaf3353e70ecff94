// The page: who looks, at what, and what they say of it. Text from outside goes in as text, never
// as markup.

import { Player, decode, draw } from './player.js';
import { Post } from './post.js';

const $ = id => document.getElementById(id);
const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
const player = new Player(!still);
const PAPERS = ['check', 'light', 'dark'];
const HELD = 24; // decoded clips
const KEYS = [
  ['1 … 9', 'choose a clip'], ['← →', 'choose a clip; of two, the better one'], ['↓', 'of two, as good'],
  ['K', 'keep'], ['R', 'reject'], ['Enter', 'go on'], ['U', 'undo'], ['Space', 'play, pause'],
  [', .', 'a frame back, on'], ['PgUp PgDn', 'the look before, after'], ['B', 'background'], ['?', 'these keys'],
];

let plan, post, at = 0, phase = 0, chosen = 0, last = 0, scene = 0;
const said = new Map(); // question -> its newest answer
const past = []; // what undo goes back over
const clips = new Map(); // address -> promise of frames

// --- small things ---------------------------------------------------------------------------

function make(tag, props = {}, ...inside) {
  const { dataset, ...rest } = props;
  const node = Object.assign(document.createElement(tag), rest);
  Object.assign(node.dataset, dataset);
  node.append(...inside.filter(Boolean));
  return node;
}
const button = (text, key, act, kind = '') => {
  const node = make('button', { type: 'button', className: kind }, `${text} `, key && make('kbd', {}, key));
  node.addEventListener('click', act);
  return node;
};
const remember = (name, value) => { try { localStorage.setItem(`minuet-curate-${name}`, value); } catch { /* then not */ } };
const recall = name => { try { return localStorage.getItem(`minuet-curate-${name}`); } catch { return null; } };
const fresh = () => [...crypto.getRandomValues(new Uint8Array(16))].map(byte => byte.toString(16).padStart(2, '0')).join('');

function frames(address) {
  if (!clips.has(address)) {
    const made = fetch(address).then(async response => {
      if (!response.ok) throw new Error(String(response.status));
      return decode(await response.arrayBuffer());
    });
    made.catch(() => clips.delete(address)); // asked again when it is shown again
    clips.set(address, made);
    if (clips.size > HELD) clips.delete(clips.keys().next().value);
  }
  return clips.get(address);
}

// --- what is asked, and what was said --------------------------------------------------------

const look = () => plan.looks[at];
const key = (turn, clip, other) => `${turn} ${clip} ${other}`;
const verdict = clip => ({ turn: look().turn, clip, other: '' });
const pair = ([left, right]) => ({ turn: look().turn, clip: left < right ? left : right, other: left < right ? right : left });
const question = () => (phase ? pair(look().pairs[phase - 1]) : verdict(look().clips[chosen]));
const answerTo = ({ turn, clip, other }) => said.get(key(turn, clip, other));
const asked = ({ turn, clips, pairs }) => [
  ...clips.map(clip => key(turn, clip, '')),
  ...pairs.map(([a, b]) => (a < b ? key(turn, a, b) : key(turn, b, a))),
];
const complete = one => asked(one).every(name => said.has(name));
const scored = () => plan.scores && !look().turn;
const phases = () => 1 + look().pairs.length + (scored() ? 1 : 0);
const judged = () => look().clips.every(clip => answerTo(verdict(clip)));

function note(answer) {
  last = Math.max(last, answer.at_ms);
  const name = key(answer.turn, answer.clip, answer.other);
  if (answer.value) said.set(name, answer); else said.delete(name);
}

function say(what, value, reasons) {
  const answer = {
    id: fresh(), annotator: plan.annotator, request: look().request, kind: what.other ? 'preference' : 'verdict',
    ...what, value, reasons, at_ms: Math.max(Date.now(), last + 1),
  };
  note(answer);
  post.put(answer);
}

function answer(value, reasons = []) {
  const what = question(), before = answerTo(what);
  if (before?.value === value && String(before.reasons) === String(reasons)) return;
  past.push({ at, phase, chosen, what, before });
  say(what, value, reasons);
  update();
}

function judge(value) {
  if (phase) return;
  if (answerTo(question())?.value !== value) answer(value);
}

function prefer(side) { // 0 left, 1 right, -1 neither
  const [left, right] = look().pairs[phase - 1];
  const better = [left, right][side];
  answer(side < 0 ? 'tie' : better === question().clip ? 'clip' : 'other');
}

function reason(word) {
  const before = isAsked() && answerTo(question());
  if (!before) return hint(phase ? 'first say which is better' : 'first keep or reject');
  const words = before.reasons.includes(word) ? before.reasons.filter(one => one !== word) : [...before.reasons, word];
  answer(before.value, words);
}

function undo() {
  const step = past.pop();
  if (!step) return hint('nothing to undo since this page was opened');
  go(step.at, step.phase, step.chosen);
  say(step.what, step.before?.value ?? '', step.before?.reasons ?? []);
  update();
}

// --- going on ----------------------------------------------------------------------------------

const isAsked = () => phase <= look().pairs.length;

function next() {
  if (!phase) {
    const open = look().clips.findIndex(clip => !answerTo(verdict(clip)));
    if (open >= 0) { chosen = open; return update(); }
  } else if (isAsked() && !answerTo(question())) return hint('← or → for the better one, ↓ if they are as good');
  phase += 1;
  if (phase < phases()) return show();
  const open = plan.looks.findIndex((one, place) => place > at && !complete(one));
  go(open >= 0 ? open : plan.looks.findIndex(one => !complete(one)));
}

function go(place, inside = 0, card = 0) { // -1: nothing is left
  at = place; phase = inside; chosen = card;
  $('look').hidden = at < 0;
  $('done').hidden = at >= 0;
  if (at >= 0) return show();
  player.clear();
  $('thanks').textContent = `All ${plan.looks.length} looks are answered. Thank you!`;
  progress();
}

function turn(by) {
  if (at + by >= 0 && at + by < plan.looks.length) go(at + by);
}

// --- what is seen ------------------------------------------------------------------------------

function hint(text) { $('step').textContent = text; $('step').className = 'step hint'; } // until the next answer

function tell({ waiting, trouble }) {
  const many = `${waiting} answer${waiting === 1 ? '' : 's'}`;
  $('state').className = trouble ? 'state waiting' : 'state';
  $('state').textContent = trouble ? `${many} kept in this browser: ${trouble}` : waiting ? 'saving' : 'all saved';
}

function progress() {
  const done = plan.looks.filter(complete).length;
  $('bar').max = plan.looks.length;
  $('bar').value = done;
  $('count').textContent = `${done} of ${plan.looks.length}`;
}

/** A new scene: other clips than before. */
function show() {
  const mine = ++scene;
  const names = phase && isAsked() ? look().pairs[phase - 1] : look().clips;
  player.clear();
  $('caption').textContent = look().caption;
  $('cards').className = phase && isAsked() ? 'cards pair' : 'cards';
  $('cards').replaceChildren(...names.map((name, place) => card(name, place, mine)));
  frames(`stickers/${look().request}.webp`).then(([one]) => mine === scene && draw($('still'), one.picture), () => {});
  if (scored() && !isAsked()) scores(mine);
  update();
  for (const ahead of plan.looks[at + 1]?.clips ?? []) frames(`clips/${ahead}.webp`).catch(() => {});
}

function card(name, place, mine) {
  const canvas = make('canvas', { className: 'paper', width: 1, height: 1 });
  const node = make('button', { type: 'button', className: 'card', dataset: { name } }, canvas, make('div', { className: 'foot' }));
  node.addEventListener('click', () => {
    if (!isAsked()) return;
    if (phase) return prefer(place);
    chosen = place;
    update();
  });
  frames(`clips/${name}.webp`).then(
    made => mine === scene && player.add(canvas, made),
    () => mine === scene && node.append(make('span', { className: 'broken' }, 'This clip did not come; PgUp and PgDn ask again.')),
  );
  return node;
}

/** The same scene after an answer. */
function update() {
  progress();
  const now = isAsked() ? answerTo(question()) : undefined;
  $('step').className = 'step';
  $('step').textContent = phase > look().pairs.length ? 'What the automatic judge says' : phase
    ? `Which is better? ${phase} of ${look().pairs.length}` : `Keep or reject each${look().turn ? ' (once more)' : ''}`;
  [...$('cards').children].forEach((node, place) => dress(node, place, now));
  $('reasons').hidden = !isAsked();
  $('reasons').replaceChildren(...plan.reasons.map(([letter, word, label]) => {
    const node = button(label, letter.toUpperCase(), () => reason(word));
    node.disabled = !now;
    node.setAttribute('aria-pressed', String(Boolean(now?.reasons.includes(word))));
    return node;
  }));
  $('actions').replaceChildren(...actions());
}

function dress(node, place, now) {
  const name = node.dataset.name, foot = node.querySelector('.foot');
  const own = answerTo(verdict(name)), two = phase && isAsked();
  const won = two && now && now.value !== 'tie' && now[now.value] === name;
  const words = two ? (won ? 'better' : now?.value === 'tie' ? 'as good' : '') : { keep: 'kept', reject: 'rejected' }[own?.value] ?? '';
  const chosenOne = two ? won : isAsked() && place === chosen;
  node.className = `card ${chosenOne ? 'chosen' : ''} ${two ? (won ? 'won' : '') : own?.value ?? ''}`;
  node.setAttribute('aria-pressed', String(Boolean(chosenOne)));
  node.setAttribute('aria-label', `clip ${place + 1}${words && `, ${words}`}`);
  const labels = new Map(plan.reasons.map(([, word, label]) => [word, label]));
  const why = (two ? (won ? now.reasons : []) : own?.reasons ?? []).map(word => labels.get(word)).join(', ');
  foot.replaceChildren(make('kbd', {}, two ? '←→'[place] : String(place + 1)), make('span', { className: 'said' }, words), make('span', { className: 'why' }, why));
}

function actions() {
  const pause = button(player.playing ? 'Pause' : 'Play', 'Space', play);
  const back = button('Undo', 'U', undo), on = button('Next', 'Enter', next, 'main');
  if (!isAsked()) return [back, pause, on];
  if (phase) return [button('Left', '←', () => prefer(0)), button('As good', '↓', () => prefer(-1)), button('Right', '→', () => prefer(1)), back, pause, on];
  return [button('Keep', 'K', () => judge('keep'), 'keep'), button('Reject', 'R', () => judge('reject'), 'reject'), back, pause, on];
}

async function scores(mine) {
  const query = new URLSearchParams({ annotator: plan.annotator, request: look().request });
  while (post.waiting().length && mine === scene) await new Promise(wait => setTimeout(wait, 200));
  const response = await fetch(`api/scores?${query}`).catch(() => null);
  if (mine !== scene || !response?.ok) return;
  const table = await response.json();
  for (const node of $('cards').children) {
    const rows = Object.entries(table[node.dataset.name]).filter(([, value]) => value !== '');
    node.append(make('div', { className: 'scores' }, ...rows.flatMap(([name, value]) => [
      make('span', {}, name), make('span', {}, typeof value === 'number' ? value.toFixed(2) : value),
    ])));
  }
}

function play() { player.playing = !player.playing; update(); }

function paper(name) {
  document.body.dataset.paper = name;
  remember('paper', name);
}
const nextPaper = () => paper(PAPERS[(PAPERS.indexOf(document.body.dataset.paper) + 1) % PAPERS.length]);

// --- keys --------------------------------------------------------------------------------------

const COMMON = {
  ' ': play, u: undo, Enter: next, b: nextPaper, '?': () => $('help').showModal(),
  ',': () => { player.step(-1); update(); }, '.': () => { player.step(1); update(); },
  PageUp: () => turn(-1), PageDown: () => turn(1),
};
const move = by => { chosen = (chosen + by + look().clips.length) % look().clips.length; update(); };
const ONE = { k: () => judge('keep'), r: () => judge('reject'), ArrowLeft: () => move(-1), ArrowRight: () => move(1) };
const TWO = { ArrowLeft: () => prefer(0), ArrowRight: () => prefer(1), ArrowDown: () => prefer(-1) };

addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey || $('help').open || !plan) return;
  if (at < 0) return event.key === 'u' && undo();
  const target = event.target.closest('button, input');
  if (target?.matches('input') || (target && !target.matches('.card') && [' ', 'Enter'].includes(event.key))) return;
  const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const act = { ...COMMON, ...(isAsked() ? (phase ? TWO : ONE) : {}) }[name];
  const found = plan.reasons.find(([letter]) => letter === name);
  if (act) act();
  else if (found) reason(found[1]);
  else if (!phase && name >= '1' && name <= String(Math.min(9, look().clips.length))) { chosen = Number(name) - 1; update(); }
  else return;
  event.preventDefault();
});
// After a click with the mouse Space and Enter are the page's again.
addEventListener('click', event => { if (event.detail) event.target.closest('button')?.blur(); });

// --- the beginning -----------------------------------------------------------------------------

async function begin(name) {
  const response = await fetch(`api/plan?${new URLSearchParams({ annotator: name })}`).catch(() => null);
  const found = await response?.json().catch(() => null);
  if (!response?.ok) {
    $('wrong').textContent = found?.error ?? 'The server is away; is minuet curate running?';
    return hello(name);
  }
  plan = found;
  remember('name', name);
  said.clear(); past.length = 0;
  plan.answers.forEach(note);
  post ??= new Post(plan.run, tell);
  post.waiting().filter(one => one.annotator === name).forEach(note);
  $('hello').hidden = true;
  $('progress').hidden = $('who').hidden = false;
  $('who').firstElementChild.textContent = name;
  go(plan.looks.findIndex(one => !complete(one)));
  post.flush();
}

function hello(name) {
  plan = undefined;
  player.clear();
  $('look').hidden = $('done').hidden = $('progress').hidden = $('who').hidden = true;
  $('hello').hidden = false;
  $('name').value = name ?? '';
  $('name').focus();
}

$('hello').addEventListener('submit', event => {
  event.preventDefault();
  begin($('name').value.normalize('NFC').trim());
});
$('who').addEventListener('click', () => hello(''));
$('again').addEventListener('click', () => go(0));
$('paper').addEventListener('click', nextPaper);
$('ask').addEventListener('click', () => $('help').showModal());
$('list').append(...KEYS.flatMap(([keys, what]) => [
  make('dt', {}, ...keys.split(' ').flatMap(one => [make('kbd', {}, one), ' '])), make('dd', {}, what),
]));
paper(PAPERS.includes(recall('paper')) ? recall('paper') : 'check');
const known = recall('name');
if (known) begin(known); else hello('');
