"use strict";
/* All that moves on the page. Names from data reach it as text alone, never as markup; numbers look as in other reports. */
(() => {
const DATA = JSON.parse(document.getElementById("data").textContent);
const ORIGINAL = "original", EVERY = "";
const ORDER = ["unacceptable", "no reference", "inconclusive", "acceptable here", "acceptable"];  // from worst to best
const SYMBOLS = {"acceptable": "✓", "acceptable here": "(✓)", "inconclusive": "?", "unacceptable": "✗", "no reference": "∅"};
const accepted = verdict => verdict.startsWith("acceptable");

// Elements and formats.

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter(one => one !== null && one !== undefined));
  return made;
}
const known = value => value !== null && value !== undefined && !Number.isNaN(value);
// As Python writes a number: of two that are as near, the even one.
function fixed(value, digits) {
  const exact = Math.abs(value).toFixed(Math.min(100, digits + 40)), cut = exact.length - 40;
  let text = Math.abs(value).toFixed(digits);
  if (/^50*$/.test(exact.slice(cut)) && Number(exact[digits ? cut - 1 : cut - 2]) % 2 === 0)
    text = exact.slice(0, digits ? cut : cut - 1);
  return (value < 0 && Number(text) !== 0 ? "−" : "") + text;
}
const grouped = value => fixed(value, 0).replace(/\B(?=(\d{3})+$)/g, ",");
const amount = value => !known(value) ? "–" : Math.abs(value) >= 999.5 ? grouped(value)
  : Number(value).toPrecision(3).replace(/\.$/, "").replace("-", "−");
