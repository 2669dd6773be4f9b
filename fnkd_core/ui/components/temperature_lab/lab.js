// The temperature lab. Everything that moves while a slider is dragged is computed here; Python hears of the
// values when the slider is released. Called again whenever data or theme change, so it builds once and then
// only takes in what is new.

function element(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "rect"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

function outline(shares, top, closed) {
  let d = "M0 100";
  for (let b = 0; b < BINS; b++) {
    const y = (100 - (96 * shares[b]) / top).toFixed(2);
    d += `L${((b / BINS) * 100).toFixed(2)} ${y}L${(((b + 1) / BINS) * 100).toFixed(2)} ${y}`;
  }
  return d + "L100 100" + (closed ? "Z" : "");
}

const onTemperatures = (t) => Math.log(t / T_LOW) / Math.log(T_HIGH / T_LOW);

class Chart {
  constructor(title, place, ticks, scale) {
    Object.assign(this, { place, scale });
    this.fill = element("path", { class: "fill" });
    this.outline = element("path", { class: "outline" });
    this.numbers = element("span", { class: "numbers" });
    this.node = element("div", { class: "chart" },
      element("div", { class: "title" }, element("span", {}, title), this.numbers),
      element("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img", "aria-label": title },
        element("line", { class: "axis", x1: 0, x2: 100, y1: 100, y2: 100 }), this.fill, this.outline),
      element("div", { class: "ticks" }, ...ticks.map(([at, text]) =>
        element("span", { style: `left:${at * 100}%` }, text))));
  }

  draw(kd, fn) {
    const a = histogram(kd, this.place), b = histogram(fn, this.place);
    // A single temperature fills one bin; it must not flatten the other distribution.
    const highest = Math.max(...b, Math.max(...a) > 0.98 ? 0 : Math.max(...a));
    this.outline.setAttribute("d", outline(a.map((x) => Math.min(x, highest)), highest, false));
    this.fill.setAttribute("d", outline(b, highest, true));
    const [ka] = moments(kd), [fa, fs] = moments(fn);
    const s = this.scale;
    this.numbers.textContent = `T ${number(ka * s)}  τ ${number(fa * s)} ± ${number(fs * s)}`;
  }
}

class Lab {
  constructor(root) {
    this.root = root;
    this.values = null;
    this.pending = false;
  }

  take({ data, setStateValue }) {
    this.send = setStateValue;
    const colours = getComputedStyle(this.root).getPropertyValue("--st-chart-categorical-colors").split(",");
    if (colours.length > 1) {
      this.root.style.setProperty("--teacher", colours[0].trim());
      this.root.style.setProperty("--student", colours[1].trim());
    }
    const what = JSON.stringify([Object.values(data.models).map((m) => [m.name, m.mean_norm, m.num_samples]), data.classes]);
    if (what !== this.what) {
      this.what = what;
      this.classes = data.classes;
      this.values = { ...data.values };
      this.models = Object.fromEntries(Object.entries(data.models).map(([role, m]) => [role, new Model(m)]));
      this.reference = this.models.teacher ?? this.models.student;
      this.build();
    }
    this.sample = data.sample;
    this.showSample();
    this.draw();
  }

