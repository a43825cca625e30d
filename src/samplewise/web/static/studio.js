const $ = (id) => document.getElementById(id);
const LEAD_S = 0.35, FFT = 512, FLOOR_DB = -82, TOP_DB = -18;
const PLAY = "M7 4v16l13-8z", PAUSE = "M7 4v16M17 4v16";
let context = null, models = [], takes = [], live = null, prompt = null, recorder = null;
let playing = null;
const decoded = new Map();

async function request(method, path, body, raw) {
  const options = { method, credentials: "same-origin", cache: "no-store" };
  if (raw) options.body = raw;
  else if (body !== undefined) {
    options.headers = { "content-type": "application/json" };
    options.body = JSON.stringify(body);
  }
  const response = await fetch(path, options);
  const answer = await response.json().catch(() => ({ error: response.statusText }));
  if (!response.ok) throw new Error(answer.error || `error ${response.status}`);
  return answer;
}

function say(text) { $("message").textContent = text; }
function audio() {
  context ||= new (window.AudioContext || window.webkitAudioContext)();
  if (context.state !== "running") context.resume();
  return context;
}
async function guarded(work) {
  try { say(""); await work(); } catch (error) { say(error.message); }
}
function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// --- pictures: a short-time Fourier transform, drawn with the colours of the page

const twiddles = Array.from({ length: FFT / 2 }, (_, k) => [Math.cos((2 * Math.PI * k) / FFT), -Math.sin((2 * Math.PI * k) / FFT)]);
const hann = Float32Array.from({ length: FFT }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / FFT));
function levels(samples, start) {
  const re = new Float32Array(FFT), im = new Float32Array(FFT);
  for (let i = 0, j = 0; i < FFT; i++) {
    re[j] = hann[i] * (samples[start + i] || 0);
    let bit = FFT >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
  }
  for (let size = 2; size <= FFT; size *= 2) {
    const half = size / 2, step = FFT / size;
    for (let at = 0; at < FFT; at += size) {
      for (let k = 0; k < half; k++) {
        const [c, s] = twiddles[k * step], a = at + k, b = a + half;
        const x = re[b] * c - im[b] * s, y = re[b] * s + im[b] * c;
        re[b] = re[a] - x; im[b] = im[a] - y; re[a] += x; im[a] += y;
      }
    }
  }
  return Float32Array.from({ length: FFT / 2 }, (_, k) => 10 * Math.log10((4 / FFT / FFT) * 4 * (re[k] ** 2 + im[k] ** 2) + 1e-12));
}
function colour(name) {
  const value = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const n = parseInt(value.slice(1), 16);
  return [n >> 16, (n >> 8) & 255, n & 255];
}
function fit(canvas) {
  const scale = Math.min(2, window.devicePixelRatio || 1);
  const width = Math.max(1, Math.round(canvas.clientWidth * scale)), height = Math.max(1, Math.round(canvas.clientHeight * scale));
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  return canvas.getContext("2d");
}
function drawColumns(canvas, samples, from, to, total) {
  const pen = fit(canvas), { width, height } = canvas;
  const first = Math.floor((from / total) * width), last = Math.min(width, Math.ceil((to / total) * width));
  if (last <= first) return;
  const image = pen.createImageData(last - first, height), ground = colour("--shade"), ink = colour("--accent");
  for (let x = first; x < last; x++) {
    const middle = Math.floor(((x + 0.5) / width) * total);
    const column = levels(samples, Math.max(0, middle - FFT / 2));
    for (let y = 0; y < height; y++) {
      // Octaves upwards from 80 Hz at 16 kHz: low notes get as much room as high ones.
      const bin = Math.min(FFT / 2 - 1, 2.5 * (FFT / 5) ** (1 - y / height));
      const low = Math.floor(bin), part = bin - low;
      const db = column[low] * (1 - part) + column[Math.min(low + 1, FFT / 2 - 1)] * part;
      const t = Math.min(1, Math.max(0, (db - FLOOR_DB) / (TOP_DB - FLOOR_DB))) ** 1.4;
      const place = 4 * (y * (last - first) + x - first);
      for (let c = 0; c < 3; c++) image.data[place + c] = ground[c] + t * (ink[c] - ground[c]);
      image.data[place + 3] = 255;
    }
  }
  pen.putImageData(image, first, 0);
}
function drawWave(canvas, samples, count, total) {
  const pen = fit(canvas), { width, height } = canvas;
  pen.clearRect(0, 0, width, height);
  pen.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent");
  for (let x = 0; x < (count / total) * width; x++) {
    let low = 0, high = 0;
    for (let i = Math.floor((x / width) * total); i < Math.min(count, ((x + 1) / width) * total); i++) {
      if (samples[i] < low) low = samples[i];
      if (samples[i] > high) high = samples[i];
    }
    pen.fillRect(x, (height / 2) * (1 - high), 1, Math.max(1, (height / 2) * (high - low)));
  }
}