const percent = share => known(share) ? `${fixed(100 * share, 1)} %` : "–";
const bare = share => fixed(100 * share, 1);
const points = share => !known(share) ? "–" : (100 * share >= 0 || Number(fixed(100 * share, 1)) === 0 ? "+" : "") + bare(share);
const scaled = (value, by) => known(value) ? by * value : null;  // what is not known is not 0
const interval = (low, high) => known(low) && known(high) ? `[${points(low)}, ${points(high)}]` : "";
const general = value => String(value);
const pointsOf = (delta, words = "points") => `${general(delta)} ${words === "points" && delta === 1 ? "point" : words}`;
const unitWords = unit => unit === "bpp" ? "bits a pixel" : unit;
// Of a task's metric: shares are shown as percentages and their differences in points, any other metric in its own unit.
const three = value => String(Number(Number(value).toPrecision(3))).replace("-", "−");
const value = (metric, one) => !known(one) ? "–" : metric.scale === 100 ? percent(one) : `${three(one)} ${metric.unit ?? metric.points}`;
const valueBare = (metric, one) => !known(one) ? "–" : metric.scale === 100 ? bare(one) : three(one);
const gap = (metric, one) => !known(one) ? "–" : metric.scale === 100 ? points(one) : (one >= 0 ? "+" : "") + three(one);
const gaps = (metric, low, high) => known(low) && known(high) ? `[${gap(metric, low)}, ${gap(metric, high)}]` : "";
const listed = words => words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words[words.length - 1]}`;
const unique = list => [...new Set(list)];
const plural = (count, word) => `${grouped(count)} ${word}${count === 1 ? "" : "s"}`;

function rowsOf(packed) {
  const names = Object.keys(packed);  // lists of few different values come as these and the place of each
  const columns = Object.fromEntries(names.map(name => [name, packed[name].of ? packed[name].at.map(place => packed[name].of[place]) : packed[name]]));
  return names.length ? columns[names[0]].map((_, i) => Object.fromEntries(names.map(name => [name, columns[name][i]]))) : [];
}
const key = (...parts) => JSON.stringify(parts);

// What was not computed is no number here: null would count as 0 in comparisons.
const number = value => value === null ? NaN : value;
const TASKS = DATA.tasks.filter(task => !task.missing);
for (const task of TASKS) {
  for (const name of ["conditions", "differences", "overall", "references", "stops", "costs", "bd", "gaps", "advice", "subgroups", "identification", "transfer",
    "held_out", "capture"]) task[name] = rowsOf(task[name]);
  task.at = new Map(task.conditions.map(row => [key(row.codec, row.level), row]));
  task.titles = Object.fromEntries(task.codecs.map(codec => [codec.name, codec.title]));
  task.titles[ORIGINAL] = "original";
  task.refs = new Map();
  for (const row of task.references) {
    row.above_chance = number(row.above_chance);
    task.refs.set(key(row.arch, row.regime, row.baseline), row);
  }
  task.names = new Map(task.references.map(row => [key(row.arch, row.regime), row.model]));
  task.sequences = new Map();
  for (const row of task.differences) {
    for (const name of ["lower", "upper", "joint"]) row[name] = number(row[name]);
    row.condition = task.at.get(key(row.codec, row.level));
    if (row.codec === ORIGINAL) continue;
    const name = key(row.arch, row.regime, row.baseline, row.codec);
    if (!task.sequences.has(name)) task.sequences.set(name, []);
    task.sequences.get(name).push(row);
  }
  for (const sequence of task.sequences.values()) sequence.sort((a, b) => a.condition.strength - b.condition.strength);
  task.why = new Map(task.stops.map(row => [key(row.arch, row.regime, row.baseline, row.codec, row.delta), row]));
  task.confidence = `${amount(100 * (1 - task.alpha)).replace(/\.?0+$/, "")} %`;
  if (task.attacks) for (const name of ["worst", "each", "gates"]) task.attacks[name] = rowsOf(task.attacks[name]);
}

// Verdicts: the rule of analysis/verdicts.py, for any margin.

function judge(row, margin, aboveChance, few) {
  if (aboveChance <= margin) return "no reference";
  if (row.lower > -margin) return few ? "acceptable here" : "acceptable";
  return row.upper < -margin ? "unacceptable" : "inconclusive";
}

const firstFailed = passes => { const place = passes.indexOf(false); return place < 0 ? passes.length : place };

/* The limit of one codec for one model: levels are tested from the mildest on, until the first that does not pass. */
function limitOf(task, arch, regime, baseline, codec, delta) {
  const reference = task.refs.get(key(arch, regime, baseline));
  const sequence = task.sequences.get(key(arch, regime, baseline, codec));
  if (!reference || !sequence) return null;
  const margin = delta / task.scale, above = reference.above_chance;
  const judged = sequence.map(row => judge(row, margin, above, Boolean(task.few)));
  const passed = firstFailed(judged.map(accepted));
  const jointly = firstFailed(sequence.map(row => row.joint > -margin && above > margin));
  const stop = passed < sequence.length && judged[passed] !== "no reference" ? sequence[passed] : null;
  return {arch, regime, baseline, codec, delta, reference, verdict: judged[0], judged, sequence,
    row: passed ? sequence[passed - 1] : null, joint: jointly ? sequence[jointly - 1] : null,
    stop, stopVerdict: stop ? judged[passed] : ""};
}

const archsOf = (task, choice) => unique(task.references.filter(row => row.regime === choice.regime && row.baseline === choice.baseline)
  .map(row => row.arch)).filter(arch => choice.arch === EVERY || arch === choice.arch);

/* For each codec the limit that holds for every chosen architecture: that of the worst one. */
function limits(task, choice, jointly = false) {
  const archs = archsOf(task, choice);
  return task.codecs.map(codec => {
    const found = archs.map(arch => limitOf(task, arch, choice.regime, choice.baseline, codec.name, choice.delta)).filter(Boolean)
      .map(limit => jointly && accepted(limit.verdict) && !limit.joint ? {...limit, row: null, verdict: "inconclusive"}
        : jointly ? {...limit, row: limit.joint} : limit);
    const strength = limit => limit.row ? limit.row.condition.strength : Infinity;
    const beyond = limit => ["unacceptable", "inconclusive", ""].indexOf(limit.stopVerdict);
    found.sort((a, b) => ORDER.indexOf(a.verdict) - ORDER.indexOf(b.verdict) || (strength(a) === strength(b) ? 0 : strength(a) - strength(b))
      || beyond(a) - beyond(b) || (a.arch < b.arch ? -1 : 1));
    return found[0] || null;
  }).filter(Boolean);
}

/* What every chosen architecture loses at a level: the row with the largest bound of the loss. */
function worstLoss(task, choice, condition, bound) {
  const rows = archsOf(task, choice).map(arch => (task.sequences.get(key(arch, choice.regime, choice.baseline, condition.codec)) || [])
    .find(row => row.level === condition.level)).filter(Boolean);
  return rows.sort((a, b) => a[bound] - b[bound])[0];
}

const onOriginals = (task, of) => `${value(task, of.reference)} [${valueBare(task, of.reference_low)}, ${valueBare(task, of.reference_high)}], chance ${value(task, of.chance)}`;

function why(task, limit) {
  if (!limit.stop) return "";
  const level = limit.stop.condition.label;
  if (limit.stopVerdict === "unacceptable") return `${level} costs more`;
  const told = task.why.get(key(limit.arch, limit.regime, limit.baseline, limit.codec, limit.delta));
  const lies = `the loss lies between ${valueBare(task, -limit.stop.high)} and ${valueBare(task, -limit.stop.low)} ${task.points} (95 % interval)`;
  return `${level} undecided: ${told && told.stopped_at === limit.stop.level ? told.why : lies}`;
}

const factor = (times, of) => !known(times) ? null : times >= 1 ? [`${amount(times)} times smaller`, of] : [`${amount(1 / times)} times larger`, of];
const ratioOf = {
  raw: row => row.ratio,
  lossless: row => known(row.saving_lossless) ? 1 / (1 - row.saving_lossless) : null,
  source: row => known(row.saving_source) ? 1 / (1 - row.saving_source) : null,
};
const best = row => { const all = Object.values(ratioOf).map(of => of(row)).filter(known); return all.length ? Math.min(...all) : null };

function size(task, condition) {
  const parts = [factor(ratioOf.raw(condition), "raw"), factor(ratioOf.lossless(condition), task.lossless),
    factor(ratioOf.source(condition), "their own files")].filter(Boolean);
  const said = [];
  let last = "";
  for (const [much, of] of parts) {  // "53 times smaller than raw, 11 times than PNG"
    const [, times, way] = much.match(/^(.* times) (.*)$/);
    said.push(way === last ? `${times} than ${of}` : `${much} than ${of}`);
    last = way;
  }
  return [`${amount(condition.rate)} ${unitWords(task.unit)}`, ...said].join(", ");
}

function loss(task, row, bound) {
  const lost = -row.difference, most = `at most ${valueBare(task, -row[bound])}`, gains = `gains ${valueBare(task, row.difference)} ${task.points}`;
  if (row[bound] >= 0) return `${gains}, at least ${valueBare(task, row[bound])}`;
  return /^−/.test(valueBare(task, lost)) ? `${gains}, loses ${most}` : `loses ${valueBare(task, Math.max(lost, 0))} ${task.points}, ${most}`;
}

/* The answer of a task to a choice: a sentence, its verdict, what that holds for, and the limit of each codec. */
function answer(task, choice) {
  const alone = limits(task, choice), chosen = choice.codec && task.titles[choice.codec] ? choice.codec : EVERY;
  const shown = chosen ? alone.filter(limit => limit.codec === chosen) : alone;
  const picking = !chosen && task.codecs.length > 1, bound = picking ? "joint" : "lower";
  const pool = picking ? limits(task, choice, true) : shown;
  const pick = pool.filter(limit => accepted(limit.verdict)).sort((a, b) => a.row.condition.rate - b.row.condition.rate)[0];
  const archs = archsOf(task, choice);
  const holds = unique(archs.map(arch => task.refs.get(key(arch, choice.regime, choice.baseline)).holds));
  const scope = `${listed(holds)}; ${task.count}${task.few ? `, for ${task.few} alone` : ""}; ${listed(archs)}`;
  const found = {task, alone, pick, bound, archs, picking};
  const at = pointsOf(choice.delta, task.points);
  if (!shown.length) return {...found, verdict: "", sentence: `No model of this task is ${task.trained[choice.regime] || choice.regime}.`,
    certainty: "Choose another training or architecture above."};
  if (pick) {
    const row = worstLoss(task, choice, pick.row.condition, bound);
    const by = alone.find(limit => limit.codec === pick.codec);
    const further = by.row && by.row !== pick.row && by.row.level !== pick.row.level
      ? ` If ${task.titles[pick.codec]} alone is asked about, ${by.row.condition.label} is shown.` : "";
    const stop = why(task, by);
    return {...found, verdict: pick.verdict, row,
      sentence: `${task.titles[pick.codec]} at ${pick.row.condition.label}: ${size(task, pick.row.condition)}, ${loss(task, row, bound)}.`,
      certainty: `Shown with ${task.confidence} confidence${picking ? ", the choice among all codecs allowed for" : ""}; holds for ${scope}.`
        + further + (stop ? ` Beyond ${by.row.condition.label}: ${stop}.` : " Even the strongest level tested is acceptable.")};
  }
  const verdicts = unique(shown.map(limit => limit.verdict));
  if (verdicts.length === 1 && verdicts[0] === "no reference") {
    const of = shown[0].reference;
    return {...found, verdict: "no reference", sentence: "No verdict: on originals the model is not shown to be more than "
      + `${at} above chance, so there is nothing to lose.`,
      certainty: `On originals it has ${onOriginals(task, of)}.`};
  }
  if (shown.some(limit => accepted(limit.verdict))) {
    const each = shown.filter(limit => accepted(limit.verdict)).map(limit => `${task.titles[limit.codec]} ${limit.row.condition.label}`);
    return {...found, verdict: "inconclusive", sentence: `No codec can be picked at ${at}: no limit holds for all codecs at once, but each of these does by itself: ${each.join("; ")}.`,
      certainty: `${task.confidence} confidence for each by itself; holds for ${scope}.`};
  }
  // Nothing passes at this margin: the smallest loss that is ruled out says more than the word inconclusive.
  const mildest = shown.filter(limit => limit.verdict !== "no reference").map(limit => worstLoss(task, choice, limit.sequence[0].condition, bound))
    .sort((a, b) => b[bound] - a[bound])[0];
  const verdict = verdicts.includes("inconclusive") ? "inconclusive" : "unacceptable";
  const start = verdict === "unacceptable" ? `Nothing is acceptable at ${at}: each codec is shown to cost more from its mildest level on.`
    : `Nothing is shown to cost at most ${at}.`;
  return {...found, verdict, row: mildest,
    sentence: `${start} Least costly: ${task.titles[mildest.codec]} at ${mildest.condition.label}: ${size(task, mildest.condition)}, ${loss(task, mildest, bound)}.`,
    certainty: `${task.confidence} confidence${picking ? ", the choice among all codecs allowed for" : ""}; holds for ${scope}. `
      + (shown.length === 1 && shown[0].stop ? `${why(task, shown[0])}.` : "What stopped each codec stands below.")};
}

// Copying and saving.

function tell(text) {
  const told = $("#told");
  told.textContent = text.length > 80 ? `${text.slice(0, 80)}…` : text;
  told.classList.add("seen");
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => told.classList.remove("seen"), 1500);
}
function copy(text) {
  const done = () => tell(`Copied: ${text}`);
  const byHand = () => {  // where a page that was opened as a file may not write to the clipboard
    const area = el("textarea", {style: "position:fixed;opacity:0"});
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    done();
  };
  if (navigator.clipboard && window.isSecureContext) navigator.clipboard.writeText(text).then(done, byHand); else byHand();
}
function save(name, text, type) {
  const link = el("a", {href: URL.createObjectURL(new Blob([text], {type})), download: name.replace(/[^\w.-]+/g, "_")});
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
// A cell like =1+1, a class's name perhaps, would be computed by a spreadsheet: an apostrophe before it makes it a text.
const cellOf = text => /^[=+@\t\r]|^-(?![\d.])/.test(text) && !/^[+]?[\d.]/.test(text) ? `'${text}` : text;
const csv = lines => lines.map(line => line.map(cell => `"${cellOf(String(cell ?? "")).replaceAll('"', '""')}"`).join(",")).join("\n") + "\n";
const csvOf = rows => rows.length ? csv([Object.keys(rows[0]), ...rows.map(row => Object.values(row))]) : "";

