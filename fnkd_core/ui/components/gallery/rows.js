// A long order of tiles: those around what is in sight are here, the rest is room, so that the scrollbar tells the truth.
// All rows are of one height, that of the tallest that was seen; so the place of a row follows from its number alone.

const TALLEST_CANVAS = 8e6;  // pixels; Firefox ends at 17.9 million, Chromium at 33.5
const MOST_TILES = 600;
const REST_MS = 150, LOST_MS = 10000;

function startRows(root) {
  const canvas = element("div", { class: "canvas" }), strip = element("div", { class: "strip" });
  canvas.append(strip);
  const heads = element("div", { class: "heads" });
  root.grid.replaceChildren(heads, canvas);
  root.grid.tabIndex = -1;
  root.rows = { heads, canvas, strip, grids: [], at: 1, top: 0, last: 0, row: 0, columns: 1, known: new Map(), pictures: new Map() };
  root.grid.addEventListener("scroll", () => scrolled(root));
  for (const name of ["wheel", "pointerdown"]) root.grid.addEventListener(name, () => { root.rows.pending = null; }, { passive: true });
}

// Cells that stay are not touched, so that nothing flickers and focus is kept.
function sync(parent, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  let next = parent.firstElementChild;
  for (const node of nodes) {
    if (node === next) next = node.nextElementSibling;
    else parent.insertBefore(node, next);
  }
}

// A picture is known by its length and its end: no need to spell it out.
const brief = (name, value) => (name === "src" && value ? value.length + value.slice(-24) : value);

// make: of an item or a panel, its node.
function drawRows(root, data, make) {
  if (!root.rows) startRows(root);
  const rows = root.rows, { first, last, length } = data.rows, sections = data.panels.some((panel) => panel.split !== undefined);
  const lists = sections ? [data.panels] : data.panels.map((panel) => panel.items);
  const look = JSON.stringify([data.density, data.size, sections, lists.length]);
  if (rows.look !== look) {
    Object.assign(rows, { look, row: 0, known: new Map() });
    rows.grids = lists.map(() => element(sections ? "div" : "section", { class: sections ? "grid of-sections" : "grid" }));
    rows.strip.replaceChildren(...rows.grids);
    rows.titles = sections ? [] : lists.map(() => ({ title: element("h2"), note: element("p") }));
    rows.heads.replaceChildren(...rows.titles.map(({ title, note }) => element("div", {}, title, note)), root.ways);
    root.grid.style.setProperty("--lists", lists.length);
  }
  root.grid.className = `gallery scrolls ${data.density}`;
  Object.assign(rows, { first, beyond: last, length, sections, asked: null, counts: sections ? [length] : data.panels.map((panel) => panel.count) });
  rows.titles.forEach(({ title }, i) => {
    title.textContent = data.panels[i].title;
    rows.grids[i].setAttribute("aria-label", data.panels[i].title);
  });
  const pictures = new Map();
  rows.lacks = false;
  for (const item of data.panels.flatMap((panel) => panel.items)) {
    item.src ??= rows.pictures.get(item.id);
    if (item.src === undefined) rows.lacks = true;
    pictures.set(item.id, item.src);
  }
  rows.pictures = pictures;
  const active = root.getRootNode().activeElement, held = root.grid.contains(active), known = new Map();
  const tagged = new Set(data.tagged ?? []);
  lists.forEach((cells, list) => sync(rows.grids[list], cells.map((cell, i) => {
    const ids = (cell.items ?? [cell]).map((item) => tagged.has(item.id));
    const key = JSON.stringify([list, first + i, ids, cell, data.density], brief);
    const node = rows.known.get(key) ?? make(cell);
    node.dataset.cell = first + i;
    known.set(key, node);
    return node;
  })));
  rows.known = known;
  // It was tagged, and is another one now; or it was scrolled away.
  const again = active?.dataset.id && root.grid.querySelector(`.tile[data-id="${active.dataset.id}"]`);
  if (held && !root.grid.contains(root.getRootNode().activeElement)) (again || root.grid).focus({ preventScroll: true });
}

const rowOf = (rows, cell) => Math.floor(cell / rows.columns);
const cellsOf = (rows) => rows.grids.flatMap((grid) => [...grid.children]);

function extent(root) {
  const { rows } = root;
  const total = Math.ceil(rows.length / rows.columns) * rows.row, shown = Math.min(total, TALLEST_CANVAS);
  const view = Math.max(root.grid.clientHeight - rows.heads.offsetHeight, 1);
  const end = Math.max(total - view, 0);
  return { shown, view, end, ratio: shown < total ? end / Math.max(shown - view, 1) : 1 };
}

