// What the lab computes: temperatures, targets, histograms. Joined in front of lab.js, which draws it.

const T_LOW = 0.25, T_HIGH = 64;      // the axis of temperatures, in octaves
const BINS = 48;

function unpack(text, Type) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Type(bytes.buffer);
}

function number(x) {
  if (!isFinite(x)) return "–";
  return x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toFixed(2);
}

// T_i of a norm under the rule that the sliders give.
function temperature(norm, values) {
  const t = norm / values.tau;
  return Math.max(t, values.variant === "released" ? 1 : 1e-6);
}

// softmax(v / t), or softmax((v - b) / t + b) where the feature is softened and the bias is not.
function softmax(logits, t, bias) {
  const z = logits.map((v, k) => (bias ? (v - bias[k]) / t + bias[k] : v / t));
  const top = Math.max(...z);
  const p = z.map((x) => Math.exp(x - top));
  const total = p.reduce((a, b) => a + b, 0);
  return p.map((x) => x / total);
}

class Model {
  constructor(data) {
    this.name = data.name;
    this.meanNorm = data.mean_norm;
    this.drawn = data.drawn;
    this.total = data.num_samples;
    this.norms = unpack(data.norms, Float32Array);
    this.curves = { paper: [unpack(data.entropy, Uint16Array), unpack(data.top, Uint16Array)] };
    this.curves.released = data.released_entropy
      ? [unpack(data.released_entropy, Uint16Array), unpack(data.released_top, Uint16Array)]
      : this.curves.paper;
    this.size = data.grid.length;
    this.first = Math.log(data.grid[0]);
    this.step = (Math.log(data.grid[this.size - 1]) - this.first) / (this.size - 1);
  }

  // Share of its largest value in [0, 1] of curve 0 (entropy) or 1 (top probability), for sample i at t.
  at(curve, i, t) {
    const x = Math.min(Math.max((Math.log(t) - this.first) / this.step, 0), this.size - 1.000001);
    const low = Math.floor(x), start = i * this.size + low;
    return (curve[start] + (x - low) * (curve[start + 1] - curve[start])) / 65535;
  }

  // {kd, fn}, each {temperature, entropy, top}: Float32Arrays over the samples; entropy as a share of ln K.
  under(values) {
    const n = this.norms.length;
    const make = () => ({ temperature: new Float32Array(n), entropy: new Float32Array(n), top: new Float32Array(n) });
    const kd = make(), fn = make();
    const [entropy, top] = this.curves[values.variant];
    for (let i = 0; i < n; i++) {
      const t = temperature(this.norms[i], values);
      fn.temperature[i] = t;
      fn.entropy[i] = this.at(entropy, i, t);
      fn.top[i] = this.at(top, i, t);
      kd.temperature[i] = values.t;
      kd.entropy[i] = this.at(this.curves.paper[0], i, values.t);
      kd.top[i] = this.at(this.curves.paper[1], i, values.t);
    }
    return { kd, fn };
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

