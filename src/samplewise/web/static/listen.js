import { Player } from "/static/player.js";

const $ = (id) => document.getElementById(id);
const RING = 2 * Math.PI * 54;
const TONE_S = 0.7, GAP_S = 0.35, TONE_HZ = 200, LOUD = 0.4, QUIET = 0.2;
const SECTIONS = ["welcome", "headphones", "trial", "done"];
const PLAY = "M7 4v16l13-8z", PAUSE = "M7 4v16M17 4v16";
const CHOICES = {
  ab: ["A", "No preference", "B"],
  abx: ["X is A", "X is B"],
  mos: ["1 Bad", "2 Poor", "3 Fair", "4 Good", "5 Excellent"],
  cmos: ["−3", "−2", "−1", "0", "+1", "+2", "+3"],
};
const CMOS_WORDS = ["much worse", "worse", "slightly worse", "the same", "slightly better", "better", "much better"];
const PRACTICE = {
  ab: "One of these clips is interrupted by beeps. Wherever you hear beeps, choose the other clip.",
  abx: "X is the same as A or as B. One of them has beeps here.",
  mos: "This clip is interrupted by beeps. Wherever you hear beeps, answer 1.",
  cmos: "One of these clips is interrupted by beeps. A clip with beeps is the worse one.",
};

let session = null;
let state = null;
let shown = -1;
let shownAt = 0;
let busy = false;
let round = 0;
let toneAnswers = [];
let tonesPlaying = false;
const loaded = new Map();
const player = new Player(draw);

async function request(method, path, body) {
  const options = { method, credentials: "same-origin", cache: "no-store" };
  if (body !== undefined) {
    options.headers = { "content-type": "application/json" };
    options.body = JSON.stringify(body);
  }
  const response = await fetch(path, options);
  const answer = await response.json().catch(() => ({ error: response.statusText }));
  if (response.ok) return answer;
  const error = new Error(answer.error || `error ${response.status}`);
  error.status = response.status;
  error.wait = Number(response.headers.get("retry-after")) || 0;
  throw error;
}

// Sends until the server has answered: a lost connection loses nothing, and nothing counts twice.
async function send(method, path, body) {
  for (let pause = 500; ; pause = Math.min(2 * pause, 8000)) {
    try {
      const answer = await request(method, path, body);
      say("");
      return answer;
    } catch (error) {
      const final = error.status && error.status < 500 && error.status !== 408 && error.status !== 429;
      if (final) throw error;
      say("The server cannot be reached. Your answer is kept; trying again …");
      await new Promise((resolve) => setTimeout(resolve, Math.max(pause, 1000 * (error.wait || 0))));
    }
  }
}

function say(text) {
  if ($("message").textContent !== text) $("message").textContent = text;
}

function show(name) {
  for (const section of SECTIONS) $(section).hidden = section !== name;
  $("progress").hidden = name !== "trial";
  $(name).querySelector("h1").focus();
  window.scrollTo(0, 0);
}

async function start() {
  session = await send("GET", "/api/session");
  document.title = session.title;
  $("name").textContent = session.title;
  $("title").textContent = session.title;
  $("about").textContent = session.about;
  $("about").hidden = !session.about;
  const each = session.kind === "mos" ? "clips" : "pairs of clips";
  const minutes = Math.max(1, Math.round((session.pairs * (4 * session.seconds + 5)) / 60));
  $("amount").textContent = `You will judge ${session.pairs} ${each}. This takes about ${minutes} ` +
    `${minutes === 1 ? "minute" : "minutes"}.`;
  $("consent").textContent = session.consent;
  $("contact").textContent = `Questions: ${session.contact}`;
  $("contact").hidden = !session.contact;
  makeTiles();
  makeChoices();
  state = session.listener;
  await advance();
}

