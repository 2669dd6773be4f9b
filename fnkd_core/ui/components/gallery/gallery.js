// Tiles, chips and keys, and the panel of `sample.js` beside them. A few tiles are built anew when they change; those of a
// long order are `rows.js`'s.

const KEYS = [["← → ↑ ↓", "move"], ["PageUp PageDown", "a screen on"], ["Home End", "first, last"], ["Enter", "open the image"], ["j k", "next, previous"],
  ["t", "tag the open image, else the one in focus"], ["Esc", "close the panel"], ["?", "these keys"]];

// Numbers rise from one to the next in all of the window: each element has a module of its own.
const told = (window.fnkdTold ??= { n: 0 });

function tile(item, tagged, density) {
  const wrong = item.predicted !== null;
  const image = element("img", { src: item.src, loading: "lazy", alt: "" });
  // Large pictures look worse with hard pixels.
  image.addEventListener("load", () => image.classList.toggle("crisp", image.naturalWidth <= 64));
  // Before any model has seen it a picture has no norm.
  const norm = item.norm ? [hidden("norm "), element("span", { class: "norm" }, item.norm), hidden(", ")] : [];
  const words = [...norm,
    ...item.more.map((text) => element("span", { class: "more" }, text)),
    element("span", { class: item.new ? "what given" : "what" }, item.new ? "label " : "", ...labelOf(item, false))];
  if (wrong) words.push(element("span", { class: "what predicted" }, element("span", { "aria-hidden": "true" }, "→ "),
    hidden(", predicted "), ...broken(item.predicted)));
  return element("button", { type: "button", class: `tile ${wrong ? "wrong" : "right"}`, "data-id": item.id, tabindex: -1,
    title: `${item.norm ? `norm ${item.norm}, ` : ""}${spelt(item)}${wrong ? `, predicted ${item.predicted}` : ""}` },
  image, element("span", { class: density === "pictures" ? "words hidden" : "words" }, ...words), tagged ? element("span", { class: "tag" }, hidden(", tagged")) : null);
}

function gridOf(panel, tagged, density) {
  const tiles = panel.items.map((item) => tile(item, tagged.has(item.id), density));
  if (panel.pairs) return element("div", { class: "grid of-pairs" }, ...tiles.filter((_, i) => i % 2 === 0)
    .map((first, i) => element("div", { class: "pair" }, first, tiles[2 * i + 1])));
  if (panel.split === undefined) return element("div", { class: "grid" }, ...tiles);
  return element("div", { class: "grid" }, element("h3", {}, panel.ends[0]), ...tiles.slice(0, panel.split),
    tiles.length > panel.split ? element("h3", {}, panel.ends[1]) : null, ...tiles.slice(panel.split));
}

function sectionOf(panel, tagged, density) {
  return element("section", { "aria-label": panel.title }, element("h2", {}, panel.title),
    panel.note ? element("p", {}, panel.note) : null, gridOf(panel, tagged, density));
}

function drawTiles(root, data) {
  const tagged = new Set(data.tagged ?? []);
  if (data.rows) {
    drawRows(root, data, (cell) => (cell.items ? sectionOf(cell, tagged, data.density) : tile(cell, tagged.has(cell.id), data.density)));
    return;
  }
  const shown = JSON.stringify([data.density, data.tagged, data.panels.map((p) => [p.title, p.note, p.items.map((i) => [i.id, i.norm, i.more, i.predicted])])]);
  if (root.shown === shown) return;
  root.shown = shown;
  root.grid.replaceChildren(...data.panels.map((panel) => sectionOf(panel, tagged, data.density)));
  root.grid.className = `gallery ${data.density}`;
}

// One tab stop: the tile that was last on, or the open one, or the first in sight.
function stopAt(root, id) {
  const tiles = [...root.grid.querySelectorAll(".tile")], top = root.rows ? root.grid.getBoundingClientRect().top : -Infinity;
  const at = tiles.find((one) => one.dataset.id === String(id)) ?? tiles.find((one) => one.dataset.id === root.at)
    ?? tiles.find((one) => one.getBoundingClientRect().top >= top) ?? tiles[0];
  tiles.forEach((one) => { one.tabIndex = one === at ? 0 : -1; });
  root.at = at?.dataset.id;
  return at;
}

function drawBar(root, data) {
  const chips = data.chips.map((chip) => {
    const node = element("button", { type: "button", class: "chip", "data-chip": chip.key }, chip.text,
      element("span", { "aria-hidden": "true" }, " ×"), hidden(" remove"));
    node.addEventListener("click", () => root.tell("removed", chip.key));
    return node;
  });
  root.bar.replaceChildren(...chips);
  root.bar.hidden = !chips.length;
}