// Tables that sort, filter, copy and save.

const MOST_ROWS = 250;
function table(place, name, columns, rows, classOf = () => "") {
  let sorted = null, up = true, all = false, wanted = "";
  const body = el("tbody"), note = el("span", {class: "faint", role: "status"});
  const text = (column, row) => { const told = column.text ? column.text(row) : row[column.key]; return known(told) ? String(told) : "–" };
  const visible = () => {
    const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
    const kept = rows.filter(row => { const line = columns.map(column => text(column, row)).join(" ").toLowerCase(); return words.every(word => line.includes(word)) });
    if (!sorted) return kept;
    const value = row => sorted.by ? sorted.by(row) : row[sorted.key];
    return [...kept].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (!known(x) || !known(y)) return known(y) - known(x);
      const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", {numeric: true});
      return up ? order : -order;
    });
  };
  const lines = list => list.map(row => columns.map(column => text(column, row)));
  const draw = () => {
    const found = visible(), shown = all ? found : found.slice(0, MOST_ROWS);
    body.replaceChildren(...shown.map(row => el("tr", {class: classOf(row)}, ...columns.map(column =>
      el("td", {class: column.number ? "number" : text(column, row).length > 60 ? "long" : ""}, text(column, row))))));
    note.textContent = `${plural(found.length, "row")}${found.length < rows.length ? ` of ${grouped(rows.length)}` : ""}${shown.length < found.length ? `, the first ${shown.length} shown` : ""}`;
    more.hidden = shown.length === found.length;
  };
  const more = el("button", {type: "button", onclick: () => { all = true; draw() }}, "Show all");
  const head = el("tr", {}, ...columns.map(column => {
    const th = el("th", {class: column.number ? "number" : "", scope: "col", "aria-sort": "none"});
    th.append(el("button", {type: "button", onclick: () => {
      up = sorted === column ? !up : true;
      sorted = column;
      $$("th", head).forEach(one => one.setAttribute("aria-sort", "none"));
      th.setAttribute("aria-sort", up ? "ascending" : "descending");
      draw();
    }}, column.title));
    return th;
  }));
  const filter = el("input", {type: "search", placeholder: "filter rows", "aria-label": `filter ${name}`, oninput: event => { wanted = event.target.value; draw() }});
  place.replaceChildren(
    el("div", {class: "tools"}, filter,
      el("button", {type: "button", onclick: () => copy([columns.map(column => column.title), ...lines(visible())].map(line => line.join("\t")).join("\n"))}, "Copy table"),
      el("button", {type: "button", onclick: () => save(`${name}.csv`, csv([columns.map(column => column.title), ...lines(visible())]), "text/csv")}, "CSV"), more, note),
    el("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": name}, el("table", {}, el("thead", {}, head), body)));
  draw();
}
const plain = (name, title) => ({key: name, title});
const shown = (name, title, format) => ({key: name, title, number: true, text: row => format(row[name]), by: row => row[name]});
const share = (name, title) => shown(name, title, percent);
const ranged = (name, title, low, high, format = points) => ({title, number: true, by: row => row[name],
  text: row => known(row[name]) ? `${format(row[name])} ${known(row[low]) ? `[${format(row[low])}, ${format(row[high])}]` : ""}` : "–"});

document.addEventListener("click", event => {
  const cell = event.target.closest("td");
  if (cell && !String(getSelection())) copy(cell.textContent);
});

// Charts: drawn when they come into sight, again when the choice changes or the light does.

const variable = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
function look() {
  const [ink, faint, line] = [variable("--ink"), variable("--faint"), variable("--line")];
  return {background: null, font: "system-ui, sans-serif", view: {stroke: null}, axis: {labelColor: ink, titleColor: ink, gridColor: line, domainColor: faint,
    tickColor: faint, gridOpacity: 0.6, labelFontSize: 11, titleFontSize: 12, titleFontWeight: 500}, legend: {labelColor: ink, titleColor: ink, orient: "bottom", columns: 3, symbolSize: 70, symbolOpacity: 1, labelLimit: 260},
    header: {labelColor: ink, titleColor: ink, labelFontWeight: 600, labelLimit: 400}, title: {color: ink}, text: {color: ink}, rule: {color: faint}};
}
const charts = new Set();
const sight = new IntersectionObserver(entries => entries.forEach(entry => { if (entry.isIntersecting) entry.target.chart.draw() }), {rootMargin: "200px"});
function chart(place, name, caption, make) {
  const plot = el("div", {class: "plot", role: "img", "aria-label": `${name}. ${caption}`});
  const mine = {view: null, rows: [], drawn: "",
    async draw() {
      const made = make(Math.max(240, plot.clientWidth - 10)), state = `${key(made.spec)}${variable("--paper")}`;
      if (state === mine.drawn) return mine.done;
      mine.drawn = state;
      mine.rows = made.rows;
      return mine.done = vegaEmbed(plot, {$schema: "https://vega.github.io/schema/vega-lite/v6.json", config: look(), ...made.spec},
        {actions: false, renderer: "svg", ast: true}).then(result => { mine.view = result.view; plot.dataset.drawn = "yes" });
    }};
  plot.chart = mine;
  place.replaceChildren(el("figure", {}, plot,
    el("figcaption", {}, caption),
    el("div", {class: "tools"},
      el("button", {type: "button", "aria-label": `save ${name} as SVG`, onclick: async () => { await mine.draw(); save(`${name}.svg`, await mine.view.toSVG(), "image/svg+xml") }}, "SVG"),
      el("button", {type: "button", "aria-label": `save the data of ${name} as CSV`, onclick: async () => { await mine.draw(); save(`${name}.csv`, csvOf(mine.rows), "text/csv") }}, "CSV"))));
  charts.add(mine);
  mine.plot = plot;
  sight.observe(plot);
  return mine;
}
const redraw = () => charts.forEach(one => {
  if (!one.plot.isConnected) charts.delete(one);
  else if (one.drawn) { sight.unobserve(one.plot); sight.observe(one.plot) }  // which draws at once those in sight
});
const looksOf = task => ({domain: task.codecs.map(codec => codec.title), range: task.codecs.map(codec => codec.colour)});
const shapesOf = task => ({domain: task.codecs.map(codec => codec.title), range: task.codecs.map(codec => codec.shape)});
const byCodec = task => ({color: {field: "codec", type: "nominal", scale: looksOf(task), title: null},
  shape: {field: "codec", type: "nominal", scale: shapesOf(task), title: null}});
const HOVER = ["model", "codec", "level", "rate shown", "metric shown", "change shown", "bytes on disk", "decoding"];
const hover = names => names.map(name => ({field: name, type: "nominal", title: name.replace(" shown", "")}));