  build() {
    const v = this.values;
    this.sliders = {};
    const control = (key, title, formula, low, high) => {
      const id = `lab-${key}`;
      const slider = element("input", { type: "range", id, min: 0, max: 1000, step: 1, "aria-label": title });
      const box = element("input", { type: "number", min: low, max: high, step: "any", "aria-label": `${title}, as a number` });
      const span = Math.log(high / low);
      const mark = () => {
        slider.style.setProperty("--at", `${slider.value / 10}%`);
        slider.setAttribute("aria-valuetext", number(this.values[key]));
      };
      const show = () => {
        slider.value = (1000 * Math.log(this.values[key] / low)) / span;
        mark();
        box.value = Number(this.values[key].toPrecision(3));
      };
      slider.addEventListener("input", () => {
        this.values[key] = Number((low * Math.exp((slider.value / 1000) * span)).toPrecision(3));
        box.value = this.values[key];
        mark();
        this.soon();
      });
      slider.addEventListener("change", () => this.release());
      box.addEventListener("change", () => {
        const x = Number(box.value);
        if (x > 0 && isFinite(x)) this.values[key] = Math.min(Math.max(x, low), high);
        show(); this.soon(); this.release();
      });
      this.sliders[key] = show;
      show();
      const node = element("div", {},
        element("div", { class: "row" }, element("label", { for: id }, title), box), slider);
      if (formula) node.append(formula);
      return node;
    };
    const mean = this.reference.meanNorm;
    const code = element("code");
    this.formula = code;
    const match = element("button", { type: "button", title: "Both rules then soften equally on average",
      onclick: () => { this.set({ tau: Number((mean / this.values.t).toPrecision(3)) }); } }, "Match: τ = mean‖f‖ / T");
    const choices = element("div", { class: "choices", role: "group", "aria-label": "Variant of FN" });
    for (const variant of ["paper", "released"]) {
      choices.append(element("button", { type: "button", "aria-pressed": String(variant === v.variant),
        onclick: () => this.set({ variant }) }, variant));
    }
    this.choices = choices;
    this.hand = element("div", { class: "hand" });
    this.gaugeText = element("span", { class: "numbers" });
    const gauge = element("div", { class: "gauge", role: "img" }, element("div", { class: "fit" }), this.hand,
      ...[[0, "0.1"], [0.5, "1"], [1, "10"]].map(([at, text]) =>
        element("span", { style: `left:${at * 100}%` }, text)));
    this.gauge = gauge;
    const controls = element("div", { class: "card controls" },
      control("t", "T, for every sample", element("code", {}, "q = softmax(v / T)"), T_LOW, T_HIGH),
      control("tau", "τ, for FN", code, mean / T_HIGH, mean / T_LOW),
      element("div", {}, match, this.note = element("div", { class: "note" })),
      element("div", { class: "row" }, element("span", { class: "name" }, "Variant"), choices),
      control("lambda", "λ, of weight λ²", null, 0.25, 16),
      element("div", {}, element("div", { class: "row" }, element("span", { class: "name" }, "λ²τ² / mean‖f‖²"), this.gaugeText),
        gauge, element("div", { class: "note" }, "The paper's rule for tuning: keep this near 1.")));

    const octaves = [0.25, 1, 4, 16, 64].map((t) => [onTemperatures(t), `${t}`]);
    const nats = Math.log(this.classes.length);
    const roles = Object.keys(this.models);
    const charts = element("div", { class: `charts ${roles.length > 1 ? "two" : ""}` },
      element("div", { class: "legend note" },
        element("span", {}, element("span", { class: "swatch", style: "--role: var(--soft)" }), "filled: τ / ‖f‖, each sample its own"),
        element("span", {}, element("span", { class: "swatch line" }), "outline: one T for all")));
    this.charts = {};
    for (const role of roles) {
      const model = this.models[role];
      charts.append(element("div", { class: "head", style: `--role: var(--${role})` }, element("span", { class: "swatch" }),
        element("span", { title: model.name }, `${role[0].toUpperCase()}${role.slice(1)}: ${model.name}`)));
      this.charts[role] = {
        temperature: new Chart("temperature T_i", onTemperatures, octaves, 1),
        top: new Chart("top probability", (p) => p, [[0, "0"], [0.5, "0.5"], [1, "1"]], 1),
        entropy: new Chart("entropy, nats", (h) => h, [[0, "0"], [0.5, number(nats / 2)], [1, `ln K = ${number(nats)}`]], nats),
      };
    }
    for (const quantity of ["temperature", "top", "entropy"]) {
      for (const role of roles) {
        const node = this.charts[role][quantity].node;
        node.style.setProperty("--role", `var(--${role})`);
        charts.append(node);
      }
    }
    const { drawn, total } = this.reference;
    charts.append(element("div", { class: "note", style: "grid-column: 1 / -1" },
      drawn || `All ${total.toLocaleString("en")} samples.`));
    this.picture = element("div", { class: "picture" });
    this.bars = element("div", { class: "charts" });
    this.root.replaceChildren(controls, element("div", { class: "card" }, charts),
      element("div", { class: "card sample" }, this.picture, this.bars));
  }

  set(change) {
    Object.assign(this.values, change);
    for (const show of Object.values(this.sliders)) show();
    this.draw();
    this.release();
  }

