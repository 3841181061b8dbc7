// Follows a run. Without it the page asks again every few seconds.
"use strict";
(() => {
  const live = document.getElementById("live");
  if (!live || !window.EventSource) return;
  const stage = document.getElementById("stage");
  const bars = document.getElementById("bars");
  const known = new Map();
  const language = document.documentElement.lang;
  const words = JSON.parse(live.dataset.words);
  const number = (value) => (value || 0).toLocaleString(language);
  // What has no words here is shown as it came, and said to be English.
  const say = (element, text) => {
    const count = /\d+(?= members$)/.exec(text);
    const at = count ? text.indexOf(": ") : 0;
    const found = words[count ? text.slice(at).replace(count[0], "#") : text];
    element.textContent = found ? text.slice(0, at) + found.replace("#", count && number(Number(count[0]))) : text;
    element.lang = found ? language : "en";
  };
  const source = new EventSource(live.dataset.events);
  const read = (event) => { try { return JSON.parse(event.data); } catch { return {}; } };

  const bar = (name) => {
    if (!known.has(name)) {
      const label = document.createElement("label");
      const text = document.createElement("span");
      const progress = document.createElement("progress");
      label.append(text, progress);
      bars.append(label);
      known.set(name, { text, progress });
    }
    return known.get(name);
  };

  source.addEventListener("stage", (event) => {
    const { stage: name, text } = read(event);
    say(stage, text || name || "");
  });
  source.addEventListener("progress", (event) => {
    const { destination, operation, done, total, rows } = read(event);
    if (!destination) { if (rows) bar("rows").text.textContent = `${number(rows)} ${words.rows}`; return; }
    const { text, progress } = bar(`${destination} ${operation || ""}`);
    const doing = words[operation] || operation || "";
    text.textContent = `${destination} ${doing}${words[":"]} ${number(done)} / ${number(total)}`;
    progress.max = total || 1;
    progress.value = done || 0;
  });
  source.addEventListener("warning", (event) => {
    const note = document.createElement("p");
    note.className = "note";
    say(note, read(event).text || read(event).message || "");
    live.append(note);
  });
  source.addEventListener("end", () => { source.close(); location.reload(); });
})();
