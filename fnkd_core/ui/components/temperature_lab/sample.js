// One sample's targets under the drawn rules: its top classes, its label, and what the rest has together.

class Sample {
  constructor(lab) {
    this.lab = lab;
    this.count = 8;
    this.whole = false;
    this.picture = element("div", { class: "picture" });
    this.bars = element("div", { class: "charts" });
    this.options = element("div", { class: "row" });
    this.node = element("div", { class: "card sample" }, this.picture, element("div", {}, this.options, this.bars));
  }

  take(data) {
    this.data = data;
    const s = data, last = s.count - 1, { classes } = this.lab;
    const button = (text, title, rank) =>
      element("button", { type: "button", title, disabled: rank < 0 || rank > last || rank === s.rank,
        onclick: () => this.lab.go(rank) }, text);
    const norms = Object.entries(s.models).map(([role, m]) =>
      element("div", { class: "note" }, `${role} ‖f‖ ${number(m.statistics.norm)}, predicts ${classes[m.prediction]}`));
    const image = element("img", { src: s.image, alt: `sample ${s.id}, label ${classes[s.label]}` });
    image.addEventListener("load", () => image.classList.toggle("smooth", image.naturalWidth > 64));
    refill(this.picture,
      element("div", { class: "name" }, "One sample's target"), image,
      element("div", {}, `label ${classes[s.label]}`), ...norms,
      element("div", { class: "note" }, `norm rank ${(s.rank + 1).toLocaleString("en")} of ${s.count.toLocaleString("en")}, 1 is the lowest`),
      element("div", { class: "steps" }, button("Lowest", "lowest norm", 0), button("‹", "next lower norm", s.rank - 1),
        button("Middle", "median norm", Math.floor(last / 2)), button("›", "next higher norm", s.rank + 1),
        button("Highest", "highest norm", last)));
    this.choose();
  }

  choose() {
    const set = (change) => { Object.assign(this, change); this.choose(); this.draw(); };
    const group = (label, field, options) => element("div", { class: "choices", role: "group", "aria-label": label },
      ...options.filter(([value]) => field !== "count" || value === 8 || value / 2 < this.lab.classes.length).map(([value, text]) =>
        element("button", { type: "button", "aria-pressed": String(this[field] === value), onclick: () => set({ [field]: value }) }, text)));
    refill(this.options, group("How many classes", "count", [[8, "top 8"], [16, "16"], [32, "32"]]),
      group("Scale of the bars", "whole", [[false, "bars to the largest"], [true, "bars to 1"]]));
  }

  draw() {
    if (!this.data) return;
    this.bars.replaceChildren(...Object.entries(this.data.models).map(([role, model]) => this.table(role, model)));
  }

  table(role, model) {
    const { rules, values, classes } = this.lab, { label, similar } = this.data, names = values.rules;
    const targets = names.map((name) => target(rules[name], model, label, similar, values));
    const order = model.logits.map((_, k) => k).sort((a, b) => model.logits[b] - model.logits[a]);
    const shown = order.slice(0, this.count);
    if (!shown.includes(label)) shown[shown.length - 1] = label;
    const rest = order.filter((k) => !shown.includes(k));
    const sums = targets.map((q) => rest.reduce((sum, k) => sum + q[k], 0));
    // A rule of the label puts nearly all on one class, beside which the others' bars would be nothing.
    const soft = targets.filter((_, k) => rules[names[k]].statistic);
    const largest = Math.max(...(soft.length ? soft : targets).flatMap((q, k) => [...shown.map((c) => q[c]), 0]));
    const scale = this.whole ? 1 : Math.max(largest, 1e-9);
    const table = element("div", { class: "bars", style: `--role: var(--${role}); --columns: ${names.length}` },
      element("span", { class: "column" }, role),
      ...names.map((name) => {
        const t = temperature(rules[name], model.statistics[rules[name].statistic], values);
        return element("span", { class: "column", title: rules[name].says }, element("b", {}, rules[name].title),
          t === null ? "" : ` T_i ${number(t)}`);
      }));
    const row = (name, cells, kind) => {
      table.append(element("span", { class: `class ${kind}`, title: name }, name));
      cells.forEach((p, k) => {
        const share = p / scale;
        table.append(element("div", { class: `bar ${rules[names[k]].statistic ? "" : "hard"} ${share > 1.0001 ? "over" : ""}` },
          element("i", { style: `width:${(100 * Math.min(share, 1)).toFixed(2)}%` }), element("b", {}, p < 0.0005 && p > 0 ? "<.001" : p.toFixed(3))));
      });
    };
    for (const k of shown) row(classes[k], targets.map((q) => q[k]), k === label ? "label" : "");
    if (rest.length) row(`${rest.length} other${rest.length > 1 ? "s" : ""} together`, sums, "rest");
    const tops = targets.map((q) => q.indexOf(Math.max(...q)));
    const moved = names.filter((name, k) => rules[name].statistic && tops[k] !== order[0]);
    const note = `Bars end at ${scale.toPrecision(2)}; the label in bold.`
      + (moved.length ? ` Under ${moved.map((name) => rules[name].title).join(", ")} the largest class is another: ${classes[tops[names.indexOf(moved[0])]]}.` : "");
    return element("div", {}, table, element("div", { class: "note" }, note));
  }
}