  // One drawing per frame, however many events the slider gives.
  soon() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => { this.pending = false; this.draw(); });
  }

  release() { this.send("values", { ...this.values }); }

  draw() {
    const v = this.values, mean = this.reference.meanNorm;
    const released = v.variant === "released";
    this.formula.textContent = released ? "q = softmax(W f / T_i + b),  T_i = max(1, ‖f‖ / τ)" : "q = softmax(τ v / ‖f‖)";
    for (const button of this.choices.children) button.setAttribute("aria-pressed", button.textContent === v.variant);
    const balance = (v.lambda * v.tau / mean) ** 2;
    this.hand.style.left = `${Math.min(Math.max(0.5 + Math.log10(balance) / 2, 0), 1) * 100}%`;
    this.gaugeText.textContent = number(balance);
    this.gauge.setAttribute("aria-label", `lambda squared tau squared over mean norm squared is ${number(balance)}`);
    this.note.textContent = `mean‖f‖ / τ = ${number(mean / v.tau)} against T = ${number(v.t)}`;
    for (const [role, model] of Object.entries(this.models)) {
      const { kd, fn } = model.under(v);
      for (const [quantity, chart] of Object.entries(this.charts[role])) chart.draw(kd[quantity], fn[quantity]);
    }
    this.drawBars();
  }

  go(rank) {
    const to = Math.min(Math.max(rank, 0), this.sample.count - 1);
    if (to !== this.sample.rank) this.send("rank", to);
  }

  showSample() {
    const s = this.sample, last = s.count - 1;
    const button = (text, title, rank) =>
      element("button", { type: "button", title, disabled: rank < 0 || rank > last || rank === s.rank,
        onclick: () => this.go(rank) }, text);
    const norms = Object.entries(s.models).map(([role, m]) =>
      element("div", { class: "note" }, `${role} ‖f‖ ${number(m.norm)}, predicts ${this.classes[m.prediction]}`));
    this.picture.replaceChildren(
      element("div", { class: "name" }, "One sample's target"),
      element("img", { src: s.image, alt: `sample ${s.id}, label ${this.classes[s.label]}` }),
      element("div", {}, `label ${this.classes[s.label]}`), ...norms,
      element("div", { class: "note" }, `norm rank ${(s.rank + 1).toLocaleString("en")} of ${s.count.toLocaleString("en")}, 1 is the lowest`),
      element("div", { class: "steps" }, button("Lowest", "lowest norm", 0), button("‹", "next lower norm", s.rank - 1),
        button("Middle", "median norm", Math.floor(last / 2)), button("›", "next higher norm", s.rank + 1),
        button("Highest", "highest norm", last)));
  }

  drawBars() {
    const s = this.sample, v = this.values;
    if (!s) return;
    const tables = Object.entries(s.models).map(([role, m]) => {
      const t = temperature(m.norm, v);
      const kd = softmax(m.logits, v.t), fn = softmax(m.logits, t, v.variant === "released" ? m.bias : null);
      const order = m.logits.map((_, k) => k).sort((a, b) => m.logits[b] - m.logits[a]);
      const shown = order.slice(0, 6);
      if (!shown.includes(s.label)) shown[shown.length - 1] = s.label;
      const table = element("div", { class: "bars", style: `--role: var(--${role})` },
        element("span", {}, role), element("span", { class: "column" }, "one-hot"),
        element("span", { class: "column" }, `T = ${number(v.t)}`),
        element("span", { class: "column" }, `τ / ‖f‖: T_i = ${number(t)}`));
      for (const k of shown) {
        table.append(element("span", { class: `class ${k === s.label ? "label" : ""}`, title: this.classes[k] }, this.classes[k]));
        for (const [p, hard] of [[k === s.label ? 1 : 0, true], [kd[k], false], [fn[k], false]]) {
          table.append(element("div", { class: `bar ${hard ? "hard" : ""}` },
            element("i", { style: `width:${(100 * p).toFixed(2)}%` }), element("b", {}, p.toFixed(3))));
        }
      }
      return table;
    });
    this.bars.replaceChildren(...tables,
      element("div", { class: "note" }, `The ${Math.min(6, this.classes.length)} largest classes; the label in bold.`));
  }
}

const labs = new WeakMap();

export default function (component) {
  const root = component.parentElement.querySelector(".lab");
  if (!labs.has(root)) labs.set(root, new Lab(root));
  labs.get(root).take(component);
}
