// Answers go to the server, and stay in this browser until it has them. Each has a key of its own,
// so that two windows never write over one another; sent twice, an answer counts once.

const LONGEST_MS = 30_000;
const AT_ONCE = 100;

export class Post {
  /** tell({ waiting, trouble }) is called whenever that changes. */
  constructor(run, tell) {
    this.prefix = `minuet-curate:${run}:`;
    this.tell = tell;
    this.memory = new Map(); // all there is where a browser stores nothing
    this.wait = 1000;
    this.timer = 0;
    this.sending = false;
    addEventListener('online', () => this.flush());
  }

  put(answer) {
    const key = this.prefix + answer.id;
    this.memory.set(key, answer);
    try { localStorage.setItem(key, JSON.stringify(answer)); } catch { this.trouble = 'this browser stores nothing: leave the page open'; }
    this.flush();
  }

  /** What the server does not have yet, oldest first. */
  waiting() {
    const found = new Map(this.memory);
    try {
      for (const key of Object.keys(localStorage))
        if (key.startsWith(this.prefix)) found.set(key, JSON.parse(localStorage.getItem(key)));
    } catch { /* no storage: what is in memory counts */ }
    return [...found.values()].sort((a, b) => a.at_ms - b.at_ms);
  }

  drop(answers) {
    for (const { id } of answers) {
      this.memory.delete(this.prefix + id);
      try { localStorage.removeItem(this.prefix + id); } catch { /* never was there */ }
    }
  }

  async flush() {
    clearTimeout(this.timer);
    if (this.sending) return;
    this.sending = true;
    let trouble = '';
    for (let some; !trouble && (some = this.waiting().slice(0, AT_ONCE)).length;) {
      this.report('');
      trouble = await this.send(some);
      if (!trouble) { this.drop(some); this.wait = 1000; }
    }
    this.sending = false;
    this.report(trouble);
    if (!trouble) return;
    this.timer = setTimeout(() => this.flush(), this.wait);
    this.wait = Math.min(2 * this.wait, LONGEST_MS);
  }

  /** "" if the server has them now, or why not. */
  async send(answers) {
    try {
      const response = await fetch('api/answers', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ answers }),
      });
      return response.ok ? '' : (await response.json()).error;
    } catch { return 'the server is away'; }
  }

  report(trouble) { this.tell({ waiting: this.waiting().length, trouble: trouble || this.trouble || '' }); }
}