async function advance() {
  if (state === null) return show("welcome");
  if (state.code !== null) {
    player.set([]);
    $("code").textContent = state.code;
    return show("done");
  }
  if (!state.headphones && state.next === 0) {
    round = 0;
    toneAnswers = [];
    drawRound();
    return show("headphones");
  }
  return showTrial();
}

// --- consent

$("agree").addEventListener("change", () => { $("begin").disabled = !$("agree").checked; });
$("begin").addEventListener("click", () => guarded(async () => {
  const given = new URLSearchParams(location.search).get("participant") || "";
  const participant = /^[A-Za-z0-9_.@-]{0,64}$/.test(given) ? given : "";
  state = await send("POST", "/api/listeners", { consent: true, participant });
  await advance();
}));

// --- headphone check (Woods et al. 2017): over loudspeakers the tone in opposite phase is quietest

function drawRound() {
  $("round").textContent = `Round ${round + 1} of ${state.tones.length}`;
  for (const button of document.querySelectorAll("[data-tone]")) button.disabled = true;
}

async function playTones() {
  if (tonesPlaying) return;
  tonesPlaying = true;
  const context = player.open();
  if (context.state !== "running") await context.resume();
  const rate = context.sampleRate;
  const length = Math.round(TONE_S * rate), step = Math.round((TONE_S + GAP_S) * rate);
  const buffer = context.createBuffer(2, 3 * step, rate);
  state.tones[round].forEach((kind, place) => {
    const level = kind === "quiet" ? QUIET : LOUD;
    for (const channel of [0, 1]) {
      const data = buffer.getChannelData(channel);
      const sign = kind === "opposite" && channel === 1 ? -1 : 1;
      for (let i = 0; i < length; i++) {
        const ramp = Math.min(1, i / (0.1 * rate), (length - i) / (0.1 * rate));
        data[place * step + i] = sign * level * ramp * Math.sin((2 * Math.PI * TONE_HZ * i) / rate);
      }
    }
  });
  const source = context.createBufferSource();
  source.buffer = buffer;
  source.connect(context.destination);
  source.onended = () => {
    tonesPlaying = false;
    for (const button of document.querySelectorAll("[data-tone]")) button.disabled = false;
    $("status").textContent = "Which tone was the quietest?";
  };
  source.start();
}

async function answerTone(tone) {
  toneAnswers.push(tone);
  round += 1;
  if (round < state.tones.length) return drawRound();
  await finishHeadphones(toneAnswers);
}

async function finishHeadphones(answers) {
  const { passed } = await send("PUT", "/api/headphones", { answers });
  state.headphones = true;
  await advance();
  if (!passed && answers !== null) say("That did not sound like headphones. Please use them if you can, then go on.");
}

$("tones").addEventListener("click", () => guarded(playTones));
$("skip").addEventListener("click", () => guarded(() => finishHeadphones(null)));
for (const button of document.querySelectorAll("[data-tone]")) {
  button.addEventListener("click", () => guarded(() => answerTone(Number(button.dataset.tone))));
}

// --- trials

function slots() {
  return { ab: ["a", "b"], abx: ["a", "b", "x"], mos: ["a"], cmos: ["a", "b"] }[session.kind];
}

function label(slot) {
  return session.kind === "mos" ? "♪" : slot.toUpperCase();
}

function makeTiles() {
  for (const [index, slot] of slots().entries()) {
    const tile = document.createElement("button");
    tile.className = "tile";
    tile.type = "button";
    tile.setAttribute("aria-pressed", "false");
    tile.setAttribute("aria-label", session.kind === "mos" ? "Play the clip" : `Hear ${label(slot)}`);
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 120 120");
    svg.setAttribute("aria-hidden", "true");
    for (const kind of ["track", "ring"]) {
      const circle = document.createElementNS(svg.namespaceURI, "circle");
      for (const [key, value] of Object.entries({ class: kind, cx: 60, cy: 60, r: 54 })) {
        circle.setAttribute(key, value);
      }
      svg.append(circle);
    }
    const letter = document.createElementNS(svg.namespaceURI, "text");
    letter.setAttribute("x", 60);
    letter.setAttribute("y", 76);
    letter.textContent = label(slot);
    svg.append(letter);
    const heard = document.createElement("span");
    heard.className = "heard";
    tile.append(svg, heard);
    tile.addEventListener("click", () => hear(index));
    $("tiles").append(tile);
  }
}

