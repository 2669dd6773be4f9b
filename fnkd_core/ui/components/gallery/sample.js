// One sample in full: its picture, what each model says of it, its classes under each rule, and its neighbours.

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined) node.setAttribute(name, value);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function button(name, text, act, attributes = {}) {
  const node = element("button", { type: "button", "data-name": name, ...attributes }, text);
  node.addEventListener("click", act);
  return node;
}

const hidden = (text) => element("span", { class: "hidden" }, text);
// A name that is joined by underscores may be broken after them, where a tile is narrow.
const broken = (name) => name.split(/(?<=_)/).flatMap((part, i) => (i ? [document.createElement("wbr"), part] : [part]));
// A label, and the new one that a selection gives in its place. named: whether the selection stands there to be read.
function labelOf({ label, new: given }, named) {
  if (!given) return broken(label);
  const by = ` (selection ${given.by})`;
  return [label, element("span", { "aria-hidden": "true" }, " → "), hidden(", new label "),
    element("b", {}, given.label), named ? by : hidden(by)];
}
const spelt = ({ label, new: given }) => (given ? `label ${label} → ${given.label} (selection ${given.by})` : label);
const number = (p) => (p >= 0.9995 ? "1.000" : p >= 0.0005 ? p.toFixed(3).slice(1) : p > 0 ? "<.001" : "0");

const TALLEST = 340;

// The picture, with what a network reads of it outlined, or that itself.
function pictured(sample, kept) {
  const image = element("img", { alt: `Sample ${sample.id}, ${sample.label}` });
  const outline = element("div", { class: "outline", hidden: "" });
  const frame = element("div", { class: "picture" }, element("div", { class: "around" }, image, outline));
  const note = element("p", { class: "soft" });
  const views = [{ name: "Picture", src: sample.picture.src, note: sample.picture.note },
    ...sample.reads.map((read) => ({ name: `Read by ${read.who}`, src: read.src, note: read.note }))];
  image.addEventListener("load", () => {
    const { naturalWidth, naturalHeight } = image;
    const side = Math.max(naturalWidth, naturalHeight);
    image.classList.toggle("crisp", side <= 64 || kept.view > 0);
    // Of the picture's own shape, so that shares of the element, which the outline is given in, are shares of it.
    const shown = side <= 256 || kept.view > 0 ? Math.max(side, 224) : side;
    const scale = Math.min(shown / side, TALLEST / naturalHeight);
    image.style.setProperty("--wide", `${naturalWidth * scale}px`);
  });
  const buttons = views.map((view, i) => button(`view ${i}`, view.name, () => choose(i), { class: "choice" }));
  function choose(i) {
    kept.view = i;
    image.src = views[i].src;
    note.textContent = views[i].note;
    note.hidden = !views[i].note;
    const part = i === 0 && sample.reads.length ? sample.reads[0].part : null;
    outline.hidden = !part;
    if (part) ["left", "top", "width", "height"].forEach((side, k) => { outline.style[side] = `${100 * part[k]}%`; });
    buttons.forEach((one, k) => one.setAttribute("aria-pressed", String(k === i)));
  }
  choose(Math.min(kept.view, views.length - 1));
  if (views.length > 1) frame.append(element("div", { class: "choices", role: "group", "aria-label": "View" }, ...buttons));
  frame.append(note);
  return frame;
}

function facts(sample) {
  return element("div", { class: "models" }, ...sample.models.map((model) => element("dl", { class: model.role },
    element("dt", {}, element("span", { class: "mark", "aria-hidden": "true" }), `${model.title}: ${model.name}`),
    element("dd", { class: model.correct ? "" : "wrong" }, `${model.correct ? "Right" : "Wrong"}: `,
      element("b", {}, model.predicts), `, ${model.confidence}`),
    element("dd", {}, element("b", { class: "mono" }, `‖f‖ ${model.norm}`), `, ${model.standing}`),
    element("dd", { class: "soft" }, model.standing_in_class))));
}

