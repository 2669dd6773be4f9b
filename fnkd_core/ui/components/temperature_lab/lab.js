// The temperature lab. Everything that moves while a slider is dragged is computed here; Python hears of the
// values when the slider is released. Called again whenever data or theme change, so it builds once and then
// only takes in what is new.

class Lab {
  constructor(root) {
    this.root = root;
    this.pending = false;
  }

  take({ data, setStateValue, setTriggerValue }) {
    this.send = setStateValue;
    this.trigger = setTriggerValue;
    const colours = getComputedStyle(this.root).getPropertyValue("--st-chart-categorical-colors").split(",");
    ["teacher", "student", "", "", "apart"].forEach((name, k) => {
      if (name && colours.length > k) this.root.style.setProperty(`--${name}`, colours[k].trim());
    });
    const fresh = data.what !== this.what;
    if (fresh) this.build(data);
    if (fresh || data.set !== this.taken) {
      this.taken = data.set;
      this.values = this.fit({ ...data.values });
      this.changed = true;
    }
    this.canTrain = data.can_train;
    this.saidOfMatch = data.said;
    this.sample.take(data.sample);
    if (this.changed) this.show();
    else this.controls.takeMatching();
    this.apart.show(data.largest);
    this.draw();
  }

  build(data) {
    this.what = data.what;
    this.classes = data.classes;
    this.rules = data.rules;
    this.policies = data.policies;
    this.bounds = data.bounds;
    const common = { labels: unpack(data.common.labels, Int32Array), sizes: data.common.sizes, classes: data.classes.length };
    this.models = Object.fromEntries(Object.entries(data.models).map(([role, m]) => [role, new Model(m, common)]));
    this.reference = this.models.teacher ?? this.models.student;
    this.divergence = new Divergence(data.common, this.models, common);
    this.controls = new Controls(this);
    this.rows = new Rows(this.models, this.classes.length);
    this.words = new InWords(() => this.rows.says());
    this.apart = new Apart(this);
    this.sample = new Sample(this);
    const { drawn, total } = this.reference;
    const legend = element("div", { class: "legend note" }, ...Object.entries(this.models).map(([role, model], k) =>
      element("span", { style: `--role: var(--${role})` }, element("span", { class: `swatch ${k ? "line" : ""}` }),
        `${role[0].toUpperCase()}${role.slice(1)}: ${model.name}`)), element("span", {}, drawn || `All ${total.toLocaleString("en")} samples.`));
    this.root.replaceChildren(this.controls.node, element("div", { class: "shown" },
      element("div", { class: "card" }, legend, this.rows.node, this.words.node), this.apart.node, this.sample.node));
  }

  // A pair is of two that are drawn, where there are two.
  fit(values) {
    const drawn = values.rules, soft = drawn.filter((name) => this.rules[name].statistic);
    const pair = values.pair.map((name) => (drawn.includes(name) ? name : null));
    const next = (other) => [...soft, ...drawn].find((name) => name !== other) ?? drawn[0];
    pair[0] ??= next(pair[1]);
    pair[1] ??= next(pair[0]);
    return { ...values, pair };
  }

  set(change) {
    this.values = this.fit({ ...this.values, ...change });
    this.show();
    this.draw();
    this.release();
  }

  // Everything that is not drawn anew at every frame.
  show() {
    this.changed = false;
    this.controls.take();
    this.rows.take(this.values.rules, this.rules);
    this.apart.take();
  }

  // One drawing per frame, however many events the slider gives.
  soon() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => { this.pending = false; this.draw(); });
  }

  // What is equal to what was sent last is not sent, though Python may have set other values since: `set` tells.
  release() { this.send("values", { ...this.values, set: this.taken }); }

  // Asks Python for what it alone can do; the values go with it.
  ask(name, what) { this.trigger(name, { ...what, values: { ...this.values } }); }

  draw() {
    this.controls.draw();
    this.rows.draw(this.rules, this.values);
    this.words.tell();
    this.apart.draw();
    this.sample.draw();
  }

  go(rank) {
    const to = Math.min(Math.max(rank, 0), this.sample.data.count - 1);
    if (to !== this.sample.data.rank) this.send("rank", to);
  }
}

// What never changes comes in an element of its own, which the server sends once and not with every value. Each
// element has a module of its own, so that the window is where they meet.
const packs = (window.fnkdLabPacks ??= new Map()), MOST_PACKS = 4;
const waiting = (window.fnkdLabWaiting ??= new Map());
const labs = new WeakMap();

function keep(pack) {
  packs.delete(pack.what);
  packs.set(pack.what, pack);
  if (packs.size > MOST_PACKS) packs.delete(packs.keys().next().value);
  waiting.get(pack.what)?.();
  waiting.delete(pack.what);
}

export default function (component) {
  const { data } = component;
  if (data.models) return keep(data);
  const root = component.parentElement.querySelector(".lab");
  if (!labs.has(root)) labs.set(root, new Lab(root));
  const show = () => labs.get(root).take({ ...component, data: { ...packs.get(data.what), ...data } });
  if (packs.has(data.what)) show();
  else waiting.set(data.what, show);
}
