// Pure functions of the page's modules against values that are known. Gives what is wrong.
(async () => {
  const wrong = [];
  const is = (what, found, wanted) => {
    if (JSON.stringify(found) !== JSON.stringify(wanted)) wrong.push(`${what}: ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
  };
  const { eventParser } = await import("/assets/api.js");
  const { scale, position, percentile, ordinal } = await import("/assets/colour.js");
  const { differing } = await import("/assets/tokens.js");
  const { nine, quantile, strengthWords } = await import("/assets/edits.js");
  const { ticks } = await import("/assets/chart.js");
  const { driftNote, side } = await import("/assets/drift.js");

  // Events cut at every place are the same events.
  const stream = 'event: start\ndata: {"a":1}\n\n: still here\n\nevent: token\r\ndata: {"text":"ä\\n"}\r\n\r\ndata: 3\n\n';
  const wanted = [["start", { a: 1 }], ["token", { text: "ä\n" }], ["message", 3]];
  for (let cut = 0; cut <= stream.length; cut += 1) {
    const events = [];
    const parser = eventParser((name, data) => events.push([name, data]));
    parser(stream.slice(0, cut));
    parser(stream.slice(cut));
    is(`events cut at ${cut}`, events, wanted);
  }

  const quantiles = Array.from({ length: 101 }, (_, i) => i / 10);
  is("percentiles", [-1, 0, 2.5, 10, 11].map((z) => percentile(quantiles, z)), [0, 0, 25, 100, 100]);
  is("percentile of NaN", percentile(quantiles, NaN), 0);
  is("quantiles", [0, 25, 25.5, 100, 200].map((p) => Number(quantile(quantiles, p).toFixed(6))), [0, 2.5, 2.55, 10, 10]);
  const its = scale(quantiles);
  is("centre", its.centre, 5);
  is("positions", [5, 100, -100].map((z) => position(its, z)), [0, 1, -1]);
  is("a scale without width", Number.isFinite(position(scale(Array(101).fill(2)), 3)), true);
  is("ordinals", [1, 2, 3, 4, 11, 12, 13, 21, 100].map(ordinal), ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "100th"]);
  const [left, right] = differing([1, 2, 3, 4], [1, 3, 5, 4]);
  is("what differs", [[...left], [...right]], [[1], [2]]);
  is("what does not", differing([1, 2], [1, 2]).map((s) => s.size), [0, 0]);
  is("nine strengths", nine(-1, 1, "n"), [-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1]);
  is("strengths in words", [strengthWords(0.5, "n"), strengthWords(25, "p"), strengthWords(2, "u")], ["0.5n", "p25", "2"]);
  is("ticks lie inside", ticks(-1.3, 4.2).every((t) => t >= -1.3 && t <= 4.2), true);
  is("sides", [side(1, { low: 2, high: 3 }), side(2.5, { low: 2, high: 3 }), side(4, { low: 2, high: 3 })], ["below", "inside", "above"]);
  const note = driftNote([{ turn: 1, value: 2.5 }, { turn: 2, value: 1 }], { low: 2, high: 3, mean: 2.5 });
  is("a note of what has left the band", /2/.test(note) && /below/.test(note), true);
  return wrong;
})()
