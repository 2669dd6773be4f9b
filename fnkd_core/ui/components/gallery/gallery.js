// A gallery of samples: built anew when its data change, since a page of it is small. Arrow keys move, Enter opens.

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function tile(item, open) {
  const what = item.predicted === null ? item.label : `${item.label} → ${item.predicted}`;
  const image = element("img", { src: item.src, loading: "lazy", alt: "" });
  // Large pictures look worse with hard pixels.
  image.addEventListener("load", () => image.classList.toggle("smooth", image.naturalWidth > 64));
  const said = `norm ${item.norm}, ${item.label}` + (item.predicted === null ? "" : `, predicted ${item.predicted}`);
  const button = element("button", {
    type: "button", class: item.predicted === null ? "right" : "wrong", title: said, "aria-label": said, "data-id": item.id,
  }, image, element("span", { class: "norm" }, item.norm), element("span", { class: "what" }, what));
  button.addEventListener("click", () => open(item.id));
  return button;
}

function move(event) {
  const tiles = [...this.querySelectorAll("button")];
  const at = tiles.indexOf(event.target);
  if (at < 0) return;
  const top = (i) => tiles[i].getBoundingClientRect().top;
  const columns = Math.max(tiles.findIndex((_, i) => top(i) > top(0)), 0) || tiles.length;
  const to = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - columns, ArrowDown: at + columns,
    Home: 0, End: tiles.length - 1 }[event.key];
  if (to === undefined || !tiles[to]) return;
  event.preventDefault();
  tiles[to].focus();
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".gallery");
  const colours = getComputedStyle(root).getPropertyValue("--st-chart-categorical-colors").split(",");
  if (colours.length > 5) root.style.setProperty("--wrong", colours[5].trim());
  root.style.setProperty("--size", `${data.size}px`);
  root.open = (id) => setTriggerValue("opened", id);
  const shown = JSON.stringify(data.panels.map((p) => [p.title, p.note, p.items.map((i) => [i.id, i.norm, i.predicted])]));
  if (root.shown === shown) return;
  root.shown = shown;
  root.replaceChildren(...data.panels.map((panel) => {
    const grid = element("div", { class: "grid" }, ...panel.items.map((item) => tile(item, (id) => root.open(id))));
    grid.addEventListener("keydown", move);
    const section = element("section", { "aria-label": panel.title }, element("h2", {}, panel.title));
    if (panel.note) section.append(element("p", {}, panel.note));
    section.append(grid);
    return section;
  }));
}
