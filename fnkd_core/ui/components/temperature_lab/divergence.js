// The Jensen-Shannon divergence of two targets of each drawn sample, in nats, over bins of classes.

class Divergence {
  constructor(data, models, common) {
    Object.assign(this, { models, common });
    this.counts = data.counts;
    this.logCounts = data.counts.map(Math.log);
    this.similar = unpack(data.similar, Uint16Array);
    this.size = data.counts.length;
    this.p = new Float64Array(this.size);
    this.q = new Float64Array(this.size);
    this.found = new Float32Array(common.labels.length);
  }

  // Fills `out` with the masses of sample i's bins and returns their entropy.
  masses(model, rule, values, i, out) {
    const start = i * this.size;
    if (!rule.statistic) return this.ofLabel(rule, values, i, start, out);
    const inverse = 1 / temperature(rule, model.statistics[rule.statistic][i], values);
    const bias = rule.through_head ? model.bias : null;
    let top = -Infinity, total = 0, mean = 0;
    for (let b = 0; b < this.size; b++) {
      const v = model.logits[start + b];
      const z = bias ? (v - bias[start + b]) * inverse + bias[start + b] : v * inverse;
      out[b] = z;
      if (z > top) top = z;
    }
    for (let b = 0; b < this.size; b++) {
      const z = out[b] - top, e = this.counts[b] * Math.exp(z);
      out[b] = e;
      total += e;
      mean += e * (z + this.logCounts[b]);
    }
    for (let b = 0; b < this.size; b++) out[b] /= total;
    return Math.log(total) - mean / total;
  }

  ofLabel(rule, values, i, start, out) {
    const size = this.common.sizes[this.common.labels[i]];
    const s = shares(rule, values, size, this.common.classes);
    let entropy = 0;
    for (let b = 0; b < this.size; b++) {
      const members = this.similar[start + b];
      const p = b ? members * s.similar + (this.counts[b] - members) * s.other : s.label;
      out[b] = p;
      if (p > 0) entropy -= p * Math.log(p);
    }
    return entropy;
  }

  // a, b: [role, rule]. (n,) divergences; the array is the same at every call.
  between([roleA, ruleA], [roleB, ruleB], values) {
    const { p, q, found } = this;
    for (let i = 0; i < found.length; i++) {
      const h = this.masses(this.models[roleA], ruleA, values, i, p) + this.masses(this.models[roleB], ruleB, values, i, q);
      let both = 0;
      for (let b = 0; b < this.size; b++) {
        const m = (p[b] + q[b]) / 2;
        if (m > 0) both -= m * Math.log(m);
      }
      found[i] = Math.max(both - h / 2, 0);
    }
    return found;
  }
}