// --- models

function model() { return models.find((one) => one.id === $("model").value); }
function chooseModel() {
  const own = model()?.temperature ?? 1;
  if (!live) {  // else the take that is being drawn would turn
    $("temperature").value = own;
    $("temperature-value").textContent = own.toFixed(2);
  }
  showModel();
}
function showModel() {
  const chosen = model();
  if (!chosen) return;
  const parts = [chosen.about];
  if (chosen.family) parts.push(chosen.family, `${chosen.sample_rate} Hz`);
  if (typeof chosen.bits === "number") parts.push(`${chosen.bits.toFixed(3)} bits per sample`);
  if (chosen.step) parts.push(`step ${chosen.step.toLocaleString("en")}`);
  $("facts").textContent = parts.join(" · ");
  $("label-field").hidden = !chosen.labels?.length;
  $("label").replaceChildren(...(chosen.labels || []).map((name) => element("option", name, { value: name })));
  const points = chosen.curve || [];
  $("curve").toggleAttribute("hidden", points.length < 2);
  if (points.length > 1) {
    const values = points.map(([, bits]) => bits), low = Math.min(...values), high = Math.max(...values);
    const end = points[points.length - 1][0];
    const path = points.map(([step, bits], i) => `${i ? "L" : "M"}${(240 * step) / end} ${44 - (40 * (bits - low)) / (high - low || 1)}`);
    $("curve").firstElementChild.setAttribute("d", path.join(""));
    $("curve").setAttribute("aria-label", `Validation bits per sample from ${high.toFixed(2)} to ${low.toFixed(2)}`);
  }
  const steps = chosen.previews || [];
  $("previews").hidden = !steps.length;
  $("previews").replaceChildren("Previews ", ...steps.map((step) => {
    const button = element("button", step.toLocaleString("en"), { "aria-label": `Play the preview of step ${step}` });
    button.addEventListener("click", () => guarded(() => playPreview(chosen, step, button)));
    return button;
  }));
  $("go").disabled = !chosen.usable;
}
async function listModels() {
  const chosen = $("model").value, known = models.map((one) => one.id).join();
  models = await request("GET", "/api/models");
  if (models.map((one) => one.id).join() !== known) {  // else an open list would close
    $("model").replaceChildren(...models.map((one) => element("option", one.name, { value: one.id })));
    if (models.some((one) => one.id === chosen)) $("model").value = chosen;
    const from = $("from").value, weights = models.filter((one) => one.usable);
    $("from").replaceChildren(element("option", "nothing", { value: "" }), ...weights.map((one) => element("option", one.name, { value: one.id })));
    if (weights.some((one) => one.id === from)) $("from").value = from;
  }
  if ($("model").value === chosen) showModel();
  else chooseModel();
}
async function playPreview(chosen, step, button) {
  const player = audio(), same = playing?.point === button;
  stopTake();
  if (same) return;
  const response = await fetch(`/api/models/${chosen.id}/previews/${step}`, { credentials: "same-origin" });
  if (!response.ok) throw new Error("there is no such preview any more");
  const data = await response.arrayBuffer(), source = player.createBufferSource();
  source.buffer = await new Promise((good, bad) => player.decodeAudioData(data, good, bad));
  source.connect(player.destination);
  source.start();
  source.onended = stopTake;
  playing = { source, item: null, point: button };
  button.classList.add("playing");
}