// After the width, the look or the cells have changed: the same place stays at the top.
function measure(root) {
  const { rows } = root;
  if (!root.grid.clientWidth || !rows.grids.length) return;
  const beside = rows.row ? rows.top / rows.row - rowOf(rows, rows.at - 1) : null;
  const style = getComputedStyle(rows.grids[0]);
  const columns = style.gridTemplateColumns.split(" ").length, gap = parseFloat(style.rowGap) || 0;
  if (columns !== rows.columns || rows.width !== root.grid.clientWidth) rows.row = 0;
  Object.assign(rows, { columns, width: root.grid.clientWidth });
  cellsOf(rows).forEach((cell) => { cell.style.gridColumnStart = ""; });
  const tallest = Math.ceil(Math.max(1, ...cellsOf(rows).map((cell) => cell.offsetHeight)));
  rows.row = Math.max(rows.row, tallest + gap);
  root.grid.style.setProperty("--row", `${rows.row}px`);
  root.grid.style.setProperty("--gap", `${gap}px`);
  rows.grids.forEach((grid) => { if (grid.firstElementChild) grid.firstElementChild.style.gridColumnStart = (rows.first % columns) + 1; });
  rows.canvas.style.height = `${extent(root).shown}px`;
  goTo(root, beside === null ? 0 : (rowOf(rows, rows.at - 1) + beside) * rows.row);
}

function goTo(root, top) {
  const { rows } = root, { end, ratio } = extent(root), before = rows.last;
  rows.top = Math.min(Math.max(top, 0), end);
  root.grid.scrollTop = rows.top / ratio;
  rows.last = root.grid.scrollTop;
  if (rows.last !== before) moves(root);
  if (ratio === 1) rows.top = rows.last;
  put(root);
}

// Bring a cell in sight, the shortest way.
function reveal(root, cell) {
  const { rows } = root, { view } = extent(root), at = rowOf(rows, cell) * rows.row;
  if (at < rows.top) goTo(root, at);
  else if (at + rows.row > rows.top + view) goTo(root, at + rows.row - view);
}

// A class can be taller than what is in sight: then its tile is what counts.
function revealTile(root, cell, tile) {
  reveal(root, cell);
  if (!tile) return;
  const of = tile.getBoundingClientRect(), all = root.grid.getBoundingClientRect();
  const over = Math.min(of.top - all.top - root.rows.heads.offsetHeight, 0) || Math.max(of.bottom - all.bottom, 0);
  if (over) goTo(root, root.rows.top + over);
}

function inSight({ rows }, view) {
  const from = Math.max(Math.round(rows.top / rows.row), 0);
  return { from, to: Math.max(Math.ceil((rows.top + view) / rows.row), from + 1) };
}

function put(root) {
  const { rows } = root, { view } = extent(root);
  rows.strip.style.top = `${rowOf(rows, rows.first) * rows.row - (rows.top - rows.last)}px`;
  const { from, to } = inSight(root, view);
  // A place is the place as long as its row is the first in sight; to lay it out again moves it by less than two pixels.
  if (Math.abs(rows.top - rowOf(rows, rows.at - 1) * rows.row) > rows.row / 2 + 2) rows.at = Math.min(from * rows.columns, rows.length - 1) + 1;
  rows.titles.forEach(({ note }, list) => {
    const count = rows.counts[list], text = (number) => number.toLocaleString("en-US");
    const said = count > from * rows.columns
      ? `${text(from * rows.columns + 1)} to ${text(Math.min(to * rows.columns, count))} of ${text(count)}` : `None of ${text(count)}`;
    if (note.textContent !== said) note.textContent = said;
  });
  showPlace(root);
}

// The place in sight stands in a field, but where another is being written.
function showPlace(root) {
  const { rows, place } = root;
  place.parentElement.hidden = rows.length < 2;
  place.max = rows.length;
  if (!root.writes) place.value = rows.at;
}

// By number. What was told before that, and is answered later, does not lead away again.
function toPlace(root, number) {
  const { rows } = root;
  root.writes = false;
  Object.assign(rows, { pending: null, goes: true, since: told.n + 1 });
  rows.at = Math.min(Math.max(Math.round(number), 1), rows.length);
  goTo(root, rowOf(rows, rows.at - 1) * rows.row);
  ask(root);
}

// Where the canvas is shorter than the rows are together, a small step is of so many pixels as it looks, and a large one
// is of the share of the whole that the scrollbar says.
function scrolled(root) {
  const { rows } = root, { end, ratio, view } = extent(root);
  const step = root.grid.scrollTop - rows.last;
  rows.last += step;
  rows.top = ratio === 1 ? rows.last : Math.abs(step) > view ? rows.last * ratio : Math.min(Math.max(rows.top + step, 0), end);
  put(root);
  moves(root);
  ask(root);
  meet(root);
}