function described(task, row, condition, metric = null) {
  const own = metric || (task.overallAt ||= new Map(task.overall.filter(one => one.metric === task.primary)
    .map(one => [key(one.arch, one.regime, one.codec, one.level), one]))).get(key(row.arch, row.regime, row.codec, row.level)) || {};
  return {model: model(task, row), codec: task.titles[row.codec], level: condition.label, rate: condition.rate,
    "rate shown": `${amount(condition.rate)} ${unitWords(task.unit)}`,
    "metric shown": `${(task.metrics[own.metric] || {title: task.metric}).title} ${value(task.metrics[own.metric] || task, own.value)} [${valueBare(task.metrics[own.metric] || task, own.low)}, ${valueBare(task.metrics[own.metric] || task, own.high)}]`,
    "bytes on disk": known(condition.file_bytes) ? amount(condition.file_bytes) : "not known",
    decoding: known(condition.decode_ms) ? `${amount(condition.decode_ms)} ms` : "not timed"};
}

function lossChart(task, choice) {
  return width => {
    const rows = [], found = answer(task, choice);
    for (const codec of task.codecs) if (!choice.codec || !task.titles[choice.codec] || choice.codec === codec.name) {
      for (const condition of task.conditions.filter(row => row.codec === codec.name)) {
        const row = worstLoss(task, choice, condition, "lower");
        if (!row) continue;
        const limit = found.alone.find(one => one.codec === codec.name);
        rows.push({...described(task, row, condition), change: task.scale * row.difference, lower: task.scale * row.lower, upper: task.scale * row.upper,
          limit: Boolean(limit && limit.row && limit.row.level === condition.level),
          "change shown": `${gap(task, row.difference)} ${task.points}, bounds ${gap(task, row.lower)} and ${gap(task, row.upper)}`});
      }
    }
    const x = {field: "rate", type: "quantitative", scale: {type: "log", nice: false, padding: 12}, axis: {title: `rate, ${unitWords(task.unit)} (log scale)`, tickCount: 5, format: ",.4~r"}};
    // A margin of a few points must be seen beside losses of many.
    const floor = Math.max(Math.min(...rows.map(row => row.change)) - choice.delta, -Math.max(6 * choice.delta, task.scale === 100 ? 15 : 0));
    const y = {type: "quantitative", scale: {domain: [floor, Math.max(choice.delta / 2, task.scale === 100 ? 3 : 0, ...rows.map(row => row.change))], nice: false},
      axis: {title: `change of ${task.metric}, ${task.points}${task.better === "less" ? " (a loss is negative)" : ""}`, format: ",.4~r"}};
    const layer = [
      {data: {values: [{}]}, mark: {type: "rule", strokeDash: [2, 3]}, encoding: {y: {datum: 0, ...y}}},
      {data: {values: [{}]}, mark: {type: "rule", color: "#D55E00", strokeWidth: 1.5}, encoding: {y: {datum: -choice.delta, ...y}}},
      {mark: {type: "rule", opacity: 0.55, clip: true}, encoding: {x, y: {field: "lower", ...y}, y2: {field: "upper"}, color: byCodec(task).color}},
      {mark: {type: "line", opacity: 0.5, strokeWidth: 1.3, clip: true}, encoding: {x, y: {field: "change", ...y}, color: byCodec(task).color}},
      {transform: [{filter: "datum.limit"}], mark: {type: "point", size: 260, strokeWidth: 1.6, color: variable("--ink"), clip: true}, encoding: {x, y: {field: "change", ...y}}},
      {mark: {type: "point", filled: true, size: 55, opacity: 1, clip: true}, encoding: {x, y: {field: "change", ...y}, ...byCodec(task), tooltip: hover(HOVER)}},
    ];
    return {rows, spec: {width, height: 230, autosize: {type: "fit-x", contains: "padding"}, data: {values: rows}, layer}};
  };
}

// Controls.

const FIRST = TASKS[0];
const everything = (name, of) => unique(TASKS.flatMap(of)).sort();
const regimes = unique(TASKS.flatMap(task => Object.keys(task.trained)));
regimes.sort((a, b) => { const known = Object.keys(DATA.regimes), at = one => known.includes(one) ? known.indexOf(one) : 99; return at(a) - at(b) || (a < b ? -1 : 1) });
const regimeTitles = Object.assign({}, ...TASKS.map(task => task.trained));
const choice = {delta: FIRST ? FIRST.delta : 2, baseline: "own", regime: regimes[0] || ORIGINAL, arch: EVERY, codec: EVERY};
const initial = {...choice};

function fill(select, options) {
  select.replaceChildren(...options.map(([value, text]) => el("option", {value}, text)));
}
function setUp() {
  if (!FIRST) return;
  fill($("#baseline"), [["own", "the model itself"], ["best", `the best ${regimeTitles[ORIGINAL] || "of all"}`]]);
  fill($("#regime"), regimes.map(one => [one, regimeTitles[one]]));
  fill($("#arch"), [[EVERY, "every architecture"], ...everything("arch", task => task.references.map(row => row.arch)).map(one => [one, one])]);
  const titles = new Map(TASKS.flatMap(task => task.codecs.map(codec => [codec.name, codec.title])));
  fill($("#codec"), [[EVERY, "any codec"], ...[...titles].sort((a, b) => a[1].localeCompare(b[1]))]);
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) if (name in choice) {
    if (name === "delta") { if (Number(value) > 0 && Number(value) <= 100) choice.delta = Number(value) }
    else if ([...$(`#${name}`).options].some(option => option.value === value)) choice[name] = value;
  }
  const form = $("#controls form");
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("input", event => {
    const {id, value} = event.target;
    if (id === "delta" || id === "slide") {
      const delta = id === "slide" ? Number((10 ** Number(value)).toPrecision(2)) : Number(value);
      if (!(delta > 0 && delta <= 100)) return;
      choice.delta = delta;
    } else choice[id] = value;
    changed();
  });
  $("#reset").addEventListener("click", () => { Object.assign(choice, initial); changed() });
}
function changed() {
  for (const name of ["baseline", "regime", "arch", "codec"]) $(`#${name}`).value = choice[name];
  if (Number($("#delta").value) !== choice.delta) $("#delta").value = choice.delta;
  $("#slide").value = Math.log10(choice.delta);
  const told = Object.entries(choice).filter(([name, value]) => value !== initial[name]);
  history.replaceState(null, "", told.length ? `#${new URLSearchParams(told)}` : location.pathname + location.search);
  $("#foreign").hidden = !(choice.baseline === "own" && choice.regime !== ORIGINAL);
  $("#moved").hidden = TASKS.every(task => task.deltas.includes(choice.delta));
  cards();
  across();
  allLimits();
  redraw();
}

// The cards.

const titleOf = verdict => verdict ? `${SYMBOLS[verdict]} ${verdict}` : "–";
function cards() {
  for (const task of TASKS) {
    const card = task.place ||= $(`[data-task="${DATA.tasks.indexOf(task)}"]`), found = answer(task, choice);
    const chip = $(".verdict", card);
    chip.className = `chip verdict ${found.verdict.replaceAll(" ", "-")}`;
    chip.textContent = found.verdict === "acceptable here" ? `(✓) acceptable for ${task.few}` : titleOf(found.verdict);
    $(".answer", card).textContent = found.sentence;
    $(".certainty", card).textContent = found.certainty;
    $(".models", card).textContent = archsOf(task, choice).map(arch => {
      const of = task.refs.get(key(arch, choice.regime, choice.baseline));
      return `${of.baseline === "own" ? of.model : `${of.reference_arch} on originals, the baseline`}: ${task.metric} ${onOriginals(task, of)}`;
    }).filter((one, place, all) => all.indexOf(one) === place).join("; ");
    const body = $(".codecs tbody", card);
    body.replaceChildren(...found.alone.map(limit => el("tr", {class: limit.verdict.replaceAll(" ", "-")},
      el("td", {}, task.titles[limit.codec]), el("td", {}, titleOf(limit.verdict)),
      el("td", {}, limit.row ? limit.row.condition.label : why(task, limit) || "–"),
      el("td", {class: "number"}, limit.row ? amount(limit.row.condition.rate) : "–"),
      el("td", {class: "number"}, limit.row ? amount(ratioOf.raw(limit.row.condition)) : "–"),
      el("td", {class: "number"}, limit.row ? amount(ratioOf.lossless(limit.row.condition)) : "–"))));
    task.small ||= chart($(".small", card), `${task.name} loss`, "Change against rate with one-sided bounds, of the architecture for which most may be lost. Orange: the margin. Ringed: each codec's limit.",
      width => lossChart(task, choice)(width));
  }
}