// --- live

async function generate() {
  const player = audio();
  stopTake();
  const seed = $("seed").value.trim();
  const body = { model: $("model").value, seconds: Number($("seconds").value), temperature: Number($("temperature").value) };
  if (seed) body.seed = Number(seed);
  if (prompt) body.prompt = prompt.id;
  if (!$("label-field").hidden) body.label = $("label").value;
  $("go").disabled = true;
  $("status").textContent = "Loading the model …";
  let state;
  try { state = await request("POST", "/api/takes", body); } finally { $("go").disabled = false; }
  const total = Math.round((body.seconds + (prompt ? prompt.seconds : 0)) * state.sample_rate);
  live = { id: state.id, rate: state.sample_rate, samples: new Float32Array(total + state.sample_rate), count: 0, drawn: 0, total, next: 0, waits: 0, sources: new Set() };
  const mine = live;
  if (Number($("temperature").value) !== body.temperature) turn();  // turned while the model was loaded
  $("go").firstChild.textContent = "Stop ";
  for (const id of ["spectrum", "wave"]) { const pen = fit($(id)); pen.clearRect(0, 0, $(id).width, $(id).height); }
  document.body.dataset.live = mine.id;
  const response = await fetch(`/api/live/${mine.id}/pcm`, { credentials: "same-origin" });
  const reader = response.body.getReader();
  let rest = new Uint8Array(0);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const bytes = new Uint8Array(rest.length + value.length);
    bytes.set(rest); bytes.set(value, rest.length);
    const whole = bytes.length - (bytes.length % 2);
    rest = bytes.slice(whole);
    push(mine, new Int16Array(bytes.buffer.slice(0, whole)), player);
  }
  drawColumns($("spectrum"), mine.samples, mine.drawn, mine.count, mine.total);
  const last = await request("GET", `/api/live/${mine.id}`);
  if (last.error) say(last.error);
  if (live === mine) live = null;
  $("go").firstChild.textContent = "Generate ";
  $("status").textContent = `${(mine.count / mine.rate).toFixed(1)} s, seed ${last.seed}` + (last.speed ? `, drawn ${last.speed.toFixed(1)} times as fast as it plays` : "");
  await listTakes();
}
function push(take, codes, player) {
  if (!codes.length) return;
  const buffer = player.createBuffer(1, codes.length, take.rate), data = buffer.getChannelData(0);
  for (let i = 0; i < codes.length; i++) data[i] = codes[i] / 32768;
  if (take.count + codes.length > take.samples.length) return;
  take.samples.set(data, take.count);
  take.count += codes.length;
  const source = player.createBufferSource();
  source.buffer = buffer;
  source.connect(player.destination);
  if (take.next < player.currentTime) {
    if (take.next) take.waits += 1;
    take.next = player.currentTime + LEAD_S * (1 + take.waits);
  }
  source.start(take.next);
  take.next += buffer.duration;
  take.sources.add(source);
  source.onended = () => take.sources.delete(source);
  const until = take.count - (take.count % Math.ceil(take.total / 400));
  drawColumns($("spectrum"), take.samples, take.drawn, until, take.total);
  take.drawn = until;
  drawWave($("wave"), take.samples, take.count, take.total);
  const waited = take.waits ? ` · waited ${take.waits} times for the model` : "";
  $("status").textContent = `${(take.count / take.rate).toFixed(1)} of ${(take.total / take.rate).toFixed(0)} s${waited}`;
}
async function stopLive() {
  for (const source of live.sources) source.stop();
  await request("POST", `/api/live/${live.id}/stop`);
}
let turning = 0;
function turn() {
  if (live) guarded(() => request("PUT", `/api/live/${live.id}/temperature`, { temperature: Number($("temperature").value) }));
}
$("temperature").addEventListener("input", () => {
  $("temperature-value").textContent = Number($("temperature").value).toFixed(2);
  clearTimeout(turning);
  turning = setTimeout(turn, 40);
});
function go() { return live ? stopLive() : generate(); }
$("go").addEventListener("click", () => guarded(go));
$("model").addEventListener("change", chooseModel);

