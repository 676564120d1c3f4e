// Figures of a connection, from getStats: counters become rates between two
// readings.

export class Reading {
  #before = new Map(); // report id → report

  // take reads pc once and returns helpers over the reports.
  async take(pc) {
    const reports = await pc.getStats();
    const before = this.#before;
    this.#before = new Map(reports);
    const all = [...reports.values()];
    const transport = all.find((r) => r.type === 'transport');
    const pair = reports.get(transport?.selectedCandidatePairId)
      ?? all.find((r) => r.type === 'candidate-pair' && r.nominated);
    const delta = (report, key) => {
      const old = before.get(report.id);
      return old && key in report ? report[key] - (old[key] ?? 0) : undefined;
    };
    return {
      of: (type, kind) => all.filter((r) => r.type === type && (!kind || r.kind === kind)),
      get: (id) => reports.get(id),
      delta,
      // rate is the growth of a counter a second.
      rate: (report, key) => {
        const old = before.get(report.id);
        const seconds = old ? (report.timestamp - old.timestamp) / 1000 : 0;
        return seconds > 0 ? delta(report, key) / seconds : undefined;
      },
      // mean is the growth of a sum by the growth of its count.
      mean: (report, sum, n) => {
        const grown = delta(report, n);
        return grown > 0 ? delta(report, sum) / grown : undefined;
      },
      // pair is the candidate pair in use, and roundTrip its, in ms.
      pair,
      roundTrip: pair?.currentRoundTripTime === undefined ? undefined : pair.currentRoundTripTime * 1000,
    };
  }
}

// sum adds up what is known; undefined if nothing is.
export function sum(values) {
  const known = values.filter((v) => v !== undefined && Number.isFinite(v));
  return known.length > 0 ? known.reduce((a, b) => a + b, 0) : undefined;
}

// codecName returns "H264" for "video/H264".
export function codecName(codec) {
  return codec?.mimeType?.split('/')[1] ?? '';
}
