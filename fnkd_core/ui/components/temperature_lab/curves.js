// What the lab computes: temperatures, targets, histograms. Joined in front of the files that draw it.

const T_LOW = 0.25, T_HIGH = 64;      // the axis of temperatures, in octaves
const BINS = 48;

function unpack(text, Type) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Type(bytes.buffer);
}

function number(x) {
  if (!isFinite(x)) return "–";
  if (x > 1e-5 && x < 0.1) return x.toPrecision(2);
  return x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toFixed(2);
}

// The deviation has no more decimals than the mean, or two: more would say more of it than of what it is around.
function meanAndSd(mean, sd) {
  const text = number(mean);
  return `${text} ± ${isFinite(sd) ? sd.toFixed(Math.max((text.split(".")[1] ?? "").length, 2)) : number(sd)}`;
}

// T_i of a statistic under a rule, or null where the label alone makes the target.
function temperature(rule, statistic, values) {
  if (!rule.statistic) return null;
  return Math.max(Math.pow(values[rule.sliders[0].name], rule.power) * statistic, rule.floor);
}

// What a label rule gives: to the label, to each of n similar classes, to each other one.
function shares(rule, values, similar, classes) {
  const uniform = rule.uniform ? values[rule.uniform] : 0, given = rule.similar ? values[rule.similar] : 0;
  const other = uniform / classes + (similar ? 0 : given / classes);
  return { label: 1 - uniform - given + other, similar: other + (similar ? given / similar : 0), other };
}

// softmax(v / t), or softmax((v - b) / t + b) where the feature is softened and the bias is not.
function softmax(logits, t, bias) {
  const z = logits.map((v, k) => (bias ? (v - bias[k]) / t + bias[k] : v / t));
  const top = Math.max(...z);
  const p = z.map((x) => Math.exp(x - top));
  const total = p.reduce((a, b) => a + b, 0);
  return p.map((x) => x / total);
}

// The target of one sample under any rule. model: its logits, bias and statistics; similar: A(label).
function target(rule, model, label, similar, values) {
  const t = temperature(rule, model.statistics[rule.statistic], values);
  if (t !== null) return softmax(model.logits, t, rule.through_head ? model.bias : null);
  const s = shares(rule, values, similar.length, model.logits.length), members = new Set(similar);
  return model.logits.map((_, k) => (k === label ? s.label : members.has(k) ? s.similar : s.other));
}

class Model {
  constructor(data, common) {
    this.name = data.name;
    this.drawn = data.drawn;
    this.total = data.num_samples;
    this.means = data.means;
    this.statistics = Object.fromEntries(Object.entries(data.statistics).map(([k, v]) => [k, unpack(v, Float32Array)]));
    this.curves = { plain: [unpack(data.entropy, Uint16Array), unpack(data.top, Uint16Array)] };
    this.curves.head = data.released_entropy
      ? [unpack(data.released_entropy, Uint16Array), unpack(data.released_top, Uint16Array)] : this.curves.plain;
    this.logits = unpack(data.logits, Float32Array);
    this.bias = data.bias ? unpack(data.bias, Float32Array) : null;
    this.size = data.grid.length;
    this.first = Math.log(data.grid[0]);
    this.step = (Math.log(data.grid[this.size - 1]) - this.first) / (this.size - 1);
    this.common = common;
    this.made = {};
  }

  // {temperature (null for a rule of labels), entropy, top} of every sample; entropy as a share of ln K.
  under(name, rule, values) {
    const { labels, sizes, classes } = this.common, n = labels.length;
    const make = () => ({ temperature: new Float32Array(n), entropy: new Float32Array(n), top: new Float32Array(n) });
    const out = (this.made[name] ??= make());
    if (!rule.statistic) {
      const known = {}, nats = Math.log(classes);
      for (let i = 0; i < n; i++) {
        const size = sizes[labels[i]];
        const [h, p] = (known[size] ??= this.ofLabel(shares(rule, values, size, classes), size, classes));
        out.entropy[i] = h / nats;
        out.top[i] = p;
      }
      return { ...out, temperature: null };
    }
    const statistic = this.statistics[rule.statistic];
    const [entropy, top] = this.curves[rule.through_head ? "head" : "plain"];
    const last = this.size - 1.000001, factor = Math.pow(values[rule.sliders[0].name], rule.power);
    for (let i = 0; i < n; i++) {
      const t = Math.max(factor * statistic[i], rule.floor);
      const x = Math.min(Math.max((Math.log(t) - this.first) / this.step, 0), last);
      const low = Math.floor(x), at = i * this.size + low, share = x - low;
      out.temperature[i] = t;
      out.entropy[i] = (entropy[at] + share * (entropy[at + 1] - entropy[at])) / 65535;
      out.top[i] = (top[at] + share * (top[at + 1] - top[at])) / 65535;
    }
    return out;
  }

  ofLabel(s, size, classes) {
    const part = (p) => (p > 0 ? -p * Math.log(p) : 0);
    const h = part(s.label) + size * part(s.similar) + (classes - 1 - size) * part(s.other);
    return [h, Math.max(s.label, size ? s.similar : 0, s.other)];
  }
}

function histogram(values, place) {
  const counts = new Float64Array(BINS);
  for (const v of values) counts[Math.min(Math.max(Math.floor(place(v) * BINS), 0), BINS - 1)]++;
  return counts.map((c) => c / values.length);
}

function moments(values) {
  let sum = 0, squares = 0;
  for (const v of values) { sum += v; squares += v * v; }
  const mean = sum / values.length;
  return [mean, Math.sqrt(Math.max(squares / values.length - mean * mean, 0))];
}