// Across media.

function across() {
  if (!TASKS.length) return;
  const rows = TASKS.map(task => {
    const found = answer(task, choice), at = found.pick ? found.pick.row.condition : null;
    return {task: task.name, medium: task.medium, application: task.kind, verdict: found.verdict, answer: at ? `${task.titles[at.codec]} ${at.label}` : "nothing shown",
      raw: at && ratioOf.raw(at), lossless: at && ratioOf.lossless(at), source: at && ratioOf.source(at), best: at && best(at), losslessName: task.lossless,
      rate: at ? `${amount(at.rate)} ${unitWords(task.unit)}` : "–", loss: at ? loss(task, found.row, found.bound) : "–", items: task.items};
  });
  const told = rows.filter(row => known(row.best)).sort((a, b) => b.best - a.best), none = rows.filter(row => !known(row.best));
  const smaller = times => times >= 1 ? `${amount(times)} times smaller` : `${amount(1 / times)} times larger`;
  $("#across .answer").textContent = (told.length
    ? `At ${pointsOf(choice.delta)} ${told[0].task} (${told[0].medium}, ${told[0].application}) is shown to bear most: ${smaller(told[0].best)} than the smallest of raw, lossless and its own files.`
      + (told.length > 1 ? ` Least of those with a limit: ${told[told.length - 1].task}, ${smaller(told[told.length - 1].best)}.` : "")
    : `At ${pointsOf(choice.delta)} no task is shown to bear any compression.`)
    + (none.length ? ` Nothing is shown for ${listed(none.map(row => row.task))}.` : "");
  const times = (name, title) => shown(name, title, amount);
  table($("#across .table"), "across media", [plain("task", "task"), plain("medium", "medium"), plain("application", "application"),
    {title: "verdict", text: row => titleOf(row.verdict), by: row => ORDER.indexOf(row.verdict)}, plain("answer", "level"), plain("rate", "rate"),
    times("raw", "times smaller than raw"), times("lossless", "than lossless"), times("source", "than own files"), times("best", "than the smallest of these"),
    plain("loss", "points"), shown("items", "test items", grouped)], rows, row => row.verdict.replaceAll(" ", "-"));
  across.chart ||= chart($("#across .chart"), "across media", "How many times smaller the media of each task become at the margin chosen above. A task without a mark has no level that is shown.", width => {
    const long = across.rows.flatMap(row => [["raw", "than raw"], ["lossless", "than lossless"], ["source", "than own files"]].filter(([name]) => known(row[name]))
      .map(([name, of]) => ({task: row.task, medium: row.medium, of, times: row[name], level: row.answer, shown: amount(row[name])})));
    const y = {field: "task", type: "nominal", sort: across.rows.map(row => row.task), scale: {domain: across.rows.map(row => row.task)}, axis: {title: null, labelLimit: Math.min(240, width / 3), grid: true}};
    const x = {field: "times", type: "quantitative", scale: {type: "log", nice: false, padding: 14}, axis: {title: "times smaller (log scale)", format: ",.4~r", tickCount: 6}};
    const of = {field: "of", type: "nominal", title: null, sort: null, scale: {domain: ["than raw", "than lossless", "than own files"]}};
    return {rows: long, spec: {width, height: 30 * across.rows.length + 20, autosize: {type: "fit-x", contains: "padding"}, data: {values: long}, layer: [
      {mark: {type: "rule", strokeDash: [2, 3]}, data: {values: [{}]}, encoding: {x: {datum: 1, type: "quantitative"}}},
      {mark: {type: "point", filled: true, size: 90, opacity: 1}, encoding: {x, y, shape: {...of, scale: {...of.scale, range: ["circle", "square", "triangle-up"]}},
        color: {...of, scale: {...of.scale, range: ["#0072B2", "#D55E00", "#009E73"]}},
        tooltip: [{field: "task", type: "nominal"}, {field: "level", type: "nominal"}, {field: "shown", type: "nominal", title: "times smaller"}, {field: "of", type: "nominal"}]}}]}};
  });
  across.rows = rows;
}

// All limits, of every task and model, at the margin chosen above.

function allLimits() {
  const rows = [];
  for (const task of TASKS) for (const of of task.references) {
    // The best model trained on originals is its own baseline either way, and stands here once.
    if (of.baseline === "best" && of.regime === ORIGINAL && of.arch === of.reference_arch) continue;
    for (const codec of task.codecs) {
      const limit = limitOf(task, of.arch, of.regime, of.baseline, codec.name, choice.delta);
      if (limit) rows.push({...limit, task});
    }
  }
  const of = (title, value, text = amount) => ({title, number: true, by: row => row.row && value(row.row.condition), text: row => row.row ? text(value(row.row.condition)) : "–"});
  table($("#limits .table"), "limits", [
    {title: "task", text: row => row.task.name}, {title: "codec", text: row => row.task.titles[row.codec]},
    {title: "verdict", by: row => ORDER.indexOf(row.verdict), text: row => row.verdict === "acceptable here" ? `${SYMBOLS[row.verdict]} acceptable for ${row.task.few}` : titleOf(row.verdict)},
    {title: "strongest level", by: row => row.row && row.row.condition.strength, text: row => row.row ? row.row.condition.label : "–"},
    of("rate", condition => condition.rate), {title: "unit", text: row => row.task.unit}, of("raw : compressed", condition => condition.ratio),
    {title: "model", text: row => row.reference.model}, {title: "against", text: row => row.baseline === "own" ? "itself" : row.task.best},
    of("saves of raw", condition => condition.saving, percent), of("of lossless", condition => condition.saving_lossless, percent), of("of own files", condition => condition.saving_source, percent),
    {title: "level for all codecs at once", text: row => row.joint && accepted(row.verdict) ? row.joint.condition.label : "–"},
    {title: "stopped at", text: row => why(row.task, row) || "–"}, {title: "holds for", text: row => row.reference.holds},
    {title: "the baseline has on originals", number: true, by: row => row.reference.reference, text: row => onOriginals(row.task, row.reference)},
    {title: "tested on", by: row => row.task.items, text: row => row.task.count},
  ], rows, row => row.verdict.replaceAll(" ", "-"));
}

// What folds out of a card, made when it is opened.