function toggleHelp(root) {
  root.help.hidden = !root.help.hidden;
  root.key.setAttribute("aria-expanded", String(!root.help.hidden));
  if (!root.help.hidden) {
    root.back = root.getRootNode().activeElement;
    root.help.focus();
  } else root.back?.focus?.();
}

function drawSample(root, data) {
  const sample = data.sample, before = root.open;
  const focused = root.getRootNode().activeElement?.dataset.name;
  root.open = sample ? sample.id : null;
  root.body.classList.toggle("open", Boolean(sample) && !data.alone);
  root.body.classList.toggle("alone", data.alone);
  root.side.hidden = !sample;
  const tagged = sample && data.tagged !== null ? data.tagged.includes(sample.id) : null;
  const shown = JSON.stringify([sample, tagged]);
  if (sample && root.inside !== shown) {
    root.side.setAttribute("aria-label", `Sample ${sample.id}`);
    root.side.replaceChildren(...samplePanel(sample, root.tell, root.kept, tagged));
    if (before !== sample.id) {
      root.side.scrollTop = 0;
      root.live.textContent = `Sample ${sample.id}, ${sample.new ? "" : "label "}${spelt(sample)}, ${sample.place}`;
    }
    const again = [...root.side.querySelectorAll("button")].find((one) => one.dataset.name === focused && !one.disabled);
    if (root.side.contains(again)) again.focus();
    else if (root.within === "side") root.side.focus();
  }
  root.inside = sample ? shown : null;
  for (const one of root.grid.querySelectorAll(".tile")) {
    if (one.dataset.id === String(root.open)) one.setAttribute("aria-current", "true"); else one.removeAttribute("aria-current");
  }
  const at = stopAt(root, root.open ?? before);
  // Focus comes back to the tile: when the panel is closed, and when the page of tiles was built anew under it.
  if (root.rows && root.open !== null) root.rows.opened = at?.dataset.id === String(root.open) ? placeOf(root, at) : root.rows.opened;
  if (before !== undefined && before !== null && !sample) {
    if (root.rows?.opened && at?.dataset.id !== String(before)) focusCell(root, root.rows.opened.list, root.rows.opened.cell);
    else at?.focus();
  }
  else if (root.within === "grid" && !root.grid.contains(root.getRootNode().activeElement)) at?.focus();
}

function moved(root, event) {
  const tiles = [...root.grid.querySelectorAll(".tile")];
  const at = tiles.indexOf(event.target.closest?.(".tile"));
  if (at < 0) return undefined;
  const place = (one) => one.getBoundingClientRect();
  const own = place(tiles[at]), middle = (box) => box.left + box.width / 2;
  // Where two lists stand beside each other, a row is of both.
  const across = (right) => {
    const way = right ? 1 : -1;
    const beside = tiles.filter((one) => Math.abs(place(one).top - own.top) < 2 && way * (place(one).left - own.left) > 1)
      .sort((a, b) => way * (place(a).left - place(b).left))[0];
    if (beside) return beside;
    const row = beyond(right);
    return row && tiles.filter((one) => Math.abs(place(one).top - place(row).top) < 2)
      .sort((a, b) => way * (place(a).left - place(b).left))[0];
  };
  const side = root.rows?.grids.length > 1 ? across : (right) => tiles[at + (right ? 1 : -1)];
  const beyond = (down) => {
    const others = tiles.filter((one) => (down ? place(one).top >= own.bottom - 1 : place(one).bottom <= own.top + 1));
    const rows = others.map((one) => place(one).top);
    const row = down ? Math.min(...rows) : Math.max(...rows);
    return others.filter((one) => Math.abs(place(one).top - row) < 2)
      .sort((a, b) => Math.abs(middle(place(a)) - middle(own)) - Math.abs(middle(place(b)) - middle(own)))[0];
  };
  return { ArrowLeft: () => side(false), ArrowRight: () => side(true), ArrowUp: () => beyond(false),
    ArrowDown: () => beyond(true), Home: () => tiles[0], End: () => tiles.at(-1) }[event.key]?.();
}

