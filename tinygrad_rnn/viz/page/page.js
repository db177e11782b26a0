"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const { events, weights, reach } = JSON.parse($("ui-data").textContent);
  const stage = $("ui-stage"), picture = stage.querySelector("svg[role]");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const edges = [...picture.querySelectorAll("g.edge")];
  const half = events.filter((event) => event.p === "f").length;
  let at = 0, timer = null, zoom = 1;
  document.documentElement.classList.add("js");

  const mark = (id, name) => { const shape = $(id); if (shape) shape.classList.add(name); };
  const filled = weights.map(() => 0);

  /* What each event lights for the first time: going back takes exactly that away again. */
  const seen = new Set(), filling = weights.map(() => 0);
  const lit = events.map((event) => {
    const list = [];
    const light = (shape, name) => {
      if (!shape || seen.has(`${shape.id} ${name}`)) return;
      seen.add(`${shape.id} ${name}`);
      list.push([shape, name]);
    };
    for (const id of event.e) {
      const edge = $(id);
      if (!edge) continue;
      const source = $(edge.dataset.from);
      if (event.p === "f") { light(edge, "used"); light(source, "on"); continue; }
      light(edge, "lit");
      light($(`gain_${id.slice(1)}`), "grad");
      if (source && source.matches(".input, .initial")) light(source, "grad");
    }
    if (event.b) {
      light($(event.b), event.p === "f" ? "on" : "grad");
      if (event.p === "b") for (const part of ["injected", "future"]) light($(`${event.b}_${part}`), "grad");
    }
    for (const [weight, place] of event.fill || []) {
      filling[weight] += 1;
      light($(`g${weight}_${place}`), "grad");
      if (filling[weight] === weights[weight].steps.length) light($(`total_${weight}`), "grad");
      if (place === "hidden") picture.querySelectorAll('[id^="hidden_gain"]').forEach((g) => light(g, "grad"));
    }
    return list;
  });
  const strips = [...picture.querySelectorAll('.reach, [id^="verdict_"]')];

  function seek(to, options = {}) {
    to = Math.max(0, Math.min(events.length, to));
    for (; at < to; at++) {
      lit[at].forEach(([shape, name]) => shape.classList.add(name));
      for (const [weight] of events[at].fill || []) filled[weight] += 1;
    }
    while (at > to) {
      at--;
      lit[at].forEach(([shape, name]) => shape.classList.remove(name));
      for (const [weight] of events[at].fill || []) filled[weight] -= 1;
    }
    strips.forEach((shape) => shape.classList.toggle("grad", at === events.length));
    show(options);
  }

  function show({ quiet = false, travel = false } = {}) {
    const event = at ? events[at - 1] : null;
    for (const name of ["now", "fresh"]) picture.querySelectorAll(`.${name}`).forEach((g) => g.classList.remove(name));
    const words = event ? (event.p === "f" ? "forward" : "backward") : "before the first operation";
    const step = event && event.t !== null ? `, t = ${event.t}` : "";
    $("ui-place").textContent = `${at} of ${events.length}: ${words}${step}`;
    $("ui-scrub").value = at;
    $("ui-scrub").setAttribute("aria-valuetext", `${at} of ${events.length}, ${words}${step}`);
    explain(event, event ? `${words === "forward" ? "Forward" : "Backward"}${step}` : "Step by step");
    if (event && event.b) mark(event.b, "now");
    for (const [weight, place] of (event && event.fill) || []) mark(`g${weight}_${place}`, "fresh");
    sums();
    cursor(event);
    if (event && event.b) bringIntoView($(event.b));
    if (travel && event && event.p === "b" && !still.matches) event.e.forEach((id) => send($(id)));
    if (!quiet) $("ui-live").textContent = event ? `${words}${step}: ${event.eq}` : words;
  }

  /* The operation in words: its equation or chain rule, its shapes, its numbers, and what to notice. */
  function explain(event, title) {
    $("ui-phase").textContent = title;
    $("ui-equation").textContent = event ? event.eq : "Press Next or Play: first everything is computed, then the gradient flows back.";
    $("ui-shape").textContent = event && event.sh ? event.sh : "";
    $("ui-notice").textContent = event && event.n ? event.n : "";
    messages(event);
    values(event);
  }

  /* A click on a box: what was last done there, and of a loss how far it alone reaches back. */
  const usual = new Map();
  function ask(id) {
    for (const [shape, html] of usual) shape.innerHTML = html;
    usual.clear();
    picture.querySelectorAll(".asked").forEach((g) => g.classList.remove("asked"));
    if (!id) return show({ quiet: true });
    mark(id, "asked");
    let found = events.findLastIndex((event, i) => i < at && event.b === id);
    if (found < 0) found = events.findIndex((event) => event.b === id);
    if (found >= 0) {
      const event = events[found];
      explain(event, `${event.p === "f" ? "Forward" : "Backward"}, the box you clicked`);
    }
    for (const [cell, words, fill, ink] of reach[id] || []) {
      const shape = $(cell);
      if (!shape) continue;
      usual.set(shape, shape.innerHTML);
      shape.querySelector("rect").setAttribute("fill", fill);
      const text = shape.querySelector("text");
      text.textContent = words;
      text.setAttribute("fill", ink);
      shape.classList.add("asked");
    }
    if (reach[id]) $("ui-notice").textContent = "The strip below now shows how far this one loss reaches back: |∂L/∂h| of it alone at every state.";
  }

  function element(name, text, parent) {
    const made = document.createElement(name);
    if (text !== null) made.textContent = text;
    if (parent) parent.append(made);
    return made;
  }

  function messages(event) {
    const place = $("ui-messages");
    place.replaceChildren();
    const list = (title, lines) => {
      if (!lines.length) return;
      element("h3", title, place);
      const ul = element("ul", null, place);
      lines.forEach((line) => element("li", line, ul));
    };
    if (!event) return;
    list("Messages that arrived here, added up", (event.in || []).map(([who, norm]) => `from ${who}: |·| = ${norm}`));
    list("Messages sent back", (event.out || []).map(([rule, shape, norm]) => `${rule} ${shape}, |·| = ${norm}`));
    list("Sums over time that grow", (event.fill || []).map(([weight, where]) => `∂L/∂${weights[weight].name}: ${where === "hidden" ? "the steps not drawn" : `the part of step ${where}`}`));
  }

  function matrix(title, rows, parent) {
    const table = element("table", null, parent);
    element("caption", title, table);
    const body = element("tbody", null, table);
    for (const row of rows) {
      const tr = element("tr", null, body);
      row.forEach((value) => element("td", value, tr));
    }
  }

  function values(event) {
    const place = $("ui-values");
    place.replaceChildren();
    for (const [title, rows] of (event && event.v) || []) if (rows) matrix(title, rows, place);
  }

  function sums() {
    weights.forEach((weight, i) => {
      const count = filled[i];
      const begun = at > half;
      $(`ui-gauge-${i}`).style.width = `${begun ? Math.min(100, 100 * weight.share[count]) : 0}%`;
      $(`ui-sum-${i}`).textContent = begun
        ? `|Σ G_t| = ${weight.running[count]}, ${count} of ${weight.steps.length} parts`
        : `not computed, 0 of ${weight.steps.length} parts`;
      const hand = $(`ui-hand-${i}`);
      if (hand) hand.textContent = weight.hand.length > 1 ? (begun ? weight.hand[count] : "not begun") : weight.hand[0];
      const place = $(`ui-matrix-${i}`);
      place.replaceChildren();
      if (begun && weight.values.length) matrix("the sum so far", weight.values[count], place);
    });
  }

  function cursor(event) {
    const shown = event && event.t !== null && event.t !== undefined;
    for (const chart of document.querySelectorAll(".chart")) {
      const line = chart.querySelector(".cursor"), { first, last, left, right } = chart.dataset;
      line.setAttribute("visibility", shown ? "visible" : "hidden");
      if (!shown) continue;
      const x = +left + (+right - +left) * ((event.t - +first) / Math.max(+last - +first, 1));
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
    }
  }

  function bringIntoView(shape) {
    if (!shape) return;
    const box = shape.getBoundingClientRect(), view = stage.getBoundingClientRect();
    const dx = box.left < view.left + 40 || box.right > view.right - 40 ? box.left - view.left - view.width / 2 : 0;
    const dy = box.top < view.top || box.bottom > view.bottom ? box.top - view.top - view.height / 2 : 0;
    if (dx || dy) stage.scrollBy({ left: dx, top: dy, behavior: still.matches || timer ? "auto" : "smooth" });
  }

  /* A dot runs along the edge, against the data, as the gradient does. */
  function send(edge) {
    const path = edge && edge.querySelector("path");
    if (!path) return;
    const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    dot.setAttribute("class", "message");
    dot.setAttribute("r", "4");
    picture.append(dot);
    const length = path.getTotalLength(), start = performance.now(), duration = 420;
    const move = (now) => {
      const share = Math.min(1, (now - start) / duration);
      const point = path.getPointAtLength(length * (1 - share));
      dot.setAttribute("cx", point.x);
      dot.setAttribute("cy", point.y);
      if (share < 1) requestAnimationFrame(move); else dot.remove();
    };
    requestAnimationFrame(move);
  }

  function play(on) {
    clearInterval(timer);
    timer = null;
    if (on && at >= events.length) seek(0, { quiet: true });
    if (on) {
      const rate = +$("ui-speed").value;
      timer = setInterval(() => {
        seek(unit() ? stepAway(1) : at + 1, { quiet: true, travel: rate <= 3 });
        if (at >= events.length) play(false);
      }, 1000 / rate);
    }
    $("ui-play").textContent = on ? "Pause" : "Play";
    $("ui-play").setAttribute("aria-pressed", String(on));
  }

  /* From here to where the time step changes. */
  function stepAway(direction) {
    let to = at;
    const time = (n) => (n > 0 && n <= events.length ? events[n - 1].t : undefined);
    const now = time(at);
    do to += direction; while (to > 0 && to < events.length && time(to) === now);
    return to;
  }

  /* What a box depends on: everything from which its value was computed. */
  function cone(id) {
    picture.querySelectorAll(".within").forEach((g) => g.classList.remove("within"));
    picture.classList.toggle("cone", Boolean(id));
    if (!id) return;
    const into = new Map();
    for (const edge of edges) into.set(edge.dataset.to, [...(into.get(edge.dataset.to) || []), edge]);
    const stack = [id], seen = new Set(stack);
    mark(id, "within");
    while (stack.length) {
      for (const edge of into.get(stack.pop()) || []) {
        if (edge.classList.contains("edge-cut")) continue;
        edge.classList.add("within");
        mark(edge.dataset.from, "within");
        if (!seen.has(edge.dataset.from)) { seen.add(edge.dataset.from); stack.push(edge.dataset.from); }
      }
    }
  }

  const unit = () => $("ui-unit").value === "step";
  const move = (direction, other) => go(unit() !== other ? stepAway(direction) : at + direction, { travel: direction > 0 });
  const go = (to, options) => { play(false); seek(to, options); };
  const scale = (factor) => { zoom = Math.max(0.4, Math.min(4, zoom * factor)); stage.style.setProperty("--zoom", zoom); };
  const actions = {
    "ui-start": () => go(0), "ui-back": () => move(-1, false), "ui-next": () => move(1, false),
    "ui-half": () => go(half), "ui-end": () => go(events.length), "ui-play": () => play(!timer),
    "ui-smaller": () => scale(1 / 1.25), "ui-larger": () => scale(1.25),
  };
  for (const [id, action] of Object.entries(actions)) $(id).addEventListener("click", action);
  $("ui-scrub").addEventListener("input", (event) => go(+event.target.value));
  $("ui-speed").addEventListener("change", () => { if (timer) play(true); });
  picture.addEventListener("click", (event) => {
    const box = event.target.closest("g.op, g.state, g.loss, g.total, g.input, g.band");
    ask(box && box.id);
  });
  const keys = {
    ArrowRight: (shift) => move(1, shift), ArrowLeft: (shift) => move(-1, shift),
    Home: () => go(0), End: () => go(events.length), l: () => go(half), " ": () => play(!timer),
    c: () => at && cone(events[at - 1].b), Escape: () => { cone(null); ask(null); }, "+": () => scale(1.25), "-": () => scale(1 / 1.25),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.target.matches("input, select, summary") || (event.key === " " && event.target.matches("button"))) return;
    const action = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action(event.shiftKey);
  });
  seek(0, { quiet: true });
})();