function makeChoices() {
  const words = CHOICES[session.kind];
  $("choices").classList.toggle("seven", words.length > 5);
  session.answers.forEach((value, index) => {
    const choice = document.createElement("label");
    choice.className = "choice";
    const input = document.createElement("input");
    input.type = "radio";
    input.name = "answer";
    input.value = value;
    if (session.kind === "cmos") input.setAttribute("aria-label", `B is ${CMOS_WORDS[index]}`);
    const text = document.createElement("span");
    text.append(words[index]);
    const key = document.createElement("kbd");
    key.textContent = index + 1;
    text.append(key);
    choice.append(input, text);
    input.addEventListener("change", draw);
    $("choices").append(choice);
  });
  if (session.kind === "cmos") {
    $("ends").hidden = false;
    for (const word of ["A is much better", "the same", "B is much better"]) {
      const end = document.createElement("span");
      end.textContent = word;
      $("ends").append(end);
    }
  }
  const hearKeys = session.kind === "mos" ? "" : slots().map((s) => `${s.toUpperCase()} `).join("") + "hear a clip · ";
  $("keys").textContent = `${hearKeys}Space play or pause · R from the start · ` +
    `1–${words.length} answer · Enter next`;
}

function load(number) {
  if (!loaded.has(number)) {
    const clips = slots().map(async (slot) => {
      const response = await fetch(`/api/trials/${number}/${slot}.wav`, { credentials: "same-origin" });
      if (!response.ok) throw new Error(`a clip could not be loaded (${response.status})`);
      return player.decode(await response.arrayBuffer());
    });
    const all = Promise.all(clips);
    all.catch(() => loaded.delete(number));
    loaded.set(number, all);
  }
  return loaded.get(number);
}