const model = (task, row) => task.names.get(key(row.arch, row.regime)) || `${row.arch}, ${task.trained[row.regime] || row.regime}`;
const PARTS = {
  explore(task, place) {
    const further = Object.keys(task.conditions[0]).filter(name => /^(psnr|ssim|snr|si_sdr|spectral_distance)$/.test(name) || (task.measures || {})[name])
      .filter(name => task.conditions.some(row => row.codec !== ORIGINAL && known(row[name])));
    const xs = [["rate", `rate, ${unitWords(task.unit)}`, true], ["file_bytes", "bytes an item, on disk", true], ["decode_ms", "decoding an item, ms", true], ["encode_ms", "encoding an item, ms", true],
      ...further.map(name => [name, (task.measures || {})[name] || name.toUpperCase().replaceAll("_", "-"), false])]
      .filter(([name]) => task.conditions.some(row => row.codec !== ORIGINAL && known(row[name])));
    const select = (name, options) => { const made = el("select", {"aria-label": name}); fill(made, options); return el("label", {}, name, made) };
    const [x, y, every] = [select("across", xs.map(([name, title]) => [name, title])), select("upwards", Object.entries(task.metrics).map(([name, about]) => [name, about.title])), select("models", [["", "as chosen above"], ["all", "every training"]])];
    $("select", y).value = task.primary;
    const spot = el("div");
    place.replaceChildren(el("div", {class: "choose"}, x, y, every), spot);
    const mine = chart(spot, `${task.name} curves`, "Bands are 95 % intervals. Dashed: the same model on originals.", width => {
      const [name, title, log] = xs.find(([one]) => one === $("select", x).value), metric = $("select", y).value;
      const kept = task.overall.filter(row => row.metric === metric && ($("select", every).value ? row.regime in DATA.regimes : row.regime === choice.regime && (!choice.arch || row.arch === choice.arch)));
      const rows = kept.filter(row => row.codec !== ORIGINAL && (!choice.codec || !task.titles[choice.codec] || row.codec === choice.codec)).flatMap(row => {
        const condition = task.at.get(key(row.codec, row.level));
        return known(condition[name]) && (!log || condition[name] > 0) ? [{...described(task, row, condition, row), x: condition[name], value: scaled(row.value, task.metrics[metric].scale), low: scaled(row.low, task.metrics[metric].scale), high: scaled(row.high, task.metrics[metric].scale)}] : [];
      });
      const originals = kept.filter(row => row.codec === ORIGINAL).map(row => ({model: model(task, row), original: scaled(row.value, task.metrics[metric].scale)}));
      const count = unique(rows.map(row => row.model)).length, columns = Math.max(1, Math.min(count, Math.floor(width / 330)));
      const ax = {field: "x", type: "quantitative", scale: log ? {type: "log", nice: false, padding: 10} : {zero: false}, axis: {title: title + (log ? " (log scale)" : ""), format: ",.4~r", tickCount: 5}};
      const ay = {type: "quantitative", scale: {zero: false}, axis: {title: `${task.metrics[metric].title}, ${task.metrics[metric].unit || "%"}`}};
      return {rows, spec: {data: {values: [...rows, ...originals]}, columns, facet: {field: "model", type: "nominal", title: null}, spec: {width: Math.max(180, width / columns - 75), height: 220, layer: [
        {transform: [{filter: "isValid(datum.original)"}], mark: {type: "rule", strokeDash: [5, 3]}, encoding: {y: {field: "original", ...ay}}},
        {transform: [{filter: "isValid(datum.value)"}], mark: {type: "area", opacity: 0.13}, encoding: {x: ax, y: {field: "low", ...ay}, y2: {field: "high"}, color: byCodec(task).color}},
        {transform: [{filter: "isValid(datum.value)"}], mark: {type: "line", strokeWidth: 1.5, opacity: 0.8}, encoding: {x: ax, y: {field: "value", ...ay}, color: byCodec(task).color}},
        {transform: [{filter: "isValid(datum.value)"}], mark: {type: "point", filled: true, size: 45, opacity: 1}, encoding: {x: ax, y: {field: "value", ...ay}, ...byCodec(task), tooltip: hover(HOVER.filter(one => one !== "change shown"))}}]}}};
    });
    place.addEventListener("change", () => mine.draw());
  },
  levels(task, place) {
    const money = new Map(task.costs.map(row => [key(row.codec, row.level), row])), unit = DATA.prices.currency;
    const priced = name => ({title: `${name}, ${unit}`, number: true, by: row => (money.get(key(row.codec, row.level)) || {})[name], text: row => amount((money.get(key(row.codec, row.level)) || {})[name])});
    const timed = (name, title) => ({title, number: true, by: row => row[`${name}_ms`], text: row => known(row[`${name}_ms`]) ? `${amount(row[`${name}_ms`])} ± ${fixed(100 * row[`${name}_spread`], 0)} %` : "–"});
    table(place, `${task.name} levels`, [{title: "codec", text: row => task.titles[row.codec]}, {title: "level", by: row => row.strength, text: row => row.codec === ORIGINAL ? "as stored here" : row.label},
      shown("rate", `rate, ${task.unit}`, amount), shown("ratio", "raw : compressed", amount), shown("file_bytes", "bytes an item", amount), share("saving", "saves of raw"), share("saving_lossless", `of ${task.lossless}`), share("saving_source", "of own files"),
      timed("encode", "encoding, ms"), timed("decode", "decoding, ms"), ...["storage", "transfer", "cpu", "total"].map(priced),
      ...["psnr", "ssim", "snr", "si_sdr", "spectral_distance"].filter(name => task.conditions.some(row => known(row[name]))).map(name => shown(name, name.toUpperCase().replaceAll("_", "-"), amount)), plain("encoder", "encoder")], task.conditions);
  },
  metrics(task, place) {
    table(place, `${task.name} metrics`, [{title: "model", text: row => model(task, row)}, {title: "codec", text: row => task.titles[row.codec]},
      {title: "level", by: row => task.at.get(key(row.codec, row.level)).strength, text: row => task.at.get(key(row.codec, row.level)).label},
      {title: "metric", text: row => task.metrics[row.metric].title}, {title: "value [95 % interval]", number: true, by: row => row.value, text: row => `${value(task.metrics[row.metric], row.value)} [${valueBare(task.metrics[row.metric], row.low)}, ${valueBare(task.metrics[row.metric], row.high)}]`}], task.overall);
  },
  losses(task, place) {
    const change = one => gap(task, one), bound = (name, title) => shown(name, title, change);
    table(place, `${task.name} losses`, [{title: "model", text: row => model(task, row)}, {title: "against", text: row => row.baseline === "own" ? "itself" : task.best}, {title: "codec", text: row => task.titles[row.codec]},
      {title: "level", by: row => row.condition.strength, text: row => row.condition.label}, shown("value", task.metric, one => value(task, one)), ranged("difference", `change, ${task.points} [95 % interval]`, "low", "high", change),
      bound("lower", "lower bound"), bound("upper", "upper bound"), bound("joint", "lower bound for all codecs at once")], task.differences);
  },
  equal(task, place) {
    table(place, `${task.name} equal rate`, [{title: "model", text: row => model(task, row)}, {title: "codec", text: row => task.titles[row.codec_b]}, {title: "against", text: row => task.titles[row.codec_a]},
      {title: `${task.points} at equal rate`, number: true, by: row => row.bd_metric, text: row => known(row.bd_metric) ? `${gap(task, row.bd_metric / task.scale)} ${gaps(task, scaled(row.bd_metric_low, 1 / task.scale), scaled(row.bd_metric_high, 1 / task.scale))}` : "–"},
      {title: "% rate at equal metric", number: true, by: row => row.bd_rate, text: row => known(row.bd_rate) ? `${points(row.bd_rate / 100)} ${interval(scaled(row.bd_rate_low, 0.01), scaled(row.bd_rate_high, 0.01))}` : "–"},
      {title: "ahead", text: row => row.ahead ? task.titles[row.ahead] : "neither is shown to be"}, plain("status", "status")], task.bd);
  },
  advice(task, place) {
    table(place, `${task.name} what helps`, [{title: "codec", text: row => task.titles[row.codec]}, {title: "level", by: row => task.at.get(key(row.codec, row.level)).strength, text: row => row.label}, plain("arch", "architecture"),
      {title: "first beyond the limit", text: row => row.beyond ? "yes" : ""}, plain("advice", "what helps"), plain("text", "because")], task.advice);
  },
  gaps(task, place) {
    const of = (name, title) => ranged(name, title, `${name}_low`, `${name}_high`, one => gap(task, one)), share = (name, title) => shown(name, title, one => value(task, one));
    table(place, `${task.name} gaps`, [plain("arch", "architecture"), {title: "codec", text: row => task.titles[row.codec]}, {title: "level", by: row => row.strength, text: row => (task.at.get(key(row.codec, row.level)) || {}).label},
      {title: "training", text: row => row.training || "none on compressed media"}, share("original", "trained on originals"), share("trained", "so trained"), of("loss", `lost, ${task.points} [95 % interval]`), of("recovered", "won back"), of("remaining", "left"),
      {title: "other codec", text: row => row.other_codec ? `${task.titles[row.other_codec]} ${(task.at.get(key(row.other_codec, row.other_level)) || {}).label}` : "–"}, of("other", "it loses less"), plain("advice", "what helps")], task.gaps);
  },
  subgroups(task, place) {
    const change = one => gap(task, one), share = (name, title) => shown(name, title, one => value(task, one));
    table(place, `${task.name} by what is hurt`, [{title: "model", text: row => model(task, row)}, {title: "codec", text: row => task.titles[row.codec]}, {title: "level", by: row => row.strength, text: row => (task.at.get(key(row.codec, row.level)) || {}).label},
      plain("by", "told apart by"), plain("group", "group"), shown("support", "how many", grouped), share("reference", "on originals"), share("value", "here"), ranged("loss", `lost, ${task.points}`, "loss_low", "loss_high", change), ranged("excess", "more than all items", "excess_low", "excess_high", change),
      {title: "shown to lose more", text: row => row.hurt ? "yes" : "not shown"}], task.subgroups, row => row.hurt ? "unacceptable" : "");
  },
  held_out(task, place) {
    table(place, `${task.name} held out`, [plain("arch", "architecture"), {title: "never learnt from", text: row => task.titles[row.held_out] || row.held_out}, {title: "tested on", text: row => task.titles[row.codec]}, {title: "level", by: row => row.strength, text: row => (task.at.get(key(row.codec, row.level)) || {}).label},
      shown("value", task.metric, one => value(task, one)), ranged("over_original", `over originals, ${task.points}`, "over_original_low", "over_original_high", one => gap(task, one)), ranged("over_mixed", `over the whole mixture, ${task.points}`, "over_mixed_low", "over_mixed_high", one => gap(task, one))], task.held_out);
  },
  transfer(task, place) {
    const label = (codec, level) => (task.at.get(key(codec, level)) || {}).label || level;
    table(place, `${task.name} transfer`, [plain("arch", "architecture"), {title: "trained on", text: row => row.train === "matched" ? `${task.titles[row.train_codec]} ${label(row.train_codec, row.train_level)}` : DATA.regimes[row.train] || row.train},
      {title: "codec", text: row => task.titles[row.codec]}, {title: "tested on", by: row => row.test_level, text: row => known(row.test_level) ? label(row.codec, row.test_level) : "originals"}, ranged("value", task.metric, "low", "high", one => value(task, one))], task.transfer);
  },
  capture(task, place) {
    table(place, `${task.name} capture`, [{title: "model", text: row => model(task, row)}, {title: "against", text: row => row.baseline === "own" ? "itself" : task.best}, {title: "codec", text: row => task.titles[row.codec]}, plain("condition", "condition"), shown("delta", `may lose, ${task.points}`, general),
      ranged("mildest_difference", `at the mildest level, ${task.points}`, "mildest_low", "mildest_high", one => gap(task, one)), {title: "verdict", by: row => ORDER.indexOf(row.verdict), text: row => titleOf(row.verdict)}, plain("label", "strongest level"), shown("rate", "rate", amount)], task.capture, row => row.verdict.replaceAll(" ", "-"));
  },
  samples(task, place) {
    const cells = task.samples.cells, items = unique(cells.map(cell => cell.item));
    if (!cells.length) { place.replaceChildren(el("p", {}, task.samples.missing)); return }
    const [item, codec] = [el("select", {"aria-label": "item"}), el("select", {"aria-label": "codec of the samples"})], slide = el("input", {type: "range", min: 0, max: 0, step: 1, value: 0, "aria-label": "level of the samples"});
    const level = el("output"), shown = el("div", {class: "samples"});
    fill(item, items.map(one => [one, cells.find(cell => cell.item === one).truth]));
    const media = (cell, title) => el("figure", {}, el("figcaption", {}, title), el("img", {class: cell.sound ? "sound" : "", alt: `${title}, ${cell.truth}`, src: cell.media}),
      cell.sound ? el("audio", {controls: true, preload: "none", src: cell.sound, "aria-label": title}) : null);
    const steps = () => cells.filter(cell => cell.item === item.value && cell.codec === codec.value);
    const draw = () => {
      const all = steps(), cell = all[Math.min(Number(slide.value), all.length - 1)], original = cells.find(one => one.item === item.value && one.codec === ORIGINAL);
      level.textContent = cell.label;
      slide.setAttribute("aria-valuetext", cell.label);
      shown.replaceChildren(...[original && media(original, "original"), media(cell, `${task.titles[cell.codec] || cell.codec} ${cell.label}: ${cell.note}`)].filter(Boolean));
    };
    const fresh = () => {
      const own = unique(cells.filter(cell => cell.item === item.value && cell.codec !== ORIGINAL).map(cell => cell.codec)), before = codec.value;
      fill(codec, own.map(one => [one, task.titles[one] || one]));
      if (own.includes(before)) codec.value = before;
      slide.max = steps().length - 1;
      draw();
    };
    item.addEventListener("input", fresh);
    codec.addEventListener("input", () => { slide.max = steps().length - 1; draw() });
    slide.addEventListener("input", draw);
    place.replaceChildren(el("div", {class: "choose"}, el("label", {}, "item", item), el("label", {}, "codec", codec), el("label", {}, "level, mild to strong", slide), level), shown, el("p", {class: "note"}, task.samples.missing));
    fresh();
  },
};