// --- prompts

async function usePrompt(blob, name) {
  $("prompt-text").textContent = `Reading ${name} …`;
  try {
    prompt = { ...(await request("PUT", "/api/prompts", undefined, blob)), name };
  } catch (error) {
    clearPrompt();
    throw error;
  }
  $("prompt-text").textContent = [`${name}, ${prompt.seconds.toFixed(1)} s`, ...prompt.notes].join("; ");
  $("no-prompt").hidden = false;
}
function clearPrompt() {
  prompt = null;
  $("prompt-text").textContent = "Drop a sound that the model continues";
  $("no-prompt").hidden = true;
}
function wavOf(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, word) => [...word].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + 2 * samples.length, true); text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true); view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  text(36, "data"); view.setUint32(40, 2 * samples.length, true);
  samples.forEach((x, i) => view.setInt16(44 + 2 * i, Math.max(-32768, Math.min(32767, Math.round(32768 * x))), true));
  return new Blob([view], { type: "audio/wav" });
}
async function record() {
  if (recorder) return recorder.stop();
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
  const parts = [];
  recorder = new MediaRecorder(stream);
  recorder.ondataavailable = (event) => parts.push(event.data);
  recorder.onstop = () => guarded(async () => {
    recorder = null;
    $("record").textContent = "Record";
    $("record").classList.remove("on");
    stream.getTracks().forEach((track) => track.stop());
    const data = await new Blob(parts).arrayBuffer();
    const sound = await new Promise((good, bad) => audio().decodeAudioData(data, good, bad));
    await usePrompt(wavOf(sound.getChannelData(0), sound.sampleRate), "recording");
  });
  recorder.start();
  $("record").textContent = "Stop";
  $("record").classList.add("on");
}
$("file").addEventListener("change", () => guarded(async () => {
  const [file] = $("file").files;
  if (file) await usePrompt(file, file.name);
  $("file").value = "";
}));
$("record").addEventListener("click", () => guarded(record));
$("no-prompt").addEventListener("click", clearPrompt);
for (const name of ["dragover", "dragleave", "drop"]) {
  $("drop").addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragover");
    const file = name === "drop" && event.dataTransfer.files[0];
    if (file) guarded(() => usePrompt(file, file.name));
  });
}

// --- takes

