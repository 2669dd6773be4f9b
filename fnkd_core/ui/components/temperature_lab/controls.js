// The sliders and what stands beside them: which rules are drawn, the balance of fn's weight, matching, training.

const MOST_DRAWN = 4;
const MATCHES = [
  ["temperature", "mean T_i", "Equal mean temperature"],
  ["entropy", "entropy", "Equal mean entropy of the targets"],
  ["divergence", "least apart", "Least mean divergence between the two"],
];

class Controls {
  constructor(lab) {
    this.lab = lab;
    this.chips = element("div", { class: "chips", role: "group", "aria-label": "Rules that are drawn" });
    this.deck = element("div", { class: "deck" });
    this.gauge = this.makeGauge();
    this.matching = element("div", { class: "block matching" });
    this.training = element("div", { class: "block training" });
    this.node = element("div", { class: "card controls" },
      element("div", { class: "block" }, element("div", { class: "row" }, element("span", { class: "name" }, "Rules"),
        this.counted = element("span", { class: "note" })), this.chips),
      this.deck, element("div", { class: "more" }, this.gauge, this.matching, this.training));
  }

  // Called where rules or values were changed by anything but a slider.
  take() {
    const { rules, values, bounds } = this.lab, drawn = values.rules;
    this.counted.textContent = `${drawn.length} of at most ${MOST_DRAWN}`;
    refill(this.chips, ...Object.entries(rules).map(([name, rule]) => {
      const on = drawn.includes(name), shut = on ? drawn.length < 2 : drawn.length >= MOST_DRAWN;
      const why = on ? "One rule stays." : "Four are drawn: put one away first.";
      return element("button", { type: "button", "aria-pressed": String(on), disabled: shut,
        title: shut ? why : `${rule.says}: ${rule.formula}`, onclick: () => this.toggle(name) }, rule.title);
    }));
    const sliders = new Map();
    for (const name of drawn) for (const s of rules[name].sliders) {
      sliders.set(s.name, { ...s, of: [...(sliders.get(s.name)?.of ?? []), rules[name].title] });
    }
    this.shown = {};
    const blocks = [...sliders.values()].map((s) => this.slider(s.name, s.symbol, s.of.join(", "), ...bounds[s.name]));
    const weighs = drawn.some((name) => Object.values(rules[name].fields).includes("lambda"));
    if (weighs) blocks.push(this.slider("lambda", "λ", "weight λ² of fn's soft term", 0.25, 16));
    this.gauge.hidden = !weighs;
    this.deck.replaceChildren(...blocks);
    this.takeMatching();
    this.takeTraining();
  }

  toggle(name) {
    const { values, rules } = this.lab, on = values.rules.includes(name);
    // In the order of the rules, so that a row keeps its place.
    const drawn = Object.keys(rules).filter((k) => (k === name ? !on : values.rules.includes(k)));
    this.lab.set({ rules: drawn });
  }

  slider(key, symbol, of, low, high) {
    const { values } = this.lab, id = `lab-${key}`, title = `${symbol}, for ${of}`;
    const slider = element("input", { type: "range", id, min: 0, max: 1000, step: 1, "aria-label": title });
    const box = element("input", { type: "number", min: low, max: high, step: "any", "aria-label": `${title}, as a number` });
    const span = Math.log(high / low);
    const mark = () => {
      slider.style.setProperty("--at", `${slider.value / 10}%`);
      slider.setAttribute("aria-valuetext", number(values[key]));
    };
    const show = () => {
      slider.value = (1000 * Math.log(values[key] / low)) / span;
      mark();
      box.value = Number(values[key].toPrecision(3));
    };
    slider.addEventListener("input", () => {
      values[key] = Number((low * Math.exp((slider.value / 1000) * span)).toPrecision(3));
      box.value = values[key];
      mark();
      this.lab.soon();
    });
    slider.addEventListener("change", () => this.lab.release());
    box.addEventListener("change", () => {
      const x = Number(box.value);
      if (x > 0 && isFinite(x)) values[key] = Math.min(Math.max(x, low), high);
      show(); this.lab.soon(); this.lab.release();
    });
    this.shown[key] = show;
    show();
    return element("div", { class: "slider" }, element("div", { class: "row" },
      element("label", { for: id }, symbol, element("small", { class: of.length > 9 || of === symbol ? "long" : "" }, of === symbol ? "one for all" : of)), box), slider);
  }