// Under attack.

function attacks(task, place) {
  const about = task.attacks, models = about.models.map(one => [key(one.arch, one.regime), `${one.arch}, ${one.training}`]);
  const chosen = el("select", {"aria-label": "attacked model"});
  fill(chosen, models);
  const is = row => key(row.arch, row.regime) === chosen.value, main = about.worst.filter(row => row.main && row.goal === "untargeted");
  const WHO = {T0: "attacker ignores the codec", all: "worst of all tried"};
  const codecsOf = () => unique(main.filter(row => is(row) && row.codec !== ORIGINAL).map(row => row.codec));
  const name = codec => (main.find(row => row.codec === codec) || {}).title || task.titles[codec] || codec;
  const line = (rows, series, x) => rows.map(row => ({codec: name(row.codec), x: x(row), place: row.place, series, value: scaled(row.robust_shown, 100), low: about.bare ? null : scaled(row.robust_after_low, 100),
    high: about.bare ? null : scaled(row.robust_after_high, 100), shown: `${row.unreliable ? "≤ " : ""}${percent(row.robust_shown)}${row.unchecked && !row.unreliable ? " ?" : ""}`, gain: known(row.gain) ? `${points(row.gain)} ${interval(row.gain_low, row.gain_high)}` : "–", doubt: Boolean(row.unreliable)}));
  const series = {field: "series", type: "nominal", title: null, sort: null, scale: {domain: ["clean items", "without a codec", WHO.T0, WHO.all], range: [variable("--ink"), "#888888", "#0072B2", "#D55E00"]}};
  const shapes = {...series, scale: {domain: series.scale.domain, range: ["diamond", "square", "circle", "triangle-up"]}};
  const facets = (rows, width, title, sort, scale) => {
    const count = unique(rows.map(row => row.codec)).length, columns = Math.max(1, Math.min(count, Math.floor(width / 260)));
    const x = {field: "x", type: "ordinal", sort, axis: {title, labelAngle: -35, labelLimit: 110}}, y = {type: "quantitative", scale: {domain: [0, 100]}, axis: {title: `robust ${about.measure}, %`}};
    return {rows, spec: {data: {values: rows}, columns, facet: {field: "codec", type: "nominal", title: null}, resolve: {scale: {x: "independent"}}, spec: {width: Math.max(150, width / columns - 70), height: 190, layer: [
      {mark: {type: "rule", opacity: 0.6}, encoding: {x, y: {field: "low", ...y}, y2: {field: "high"}, color: series}},
      {mark: {type: "line", opacity: 0.8}, encoding: {x, y: {field: "value", ...y}, color: series}},
      {transform: [{filter: "!datum.doubt"}], mark: {type: "point", filled: true, size: 55, opacity: 1}, encoding: {x, y: {field: "value", ...y}, color: series, shape: shapes, tooltip: [{field: "place", type: "nominal"}, {field: "series", type: "nominal"}, {field: "shown", type: "nominal", title: about.measure}, {field: "gain", type: "nominal"}]}},
      {transform: [{filter: "datum.doubt"}], mark: {type: "point", filled: false, size: 55, opacity: 1}, encoding: {x, y: {field: "value", ...y}, color: series, shape: shapes, tooltip: [{field: "place", type: "nominal"}, {field: "series", type: "nominal"}, {field: "shown", type: "nominal", title: `${about.measure}, at most`}, {field: "gain", type: "nominal"}]}}]}}};
  };
  const spots = {verdicts: el("div"), levels: el("div"), budgets: el("div")};
  place.replaceChildren(el("div", {class: "choose"}, el("label", {}, "model", chosen)), spots.verdicts, spots.levels, spots.budgets);
  const verdicts = () => {
    const of = about.models.find(one => key(one.arch, one.regime) === chosen.value);
    table(spots.verdicts, `${task.name} defences`, [plain("place", "codec, at the level that helps most if ignored"), plain("brief", "verdict"), plain("hole", "items made wrong behind the codec alone"), plain("oblivious", "gain if ignored, points"),
      plain("worst", "gain left in the worst case"), plain("robust", `robust ${about.measure}, worst`), plain("text", "why")], of.codecs,
      row => /hole/.test(row.brief + row.hole) ? "unacceptable" : /^helps/.test(row.brief) ? "acceptable" : "inconclusive");
  };
  verdicts();
  const byLevel = chart(spots.levels, `${task.name} under attack by level`, `Main budget: ${about.models[0].budget}. Only what the worst case has above the model without a codec is a defence. Hollow: a check failed, so that robustness is at most that.`, width => {
    const rows = codecsOf().flatMap(codec => {
      const here = main.filter(row => is(row) && row.codec === codec).sort((a, b) => a.strength - b.strength), bare = main.filter(row => is(row) && row.codec === ORIGINAL && row.tier === "all");
      const worst = here.filter(row => row.tier === "all"), x = row => row.place.slice(name(codec).length + 1) || row.place;
      return [...line(here.filter(row => row.tier === "T0"), WHO.T0, x), ...line(worst, WHO.all, x),
        ...(bare.length ? worst.flatMap(row => line([bare[0]], "without a codec", () => x(row)).map(one => ({...one, codec: name(codec)}))) : []),
        ...worst.map(row => ({codec: name(codec), x: x(row), place: row.place, series: "clean items", value: scaled(row.clean_after_shown, 100), low: null, high: null, shown: percent(row.clean_after_shown), gain: "–", doubt: false}))];
    });
    return facets(rows, width, "level, mild to strong", null);
  });
  const byBudget = chart(spots.budgets, `${task.name} under attack by budget`, "The same as the attacker may change more, at the level of each codec that helps most if it is ignored. Most attacks were tried at the main budget alone.", width => {
    const of = about.models.find(one => key(one.arch, one.regime) === chosen.value), places = of.codecs.map(one => one.place);
    const budget = row => (row.norm === "snr" ? -1 : 1) * row.epsilon, same = row => is(row) && row.goal === "untargeted" && row.norm === main[0].norm;
    const all = about.worst.filter(same).sort((a, b) => budget(a) - budget(b)), bare = all.filter(row => row.codec === ORIGINAL && row.tier === "all");
    const rows = places.flatMap(spot => [...["T0", "all"].flatMap(tier => line(all.filter(row => row.place === spot && row.tier === tier), WHO[tier], row => row.budget)), ...line(bare, "without a codec", row => row.budget)].map(row => ({...row, codec: spot})));
    return facets(rows, width, "budget, small to large", null);
  });
  chosen.addEventListener("input", () => { verdicts(); byLevel.draw(); byBudget.draw() });
}
const flagged = (row, text, sign = "≤ ") => `${row.unreliable ? sign : ""}${text}${row.unchecked && !row.unreliable ? " ?" : ""}`;
const attackColumns = task => [{title: "model", text: row => model(task, row)}, plain("place", "codec"), plain("attack", "attack"), plain("budget", "budget"), plain("goal", "wants"), plain("tier", "tier"),
  share("clean_after_shown", `clean ${task.attacks.measure}`), shown("cost", "cost", points), {title: `robust ${task.attacks.measure}`, number: true, by: row => row.robust_shown, text: row => known(row.robust_shown) ? flagged(row, percent(row.robust_shown)) : "–"},
  {title: "gain, points", number: true, by: row => row.gain, text: row => known(row.gain) ? flagged(row, `${points(row.gain)} ${interval(row.gain_low, row.gain_high)}`) : "–"}, shown("opened", "opens, points", points),
  {title: "triggered, points", number: true, by: row => row.triggered, text: row => known(row.triggered) ? flagged(row, `${points(row.triggered)} ${interval(row.triggered_low, row.triggered_high)}`, "≥ ") : "–"},
  {title: "TASR", number: true, by: row => row.tasr_after, text: row => known(row.tasr_after) ? flagged(row, percent(row.tasr_after), "≥ ") : "–"}, share("tasr_clean", "TASR, clean items"),
  shown("calls", "calls", value => known(value) ? grouped(value) : "–"), {title: "in doubt", text: row => row.reason || row.unchecked || ""}];