// Rows are classes that both models share; a cell has a bar for each model, of the column's own scale.
function classTable(sample) {
  const roles = sample.models.map((model) => model.role);
  const head = element("tr", {}, element("th", { scope: "col" }, "Class"), ...sample.rules.map((rule) =>
    element("th", { scope: "col" }, rule.name, ...rule.notes.map((note) => element("small", {}, note)))));
  const rows = sample.rows.map((row) => element("tr", { class: row.is_label ? "label" : "" },
    element("th", { scope: "row" }, row.name, row.is_label ? element("small", {}, "label") : null),
    ...row.values.map((values, i) => element("td", {}, ...values.map((p, k) => {
      const bar = element("span", { class: `bar ${roles[k]}` });
      bar.style.setProperty("--share", `${100 * Math.min(p / (sample.most[i] || 1), 1)}%`);
      return element("span", { class: "line" }, hidden(`${roles[k]} `), element("span", { class: "track" }, bar),
        element("span", { class: "mono" }, number(p)));
    })))));
  if (sample.rest) rows.push(element("tr", { class: "rest" }, element("th", { scope: "row" }, sample.rest.name),
    ...sample.rest.values.map((values) => element("td", {}, ...values.map((p, k) => element("span", { class: "line" },
      hidden(`${roles[k]} `), element("span", { class: "track" }), element("span", { class: "mono" }, number(p))))))));
  return element("table", {}, element("caption", { class: "soft" }, sample.rules_note), element("thead", {}, head),
    element("tbody", {}, ...rows));
}

function neighbours(sample, on) {
  const choices = sample.metrics.map((metric) => button(`metric ${metric}`, metric, () => on("metric", metric),
    { class: "choice", "aria-pressed": String(metric === sample.metric) }));
  const section = element("section", { "aria-label": "Nearest neighbours" }, element("div", { class: "title" },
    element("h3", {}, "Nearest neighbours"),
    element("div", { class: "choices", role: "group", "aria-label": "Distance" }, ...choices)));
  for (const group of sample.neighbours) {
    section.append(element("p", { class: "soft" }, group.title));
    if (group.items) section.append(element("div", { class: "near" }, ...group.items.map((item) => {
      const wrong = item.predicted !== null;
      const image = element("img", { src: item.src, alt: "", loading: "lazy" });
      image.addEventListener("load", () => image.classList.toggle("crisp", image.naturalWidth <= 64));
      return button(`near ${group.role} ${item.id}`, "", () => on("opened", item.id), { class: wrong ? "wrong" : "" })
        .appendChild(image).parentElement.appendChild(element("span", {}, item.label,
          wrong ? element("span", { class: "predicted" }, element("span", { "aria-hidden": "true" }, "→ "),
            hidden("predicted "), item.predicted) : null,
          element("small", { class: "mono" }, hidden("distance "), item.distance))).parentElement;
    })));
    if (group.ask) section.append(button(`ask ${group.role}`, group.ask, () => on("asked", sample.id), { class: "plain" }));
  }
  return section;
}

function copyLink(sample) {
  const node = button("link", "Copy link", async () => {
    const url = new URL(location.href);
    if (!sample.closes) {  // of another page, from which the Gallery takes the data and the models
      url.pathname = url.pathname.replace(/[^/]*$/, "gallery");
      for (const name of [...url.searchParams.keys()]) if (!["dataset", "labels", "split", "students", "teacher", "student"].includes(name)) url.searchParams.delete(name);
    }
    url.searchParams.set("sample", sample.id);
    try {
      await navigator.clipboard.writeText(url.href);
      node.textContent = "Copied";
      node.addEventListener("blur", () => { node.textContent = "Copy link"; }, { once: true });
    } catch {  // a page that is not served safely may not write there: the link is shown to be taken by hand
      const field = element("input", { readonly: "", "aria-label": "Link to this sample", value: url.href });
      node.after(field);
      field.focus();
      field.select();
    }
  }, { class: "plain" });
  return node;
}

// on: what is told to Python, by name. kept: what stays from one sample to the next.
function samplePanel(sample, on, kept, tagged) {
  const step = (name, text, to) => button(name, text, () => on("opened", to), { class: "plain", ...(to === null ? { disabled: "" } : {}) });
  const walk = sample.closes ? [step("previous", "Previous", sample.previous), step("next", "Next", sample.next)] : [];
  const tools = element("div", { class: "tools" }, ...walk, copyLink(sample));
  if (tagged !== null) tools.append(button("tag", tagged ? "Tagged" : "Tag", () => on("tag", sample.id),
    { class: "plain", "aria-pressed": String(tagged) }));
  if (sample.closes) tools.append(button("close", "Close", () => on("opened", null), { class: "plain" }));
  return [
    element("header", {}, element("div", { class: "title" }, element("h2", {}, "Label: ", ...labelOf(sample, true)),
      element("p", { class: "soft" }, sample.place)), tools),
    pictured(sample, kept),
    element("p", { class: "soft key" }, `#${sample.id}, ${sample.key}`, sample.path ? element("code", {}, sample.path) : null),
    facts(sample), classTable(sample), neighbours(sample, on),
  ];
}