async function sound(take) {
  if (!decoded.has(take.id)) {
    const response = await fetch(`/api/takes/${take.id}/wav`, { credentials: "same-origin" });
    const view = new DataView(await response.arrayBuffer());
    const samples = new Float32Array((view.byteLength - 44) / 2);
    for (let i = 0; i < samples.length; i++) samples[i] = view.getInt16(44 + 2 * i, true) / 32768;
    if (decoded.size > 40) decoded.delete(decoded.keys().next().value);
    decoded.set(take.id, samples);
  }
  return decoded.get(take.id);
}
function stopTake() {
  if (!playing) return;
  playing.source.onended = null;
  playing.source.stop();
  mark(playing.item, false);
  playing.point?.classList.remove("playing");
  playing = null;
}
function mark(item, on) {
  if (!item) return;
  item.classList.toggle("playing", on);
  item.querySelector(".play path").setAttribute("d", on ? PAUSE : PLAY);
  item.querySelector(".play").setAttribute("aria-label", on ? "Stop" : "Play");
}
async function play(take, item, from = 0, point = null) {
  const player = audio(), same = playing?.item === item && from === 0;
  stopTake();
  if (same) return;
  const samples = await sound(take), buffer = player.createBuffer(1, samples.length, take.sample_rate);
  buffer.getChannelData(0).set(samples);
  const source = player.createBufferSource();
  source.buffer = buffer;
  source.loop = "loop_of" in take.settings;
  source.connect(player.destination);
  source.start(0, from * buffer.duration);
  playing = { source, item, point };
  source.onended = stopTake;
  mark(item, true);
  point?.classList.add("playing");
}
const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    guarded(async () => {
      const samples = await sound(target.take);
      drawColumns(target, samples, 0, samples.length, samples.length);
    });
  }
});
function card(take) {
  const item = $("take").content.cloneNode(true).firstElementChild;
  const seconds = take.samples / take.sample_rate, name = item.querySelector(".name"), star = item.querySelector(".star");
  const plate = item.querySelector(".plate"), links = item.querySelector(".links");
  item.dataset.id = take.id;
  name.value = take.name;
  name.addEventListener("change", () => guarded(() => request("PATCH", `/api/takes/${take.id}`, { name: name.value.trim() || take.name })));
  star.setAttribute("aria-pressed", String(take.star));
  star.addEventListener("click", () => guarded(async () => {
    take.star = (await request("PATCH", `/api/takes/${take.id}`, { star: !take.star })).star;
    star.setAttribute("aria-pressed", String(take.star));
  }));
  item.querySelector(".play").addEventListener("click", () => guarded(() => play(take, item)));
  plate.take = take;
  plate.setAttribute("aria-label", `Spectrogram of ${take.name}; click to play from there`);
  plate.addEventListener("click", (event) => {
    const box = plate.getBoundingClientRect();
    guarded(() => play(take, item, Math.max(0.0001, (event.clientX - box.left) / box.width)));
  });
  seen.observe(plate);
  const steps = String(take.settings.temperature).split(",").length;
  item.querySelector(".facts").textContent = [take.model, `${seconds.toFixed(1)} s`, `seed ${take.settings.seed}`,
    `temperature ${steps > 1 ? "turned" : Number(take.settings.temperature)}`,
    ...(take.bits_per_sample === null ? [] : [`${take.bits_per_sample.toFixed(2)} bits`])].join(" · ");
  for (const [flag, reason] of Object.entries(take.flags)) {
    item.querySelector(".facts").append(" · ", element("span", flag, { class: "flag", title: reason }));
  }
  for (const form of ["wav", "flac", "json"]) links.append(element("a", form.toUpperCase(), { href: `/api/takes/${take.id}/${form}`, download: "" }));
  const loop = element("button", "Loop"), remove = element("button", "Delete");
  loop.addEventListener("click", () => guarded(async () => { await request("POST", `/api/takes/${take.id}/loop`); await listTakes(); }));
  remove.addEventListener("click", () => guarded(async () => {
    if (!confirm(`Delete ${take.name}?`)) return;
    await request("DELETE", `/api/takes/${take.id}`);
    await listTakes();
  }));
  links.append(loop, remove);
  return item;
}
async function listTakes() {
  stopTake();
  takes = await request("GET", "/api/takes");
  const shown = $("starred").checked ? takes.filter((take) => take.star) : [...takes];
  if ($("order").value === "rank") shown.sort((a, b) => rank(a) - rank(b));
  $("takes").replaceChildren(...shown.map(card));
  $("count").textContent = takes.length || "";
  $("empty").hidden = shown.length > 0;
  if (!$("map").hidden) await drawMap(shown);
}
// As `samplewise generate` ranks: flagged takes last, then by bits per sample.
function rank(take) {
  return (Object.keys(take.flags).length ? 1e6 : 0) + (take.bits_per_sample ?? 1e3);
}
async function drawMap(shown) {
  const area = $("map").firstElementChild, width = area.clientWidth, height = area.clientHeight;
  const points = new Map((await request("GET", "/api/map")).map(([id, x, y]) => [id, [x, y]]));
  const shape = (kind, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const entries = shown.filter((take) => points.has(take.id)).map((take) => {
    const [x, y] = points.get(take.id), cx = 24 + x * (width - 48), cy = 24 + y * (height - 48);
    const point = shape("circle", { cx, cy, r: 7, class: take.star ? "point starred" : "point", role: "button", tabindex: 0, "aria-label": `Play ${take.name}` });
    const item = $("takes").querySelector(`[data-id="${take.id}"]`);
    const tell = () => { $("map-name").textContent = item.querySelector(".name").value; };
    const start = () => guarded(() => { tell(); return play(take, item, 0, point); });
    point.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      start();
    });
    point.addEventListener("focus", tell);
    return { cx, cy, point, tell, start };
  });
  // The nearest point, not the one that is hit: a finger covers several.
  const nearest = (event) => {
    const box = area.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    const far = (entry) => Math.hypot(entry.cx - x, entry.cy - y);
    const found = entries.reduce((best, entry) => (!best || far(entry) < far(best) ? entry : best), null);
    return found && far(found) < 24 ? found : null;
  };
  area.onclick = (event) => nearest(event)?.start();
  area.onpointermove = (event) => nearest(event)?.tell();
  area.setAttribute("viewBox", `0 0 ${width} ${height}`);
  area.replaceChildren(...entries.map((entry) => entry.point));
}
$("starred").addEventListener("change", () => guarded(listTakes));
$("order").addEventListener("change", () => guarded(listTakes));
$("map-toggle").addEventListener("click", () => guarded(async () => {
  $("map").hidden = !$("map").hidden;
  $("map-toggle").setAttribute("aria-expanded", String(!$("map").hidden));
  await listTakes();
}));