PARTS.attacked = attacks;
PARTS.worst = (task, place) => table(place, `${task.name} worst cases`, attackColumns(task), task.attacks.worst);
PARTS.each = (task, place) => table(place, `${task.name} attacks`, attackColumns(task), task.attacks.each);
PARTS.gates = (task, place) => table(place, `${task.name} checks`, [{title: "model", text: row => model(task, row)}, plain("seed", "seed"), {title: "codec", text: row => row.codec === ORIGINAL ? "no codec" : task.titles[row.codec] || row.codec}, shown("level", "level", general), plain("gate", "check"), plain("status", "result"), plain("note", "about")], task.attacks.gates, row => row.status === "fail" ? "unacceptable" : row.status === "pass" ? "" : "inconclusive");

// Start.

const made = new WeakSet();
function open(place) {
  if (made.has(place)) return;
  made.add(place);
  PARTS[place.dataset.part](DATA.tasks[Number(place.closest("[data-task]").dataset.task)], place);
}
document.addEventListener("toggle", event => { if (event.target.open) $$("[data-part]", event.target).filter(one => one.closest("details") === event.target).forEach(open) }, true);
document.addEventListener("click", event => { const of = event.target.closest("[data-copy]"); if (of) copy($(`.${of.dataset.copy}`, of.closest(".card, section")).textContent) });
addEventListener("beforeprint", () => charts.forEach(one => one.draw()));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
let resized;
addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(redraw, 200) });
setUp();
if (FIRST) changed();
$$("section [data-part=attacked]").forEach(open);
// For tests and for whoever asks from the console: what the page itself computes.
window.lossybench = {data: DATA, tasks: TASKS, choice, limits, limitOf, answer, changed, format: {amount, percent, points}};
document.documentElement.dataset.ready = "yes";
})();