function pressed(root, event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input")) return;
  const sample = root.data.sample;
  const done = () => { event.preventDefault(); event.stopPropagation(); };
  if (root.grid.contains(event.target) && jumped(root, event, event.target)) {
    done();
    return;
  }
  const to = moved(root, event);
  if (to) {
    done();
    to.focus();
  } else if (event.target.matches(".tile") && onwards(root, event, event.target)) {
    done();
  } else if (event.key === "Escape" && !root.help.hidden) {
    done();
    toggleHelp(root);
  } else if (event.key === "Escape" && sample?.closes) {
    done();
    root.tell("opened", null);
  } else if ((event.key === "j" || event.key === "k") && sample) {
    done();
    const next = event.key === "j" ? sample.next : sample.previous;
    if (next !== null) root.tell("opened", next);
  } else if (event.key === "j" || event.key === "k") {
    done();
    const way = event.key === "j" ? 1 : -1, tiles = [...root.grid.querySelectorAll(".tile")], { rows } = root;
    if (rows?.on && !rows.sections) focusCell(root, rows.on.list, Math.min(Math.max(rows.on.cell + way, 0), rows.counts[rows.on.list] - 1));
    else tiles[tiles.findIndex((one) => one.dataset.id === root.at) + way]?.focus();
  } else if (event.key === "t" && root.data.tagged !== null) {
    done();
    const on = root.open ?? event.target.closest?.(".tile")?.dataset.id;
    if (on !== null && on !== undefined) root.tell("tag", Number(on));
  } else if (event.key === "?") {
    done();
    toggleHelp(root);
  }
}

// A place that is written counts when Enter is pressed; the arrows go a row on or back.
function placeField(root) {
  const field = element("input", { type: "number", min: 1, "aria-label": "Go to place",
    title: "The place in this order that is in sight; another number and Enter go there" });
  const leave = () => {
    root.writes = false;
    showPlace(root);
  };
  field.addEventListener("input", () => { root.writes = true; });
  field.addEventListener("blur", leave);
  field.addEventListener("keydown", (event) => {
    const rows = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (rows) {
      event.preventDefault();
      toPlace(root, root.rows.at + rows * root.rows.columns);
    } else if (event.key === "Enter" && field.value !== "") toPlace(root, Number(field.value));
    else if (event.key === "Enter" || event.key === "Escape") leave();
  });
  return field;
}

function build(root) {
  root.bar = element("div", { class: "bar-of-filters" });
  root.grid = element("div", { class: "gallery" });
  root.side = element("aside", { tabindex: -1, hidden: "" });
  root.body = element("div", { class: "body" }, root.grid, root.side);
  root.live = element("div", { class: "hidden", "aria-live": "polite" });
  root.help = element("div", { class: "help", role: "dialog", "aria-label": "Keys", tabindex: -1, hidden: "" },
    element("h2", {}, "Keys"), element("dl", {}, ...KEYS.flatMap(([keys, does]) => [
      element("dt", {}, ...keys.split(" ").flatMap((key) => [element("kbd", {}, key), " "])), element("dd", {}, does)])));
  root.key = button("help", "?", () => toggleHelp(root), { class: "plain help-key", "aria-label": "Keys", title: "Keys", "aria-expanded": "false" });
  root.place = placeField(root);
  root.ways = element("span", { class: "ways" }, element("label", {}, "Place ", root.place), root.key);
  root.replaceChildren(root.bar, root.help, root.body, root.live);
  root.kept = { view: 0 };
  root.grid.addEventListener("click", (event) => {
    const on = event.target.closest(".tile");
    if (on) root.tell("opened", Number(on.dataset.id));
  });
  root.addEventListener("focusin", (event) => {
    root.within = root.side.contains(event.target) ? "side" : root.grid.contains(event.target) ? "grid" : "bar";
    const on = event.target.closest(".tile");
    if (on) stopAt(root, on.dataset.id);
    if (on && root.rows) root.rows.on = placeOf(root, on);
  });
  root.addEventListener("focusout", (event) => { if (event.relatedTarget) root.within = undefined; });
  root.addEventListener("keydown", (event) => pressed(root, event));
  root.widths = new ResizeObserver(() => {
    root.body.classList.toggle("narrow", root.clientWidth > 0 && root.clientWidth < 600 && !root.data.alone);
    if (root.rows && root.rows.width !== root.grid.clientWidth) settle(root, root.data.rows.go);
  });
  root.widths.observe(root);
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".frame");
  const colours = getComputedStyle(root).getPropertyValue("--st-chart-categorical-colors").split(",");
  if (colours.length > 5) [["--teacher", 0], ["--student", 1], ["--wrong", 5]].forEach(([name, i]) => root.style.setProperty(name, colours[i].trim()));
  root.style.setProperty("--size", `${data.size}px`);
  // Of what is told while the server is at work, it hears only the last: so all that it has not heard is told together.
  root.untold = (root.untold ?? []).filter(({ n }) => n > data.heard);
  root.tell = (name, value) => {
    root.untold.push({ n: (told.n += 1), name, value });
    setTriggerValue("told", root.untold);
  };
  root.data = data;
  if (!root.grid) build(root);
  drawBar(root, data);
  drawTiles(root, data);
  drawSample(root, data);
  if (data.rows) settle(root, data.rows.go);
}
