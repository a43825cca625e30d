// Clips of one length that play together; one is audible, so that a switch keeps the position.
const FADE_S = 0.006;
const AHEAD_S = 0.03;

export class Player {
  constructor(onChange) {
    this.onChange = onChange;
    this.context = null;
    this.buffers = [];
    this.parts = [];
    this.heard = [];
    this.active = 0;
    this.offset = 0;
    this.playing = false;
    this.switches = 0;
  }

  open() {
    const Context = window.AudioContext || window.webkitAudioContext;
    this.context ||= new Context();
    return this.context;
  }

  // Safari before 14.1 knows only the form with callbacks.
  decode(data) {
    return new Promise((resolve, reject) => this.open().decodeAudioData(data, resolve, reject));
  }

  set(buffers) {
    this.stop();
    this.buffers = buffers;
    this.heard = buffers.map(() => 0);
    this.active = 0;
    this.offset = 0;
    this.switches = 0;
    this.onChange();
  }

  get duration() {
    return this.buffers.length ? Math.min(...this.buffers.map((b) => b.duration)) : 0;
  }

  get position() {
    if (!this.playing) return this.offset;
    const elapsed = Math.max(0, this.context.currentTime - this.startedAt);
    return Math.min(this.offset + elapsed, this.duration);
  }

  // Adds the time since the last mark to the clip that is audible.
  mark() {
    const now = this.position;
    if (this.playing && now > this.marked) this.heard[this.active] += now - this.marked;
    this.marked = now;
  }

  async play() {
    if (this.playing || !this.buffers.length) return;
    const context = this.open();
    if (context.state !== "running") await context.resume();
    if (this.playing) return;
    if (this.offset >= this.duration - 0.01) this.offset = 0;
    this.startedAt = context.currentTime + AHEAD_S;
    this.parts = this.buffers.map((buffer, index) => {
      const source = context.createBufferSource();
      const gain = context.createGain();
      source.buffer = buffer;
      gain.gain.value = index === this.active ? 1 : 0;
      source.connect(gain).connect(context.destination);
      source.start(this.startedAt, this.offset);
      return { source, gain };
    });
    this.parts[0].source.onended = () => this.finish();
    this.playing = true;
    this.marked = this.offset;
    this.onChange();
  }

  finish() {
    if (!this.playing) return;
    this.mark();
    this.stop();
    this.offset = 0;
    this.onChange();
  }

  stop() {
    for (const { source, gain } of this.parts) {
      source.onended = null;
      source.stop();
      gain.disconnect();
    }
    this.parts = [];
    this.playing = false;
  }

  pause() {
    if (!this.playing) return;
    this.mark();
    const place = this.position;
    this.stop();
    this.offset = place;
    this.onChange();
  }

  toggle() {
    return this.playing ? this.pause() : this.play();
  }

  seek(seconds) {
    const was = this.playing;
    if (was) {
      this.mark();
      this.stop();
    }
    this.offset = Math.min(Math.max(0, seconds), this.duration);
    if (was) this.play();
    else this.onChange();
  }

  restart() {
    this.seek(0);
    return this.play();
  }

  choose(index) {
    if (index >= this.buffers.length) return;
    if (index !== this.active) {
      this.mark();
      this.switches += 1;
      this.active = index;
      const now = this.context.currentTime;
      this.parts.forEach(({ gain }, part) => {
        gain.gain.cancelScheduledValues(now);
        gain.gain.setTargetAtTime(part === index ? 1 : 0, now, FADE_S);
      });
    }
    this.onChange();
  }
}
