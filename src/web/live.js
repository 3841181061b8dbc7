// Follows a run. Without it the page asks again every few seconds.
"use strict";
(() => {
  const live = document.getElementById("live");
  if (!live || !window.EventSource) return;
  const stage = document.getElementById("stage");
  const bars = document.getElementById("bars");
  const known = new Map();
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
    stage.textContent = text || name || "";
  });
  source.addEventListener("progress", (event) => {
    const { destination, operation, done, total, rows } = read(event);
    if (!destination) { if (rows) bar("rows").text.textContent = rows.toLocaleString(document.documentElement.lang); return; }
    const { text, progress } = bar(`${destination} ${operation || ""}`);
    const number = (value) => (value || 0).toLocaleString(document.documentElement.lang);
    text.textContent = `${destination} ${operation || ""}: ${number(done)} / ${number(total)}`;
    progress.max = total || 1;
    progress.value = done || 0;
  });
  source.addEventListener("warning", (event) => {
    const note = document.createElement("p");
    note.className = "note";
    note.textContent = read(event).text || read(event).message || "";
    live.append(note);
  });
  source.addEventListener("end", () => { source.close(); location.reload(); });
})();
