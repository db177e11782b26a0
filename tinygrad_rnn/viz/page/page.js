"use strict";
(async () => {
  const $ = (id) => document.getElementById(id);
  const { events, weights, reach } = JSON.parse(await unpacked(JSON.parse($("ui-data").textContent)));
  const stage = $("ui-stage"), picture = stage.querySelector("svg[role]");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const all = (what) => [...picture.querySelectorAll(what)];
  const half = events.filter((event) => event.p === "f").length, phases = { f: "Forward", b: "Backward" };
  const before = { t: null, eq: "Press Next or Play: first everything is computed, then the gradient flows back." };
  let at = 0, timer = null, zoom = 1;

  const mark = (id, name) => $(id)?.classList.add(name);
  const clear = (name) => all(`.${name}`).forEach((shape) => shape.classList.remove(name));
  const filled = weights.map(() => 0);

  /* What each event lights for the first time: going back takes exactly that away again. */
  const lit = events.map((event) => (event.l || []).map(([id, name]) => [$(id), name]));

  function seek(to, options = {}) {
    to = Math.max(0, Math.min(events.length, to));
    const turn = (number, on) => {
      lit[number].forEach(([shape, name]) => shape.classList.toggle(name, on));
      for (const [weight] of events[number].fill || []) filled[weight] += on ? 1 : -1;
    };
    while (at < to) turn(at++, true);
    while (at > to) turn(--at, false);
    show(options);
  }

  function show({ quiet = false, travel = false } = {}) {
    const event = events[at - 1] || before, step = event.t === null ? "" : `, t = ${event.t}`;
    const words = `${phases[event.p] || "before the first operation"}${step}`.toLowerCase();
    ["now", "fresh"].forEach(clear);
    $("ui-place").textContent = `${at} of ${events.length}: ${words}`;
    $("ui-scrub").value = at;
    $("ui-scrub").setAttribute("aria-valuetext", `${at} of ${events.length}, ${words}`);
    explain(event, step);
    if (event.b) { mark(event.b, "now"); bringIntoView($(event.b)); }
    for (const [weight, place] of event.fill || []) mark(`g${weight}_${place}`, "fresh");
    sums();
    document.body.style.setProperty("--t", event.t ?? -1e6); // of the lines in the plots
    if (travel && at && !still.matches) lit[at - 1].forEach(([shape, name]) => { if (name === "lit") send(shape); });
    if (!quiet) $("ui-live").textContent = at ? `${words}: ${event.eq}` : words;
  }

  function make(name, ...inside) {
    const made = document.createElement(name);
    made.append(...inside);
    return made;
  }
  const list = (title, lines) => (lines.length ? [make("h3", title), make("ul", ...lines.map((line) => make("li", line)))] : []);
  const matrix = (title, rows) => make("table", make("caption", title),
    make("tbody", ...rows.map((row) => make("tr", ...row.map((value) => make("td", value))))));

  /* The operation in words: its equation or chain rule, its shapes, its messages, its numbers, and what to notice. */
  function explain({ p, eq, sh = "", n = "", in: arrived = [], out = [], fill = [], v = [] }, where) {
    $("ui-phase").textContent = p ? phases[p] + where : "Step by step";
    $("ui-equation").textContent = eq;
    $("ui-shape").textContent = sh;
    $("ui-notice").textContent = n;
    $("ui-messages").replaceChildren(
      ...list("Messages that arrived here, added up", arrived.map(([who, norm]) => `from ${who}: |·| = ${norm}`)),
      ...list("Messages sent back", out.map(([rule, shape, norm]) => `${rule} ${shape}, |·| = ${norm}`)),
      ...list("Sums over time that grow", fill.map(([weight, where]) =>
        `∂L/∂${weights[weight].name}: ${where === "hidden" ? "the steps not drawn" : `the part of step ${where}`}`)),
      ...v.map(([title, rows]) => matrix(title, rows)));
  }

  /* A click on a box: what was last done there, and of a loss how far it alone reaches back. */
  const usual = new Map();
  function ask(id) {
    for (const [shape, html] of usual) shape.innerHTML = html;
    usual.clear();
    clear("asked");
    if (!id) return show({ quiet: true });
    mark(id, "asked");
    const event = events.findLast((event, i) => i < at && event.b === id) || events.find((event) => event.b === id);
    if (event) explain(event, ", the box you clicked");
    for (const [cell, words, fill, ink] of reach[id] || []) {
      const shape = $(cell), text = shape.querySelector("text");
      usual.set(shape, shape.innerHTML);
      shape.querySelector("rect").setAttribute("fill", fill);
      text.textContent = words;
      text.setAttribute("fill", ink);
      mark(cell, "asked");
    }
    if (reach[id]) $("ui-notice").textContent = "The strip below now shows how far this one loss reaches back: |∂L/∂h| of it alone at every state.";
  }

  function sums() {
    const begun = at > half;
    weights.forEach((weight, i) => {
      const count = filled[i], hand = $(`ui-hand-${i}`), of = `${count} of ${weight.steps.length} parts`;
      $(`ui-gauge-${i}`).style.width = `${begun ? Math.min(100, 100 * weight.share[count]) : 0}%`;
      $(`ui-sum-${i}`).textContent = begun ? `|Σ G_t| = ${weight.running[count]}, ${of}` : `not computed, ${of}`;
      if (hand) hand.textContent = weight.hand.length > 1 ? (begun ? weight.hand[count] : "not begun") : weight.hand[0];
      $(`ui-matrix-${i}`).replaceChildren(...(begun && weight.sums.length ? [matrix("the sum so far", weight.sums[count])] : []));
    });
  }

  function bringIntoView(shape) {
    const box = shape.getBoundingClientRect(), view = stage.getBoundingClientRect();
    const dx = box.left < view.left + 40 || box.right > view.right - 40 ? box.left - view.left - view.width / 2 : 0;
    const dy = box.top < view.top || box.bottom > view.bottom ? box.top - view.top - view.height / 2 : 0;
    if (dx || dy) stage.scrollBy({ left: dx, top: dy, behavior: still.matches || timer ? "auto" : "smooth" });
  }

  /* A dot runs along the edge, against the data, as the gradient does. */
  function send(edge) {
    const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    dot.setAttribute("class", "message");
    dot.style.offsetPath = `path("${edge.querySelector("path").getAttribute("d")}")`;
    picture.append(dot);
    dot.animate({ offsetDistance: ["100%", "0%"] }, 420).onfinish = () => dot.remove();
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
    do to += direction; while (to > 0 && to < events.length && time(to) === time(at));
    return to;
  }

  /* What a box depends on: everything from which its value was computed. */
  function cone(id) {
    clear("within");
    picture.classList.toggle("cone", Boolean(id));
    const edges = Object.groupBy(all("g.edge:not(.edge-cut)"), (edge) => edge.dataset.to), found = new Set(id ? [id] : []);
    for (const each of found) { // it grows on the way
      mark(each, "within");
      for (const edge of edges[each] || []) { edge.classList.add("within"); found.add(edge.dataset.from); }
    }
  }

  const unit = () => $("ui-unit").value === "step";
  const move = (direction, other) => go(unit() !== other ? stepAway(direction) : at + direction, { travel: direction > 0 });
  const go = (to, options) => { play(false); seek(to, options); };
  const scale = (factor) => { zoom = Math.max(0.4, Math.min(4, zoom * factor)); stage.style.setProperty("--zoom", zoom); };
  const actions = {
    start: () => go(0), back: () => move(-1, false), next: () => move(1, false), half: () => go(half),
    end: () => go(events.length), play: () => play(!timer), smaller: () => scale(1 / 1.25), larger: () => scale(1.25),
  };
  for (const [name, action] of Object.entries(actions)) $(`ui-${name}`).addEventListener("click", action);
  $("ui-scrub").addEventListener("input", (event) => go(+event.target.value));
  $("ui-speed").addEventListener("change", () => { if (timer) play(true); });
  picture.addEventListener("click", (event) => {
    const box = event.target.closest("g.op, g.state, g.loss, g.total, g.input, g.band");
    ask(box && box.id);
  });
  const keys = {
    ArrowRight: (shift) => move(1, shift), ArrowLeft: (shift) => move(-1, shift),
    Home: actions.start, End: actions.end, l: actions.half, " ": actions.play, "+": actions.larger, "-": actions.smaller,
    c: () => at && cone(events[at - 1].b), Escape: () => { cone(null); ask(null); },
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.target.matches("input, select, summary") || (event.key === " " && event.target.matches("button"))) return;
    const action = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action(event.shiftKey);
  });
  document.documentElement.classList.add("js");
  seek(0, { quiet: true });
})();
