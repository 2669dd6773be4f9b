// What is drawn: one row of three distributions for each rule, the teacher filled and the student an outline.

const SVG = ["svg", "path", "line", "rect", "g"];

function element(tag, attributes = {}, ...children) {
  const node = SVG.includes(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

const nameOf = (node) => node.dataset.name ?? node.getAttribute("aria-label") ?? node.textContent;

// New children in place of the old ones; the control of the same name has the focus that its forerunner had.
function refill(parent, ...children) {
  const active = parent.getRootNode().activeElement, name = parent.contains(active) ? nameOf(active) : null;
  parent.replaceChildren(...children);
  if (name === null) return;
  const controls = [...parent.querySelectorAll("button, select, input")].filter((one) => !one.disabled);
  (controls.find((one) => nameOf(one) === name) ?? controls[0])?.focus({ preventScroll: true });
}

// What is drawn, in sentences that open; they are made where they are looked at.
class InWords {
  constructor(says) {
    this.says = says;
    this.text = element("div");
    this.node = element("details", { class: "words", ontoggle: () => this.tell() }, element("summary", {}, "In words"), this.text);
  }

  tell() {
    if (this.node.open) this.text.replaceChildren(...this.says().map((sentence) => element("p", {}, sentence)));
  }
}

// Mean, sd and both ends: "on average 4.10 (sd 0.52), 2.10 to 6.30".
function spread(values, scale) {
  let low = Infinity, high = -Infinity;
  for (const v of values) {
    if (v < low) low = v;
    if (v > high) high = v;
  }
  const [mean, sd] = moments(values);
  const [m, s, l, h] = [mean, sd, low, high].map((x) => number(x * scale));
  return l === h ? `${m} for each` : `on average ${m} (sd ${s}), ${l} to ${h}`;
}

function shape(shares, top, closed) {
  // An outline needs no line along the axis.
  if (!closed) {
    let d = "", pen = false;
    shares.forEach((share, b) => {
      const beside = (shares[b - 1] ?? 0) + (shares[b + 1] ?? 0);
      if (!share && !beside) { pen = false; return; }
      const y = (100 - (96 * share) / top).toFixed(2), x = (k) => ((k / BINS) * 100).toFixed(2);
      d += `${pen ? "L" : `M${x(b)} 100L`}${x(b)} ${y}L${x(b + 1)} ${y}`;
      pen = true;
    });
    return d || "M0 100";
  }
  let d = "M0 100";
  for (let b = 0; b < BINS; b++) {
    const y = (100 - (96 * shares[b]) / top).toFixed(2);
    d += `L${((b / BINS) * 100).toFixed(2)} ${y}L${(((b + 1) / BINS) * 100).toFixed(2)} ${y}`;
  }
  return d + "L100 100Z";
}

const onTemperatures = (t) => Math.log(t / T_LOW) / Math.log(T_HIGH / T_LOW);

// One quantity under one rule. roles: whose shapes it holds, the first one filled.
class Chart {
  constructor(title, place, ticks, scale, roles) {
    Object.assign(this, { place, scale, roles });
    this.shapes = roles.map((role, k) => element("path", { class: k ? "outline" : "fill", style: `--role: var(--${role})` }));
    this.means = roles.map((role) => element("line", { class: "mean", y1: 0, y2: 100, style: `--role: var(--${role})` }));
    this.numbers = roles.map((role) => element("span", { style: `--role: var(--${role})`, title: `${role}: mean ± sd` }));
    this.svg = element("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img", "aria-label": title },
      ...ticks.map(([at]) => element("line", { class: "grid", x1: at * 100, x2: at * 100, y1: 0, y2: 100 })),
      element("line", { class: "axis", x1: 0, x2: 100, y1: 100, y2: 100 }), ...this.shapes, ...this.means);
    this.nothing = element("div", { class: "nothing" }, "none: the label makes it");
    this.title = title;
    this.node = element("div", { class: "chart" }, element("div", { class: "numbers" }, ...this.numbers), this.svg, this.nothing);
  }

  // series: (N,) numbers for each role, or null where the rule has none.
  draw(series) {
    const none = series[0] === null;
    this.node.classList.toggle("empty", none);
    if (none) return;
    const parts = series.map((values) => histogram(values, this.place));
    // A single value fills one bin; it must not flatten the other distribution.
    const heights = parts.map((part) => Math.max(...part));
    const wide = heights.filter((h) => h < 0.98);
    const top = wide.length ? Math.max(...wide) : 1;
    let said = this.title;
    parts.forEach((part, k) => {
      this.shapes[k].setAttribute("d", shape(part.map((x) => Math.min(x, top)), top, !k));
      const [mean, sd] = moments(series[k]);
      const at = (100 * Math.min(Math.max(this.place(mean), 0), 1)).toFixed(2);
      this.means[k].setAttribute("x1", at);
      this.means[k].setAttribute("x2", at);
      const text = meanAndSd(mean * this.scale, sd * this.scale);
      // Two models share the line, in which so many characters have room for each.
      this.numbers[k].textContent = parts.length > 1 && text.length > 11 ? number(mean * this.scale) : text;
      this.numbers[k].title = `${this.roles[k]}: mean ± sd ${text}`;
      said += `, ${this.roles[k]} ${text}`;
    });
    this.svg.setAttribute("aria-label", said);
  }
}

const octaves = [0.25, 1, 4, 16, 64].map((t) => [onTemperatures(t), `${t}`]);

function quantities(classes) {
  const nats = Math.log(classes);
  return {
    temperature: ["temperature T_i", onTemperatures, octaves, 1],
    top: ["top probability", (p) => p, [[0, "0"], [0.5, "0.5"], [1, "1"]], 1],
    entropy: [`entropy, nats of ln ${classes}`, (h) => h, [[0, "0"], [0.5, number(nats / 2)], [1, number(nats)]], nats],
  };
}

function ticks(marks) {
  return element("div", { class: "ticks" }, ...marks.map(([at, text]) => element("span", { style: `left:${at * 100}%` }, text)));
}

// The rows of all drawn rules, under common axes.
class Rows {
  constructor(models, classes) {
    Object.assign(this, { models, kinds: quantities(classes) });
    this.node = element("div", { class: "rules" });
  }

  // A sentence for each rule and model: what its three distributions are.
  says() {
    const { rules, values } = this.drawn, kinds = Object.entries(this.kinds);
    return this.names.flatMap((name) => Object.entries(this.models).map(([role, model]) => {
      const found = model.under(name, rules[name], values);
      const said = kinds.map(([kind, [title, , , scale]]) => (found[kind] === null ? "no temperature, the label makes it"
        : `${title.replace(/, nats.*/, " in nats")} ${spread(found[kind], scale)}`));
      return `Under ${rules[name].title}, ${role}: ${said.join("; ")}.`;
    }));
  }

  // names: which rules, in their order.
  take(names, rules) {
    const roles = Object.keys(this.models), kinds = Object.entries(this.kinds);
    this.names = names;
    this.charts = {};
    this.node.style.setProperty("--height", names.length > 2 ? "64px" : "92px");
    this.node.replaceChildren(element("span", {}), ...kinds.map(([, [title]]) => element("span", { class: "title" }, title)));
    for (const name of names) {
      this.charts[name] = Object.fromEntries(kinds.map(([kind, [title, ...rest]]) =>
        [kind, new Chart(`${rules[name].title}: ${title}`, ...rest, roles)]));
      this.node.append(element("div", { class: "rule" }, element("b", {}, rules[name].title), element("small", {}, rules[name].says)),
        ...Object.values(this.charts[name]).map((chart) => chart.node));
    }
    this.node.append(element("span", {}), ...kinds.map(([, [, , marks]]) => ticks(marks)));
  }

  draw(rules, values) {
    this.drawn = { rules, values };
    const models = Object.values(this.models);
    for (const name of this.names) {
      const found = models.map((model) => model.under(name, rules[name], values));
      for (const [kind, chart] of Object.entries(this.charts[name])) chart.draw(found.map((one) => one[kind]));
    }
  }
}
