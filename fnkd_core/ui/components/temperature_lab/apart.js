// Where two targets differ: which two, the histogram of their divergence, and the samples they differ most on.

const LN2 = Math.log(2);

function picker(label, options, value, change) {
  const node = element("select", { "aria-label": label, onchange: () => change(node.value) },
    ...options.map(([key, text]) => element("option", { value: key, selected: key === value }, text)));
  return node;
}

class Apart {
  constructor(lab) {
    this.lab = lab;
    this.chart = new Chart("Jensen-Shannon divergence, nats", (x) => Math.sqrt(x / LN2),
      [0, 0.01, 0.1, 0.3, LN2].map((x) => [Math.sqrt(x / LN2), x === LN2 ? "ln 2" : `${x}`]), 1, ["apart"]);
    this.choices = element("div", { class: "choosing" });
    this.note = element("div", { class: "note" });
    this.words = new InWords(() => this.says());
    this.pictures = element("div", { class: "pictures" });
    this.node = element("div", { class: "card apart" },
      element("div", { class: "row" }, element("span", { class: "name" }, "Where do they differ?"), this.choices),
      this.chart.node, ticks([0, 0.01, 0.1, 0.3, LN2].map((x) => [Math.sqrt(x / LN2), x === LN2 ? "ln 2" : `${x}`])),
      this.note, this.words.node, this.pictures);
  }

  // [role, rule name] of the two that are compared.
  get two() {
    const { values, models } = this.lab, roles = Object.keys(models), [a, b] = values.pair;
    if (values.of === "models" && roles.length > 1) return [[roles[0], a], [roles[1], a]];
    const role = roles.includes(values.of) ? values.of : roles[0];
    return [[role, a], [role, b]];
  }

  take() {
    const { values, models, rules } = this.lab, roles = Object.keys(models);
    const named = values.rules.map((name) => [name, rules[name].title]);
    const set = (change) => this.lab.set(change);
    const of = [...roles.map((role) => [role, `${role}'s targets`]), ...(roles.length > 1 ? [["models", "teacher and student"]] : [])];
    const between = values.of === "models" && roles.length > 1;
    refill(this.choices,
      picker("Whose targets", of, values.of, (x) => set({ of: x })),
      element("span", { class: "note" }, between ? "under" : ""),
      picker("First rule", named, values.pair[0], (x) => set({ pair: [x, values.pair[1]] })),
      ...(between ? [] : [element("span", { class: "note" }, "and"),
        picker("Second rule", named, values.pair[1], (x) => set({ pair: [values.pair[0], x] }))]));
  }

  draw() {
    const { rules, values } = this.lab, [a, b] = this.two;
    const found = this.lab.divergence.between([a[0], rules[a[1]]], [b[0], rules[b[1]]], values);
    this.found = found;
    this.chart.draw([found]);
    this.words.tell();
    let far = 0;
    for (const x of found) if (x > 0.1) far++;
    this.note.textContent = `${((100 * far) / found.length).toFixed(far ? 1 : 0)} % of the drawn samples are more than 0.1 nats apart. `
      + "0: the same target; ln 2 = 0.69: no class in common. The axis grows with the root.";
  }

  says() {
    const [a, b] = this.two.map(([role, name]) => `${this.lab.rules[name].title} of the ${role}`);
    const { found } = this, sorted = [...found].sort((x, y) => x - y), at = (share) => number(sorted[Math.floor(share * (sorted.length - 1))]);
    return [`Jensen-Shannon divergence between ${a} and ${b}, in nats: ${spread(found, 1)}; median ${at(0.5)}, a tenth above ${at(0.9)}.`];
  }

  // What Python found over all samples at the last release.
  show(largest) {
    if (!largest) return this.pictures.replaceChildren();
    refill(this.pictures, element("div", { class: "note wide" }, largest.said),
      ...largest.items.map((item) => element("button", {
        type: "button", class: "shot", "data-name": `shot ${item.id}`, title: `Show sample ${item.id}: label ${item.label}, ${item.value.toFixed(3)} nats`,
        onclick: () => this.lab.go(item.rank) },
        element("img", { src: item.src, alt: `sample ${item.id}` }), element("span", {}, item.value.toFixed(3)),
        element("small", {}, item.label))));
  }
}
