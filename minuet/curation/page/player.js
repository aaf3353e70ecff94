// Animated WebP files become frames on canvases that share one clock, and can be stopped and
// stepped: an <img> can neither, nor does it keep step with its neighbour.

const HEAD = 12; // "RIFF", size, "WEBP"
const FRAME = 16; // place, size, duration and flags of a frame, before its picture

/** The frames of a file, each a whole picture with the time in ms at which it ends. */
export async function decode(buffer) {
  const view = new DataView(buffer);
  const u24 = at => view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
  const frames = [];
  let pen = null, until = 0;
  for (const { name, at, size } of chunks(view)) {
    if (name === 'VP8X') pen = penOf(u24(at + 4) + 1, u24(at + 7) + 1);
    if (name !== 'ANMF') continue;
    const [x, y, width, height] = [2 * u24(at), 2 * u24(at + 3), u24(at + 6) + 1, u24(at + 9) + 1];
    const flags = view.getUint8(at + 15);
    const picture = await createImageBitmap(still(buffer.slice(at + FRAME, at + size)));
    if (flags & 2) pen.clearRect(x, y, width, height); // it replaces what is below
    pen.drawImage(picture, x, y);
    until += u24(at + 12);
    frames.push({ picture: await createImageBitmap(pen.canvas), until });
    if (flags & 1) pen.clearRect(x, y, width, height); // it is gone before the next one
  }
  if (frames.length) return frames;
  return [{ picture: await createImageBitmap(new Blob([buffer], { type: 'image/webp' })), until: 1 }];
}

function* chunks(view) {
  for (let at = HEAD; at + 8 <= view.byteLength;) {
    const name = String.fromCharCode(...[0, 1, 2, 3].map(i => view.getUint8(at + i)));
    const size = view.getUint32(at + 4, true);
    yield { name, at: at + 8, size };
    at += 8 + size + (size & 1);
  }
}

/** A frame's picture as a file of its own. */
function still(body) {
  const head = new Uint8Array(HEAD);
  head.set(new TextEncoder().encode('RIFF'), 0);
  new DataView(head.buffer).setUint32(4, 4 + body.byteLength, true);
  head.set(new TextEncoder().encode('WEBP'), 8);
  return new Blob([head, body], { type: 'image/webp' });
}

function penOf(width, height) {
  const canvas = document.createElement('canvas');
  Object.assign(canvas, { width, height });
  return canvas.getContext('2d');
}

export function draw(canvas, picture) {
  if (canvas.width !== picture.width || canvas.height !== picture.height)
    Object.assign(canvas, { width: picture.width, height: picture.height });
  const pen = canvas.getContext('2d');
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(picture, 0, 0);
}

/** Plays clips on canvases, all from the same moment on. */
export class Player {
  constructor(playing) {
    this.playing = playing;
    this.time = 0;
    this.shown = [];
    this.before = performance.now();
    const tick = now => {
      if (this.playing) this.time += now - this.before;
      this.before = now;
      this.paint();
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  clear() { this.shown = []; this.time = 0; }

  add(canvas, frames) { this.shown.push({ canvas, frames, last: -1 }); this.time = 0; }

  /** One frame on or back, standing still. */
  step(by) {
    this.playing = false;
    const one = Math.min(...this.shown.flatMap(({ frames }) => frames.map((f, i) => f.until - (frames[i - 1]?.until ?? 0))));
    if (Number.isFinite(one)) this.time = Math.max(0, (Math.round(this.time / one - .5) + by) * one + one / 2);
  }

  paint() {
    for (const show of this.shown) {
      const whole = show.frames.at(-1).until;
      const now = ((this.time % whole) + whole) % whole;
      const index = show.frames.findIndex(frame => now < frame.until);
      if (index !== show.last) draw(show.canvas, show.frames[show.last = index].picture);
    }
  }
}