  makeGauge() {
    this.hand = element("div", { class: "hand" });
    this.gaugeText = element("span", { class: "numbers" });
    this.scale = element("div", { class: "gauge", role: "img" }, element("div", { class: "fit" }), this.hand,
      ...[[0, "0.1"], [0.5, "1"], [1, "10"]].map(([at, text]) => element("span", { style: `left:${at * 100}%` }, text)));
    return element("div", { class: "block" }, element("div", { class: "row" }, element("span", { class: "name" }, "λ²τ² / mean‖f‖²"),
      this.gaugeText), this.scale, element("div", { class: "note" }, "The paper's rule for tuning: near 1."));
  }

  takeMatching() {
    const { rules, values } = this.lab, [a, b] = values.pair, moves = rules[b].sliders.length === 1 && a !== b;
    const soft = rules[a].statistic && rules[b].statistic;
    this.said = element("div", { class: "note" }, this.lab.saidOfMatch ?? "");
    refill(this.matching,
      element("span", { class: "name" }, moves ? `Match ${rules[b].title} to ${rules[a].title}` : "Match two rules"),
      element("div", { class: "steps" }, ...MATCHES.map(([by, text, title]) => element("button", {
        type: "button", title, disabled: !moves || (by === "temperature" && !soft),
        onclick: () => this.lab.ask("match", { by, first: a, second: b }) }, text))),
      moves ? this.said : element("div", { class: "note" }, "Choose below, as the second rule, one with one slider."));
  }

  takeTraining() {
    const { rules, values, canTrain } = this.lab, taught = values.rules.filter((name) => rules[name].method);
    this.training.hidden = !canTrain || !taught.length;
    refill(this.training, element("span", { class: "name" }, "Train a student with these values"),
      element("div", { class: "steps" }, ...taught.map((name) => element("button", {
        type: "button", title: `Opens Distill with method ${rules[name].method}`, onclick: () => this.lab.ask("train", { rule: name }) },
        `${rules[name].method}: ${rules[name].title}`)), this.otherMethods(taught)),
      element("div", { class: "note", hidden: !taught.some((name) => rules[name].sliders.some((one) => one.name === "tau")) },
        "τ begins with the images shown; left open on Distill, it follows the training images."));
  }

  // The same temperatures in a method whose temperature is a policy: FN-DKD and its kin.
  otherMethods(taught) {
    const { rules, policies } = this.lab, pairs = taught.filter((name) => rules[name].policy).flatMap((name) =>
      policies.filter((method) => method !== rules[name].method).map((method) => [name, method]));
    return element("select", { "aria-label": "Train with these temperatures in another method", hidden: !pairs.length,
      onchange: (event) => {
        const [rule, method] = pairs[Number(event.target.value)];
        event.target.value = "";
        this.lab.ask("train", { rule, method });
      } },
      element("option", { value: "" }, "in another method …"),
      ...pairs.map(([name, method], k) => element("option", { value: `${k}` }, `${method}: ${rules[name].title}`)));
  }

  // What follows from the values at every frame.
  draw() {
    const { values, reference } = this.lab, balance = (values.lambda * values.tau / reference.means.norm) ** 2;
    this.hand.style.left = `${Math.min(Math.max(0.5 + Math.log10(balance) / 2, 0), 1) * 100}%`;
    this.gaugeText.textContent = number(balance);
    this.scale.setAttribute("aria-label", `lambda squared tau squared over mean norm squared is ${number(balance)}`);
  }
}