async function showTrial() {
  const number = state.next;
  $("question").textContent = session.question;
  $("legend").textContent = session.question;
  $("hint").textContent = number === 0 ? PRACTICE[session.kind] : "";
  $("hint").hidden = number !== 0;
  $("bar").max = state.trials - 1;
  $("bar").value = Math.max(0, number - 1);
  $("count").textContent = number === 0 ? "Practice" : `${number} of ${state.trials - 1}`;
  for (const input of document.querySelectorAll("[name=answer]")) input.checked = false;
  show("trial");
  shown = -1;
  player.set([]);
  let buffers;
  for (let pause = 500; ; pause = Math.min(2 * pause, 8000)) {
    try {
      buffers = await load(number);
      break;
    } catch (error) {
      say("The clips cannot be loaded; trying again …");
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
  say("");
  for (const known of loaded.keys()) if (known < number) loaded.delete(known);
  shown = number;
  shownAt = performance.now();
  player.set(buffers);
  $("status").textContent = number === 0 ? "Practice" : `Trial ${number} of ${state.trials - 1}`;
  if (number + 1 < state.trials) load(number + 1).catch(() => {});
}

function hear(index) {
  if (shown < 0) return;
  const again = index === player.active && player.playing;
  player.choose(index);
  if (again) player.pause();
  else player.play();
}

function isHeard(index) {
  return 1000 * player.heard[index] >= session.least_audible_ms;
}

function answer() {
  return document.querySelector("[name=answer]:checked")?.value;
}

function draw() {
  if (session === null) return;
  const position = player.position, duration = player.duration || 1;
  const tiles = [...$("tiles").children];
  tiles.forEach((tile, index) => {
    tile.setAttribute("aria-pressed", String(index === player.active && player.playing));
    tile.querySelector(".ring").style.strokeDasharray = RING;
    tile.querySelector(".ring").style.strokeDashoffset = RING * (1 - position / duration);
    const words = shown < 0 ? "loading" : isHeard(index) ? "heard" : "not heard yet";
    const heard = tile.querySelector(".heard");
    if (heard.textContent !== words) heard.textContent = words;
  });
  $("seek").max = duration;
  if (document.activeElement !== $("seek") || player.playing) $("seek").value = position;
  $("seek").setAttribute("aria-valuetext", `${position.toFixed(1)} of ${duration.toFixed(1)} seconds`);
  $("time").textContent = `${Math.floor(position / 60)}:${(position % 60).toFixed(1).padStart(4, "0")}`;
  $("play-icon").setAttribute("d", player.playing ? PAUSE : PLAY);
  $("play").setAttribute("aria-label", player.playing ? "Pause" : "Play");
  const ready = shown >= 0 && tiles.every((_, index) => isHeard(index));
  $("answers").disabled = !ready;
  $("next").disabled = !ready || busy || answer() === undefined;
  if (player.playing) {
    requestAnimationFrame(() => {
      if (player.playing) player.mark();
      draw();
    });
  }
}

async function submit() {
  if ($("next").disabled) return;
  player.pause();
  busy = true;
  draw();
  const body = {
    answer: answer(),
    elapsed_ms: Math.round(performance.now() - shownAt),
    audible_ms: player.heard.map((seconds) => Math.round(1000 * seconds)),
    switches: player.switches,
  };
  try {
    state = await send("PUT", `/api/trials/${shown}/vote`, body);
  } finally {
    busy = false;
    draw();
  }
  await advance();
}

$("play").addEventListener("click", () => player.toggle());
$("restart").addEventListener("click", () => player.restart());
$("seek").addEventListener("input", () => player.seek(Number($("seek").value)));
$("next").addEventListener("click", () => guarded(submit));

// --- end

$("copy").addEventListener("click", async () => {
  const code = $("code").textContent;
  try {
    await navigator.clipboard.writeText(code);
    $("copy").textContent = "Copied";
  } catch {
    getSelection().selectAllChildren($("code"));
  }
});
$("another").addEventListener("click", () => {
  state = null;
  loaded.clear();
  $("agree").checked = false;
  $("begin").disabled = true;
  $("copy").textContent = "Copy the code";
  advance();
});

// --- keys

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (!$("headphones").hidden) return headphoneKey(event);
  if ($("trial").hidden) return;
  const key = event.key.toLowerCase();
  const on = document.activeElement;
  const slot = slots().indexOf(key);
  if (key === " ") {
    const own = on.matches("#next, summary, .round, input[type=radio]:not(:checked)");
    if (own) return;
    event.preventDefault();
    player.toggle();
  } else if (slot >= 0 && session.kind !== "mos") {
    player.choose(slot);
    player.play();
  } else if (key === "r") {
    player.restart();
  } else if (/^[1-9]$/.test(key)) {
    const input = document.querySelectorAll("[name=answer]")[Number(key) - 1];
    if (input && !$("answers").disabled) {
      input.checked = true;
      input.focus();
      draw();
    }
  } else if (key === "enter" && !on.matches("#next, summary, .tile, .round")) {
    event.preventDefault();
    guarded(submit);
  }
});

function headphoneKey(event) {
  const tone = ["1", "2", "3"].indexOf(event.key);
  if (event.key === " " && !document.activeElement.matches("button")) {
    event.preventDefault();
    guarded(playTones);
  } else if (tone >= 0 && !document.querySelector("[data-tone]").disabled) {
    guarded(() => answerTone(tone));
  }
}

async function guarded(work) {
  try {
    await work();
  } catch (error) {
    say(error.message);
  }
}

guarded(start);