document.addEventListener("keydown", (event) => {
  if (event.key !== " " || event.repeat || document.activeElement.matches("button, input:not([type=range]), select, canvas, summary, a, [role=button]")) return;
  event.preventDefault();
  if (!$("go").disabled) guarded(go);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && document.activeElement.classList.contains("plate")) {
    guarded(() => play(document.activeElement.take, document.activeElement.closest(".take")));
  }
});

// --- training

let training = null;
function showTraining(state) {
  $("training").hidden = !state.corpora.length && !state.training;
  if ($("corpus").length !== state.corpora.length) {
    $("corpus").replaceChildren(...state.corpora.map((one) => element("option", one.sample_rate ? `${one.name}, ${one.sample_rate} Hz` : one.name, { value: one.id })));
  }
  if (!$("preset").length) {
    $("preset").replaceChildren(...state.presets.map((name) => element("option", name)));
    if (state.presets.includes("small-16bit")) $("preset").value = "small-16bit";
  }
  training = state.training;
  const goes = training !== null && training.code === null;
  $("train").textContent = goes ? "Stop" : "Train";
  for (const id of ["corpus", "preset", "from", "minutes"]) $(id).disabled = goes;
  $("log").hidden = !training;
  if (!training) return;
  const end = training.code === 0 ? "finished" : "failed";
  $("training-status").textContent = `${training.run}: ${goes ? "training" : end}`;
  const text = training.log.join("\n"), log = $("log");
  if (log.textContent === text) return;
  const isAtEnd = log.scrollTop + log.clientHeight > log.scrollHeight - 20;
  log.textContent = text;
  if (isAtEnd) log.scrollTop = log.scrollHeight;
}
async function watchTraining() {
  showTraining(await request("GET", "/api/training"));
  if (training?.code !== null) return;  // none, or it has ended
  setTimeout(() => guarded(async () => { await watchTraining(); await listModels(); }), 5000);
}
$("train").addEventListener("click", () => guarded(async () => {
  $("train").disabled = true;
  try {
    if (training?.code === null) {
      $("training-status").textContent = "Stopping; a checkpoint is written …";
      showTraining(await request("POST", "/api/training/stop"));
      await listModels();
    } else {
      const body = { corpus: $("corpus").value, preset: $("preset").value, minutes: Number($("minutes").value) };
      if ($("from").value) body.model = $("from").value;
      showTraining(await request("POST", "/api/training", body));
      await watchTraining();
    }
  } finally { $("train").disabled = false; }
}));

guarded(async () => {
  await listModels();
  await listTakes();
  await watchTraining();
});