function moves(root) {
  clearTimeout(root.rows.rest);
  root.rows.rest = setTimeout(() => rested(root), REST_MS);
}

function rested(root) {
  root.rows.rest = null;
  if (!root.isConnected) return;
  if (extent(root).ratio !== 1) goTo(root, root.rows.top);
  ask(root);
  stopAt(root, root.at);
}

// Ask for the cells around what is in sight, where they are not all here; and tell the place, once it rests there, where
// the server has another. What cannot be told now, since it is at work, is told when it has answered.
function ask(root) {
  const { rows } = root, { view } = extent(root), { from, to } = inSight(root, view);
  if (rows.went === undefined) return;  // not yet where it begins
  if (rows.asked && performance.now() - rows.asked < LOST_MS) return;
  const tiles = rows.grids.length * rows.columns * (rows.sections ? 8 : 1);
  const around = Math.min(Math.max(Math.floor((MOST_TILES / tiles - (to - from)) / 2), 1), 2 * (to - from));
  const cells = (margin) => [Math.max(from - margin, 0) * rows.columns, Math.min((to + margin) * rows.columns, rows.length)];
  const [first, last] = cells(Math.ceil(around / 2));
  const lacks = rows.lacks || first < rows.first || last > rows.beyond;
  if (!lacks && (rows.rest || rows.at === root.data.rows.at)) return;
  rows.asked = performance.now();
  const wanted = lacks ? cells(around) : [rows.first, rows.beyond];
  // Pictures that are here are not sent again.
  root.tell("scrolled", { first: wanted[0], last: wanted[1], at: rows.at, went: rows.went, goes: Boolean(rows.goes),
    known: rows.lacks ? [0, 0] : [rows.first, rows.beyond] });
  rows.goes = false;
}

// What is shown has been drawn: to the place that it is to be at, and on from there.
function settle(root, go) {
  const { rows } = root;
  measure(root);
  if (!rows.row) return;  // it is out of sight as yet
  if (rows.went !== go.n && !(root.data.heard < rows.since)) {
    rows.at = go.top ? go.cell + 1 : rows.at;
    if (go.top) goTo(root, rowOf(rows, go.cell) * rows.row);
    else revealTile(root, go.cell, root.grid.querySelector("[aria-current]"));
  }
  rows.went = go.n;
  ask(root);
  meet(root);
}

function placeOf({ rows }, tile) {
  const cell = tile.closest("[data-cell]");
  return { list: rows.grids.indexOf(cell.parentElement), cell: Number(cell.dataset.cell) };
}

// Focus for a cell that may not be here yet. end: the last tile of a class, not its first.
function focusCell(root, list, cell, end = false) {
  root.rows.pending = { list, cell, end };
  reveal(root, cell);
  meet(root);
  ask(root);
}

function meet(root) {
  const { rows } = root, { list, cell, end } = rows.pending ?? {};
  const found = rows.pending && [...rows.grids[list].children].find((one) => one.dataset.cell === String(cell));
  if (!found) return;
  rows.pending = null;
  const tiles = found.matches(".tile") ? [found] : [...found.querySelectorAll(".tile")];
  tiles.at(end ? -1 : 0)?.focus();
}

// An arrow beyond the tiles that are here: its tile has the focus as soon as it is. True where there is one.
function onwards(root, event, on) {
  const cell = root.rows && on.closest("[data-cell]");
  if (!cell) return false;
  const { list, cell: at } = placeOf(root, on), { columns, counts } = root.rows;
  const to = at + ({ ArrowDown: columns, ArrowUp: -columns, ArrowRight: 1, ArrowLeft: -1 }[event.key] ?? 0);
  if (to === at || to < 0 || to >= counts[list]) return false;
  focusCell(root, list, to);
  return true;
}

// Keys that lead to where no tiles may be yet. True where it is one.
function jumped(root, event, on) {
  const { rows } = root;
  if (!rows) return false;
  const cell = on?.closest("[data-cell]"), list = cell ? rows.grids.indexOf(cell.parentElement) : -1;
  const last = rows.grids.length - 1, far = (way) => {
    const step = Math.max(Math.floor(extent(root).view / rows.row), 1) * rows.columns * way;
    return Math.min(Math.max(Number(cell.dataset.cell) + step, 0), rows.counts[list] - 1);
  };
  if (event.key === "Home") focusCell(root, 0, 0);
  else if (event.key === "End") focusCell(root, last, rows.counts[last] - 1, true);
  else if (cell && event.key === "PageDown") focusCell(root, list, far(1));
  else if (cell && event.key === "PageUp") focusCell(root, list, far(-1));
  else if (!cell && event.target === root.grid && rows.on && event.key.startsWith("Arrow")) focusCell(root, rows.on.list, rows.on.cell);
  else return false;
  return true;
}
