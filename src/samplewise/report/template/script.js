"use strict";
// One player at a time; a line on the spectrogram shows where it is, and a click there goes to it.
document.addEventListener("play", (event) => {
  for (const other of document.querySelectorAll("audio")) {
    if (other !== event.target) other.pause();
  }
}, true);

for (const plate of document.querySelectorAll(".spectrogram")) {
  const audio = plate.closest(".clip").querySelector("audio");
  const head = plate.querySelector(".head");
  const left = Number(plate.dataset.left);
  const width = Number(plate.dataset.right) - left;
  const seconds = Number(plate.dataset.seconds);

  const show = () => {
    head.hidden = audio.currentTime === 0;
    head.style.left = `${100 * (left + (width * audio.currentTime) / seconds)}%`;
    if (!audio.paused && !audio.ended) requestAnimationFrame(show);
  };
  audio.addEventListener("play", show);
  audio.addEventListener("seeked", show);
  plate.addEventListener("click", (event) => {
    const box = plate.getBoundingClientRect();
    const place = ((event.clientX - box.left) / box.width - left) / width;
    audio.currentTime = seconds * Math.min(Math.max(place, 0), 0.999);
    audio.play();
  });
}
