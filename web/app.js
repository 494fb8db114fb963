/* The dashboard of a run. All data comes from get(); all text goes in through textContent, so that nothing that a candidate,
   a compiler or a model wrote is ever markup. New events arrive by one stream; programs are then fetched from the last one
   that we have, so that a page that was cut off has neither a gap nor a double. */
'use strict';

const LIVE = document.querySelector('meta[name=attune]').content === 'live';
const MOST_TEXT = 200000;
const S = {
    runs : 1,
    data : [],
    seq : 0,
    link : 'off',
    list : [],
    sel : -1,
    sort : {},
    filter : '',
    gaps : 0,
    doubles : 0,
    detail : new Map(),
    races : new Map(),
    draft : {},
    sent : {},
    metric : 'speedup',
    at : null
};

/* ---- building ---- */

function h(tag, props, ...kids) {
    const e = document.createElement(tag);
    for (const k in props || {}) {
        const v = props[k];
        if (v === undefined || v === null || v === false) continue;
        if (k === 'on')
            for (const t in v) e.addEventListener(t, v[t]);
        else if (k === 'class') e.className = v;
        else if (k === 'data')
            for (const d in v) e.dataset[d] = v[d];
        else e.setAttribute(k, v === true ? '' : v);
    }
    e.append(...kids.flat(9).filter(k => k !== null && k !== undefined && k !== false));
    return e;
}
const nodes = (...k) => k.flat(9).filter(x => x !== null && x !== undefined && x !== false);
const untrusted = s => h('span', {class : 'untrusted'}, tame(s, 400));
/* Characters that turn the direction of text around, or show as nothing, are made visible. */
function tame(s, most) {
    s = String(s ?? '');
    if (s.length > most) s = s.slice(0, most) + ' …';
    return s.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]/g,
                     c => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'));
}

/* ---- numbers ---- */

const num = (v, d = 3) => v === null || v === undefined || !isFinite(v) ? '–' : String(+(+v).toPrecision(d));
const times = v => v === null || v === undefined || !isFinite(v) ? '–'
                   : v === 1                                     ? '1×'
                                                                 : (v >= 100  ? v.toFixed(0)
                                                                    : v >= 10 ? v.toFixed(1)
                                                                              : v.toFixed(v < 2 ? 3 : 2)) +
                                   '×';
const tick = v => num(v) + '×';
const gain = v => isFinite(v) ? (v >= 0 ? '+' : '−') + Math.abs(100 * v).toFixed(Math.abs(v) < .1 ? 1 : 0) + ' %' : '–';
const percent = v => v === null || v === undefined || !isFinite(v) ? '–' : !v ? '0 %' : (100 * v).toFixed(v < .1 ? 1 : 0) + ' %';
const count = v => Number(v || 0).toLocaleString('en').replace(/,/g, '\u202f');
const bytes = v => v >= 1048576 ? (v / 1048576).toFixed(v % 1048576 ? 1 : 0) + ' MB'
                   : v >= 1024  ? (v / 1024).toFixed(0) + ' kB'
                                : (v || 0) + ' B';
const error = v => v === null || v === undefined ? '–' : (+v).toExponential(1).replace('e-', 'e−');
function clock(s) {
    if (!(s >= 0)) return '–';
    s = Math.round(s);
    return s < 90     ? s + ' s'
           : s < 5400 ? `${Math.floor(s / 60)} min ${s % 60 ? s % 60 + ' s' : ''}`.trim()
                      : `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
}
/* In tables: 1:05, 2:00:07. */
const stamp = s => {
    if (!(s >= 0)) return '–';
    s = Math.round(s);
    const two = n => String(n).padStart(2, '0');
    return s < 3600 ? `${Math.floor(s / 60)}:${two(s % 60)}`
                    : `${Math.floor(s / 3600)}:${two(Math.floor(s % 3600 / 60))}:${two(s % 60)}`;
};
const interval = (a, b) => `[${times(a).replace('×', '')}, ${times(b).replace('×', '')}]`;
const dollars = v => v > 0 ? '$' + (v < 1 ? v.toPrecision(2) : v.toFixed(2)) : '$0';
const microseconds = ns => ns === null || ns === undefined ? '–'
                           : ns >= 1e6                     ? (ns / 1e6).toFixed(2) + ' ms'
                                                           : (ns / 1e3).toFixed(1) + ' µs';

/* ---- data ---- */

const waiting = new Map();
window.attune_data = (name, text) => {
    const w = waiting.get(name);
    waiting.delete(name);
    if (w) w(text);
};

async function get(name, run = 0, number) {
    if (!LIVE)
        return JSON.parse(await new Promise((ok, no) => {
            const key = number ? `${name}-${number}` : name, s = document.createElement('script');
            waiting.set(`${run}/${key}`, ok);
            s.src = `data/${run}/${key}.js`;
            s.onerror = () => no({
                error: `data/${run}/${key}.js is missing`, try:
                    'Keep index.html and its data folder together.'
            });
            s.onload = () => s.remove();
            document.head.append(s);
        }));
    let r;
    try {
        r = await fetch(`api/${name}?run=${run}` + (number ? `&${name === 'programs' ? 'after' : 'id'}=${number}` : ''));
    } catch (e) {
        throw {
            gone: true, error: 'attune serve does not answer', try:
                'This page waits and goes on by itself. If the server was stopped, start it again: attune serve'
        };
    }
    const text = await r.text();
    if (r.status === 403) throw {
            denied: true, error: 'This page has no token any more', try: text
        };
    try {
        const o = JSON.parse(text);
        if (r.ok) return o;
        throw {...o, status : r.status};
    } catch (e) { throw e.error ? e : {error : `${name}: ${r.status}`, try : text.slice(0, 300)}; }
}

const data = run => S.data[run] || (S.data[run] = {
                        run : null,
                        rows : [],
                        by : new Map(),
                        extra : {},
                        stale : {}
                    });

function take(run, answer) {
    const d = data(run), names = answer.columns.split(', ').map(n => n.replace(/^.*\./, ''));
    for (const r of answer.rows) {
        const o = {};
        names.forEach((n, i) => { o[n] = r[i]; });
        const last = d.rows.length ? d.rows[d.rows.length - 1].seq : 0;
        if (o.seq <= last) {
            S.doubles++;
            continue;
        }
        if (last && o.seq !== last + 1) S.gaps++;
        o.speedup = o.score === null ? NaN : Math.exp(o.score);
        o.low = o.score_low === null ? NaN : Math.exp(o.score_low);
        o.high = o.score_high === null ? NaN : Math.exp(o.score_high);
        o.start = o.proposer === 'start';
        d.rows.push(o);
        d.by.set(o.id, o);
        if (o.promoted) d.best = o;
        else if (!d.best && o.start && o.origin === 'initial' && o.state !== 'failed') d.best = o;
    }
    return answer.rows.length;
}

async function load(run) {
    const d = data(run);
    d.run = await get('run', run);
    S.runs = d.run.runs;
    S.at = Date.now();
    if (!run && S.event === undefined) S.event = d.run.event_seq || 0; /* from then on the stream counts */
    if (!run) {
        try {
            doing(JSON.parse(d.run.meta.now || 'null'));
        } catch (e) { doing(null); }
    }
    take(run, await get('programs', run, LIVE && d.rows.length ? d.rows[d.rows.length - 1].seq : 0));
    d.labels = (d.run.meta['identity.suite'] || '').split('; ');
    const results = d.run.measurements.filter(m => m[0] === 'result' && m[4]);
    d.result = results.length ? results[results.length - 1] : null;
    if (d.result && d.best && d.result[1] !== d.best.id) d.result = null; /* of an earlier winner */
}

/* What the run does at this moment, as it says itself. Between two words of it the clock here goes on. */
function doing(o) {
    if (!o || typeof o !== 'object' || (S.now && !(o.t > S.now.t) && o.t > S.now.t - 60)) return;
    S.now = o;
    S.now_at = Date.now();
}
const run_clock = () => S.now ? S.now.t + (LIVE ? (Date.now() - S.now_at) / 1000 : 0) : NaN;

/* Answers beside the programs: fetched when a view wants them, again when something new was judged. */
function extra(name, run = 0) {
    const d = data(run);
    if (d.extra[name] && d.stale[name] !== true) return d.extra[name];
    if (d.stale[name] !== 'under way') {
        d.stale[name] = 'under way';
        get(name, run).then(
            a => {
                d.extra[name] = a;
                if (d.stale[name] === 'under way') d.stale[name] = false;
                render();
            },
            e => {
                d.extra[name] = {failed : e};
                d.stale[name] = false;
                render();
            });
    }
    return d.extra[name];
}

let due = 0, more = false;
function news() { /* one fetch at a time: two would bring the same programs twice */
    if (due) {
        more = true;
        return;
    }
    due = setTimeout(async () => {
        more = false;
        try {
            await load(0);
            for (const k of Object.keys(data(0).extra)) /* peers change with the result only */
                if (k !== 'peers' || !data(0).result !== !S.had_result) data(0).stale[k] = true;
            S.had_result = data(0).result;
            S.problem = null;
        } catch (e) { S.problem = e; }
        due = 0;
        render();
        if (more) news();
    }, 120);
}

let stream = null;
function listen() {
    if (stream) stream.close();
    stream = new EventSource(`api/events?run=0&after=${S.event || 0}`);
    stream.onopen = () => {
        if (S.link === 'lost') news();
        S.link = 'live';
        header();
    };
    stream.onmessage = m => {
        const seq = +m.lastEventId;
        if (seq <= S.event) S.doubles++;
        else if (seq !== S.event + 1 && S.streamed) S.gaps++;
        S.streamed = (S.streamed || 0) + 1;
        S.event = seq;
        news();
    };
    stream.addEventListener('now', m => {
        try {
            doing(JSON.parse(m.data));
        } catch (e) { return; }
        beat();
    });
    stream.addEventListener('anew', m => { anew(+m.lastEventId); });
    stream.onerror = () => {
        S.link = 'lost';
        header();
        if (stream.readyState === 2) setTimeout(again, 1500);
    };
}
function anew(event) {
    S.data = [];
    S.now = null;
    S.races.clear();
    S.detail.clear();
    S.event = event;
    S.streamed = 0;
    start();
}
async function again() {
    try {
        await load(0);
        S.problem = null;
        listen();
    } catch (e) {
        S.problem = e;
        if (!e.denied) setTimeout(again, 2000);
    }
    render();
}

/* ---- parts ---- */

const short_name = run => tame(data(run).run.folder.replace(/\/+$/, '').split('/').pop() || data(run).run.folder, 60);

function controls_of(run) {
    const m = data(run).run ? data(run).run.measurements.filter(x => x[0].startsWith('control') && x[4]) : [];
    const t = {list : m, aa : 0, aa_bad : 0, plus : 0, plus_seen : 0, sees : NaN};
    for (const x of m) {
        t.aa += x[4].aa_races || 0;
        t.aa_bad += x[4].aa_promoted || 0;
        t.plus += x[4].plus_races || 0;
        t.plus_seen += x[4].plus_promoted || 0;
        t.sees = x[4].can_see_percent;
    }
    t.good = t.aa > 0 && !t.aa_bad && t.plus_seen === t.plus;
    return t;
}

/* The run's speedup: what its end measured, else the chained estimate. */
function headline(run = 0) {
    const d = data(run), r = d.result && d.result[4];
    if (r && r.speedup && r.speedup.median) return {...r.speedup, how : r.speedup_is};
    if (d.best)
        return {
            median : d.best.speedup,
            low : d.best.low,
            high : d.best.high,
            how : 'estimate through the chain of winners'
        };
    return {median : NaN, low : NaN, high : NaN, how : ''};
}

const mean = a => a.length ? a.reduce((s, v) => s + v, 0) / a.length : NaN;
/* The winner's cases of the final comparison with what a whole call takes (the comparison may have timed fewer heads). */
function final_cases(run) {
    const d = data(run), r = d.result && d.result[4], x = extra('peers', run);
    if (!r || !r.cases || !x || x.failed) return [];
    const suite = new Map(x.suite.map(c => [c[0], c])), m = r.machine || {},
          threads = +d.run.meta['identity.threads'] || 1;
    return r.cases.filter(c => suite.has(c.case) && c.gflops > 0 && c.speedup > 0).map(c => {
        const [, flops, traffic] = suite.get(c.case), ns = flops / c.gflops;
        return {...c, flops, traffic, whole_ns : ns, cut : Math.abs(c.ns / ns - 1) > .02,
                fma_ns : flops / (m.fma_peak_gflops * threads), memory_ns : traffic / m.read_bandwidth_gbs};
    });
}
/* Which speedup over the initial program the machine's limits would be: geometric means over the cases. The band is the
   initial program's own interval; limits themselves are the best of many bursts. */
function roofs(run) {
    const c = final_cases(run).filter(x => x.fma_ns > 0), out = [];
    if (!c.length) return out;
    const place = (ns, of) => Math.exp(mean(c.map(x => Math.log(of(x) * x.whole_ns / ns(x)))));
    const ref = (name, ns, about) => ({
        type : 'ref', cls : 'peak', y : place(ns, x => x.speedup), low : place(ns, x => x.speedup_low || x.speedup),
        high : place(ns, x => x.speedup_high || x.speedup), name, about
    });
    const m = data(run).result[4].machine, fma = ref('', x => x.fma_ns);
    const both = ref('', x => Math.max(x.fma_ns, x.memory_ns || 0));
    out.push({...fma, name : `${times(fma.y)} FMA peak of this machine, ${num(m.fma_peak_gflops)} GFLOP/s a core`,
              about : 'Every case at the measured peak of multiply-adds; nothing can be above.'});
    if (both.y < fma.y * .99)
        out.push({...both, name : `${times(both.y)} roofline with memory, ${num(m.read_bandwidth_gbs)} GB/s`,
                  about : 'Each case at the slower of arithmetic and reading its tensors from memory. Tensors that stay in a ' +
                              'cache may go beyond.'});
    return out;
}
const peer_name = n => ({
    'torch' : 'PyTorch', 'torch-flash' : 'PyTorch flash', 'torch-math' : 'PyTorch math', 'ggml' : 'ggml (llama.cpp)',
    'openvino' : 'OpenVINO', 'onnxruntime' : 'ONNX Runtime', 'mlx' : 'mlx'
}[n] || tame(n, 30));
/* Where the peers stand on the run's scale: the winner's speedup times their mean ratio to the winner on the cases that both
   were timed on. A case may have been timed more than once (by several kernels of ours): the peer's best counts. */
function peers(run = 0) {
    const x = extra('peers', run), cases = new Map(final_cases(run).filter(c => !c.cut).map(c => [c.case, c])), by = new Map();
    if (!x || x.failed || !cases.size) return [];
    for (const [name, version, note, label, ms, low, high] of x.rows) {
        if (!cases.has(label)) continue;
        if (!by.has(name)) by.set(name, {name, version, note, rows : new Map()});
        const had = by.get(name).rows.get(label);
        if (!had || ms < had.ms) by.get(name).rows.set(label, {ms, low, high});
    }
    const hl = headline(run);
    return [...by.values() ]
        .map(p => {
            const r = [...p.rows ].map(([ k, v ]) => [Math.log(cases.get(k).ns / (v.ms * 1e6)), Math.log(v.low || 1),
                                                      Math.log(v.high || 1)]),
                  y = Math.log(hl.median) + mean(r.map(v => v[0]));
            return {...p, n : r.length, of : data(run).result[4].cases.length, y : Math.exp(y),
                    low : Math.exp(y + mean(r.map(v => v[1]))), high : Math.exp(y + mean(r.map(v => v[2])))};
        })
        .sort((a, b) => b.y - a.y);
}

function best_line(run, by_time) {
    const d = data(run), out = [];
    let top = null;
    for (const r of d.rows) {
        if (!(r.promoted || (r.start && r.origin === 'initial' && !top)) || !isFinite(r.speedup)) continue;
        top = r;
        out.push({x : by_time ? r.t / 60 : r.seq, y : r.speedup, low : r.low, high : r.high, id : r.id});
    }
    return out;
}

function describe(id, run = 0) {
    const r = data(run).by.get(id);
    if (!r) return '#' + id;
    return `#${id} ${tame(r.origin, 60)}${r.note ? '\n' + tame(r.note, 120) : ''}\n${
        r.state === 'failed' ? `failed at ${r.stage}: ${r.reason}`
                             : `${times(r.speedup)} ${interval(r.low, r.high)}, ${r.state}`}`;
}
const open_program = id => { location.hash = '#program/' + id; };
const link = id => id ? h('a', {href : '#program/' + id}, '#' + id) : '–';
const state = r => h('span', {class : 'state ' + r.state},
                     r.promoted             ? 'new best'
                     : r.state === 'failed' ? `${r.stage}: ${r.reason.replace(/_/g, ' ')}`
                                            : r.state);
const tile = (value, words, cls, title) =>
    h('div', {class : 'tile ' + (cls || ''), title}, h('b', {}, value), h('span', {}, words));
const box = (title, text, calm) => h('div', {class : 'box' + (calm ? ' calm' : ''), role : calm ? 'note' : 'alert'},
                                     h('b', {}, title), h('p', {}, text));
const width = (share = 1) =>
    Math.max(320,
             Math.min(1240, (document.getElementById('main').clientWidth || 900) - 80) * share - (share < 1 ? 40 : 0));
const title = (text, lead) => [h('h1', {}, text), lead && h('p', {class : 'lead'}, lead)];

/* o: name, columns: [[key, heading, cell(row), 'n' or 't', value(row)]], rows, id(row), first (sort key), down, most, cls(row) */
function table(o) {
    const want = S.sort[o.name] || {key : o.first, down : o.down}, column = o.columns.find(c => c[0] === want.key);
    let rows = o.rows;
    if (column) {
        const value = column[4] || (r => r[column[0]]);
        rows = rows.slice().sort((a, b) => {
            const x = value(a), y = value(b), xn = x === null || x === undefined || Number.isNaN(x),
                  yn = y === null || y === undefined || Number.isNaN(y);
            if (xn || yn) return xn - yn; /* what has no value is last, whichever way */
            return (x < y ? -1 : x > y ? 1 : 0) * (want.down ? -1 : 1);
        });
    }
    const shown = o.most ? rows.slice(0, S[o.name + '_most'] || o.most) : rows;
    if (o.id) S.list = rows.map(o.id);
    const head =
        h('tr', {},
          o.columns.map(
              c => h('th', {
                  class : c[3],
                  scope : 'col',
                  'aria-sort' : want.key === c[0] ? (want.down ? 'descending' : 'ascending') : undefined
              },
                     c[0] ? h('button', {
                         on : {
                             click : () => {
                                 S.sort[o.name] = {key : c[0], down : want.key === c[0] ? !want.down : c[3] === 'n'};
                                 render();
                             }
                         }
                     },
                              c[1])
                          : c[1])));
    const body =
        shown.map((r, i) => h('tr', {
                      class : `${o.id ? 'go' : ''} ${o.cls ? o.cls(r) : ''} ${o.id && i === S.sel ? 'sel' : ''}`,
                      data : o.id ? {id : o.id(r)} : {},
                      on : o.id ? {
                          click : v => {
                              if (!v.target.closest('a,button') && !String(getSelection())) open_program(o.id(r));
                          }
                      }
                                : {}
                  },
                              o.columns.map(c => h('td', {class : c[3]}, c[2](r)))));
    return nodes(h('div', {class : 'scroll'},
                   h('table', {'aria-label' : o.label || o.name}, h('thead', {}, head), h('tbody', {}, body))),
                 shown.length < rows.length &&
                     h('div', {class : 'bar'},
                       h('button', {
                           on : {
                               click : () => {
                                   S[o.name + '_most'] = shown.length + 500;
                                   render();
                               }
                           }
                       },
                         'Show 500 more'),
                       h('span', {class : 'quiet'}, `${count(shown.length)} of ${count(rows.length)}`)));
}
const columns = {
    id : [ 'id', 'program', r => link(r.id), 'n' ],
    speedup : [ 'speedup', 'speedup', r => r.state === 'failed' ? '–' : times(r.speedup), 'n' ],
    interval : [ 'low', 'interval', r => r.state === 'failed' ? '' : interval(r.low, r.high), 'n' ],
    state : [ 'state', 'verdict', state, '', r => `${r.state} ${r.stage} ${r.reason}` ],
    origin : [ 'origin', 'by', r => h('span', {class : 'untrusted by', title : tame(r.origin, 200)}, tame(r.origin, 100)), '' ],
    note : [
        'note', 'what changed',
        r =>
            h('span', {class : 'untrusted line', title : tame(r.note, 400)}, tame(r.note, 200).replace(/ -> /g, ' → ')),
        't'
    ],
    parent : [ 'parent1', 'parent', r => link(r.parent1), 'n' ],
    t : [ 't', 'at', r => stamp(r.t), 'n' ],
    error : [ 'error', 'error', r => error(r.error), 'n' ],
    memory : [ 'workspace_bytes', 'workspace', r => bytes(r.workspace_bytes), 'n' ],
    island : [ 'island', 'island', r => String(r.island), 'n' ],
};

function progress_chart(height, run = 0, by_time = true, w) {
    const d = data(run), groups = {start : [], better : [], right : [], same : [], failed : []};
    for (const r of d.rows)
        groups[r.start && r.state !== 'failed' ? 'start' : r.state].push(
            [ by_time ? r.t / 60 : r.seq, r.state === 'failed' ? NaN : r.speedup, r.id ]);
    const layers = [
        {
            type : 'points',
            cls : 'failed',
            name : 'failed',
            points : groups.failed.map(p => [p[0], 0, p[2]]),
            floor : true
        },
        {type : 'points', cls : 'right', name : 'right, not better', points : groups.right},
        {type : 'points', cls : 'same', name : 'same code', points : groups.same},
        {type : 'points', cls : 'better', name : 'better', points : groups.better},
        {type : 'points', cls : 'start', name : 'starting programs', points : groups.start.filter(p => isFinite(p[1]))},
        {type : 'step', name : 'best so far', points : best_line(run, by_time)},
        {type : 'ref', y : 1, name : 'initial program'}
    ];
    const sorted = S.zoom ? d.rows.filter(r => isFinite(r.speedup) && r.speedup > 1.02)
                                               .map(r => r.speedup)
                                               .sort((a, b) => a - b)
                                         : [];
    const floor =
        sorted.length > 4 ? Math.max(1, Math.min(sorted[sorted.length >> 3], headline(run).low * .97)) : undefined;
    if (d.result && /^final/.test(d.result[4].speedup_is || '')) {
        const f = headline(run);
        layers.push({type : 'ref', cls : 'final', y : f.median, low : f.low, high : f.high,
                     name : `${times(f.median)} winner in the final comparison, full size`,
                     about : 'What whole calls came to at the end; the curve is chained over races that are cut to one group of heads.'});
    }
    if (!floor)
        layers.push(...roofs(run), ...peers(run).map(p => ({
                                                         type : 'ref',
                                                         cls : 'peer',
                                                         y : p.y,
                                                         low : p.low,
                                                         high : p.high,
                                                         name : `${times(p.y)} ${peer_name(p.name)}` +
                                                                    (p.n < p.of ? `, on ${p.n} of ${p.of} cases` : ''),
                                                         about : `${tame(p.version, 90)}${p.note ? '\n' + tame(p.note, 90) : ''}`
                                                     })));
    if (d.rows.length > 2000)
        for (const l of layers)
            if (/failed|right/.test(l.cls)) l.cls += ' many';
    for (const l of layers)
        if (l.type === 'points' && !l.floor) l.points = l.points.filter(q => q[1] > 0);
    return Chart.plot({
        title : 'Speedup over the initial program',
        width : w || width(),
        height,
        layers,
        x : {label : by_time ? 'minutes of the run' : 'candidate', low : 0},
        y : {label : 'speedup, logarithmic', log : true, show : tick, low : floor},
        pick : open_program,
        tell : id => describe(id, run)
    });
}

/* ---- views ---- */

const views = {};

const stages = [
    [ 'quick', 'quick check' ], [ 'full', 'full check' ], [ 'screen', 'screening' ], [ 'race', 'race' ],
    [ 'confirm', 'confirmation' ]
];
const made_of = id => {
    const o = data(0).run.open.find(p => p[0] === id);
    return o ? [ `#${id} `, untrusted(o[5]), o[6] ? [ ' ', h('span', {class : 'quiet untrusted'}, tame(o[6], 90).replace(/ -> /g, ' → ')) ]
                                                  : '' ]
             : id ? '#' + id : '';
};
/* One row for each worker: the judge with its stages, the builders, and who waits between them. */
function workers() {
    const n = S.now, t = run_clock();
    if (!n || data(0).run.state !== 'running') return null;
    const j = n.judge, at = j ? stages.findIndex(s => s[0] === j.stage) : -1, builds = n.builds || [], waiting = n.waiting || [],
          since = s => h('td', {class : 'n'}, isFinite(s) ? Math.max(0, t - s).toFixed(1) + ' s' : '');
    const rows = [h('tr', {}, h('th', {scope : 'row'}, 'judge'),
                    h('td', {},
                      !j ? h('span', {class : 'quiet'}, 'waits for a build')
                      : at < 0
                          ? tame(j.stage, 40)
                          : h('ol', {class : 'stages', 'aria-label' : 'Stage: ' + stages[at][1]},
                              stages.map((s, i) => h('li', {
                                             class : i < at ? 'done' : i === at ? 'on' : '',
                                             'aria-current' : i === at ? 'step' : undefined
                                         },
                                                     s[1])))),
                    h('td', {class : 't'}, j ? made_of(j.id) : ''), since(j ? j.since : NaN))];
    for (let i = 0; i < Math.max(n.builders || 0, builds.length); i++) {
        const b = builds[i];
        rows.push(h('tr', {}, h('th', {scope : 'row'}, (n.builders || 0) > 1 ? 'builder ' + (i + 1) : 'builder'),
                    h('td', {}, b ? 'compiles' : h('span', {class : 'quiet'}, 'rests')),
                    h('td', {class : 't'}, b ? made_of(b.id) : ''), since(b ? b.since : NaN)));
    }
    rows.push(h('tr', {}, h('th', {scope : 'row'}, 'ready'),
                h('td', {colspan : 2}, waiting.length ? waiting.slice(0, 12).map(i => ['#' + i + ' '])
                                                      : h('span', {class : 'quiet'}, 'nothing waits for the judge')),
                h('td', {})));
    return nodes(h('h2', {}, 'Workers', n.phase ? h('small', {class : 'quiet'}, ' ' + tame(n.phase, 60)) : ''),
                 h('div', {class : 'scroll'}, h('table', {'aria-label' : 'Workers', class : 'workers'}, h('tbody', {}, rows))));
}
/* The parts of the page that move between verdicts; at most each quarter of a second. */
let ticking = 0;
function beat() {
    if (ticking) return;
    ticking = setTimeout(() => {
        ticking = 0;
        const w = document.getElementById('workers'), left = document.getElementById('left');
        if (w && !(String(getSelection()) && w.contains(getSelection().anchorNode))) w.replaceChildren(...nodes(workers()));
        if (left) left.textContent = left_words();
    }, 250);
}
if (LIVE) setInterval(() => {
    if (document.visibilityState === 'visible' && S.now && data(0).run && data(0).run.state === 'running') beat();
}, 1000);
const left_words = () => S.now && S.now.seconds_left >= 0
                             ? clock(Math.max(0, S.now.seconds_left - (run_clock() - S.now.t)))
                             : 'no limit';

views.now = () => {
    const d = data(0), hl = headline(), e = S.now || (d.run.last_event[0] || [])[2] || {},
          running = d.run.state === 'running', asked = d.run.asked || [];
    const failed = d.rows.reduce((n, r) => n + (r.state === 'failed'), 0),
          promoted = d.rows.reduce((n, r) => n + (r.promoted ? 1 : 0), 0);
    const since = d.best ? d.rows.length - d.best.seq : 0, p = d.result && d.result[4].provenance;
    if (!d.rows.length)
        return nodes(title('Now'),
                     box('No verdict yet',
                         running ? 'The first programs are being judged; this page fills itself.'
                                 : 'This run has no judged program. Go on with it: attune evolve --resume -o ' +
                                       tame(d.run.folder, 200),
                         true),
                     disk(), h('div', {id : 'workers'}, workers()), in_flight(), feed());
    return nodes(
        disk(), h('div', {class : 'hero'}, h('div', {class : 'number'}, times(hl.median)),
          h('div', {class : 'words'},
            h('div', {},
              `over the initial program, ${interval(hl.low, hl.high)}; geometric mean of ${d.labels.length} cases`),
            h('div', {}, `${hl.how}; `, 'program ', d.best ? link(d.best.id) : '–',
              d.best ? ` by ${tame(d.best.origin, 60)}` : ''),
            p && h('div', {}, untrusted(p.summary)))),
        h('div', {class : 'tiles'},
          tile(running ? num(e.per_minute, 3)
                       : num(d.rows.length / Math.max(1e-9, d.rows[d.rows.length - 1].t / 60), 3),
               running ? 'judged per minute' : 'judged per minute, whole run'),
          tile(count(d.rows.length), 'judged'), tile(percent(failed / d.rows.length), `failed (${count(failed)})`),
          tile(count(promoted), 'became the best'), tile(count(since), 'judged since the last best'),
          tile(running ? h('span', {id : 'left', class : 'plain'}, left_words()) : clock(d.rows[d.rows.length - 1].t),
               running ? 'left' : 'to the last verdict'),
          tile(count(d.run.open.length) + (d.run.open.length >= 64 ? '+' : ''),
               running ? 'in flight' : 'were in flight'),
          tile(dollars(asked.reduce((s, r) => s + (r[6] || 0), 0)),
               asked.length ? `spent: ${count(asked.reduce((s, r) => s + r[2], 0))} answers, ${
                                  count(asked.reduce((s, r) => s + (r[4] || 0) + (r[5] || 0), 0))} tokens`
                            : 'spent: no model was asked')),
        h('div', {id : 'workers'}, workers()),
        !running && d.run.state === 'stopped' &&
            box('The run has stopped', `Go on with it: attune evolve --resume -o ${tame(d.run.folder, 200)}`, true),
        progress_chart(260),
        h('div', {class : 'split'},
          h('section', {}, h('h2', {}, 'Latest verdicts'), table({
                name : 'latest',
                rows : d.rows.slice(-12).reverse(),
                id : r => r.id,
                columns : [ columns.id, columns.speedup, columns.state, columns.origin, columns.t ].map(
                    c => [null, ...c.slice(1)]),
                cls : r => r.fresh ? 'fresh' : ''
            })),
          h('section', {}, in_flight(), feed())));
};
const disk = () => data(0).run.free_bytes < 20e6
                       ? box('The disk is nearly full',
                             `${bytes(data(0).run.free_bytes)} are left where ${
                                 tame(data(0).run.folder, 200)} lies. What was recorded is safe. Free some space, then: attune evolve --resume -o ${
                                 tame(data(0).run.folder, 200)}`)
                       : null;
function in_flight() {
    const open = data(0).run.open;
    if (!open.length || data(0).run.state !== 'running' || S.now) return []; /* else the workers say it better */
    return nodes(h('h2', {}, 'In flight'),
                 h('div', {class : 'scroll'},
                   h('table', {'aria-label' : 'In flight'},
                     h('tbody', {},
                       open.slice(0, 12).map(o => h('tr', {}, h('td', {class : 'n'}, '#' + o[0]),
                                                    h('td', {}, untrusted(o[5])),
                                                    h('td', {class : 't'}, untrusted(o[6])),
                                                    h('td', {class : 'n'}, 'from ', link(o[2]))))))));
}
function feed() {
    const list = data(0).run.events.filter(e => e[2] && e[2].event !== 'judged').slice(0, 10);
    const words = e => e.event === 'best' ? `new best: #${e.best}, ${times((e.best_speedup || {}).median)}`
                       : e.event === 'migration' ? `a program moves from island ${e.from} to ${e.to}`
                       : e.event === 'control' ? 'controls raced'
                       : e.event === 'result'  ? 'the result is written'
                       : e.event === 'start'   ? e.resumed ? 'the run goes on' : 'the run begins'
                                               : e.text || e.event;
    return nodes(h('h2', {}, 'What happened'),
                 h('div', {class : 'scroll'},
                   h('table', {'aria-label' : 'What happened'},
                     h('tbody', {},
                       list.map(e => h('tr', {}, h('td', {class : 'n'}, stamp(e[1])), h('td', {}, e[2].event),
                                       h('td', {class : 't'}, untrusted(words(e[2])))))))));
}

views.progress = () => {
    const d = data(0), by_time = S.by !== 'candidate', line = d.rows.filter(r => r.promoted);
    const steps = line.map((r, i) => ({...r, gain : i ? r.score - line[i - 1].score : r.score}));
    return nodes(title('Progress', 'Every candidate, and the best so far with its interval.'),
                 h('div', {class : 'bar'},
                   [ 'time', 'candidate' ].map(k => h('button', {
                                                   'aria-pressed' : String((k === 'time') === by_time),
                                                   on : {
                                                       click : () => {
                                                           S.by = k;
                                                           render();
                                                       }
                                                   }
                                               },
                                                      'by ' + k)),
                   h('button', {
                       'aria-pressed' : String(!!S.zoom),
                       on : {
                           click : () => {
                               S.zoom = !S.zoom;
                               render();
                           }
                       }
                   },
                     'near the best')),
                 progress_chart(Math.min(520, Math.max(300, innerHeight - 330)), 0, by_time), limits_note(),
                 h('h2', {}, 'Steps'),
                 steps.length ? table({
                     name : 'steps',
                     rows : steps,
                     id : r => r.id,
                     first : 'seq',
                     down : true,
                     columns : [
                         columns.id, columns.speedup, columns.interval,
                         [ 'gain', 'step', r => gain(Math.exp(r.gain) - 1), 'n' ], columns.origin, columns.note,
                         columns.t
                     ]
                 })
                              : h('p', {class : 'quiet'}, 'Nothing was better than the initial program yet.'));
};

/* Where the lines of the picture come from, and what to do for those that are not there. */
function limits_note() {
    const d = data(0), x = extra('peers'), p = peers();
    if (!d.result)
        return h('p', {class : 'quiet'},
                 'Lines of the machine and of peers need the comparison at the end of the run, which times whole cases.');
    if (!x || x.failed) return null;
    const how = `attune bench --csv ${tame(d.run.folder, 120)}/bench.csv`;
    return nodes(
        p.length ? h('p', {class : 'quiet'},
                     `Peers: ${tame(x.source, 200)}, timed on ${
                         x.own ? 'this machine for this run' : 'a machine of this kind, on another day'}, beside attune's own kernel call by call. A line stands where the peer's times put it beside the winner's; its band is that of the paired ratio. `,
                     x.own ? '' : [ 'Of this very machine: ', h('code', {}, how) ])
                 : h('p', {class : 'quiet'}, 'No peer was timed on this machine with these cases. To have their lines here: ',
                     h('code', {}, how)),
        p.length ? table({
            name : 'peers',
            rows : p,
            first : 'y',
            down : true,
            columns : [
                [ 'name', 'peer', r => peer_name(r.name), '' ], [ 'y', 'speedup', r => times(r.y), 'n' ],
                [ 'low', 'interval', r => interval(r.low, r.high), 'n' ],
                [ null, 'winner against it', r => times(headline().median / r.y), 'n' ],
                [ 'n', 'cases', r => `${r.n} of ${r.of}`, 'n' ], [ null, 'version', r => untrusted(r.version), 't' ],
                [ null, 'note', r => untrusted(r.note), 't' ]
            ]
        })
                 : null);
}

/* ---- cases ---- */

function case_values(run) {
    const d = data(run), x = extra('cases', run);
    if (!x || x.failed) return {x};
    const by = new Map();
    for (const r of x.rows) {
        if (!by.has(r[0])) by.set(r[0], []);
        by.get(r[0])[r[1]] = {
            ratio : r[2],
            low : r[3],
            high : r[4],
            log : r[5],
            pairs : r[6],
            ns : r[7],
            old_ns : r[8],
            error : r[9],
            bytes : r[10]
        };
    }
    return {x, by, n : Math.max(0, ...x.rows.map(r => r[1] + 1))};
}
function peak_of(d, i,
                 c) { /* the end measured the winner's share of the peak; another program's follows from their ratio */
    const r = d.result && d.result[4].cases && d.result[4].cases[i];
    return r && r.peak_fraction > 0 && c && c.log !== null ? r.peak_fraction * Math.exp(c.log) / r.speedup : NaN;
}
const metrics = {
    speedup : [
        'speedup', (d, i, c) => Math.exp(c.log), times, 'speedup over the initial program, through the chain of winners'
    ],
    peak : [
        '% of peak', peak_of, percent, 'share of the measured FMA peak; scaled from the winner\'s final measurement'
    ],
    error : [ 'error', (d, i, c) => c.error, error, 'relative L2 error against fp64' ],
    workspace : [ 'workspace', (d, i, c) => c.bytes, bytes, 'bytes of scratch that the plan asked for' ],
};
views.cases = rest => {
    const d = data(0), v = case_values(0);
    S.cell = /^\d+\/\d+$/.test(rest) ? rest : null;
    if (!v.x) return nodes(title('Cases'), h('p', {class : 'quiet'}, 'Reading …'));
    if (v.x.failed) return nodes(title('Cases'), trouble(v.x.failed));
    const list = [...v.by.keys() ]
                     .filter(k => d.by.has(k))
                     .map(k => d.by.get(k))
                     .sort((a, b) => (b.id === (d.best || {}).id) - (a.id === (d.best || {}).id) || b.start * 0 ||
                                     (b.score_low ?? -9) - (a.score_low ?? -9));
    const initial = list.filter(r => r.origin === 'initial'),
          others = list.filter(r => r.origin !== 'initial').slice(0, 10), kernels = [...others, ...initial ];
    if (!kernels.length)
        return nodes(title('Cases'),
                     box('No case has been timed yet',
                         'The first race fills this table; a run that fails before has its reasons under Verdicts.',
                         true));
    const m = metrics[S.metric], row = S.metric === 'speedup', values = Array.from({length : v.n}, () => []);
    for (const k of others.length ? others : kernels)
        for (let i = 0; i < v.n; i++) {
            const c = v.by.get(k.id)[i];
            if (c) {
                const x = m[1](d, i, c);
                if (isFinite(x) && x > 0) values[i].push(Math.log(x));
            }
        }
    /* Speedups are shaded within their case, where kernels compete; the rest over the whole table. */
    const all = values.flat(), low = Math.min(...all), high = Math.max(...all), shade = (x, i) => {
        if (!(x > 0) || !isFinite(x)) return '';
        const to = row ? Math.max(...values[i]) : high, from = row ? Math.min(to - .1, Math.min(...values[i])) : low;
        return Chart.bucket(Math.log(x), from, to);
    };
    const final = d.result && d.result[4].cases ? Chart.strip({
        title : `Winner #${d.best.id} against the initial program, ${d.result[4].speedup_is}`,
        width : width(),
        unit : 'speedup',
        log : true,
        ref : 1,
        show : times,
        tick,
        interval : 'interval',
        rows : d.result[4].cases.map(c => ({
                                         label : c.case,
                                         mid : c.speedup,
                                         low : c.speedup_low,
                                         high : c.speedup_high,
                                         note : `${percent(c.peak_fraction)} of peak, ${num(c.gflops, 3)} GFLOP/s, ${
                                             microseconds(c.ns)}, error ${error(c.error)}`
                                     }))
    })
                                                : null;
    return nodes(title('Cases', `${m[3].replace(/^./, c => c.toUpperCase())}. ${
                                    row ? 'Shades compare kernels within a case. ' : ''}Click a number for its race.`),
                 h('div', {class : 'bar', role : 'group', 'aria-label' : 'Number shown'},
                   Object.keys(metrics).map(k => h('button', {
                                                'aria-pressed' : String(k === S.metric),
                                                on : {
                                                    click : () => {
                                                        S.metric = k;
                                                        render();
                                                    }
                                                }
                                            },
                                                   metrics[k][0])),
                   !isFinite(low) &&
                       h('span', {class : 'quiet'}, 'Not known for this run: the final comparison has not been made.')),
                 h('div', {class : 'scroll'},
                   h('table', {class : 'matrix', 'aria-label' : 'Cases by kernel: ' + m[0]},
                     h('thead', {},
                       h('tr', {}, h('th', {scope : 'col'}, 'case'),
                         kernels.map(k => h('th', {scope : 'col', class : 'n', title : describe(k.id)}, link(k.id),
                                            k === d.best ? ' ★' : '', k.origin === 'initial' ? ' initial' : '')))),
                     h('tbody', {},
                       Array.from({length : v.n},
                                  (_, i) => h('tr', {}, h('th', {scope : 'row'}, tame(d.labels[i] || 'case ' + i, 60)),
                                              kernels.map(k => {
                                                  const c = v.by.get(k.id)[i], x = c ? m[1](d, i, c) : NaN,
                                                        key = `${k.id}/${i}`;
                                                  if (!c) return h('td', {class : 'n quiet'}, '·');
                                                  return h('td', {class : 'v'},
                                                           h('button', {
                                                               class : `${shade(x, i)} ${S.cell === key ? 'on' : ''}`,
                                                               'aria-label' :
                                                                   `${d.labels[i]}, program ${k.id}: ${m[2](x)}`,
                                                               on : {
                                                                   click : () => {
                                                                       location.hash =
                                                                           S.cell === key ? '#cases' : '#cases/' + key;
                                                                   }
                                                               }
                                                           },
                                                             m[2](x)));
                                              })))))),
                 S.cell && race_panel(v), final, roofline());
};
/* Every pair of a program's races, fetched when somebody looks. */
function races(id) {
    if (S.races.has(id)) return S.races.get(id);
    S.races.set(id, {loading : true});
    if (S.races.size > 40) S.races.delete(S.races.keys().next().value);
    get('races', 0, id).then(a => S.races.set(id, a), e => S.races.set(id, {failed : e})).then(render);
    return S.races.get(id);
}
const race_word = {
    screen : 'screening', race : 'race', confirm : 'confirmation', final : 'final comparison',
    ancestor : 'against its ancestor', final_ancestor : 'final, ancestor', portfolio : 'portfolio'
};
const race_rows = (x, i) => x.rows.filter(r => (i === undefined || r[2] === i) && r[4].length)
                                .map(r => ({
                                         kind : r[0],
                                         label : `${race_word[r[0]] || tame(r[0], 20)} with #${r[1]}`,
                                         against : r[1],
                                         index : r[2],
                                         d : r[4],
                                         cls : r[0] === 'screen' ? 'pale' : r[0] === 'race' ? '' : 'other'
                                     }));
function race_panel(v) {
    const [id, i] = S.cell.split('/').map(Number), d = data(0), c = v.by.has(id) && v.by.get(id)[i], r = d.by.get(id);
    if (!c || !r) return null;
    const x = races(id), rows = x.rows ? race_rows(x, i) : [];
    return h('section', {id : 'race', 'aria-label' : 'Race', tabindex : -1},
             h('h2', {}, 'Program ', link(id), ` on ${tame(d.labels[i], 60)}`),
             h('p', {},
               `Raced against #${r.incumbent || '–'}: ${times(Math.exp(c.ratio))} ${
                   interval(Math.exp(c.low), Math.exp(c.high))} from ${c.pairs} pairs, with the judge's own, wider bounds; fastest call ${
                   microseconds(c.ns)} against ${microseconds(c.old_ns)}.`),
             x.loading  ? h('p', {class : 'quiet'}, 'Reading …')
             : x.failed ? trouble(x.failed)
             : rows.length
                 ? Chart.pairs({
                       title : 'Each pair: time of the other over time of this program',
                       width : width(),
                       unit : 'ratio of times, right of 1 this program is faster',
                       rows
                   })
                 : nodes(h('p', {class : 'quiet'},
                           !r.incumbent ? 'The initial program was timed alone: there was nothing to race it with.'
                                        : 'This run kept medians and bounds only; runs of now keep every pair.'),
                         r.incumbent ? Chart.strip({
                             title : 'Time of the incumbent over time of this program',
                             width : width(),
                             unit : 'ratio of times',
                             ref : 1,
                             show : times,
                             tick,
                             log : true,
                             rows : [ {
                                 label : 'this race', low : Math.exp(c.low), mid : Math.exp(c.ratio), high : Math.exp(c.high),
                                 note : `${c.pairs} pairs`
                             } ]
                         })
                                     : null));
}
/* Arithmetic against traffic: where each case stands below the machine's limits, before and after. */
function roofline() {
    const c = final_cases(0).filter(x => x.fma_ns > 0 && x.traffic > 0), m = data(0).result && data(0).result[4].machine;
    if (!c.length || !(m.read_bandwidth_gbs > 0)) return null;
    const threads = +data(0).run.meta['identity.threads'] || 1, top = m.fma_peak_gflops * threads,
          at = c.map(x => x.flops / x.traffic), lo = Math.min(...at, top / m.read_bandwidth_gbs) / 1.5,
          hi = Math.max(...at) * 1.5, ridge = top / m.read_bandwidth_gbs, roof = v => Math.min(top, v * m.read_bandwidth_gbs);
    const say = (x, who, g) => `${x.case}: ${who}, ${num(g)} GFLOP/s, ${percent(g / top)} of the FMA peak`;
    const tells = new Map(), point = (x, i, who, g) => {
        const id = `${who} ${i}`;
        tells.set(id, say(x, who, g));
        return [ x.flops / x.traffic, g, id ];
    };
    return Chart.plot({
        title : 'Roofline: arithmetic of each case against the traffic of its tensors',
        width : width(),
        height : 300,
        x : {label : 'flop per byte of tensors, logarithmic', low : lo, high : hi, log : true},
        y : {label : 'GFLOP/s, logarithmic', log : true},
        tell : id => tells.get(id) || id,
        layers : [
            {
                type : 'line',
                cls : 'roof',
                name : `limits: ${num(m.read_bandwidth_gbs)} GB/s from memory, ${num(top)} GFLOP/s`,
                points : [ ...new Set([ lo, ...(ridge > lo && ridge < hi ? [ ridge ] : []), hi ]) ].map(v => ({x : v, y : roof(v)}))
            },
            {type : 'points', cls : 'right', name : 'initial program', points : c.map((x, i) => point(x, i, 'initial program', x.gflops / x.speedup))},
            {type : 'points', cls : 'better', name : 'winner', points : c.map((x, i) => point(x, i, 'winner', x.gflops))}
        ]
    });
}

/* ---- archive ---- */

views.archive = () => {
    const d = data(0), x = extra('archive');
    if (!x) return nodes(title('Archive'), h('p', {class : 'quiet'}, 'Reading …'));
    if (x.failed) return nodes(title('Archive'), trouble(x.failed));
    if (!x.cells.length)
        return nodes(title('Archive'), box('The archive is empty',
                                           'Programs that pass every check and are timed take a cell here.', true));
    const cells = x.cells.map(c => {
        const k = {island : c[0], key : c[1], id : c[2]};
        for (const m of c[1].matchAll(/([a-z]+)([+-]?\d+)/g)) k[m[1]] = +m[2];
        return k;
    });
    const score = c => (d.by.get(c.id) || {}).score, all = cells.map(score).filter(s => s !== null && s !== undefined),
          high = Math.max(...all), low = Math.max(Math.min(...all), high - .5);
    const range = key => {
        const v = cells.map(c => c[key] ?? 0), a = Math.min(...v), b = Math.max(...v);
        return Array.from({length : Math.min(40, b - a + 1)}, (_, i) => a + i);
    };
    const used = new Set(cells.map(c => c.w ?? 0)), all_w = range('w').reverse(),
          /* three and more rows in a line that no island uses are left out */
          ws = all_w.map((v, i) => {
                        let a = i, b = i;
                        while (a >= 0 && !used.has(all_w[a])) a--;
                        while (b < all_w.length && !used.has(all_w[b])) b++;
                        return b - a > 3 ? null : v;
                    })
                   .filter((v, i, l) => v !== null || l[i - 1] !== null),
          ps = range('p'),
          ds = [...new Set(cells.map(c => c.d ?? 0)) ].sort((a, b) => a - b),
          islands = [...new Set(cells.map(c => c.island)) ].sort((a, b) => a - b);
    const sign = v => v > 0 ? '+' + v : v < 0 ? '−' + -v : '0', size = v => bytes(2 ** v);
    const maps = [];
    for (const i of islands)
        for (const dd of ds) {
            const mine = new Map(cells.filter(c => c.island === i && (c.d ?? 0) === dd)
                                     .map(c => [`${sign(c.p ?? 0)} ${size(c.w ?? 0)}`, c]));
            if (!mine.size) continue;
            maps.push(Chart.heat({
                title : `Island ${i}` + (ds.length > 1 ? `, decode against prefill ${sign(dd)}` : ''),
                xs : ps.map(sign),
                ys : ws.map(v => v === null ? null : size(v)),
                x_label : 'better on long (−) or on short (+) cases',
                y_label : 'workspace, up to',
                low,
                high,
                cell : Math.max(44, Math.min(78, 420 / ps.length)),
                at : (a, b) => {
                    const c = mine.get(`${a} ${b}`);
                    return c ? {
                        value : score(c),
                        text : times(Math.exp(score(c))),
                        tip : describe(c.id),
                        pick : () => open_program(c.id),
                        cls : d.best && c.id === d.best.id ? 'winner' : ''
                    }
                             : null;
                }
            }));
        }
    for (const f of maps) f.classList.add('map');
    return nodes(title('Archive',
                       `Each cell keeps the best program of one measured behaviour: ${cells.length} cells held by ${
                           new Set(cells.map(c => c.id)).size} programs on ${islands.length} islands, ${
                           count(
                               x.changes)} changes so far. The stronger the shade, the faster; the winner has a rim.`),
                 h('div', {class : 'split'}, maps), h('h2', {}, 'Migrations'),
                 x.migrations.length
                     ? table({
                           name : 'migrations',
                           rows : x.migrations.map(m => ({seq : m[0], from : m[1], to : m[2], id : m[3]})),
                           most : 30,
                           columns : [
                               [ 'seq', 'after verdict', r => String(r.seq), 'n' ],
                               [ 'from', 'from island', r => String(r.from), 'n' ],
                               [ 'to', 'to island', r => String(r.to), 'n' ], [ 'id', 'program', r => link(r.id), 'n' ],
                               [ null, 'speedup', r => times((d.by.get(r.id) || {}).speedup), 'n' ]
                           ]
                       })
                     : h('p', {class : 'quiet'}, 'None yet.'));
};

/* ---- lineage ---- */

function ancestors(run, id) {
    const out = [], by = data(run).by;
    for (let r = by.get(id); r && out.length < 10000; r = r.parent1 && r.parent1 < r.id ? by.get(r.parent1) : null)
        out.push(r);
    return out;
}
views.lineage = () => {
    const d = data(0), path = d.best ? ancestors(0, d.best.id) : [], lit = new Set(path.map(r => r.id)),
          kids = new Map(), roots = [];
    if (!d.rows.length)
        return nodes(title('Lineage'), box('No program yet', 'The tree grows with the first verdicts.', true));
    for (const r of d.rows) {
        if (r.parent1 && d.by.has(r.parent1) && r.parent1 < r.id) {
            if (!kids.has(r.parent1)) kids.set(r.parent1, []);
            kids.get(r.parent1).push(r);
        } else roots.push(r);
    }
    const size = new Map(), depth = new Map(), y = new Map(), order = d.rows.slice().sort((a, b) => b.id - a.id);
    for (const r of order) size.set(r.id, Math.max(1, (kids.get(r.id) || []).reduce((s, k) => s + size.get(k.id), 0)));
    const total = roots.reduce((s, r) => s + size.get(r.id), 0);
    const walk = roots.map(r => [r, 0]), place = [];
    let at = 0;
    for (const [r] of walk) {
        place.push([ r, at, 0 ]);
        at += size.get(r.id);
    }
    while (place.length) {
        const [r, from, level] = place.pop(),
                        mine = (kids.get(r.id) || []).slice().sort((a, b) => size.get(a.id) - size.get(b.id));
        depth.set(r.id, level);
        y.set(r.id, (from + size.get(r.id) / 2) / total);
        let q = from;
        for (const k of mine) {
            place.push([ k, q, level + 1 ]);
            q += size.get(k.id);
        }
    }
    const deepest = Math.max(1, ...[...depth.values()].slice(0, 100000).reduce((m, v) => [Math.max(m[0], v)], [ 1 ]));
    const tree = Chart.tree({
        title : 'Every program under its parent',
        width : width(),
        height : Math.max(260, Math.min(680, total * 16 + 60)),
        pick : open_program,
        tell : describe,
        keys : [
            [ 'path', 'path to the winner' ], [ 'mark better', 'better' ], [ 'mark right', 'right' ],
            [ 'mark same', 'same code' ], [ 'mark failed', 'failed' ], [ 'mark start', 'start' ]
        ].filter(k => k[0] === 'path' ? path.length > 1
                                      : d.rows.some(r => (r.start ? 'start' : r.state) === k[0].slice(5))),
        ticks : Array.from({length : Math.min(deepest, 12) + 1},
                           (_, i) => {
                               const g = Math.round(i * deepest / Math.min(deepest, 12));
                               return {x : g / deepest, text : g ? 'step ' + g : 'start'};
                           }),
        nodes : d.rows.map(r => ({
                               id : r.id,
                               parent : r.parent1,
                               x : depth.get(r.id) / deepest,
                               y : y.get(r.id),
                               lit : lit.has(r.id),
                               cls : r.start ? 'start' : r.state
                           }))
    });
    const steps = path.slice().reverse();
    return nodes(title('Lineage',
                       `How the winner came about: ${steps.length - 1} ${steps.length === 2 ? 'step' : 'steps'} from ${
                           steps.length ? tame(steps[0].origin, 60)
                                        : 'the start'}. ${count(d.rows.length)} programs in all.`),
                 table({
                     name : 'path',
                     rows : path,
                     id : r => r.id,
                     cls : r => d.best && r.id === d.best.id ? 'win' : '',
                     columns : [
                         columns.id, columns.speedup, columns.interval,
                         [
                             'step', 'over its parent',
                             r => {
                                 const p = d.by.get(r.parent1);
                                 return p && isFinite(p.speedup) ? gain(r.speedup / p.speedup - 1) : '–';
                             },
                             'n'
                         ],
                         columns.origin, columns.note, columns.t
                     ].map(c => [null, ...c.slice(1)])
                 }),
                 tree);
};

/* ---- program ---- */

function detail(id) {
    const d = S.detail.get(id);
    if (d) return d;
    S.detail.set(id, {loading : true});
    if (S.detail.size > 40) S.detail.delete(S.detail.keys().next().value);
    get('program', 0, id)
        .then(
            a => {
                S.detail.set(id, a);
                render();
            },
            e => {
                S.detail.set(id, {failed : e});
                render();
            });
    return S.detail.get(id);
}

/* Lines by Myers' greedy walk; null where the texts are too different to be worth it. */
function diff(a, b) {
    let start = 0, end = 0;
    while (start < a.length && start < b.length && a[start] === b[start]) start++;
    while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
    const x = a.slice(start, a.length - end), y = b.slice(start, b.length - end), n = x.length, m = y.length,
          most = Math.min(n + m, 1200), trace = [];
    let v = new Map([ [ 1, 0 ] ]), done = -1;
    outer: for (let d = 0; d <= most; d++) {
        trace.push(new Map(v));
        for (let k = -d; k <= d; k += 2) {
            let i = k === -d || (k !== d && (v.get(k - 1) ?? -1) < (v.get(k + 1) ?? -1)) ? v.get(k + 1)
                                                                                         : v.get(k - 1) + 1,
                j = i - k;
            while (i < n && j < m && x[i] === y[j]) {
                i++;
                j++;
            }
            v.set(k, i);
            if (i >= n && j >= m) {
                done = d;
                break outer;
            }
        }
    }
    if (done < 0) return null;
    const out = [];
    let i = n, j = m;
    for (let d = done; d > 0; d--) {
        const w = trace[d], k = i - j, down = k === -d || (k !== d && (w.get(k - 1) ?? -1) < (w.get(k + 1) ?? -1)),
              pk = down ? k + 1 : k - 1, pi = w.get(pk), pj = pi - pk;
        while (i > pi && j > pj) {
            out.push([ ' ', x[--i] ]);
            j--;
        }
        if (down) out.push([ '+', y[--j] ]);
        else out.push([ '-', x[--i] ]);
    }
    while (i > 0) { out.push([ ' ', x[--i] ]); }
    return [...a.slice(0, start).map(l => [' ', l]), ...out.reverse(), ...a.slice(a.length - end).map(l => [' ', l]) ];
}
function diff_box(lines) {
    const pre = h('pre', {'aria-label' : 'Difference to the parent', tabindex : 0}),
          keep = new Uint8Array(lines.length);
    lines.forEach((l, i) => {
        if (l[0] !== ' ')
            for (let k = Math.max(0, i - 3); k <= Math.min(lines.length - 1, i + 3); k++) keep[k] = 1;
    });
    let hidden = 0, shown = 0;
    const flush = () => {
        if (hidden) pre.append(h('span', {class : 'skip-line'}, `⋯ ${hidden} equal lines`));
        hidden = 0;
    };
    lines.forEach((l, i) => {
        if (!keep[i] || shown > 3000) {
            hidden++;
            return;
        }
        flush();
        shown++;
        pre.append(h('span', {class : l[0] === '+'   ? 'add'
                                      : l[0] === '-' ? 'del'
                                                     : ''},
                     l[0] + ' ' + tame(l[1], 2000) + (l[0] === ' ' ? '\n' : '')));
    });
    flush();
    return pre;
}
/* Values of the knobs of every program, from the source of this one and the notes "NAME old -> new" of the others. */
function knob_table(id, source) {
    const d = data(0), knobs = [
        ...source.matchAll(/^[ \t]*#define[ \t]+(\w+)[ \t]+(\S+)[ \t]*\/[/*][ \t]*knob:([^\n*]*)/gm)
    ].slice(0, 60);
    if (!knobs.length) return [];
    const tried = new Map(knobs.map(k => [k[1], new Map()]));
    for (const r of d.rows)
        for (const m of (r.note || '').matchAll(/(\w+) (\S+) -> ([^\s,]+)/g)) {
            const t = tried.get(m[1]);
            if (!t) continue;
            if (!t.has(m[3])) t.set(m[3], {n : 0, failed : 0, gains : []});
            const x = t.get(m[3]), p = d.by.get(r.parent1);
            x.n++;
            if (r.state === 'failed') x.failed++;
            else if (p && isFinite(p.speedup) && isFinite(r.speedup)) x.gains.push(r.speedup / p.speedup - 1);
        }
    const middle = a => {
        const s = a.slice().sort((x, y) => x - y);
        return s.length ? s[s.length >> 1] : NaN;
    };
    return nodes(
        h('h2', {}, 'Knobs'),
        h('p', {class : 'quiet'},
          'What steps to each value came to, against their parents (median; several knobs may have moved at once).'),
        h('div', {class : 'scroll'},
          h('table', {'aria-label' : 'Knobs'},
            h('thead', {},
              h('tr', {}, [ 'knob', 'here', 'choices', 'steps to a value' ].map(t => h('th', {scope : 'col'}, t)))),
            h('tbody', {},
              knobs.map(k => h('tr', {}, h('td', {}, h('code', {}, tame(k[1], 60))),
                               h('td', {class : 'n'}, tame(k[2], 40)),
                               h('td', {class : 'quiet'}, tame(k[3].trim(), 120)),
                               h('td', {class : 't'},
                                 [...tried.get(k[1]) ]
                                         .map(([ v, x ]) => `${tame(v, 30)}: ${
                                                  x.gains.length ? gain(middle(x.gains)) : 'failed'} (${x.n})`)
                                         .join('  ·  ') ||
                                     '–')))))));
}
/* What compiler, object code and counters say: numbers as a table, lists of words as text. */
function evidence_box(o) {
    const rows = [], walk = (v, name, depth) => {
        if (v && typeof v === 'object' && !Array.isArray(v) && depth < 4)
            for (const k of Object.keys(v).slice(0, 60)) walk(v[k], name ? name + ' ' + k : k, depth + 1);
        else if (v !== null && v !== '' && rows.length < 80)
            rows.push([ name, typeof v === 'object' ? JSON.stringify(v) : String(v) ]);
    };
    walk(o, '', 0);
    return rows.length ? nodes(h('h2', {}, 'What the compiler made of it'),
                               h('div', {class : 'scroll'},
                                 h('table', {'aria-label' : 'Evidence'},
                                   h('tbody', {}, rows.map(([ k, v ]) => h('tr', {}, h('th', {scope : 'row'}, tame(k.replace(/_/g, ' '), 60)),
                                                                           h('td', {class : 't'}, untrusted(v))))))))
                       : null;
}
function text_box(text, label, wrap) {
    const all = String(text ?? ''), cut = all.length > MOST_TEXT,
          pre = h('pre', {class : wrap ? 'wrap' : '', tabindex : 0, 'aria-label' : label});
    /* One line of megabytes would take the browser seconds to lay out. */
    pre.textContent = tame(cut ? all.slice(0, MOST_TEXT) : all, Infinity).replace(/[^\n]{4000}(?=[^\n])/g, '$&\n');
    return nodes(h('div', {class : 'bar'}, h('button', {on : {click : v => { copy(all, v.target); }}}, 'Copy'),
                   cut &&
                       h('span', {class : 'quiet'},
                         `The first ${count(MOST_TEXT)} of ${count(all.length)} characters; Copy has what was sent.`)),
                 pre);
}
async function copy(text, button) {
    const was = button.textContent;
    try {
        await navigator.clipboard.writeText(text);
        button.textContent = 'Copied';
    } catch (e) { button.textContent = 'Select and copy by hand'; }
    setTimeout(() => { button.textContent = was; }, 1500);
}
views.program = id => id ? one_program(+id) : all_programs();

function all_programs() {
    const d = data(0), words = S.filter.toLowerCase().split(/\s+/).filter(Boolean);
    /* Made once a row, when the list is first shown: a key press then only searches. */
    for (const r of d.rows)
        r.text ??= `#${r.id} ${r.origin} ${r.note} ${r.state} ${r.stage} ${r.reason} ${r.promoted ? 'best' : ''}`
                       .toLowerCase();
    const rows = words.length ? d.rows.filter(r => words.every(w => r.text.includes(w))) : d.rows;
    const box_ = h('input', {
        id : 'filter',
        type : 'search',
        placeholder : 'filter: better, out_of_bounds, EXP_DEG …',
        'aria-label' : 'Filter programs',
        value : S.filter,
        size : 34,
        on : {
            input : v => {
                S.filter = v.target.value;
                S.sel = -1;
                render();
            }
        }
    });
    return nodes(title('Programs', 'j and k move, Enter opens. Failed programs stay here with their reason.'),
                 h('div', {class : 'bar'}, box_,
                   h('span', {class : 'quiet'}, `${count(rows.length)} of ${count(d.rows.length)}`)),
                 rows.length ? table({
                     name : 'programs',
                     rows,
                     id : r => r.id,
                     first : 'score_low',
                     down : true,
                     most : 100,
                     cls : r => d.best && r.id === d.best.id ? 'win' : '',
                     columns : [
                         columns.id, columns.speedup, [ 'score_low', 'interval', columns.interval[2], 'n' ],
                         columns.state, columns.origin, columns.note, columns.parent, columns.error, columns.t
                     ]
                 })
                             : h('p', {class : 'quiet'},
                                 d.rows.length ? 'Nothing has these words. Clear the filter to see all.'
                                               : 'No program has been judged yet.'));
}
function one_program(id) {
    const d = data(0), r = d.by.get(id), x = detail(id);
    if (x.loading) return nodes(title('Program #' + id), h('p', {class : 'quiet'}, 'Reading …'));
    if (x.failed)
        return nodes(title('Program #' + id), trouble(x.failed),
                     h('p', {}, h('a', {href : '#program'}, 'All programs')));
    const p = x.program, v = p.verdict && typeof p.verdict === 'object' ? p.verdict : {}, parent = x.parent_source,
          source = String(p.source ?? ''), failed = p.state === 'failed';
    let lines = null;
    if (parent && source.length < 400000 && parent.source.length < 400000)
        lines = diff(parent.source.split('\n'), source.split('\n'));
    const more = d.run.measurements.filter(m => m[1] === id && !/^(control|final|result)/.test(m[0]));
    return nodes(
        h('h1', {}, `Program #${id} `, d.best && d.best.id === id ? '★ best' : ''),
        h('p', {class : 'lead'}, untrusted(p.origin), p.note ? ': ' : '', untrusted(p.note),
          p.parent1 ? [ ' from ', link(p.parent1) ] : '', p.parent2 ? [ ' and ', link(p.parent2) ] : '',
          `, island ${p.island}, judged ${clock(p.t)} into the run`),
        h('div', {class : 'tiles'},
          r && !failed ? tile(times(r.speedup),
                              `over the initial program, ${interval(r.low, r.high)}${
                                  p.screened ? ', from the screening cases' : ''}`,
                              p.promoted ? 'good' : '')
                       : tile('failed', `${p.stage}: ${p.reason}`, 'bad'),
          tile(p.promoted ? 'new best' : p.state, `stage ${p.stage}, ${String(p.reason).replace(/_/g, ' ')}`),
          tile(error(p.error), v.error_of_tolerance ? `error, ${percent(v.error_of_tolerance)} of the tolerance`
                                                    : 'error, relative L2'),
          tile(v.checks ? `${v.checks_passed} of ${v.checks}` : '–', 'checks passed',
               v.checks && v.checks_passed < v.checks ? 'bad' : ''),
          tile(bytes(p.workspace_bytes), 'workspace'),
          tile(clock(p.seconds_build + p.seconds_judge),
               `${num(p.seconds_build, 2)} s to build, ${num(p.seconds_judge, 2)} s to judge`)),
        h('h2', {}, 'Verdict'),
        p.evidence ? h('p', {}, untrusted(p.evidence)) : h('p', {class : 'quiet'}, failed ? '' : 'Passed.'),
        p.same_as ? h('p', {}, 'The same machine code as ', link(p.same_as), '.') : null,
        p.reproduce ? nodes(h('p', {class : 'quiet'},
                              `To see it again (PROGRAM.c is the source below, or: attune show -p ${id}):`),
                            text_box(p.reproduce, 'Command that reproduces it', true))
                    : null,
        p.compiler && p.compiler.length > 40 ? nodes(h('h2', {}, 'Compiler'), text_box(p.compiler, 'Compiler report'))
                                             : null,
        x.cases.length ? Chart.strip({
            title : `Cases against the incumbent #${p.incumbent || '–'}`,
            width : width(),
            unit : 'time of the incumbent over time of this program',
            ref : 1,
            log : true,
            show : times,
            tick,
            rows : x.cases.map(
                c => ({
                    label : d.labels[c[0]] || 'case ' + c[0],
                    low : Math.exp(c[2]),
                    mid : Math.exp(c[1]),
                    high : Math.exp(c[3]),
                    note : `${c[5]} pairs, ${microseconds(c[6])} against ${microseconds(c[7])}, error ${error(c[8])}`
                }))
        })
                       : null,
        x.cases.length && r && r.incumbent
            ? h('p', {class : 'quiet'}, 'Every pair of its races: ',
                x.cases.slice(0, 24).map((c, i) => [i ? ' · ' : '', h('a', {href : `#cases/${id}/${c[0]}`},
                                                                      tame(d.labels[c[0]] || 'case ' + c[0], 40))]))
            : null,
        x.evidence && x.evidence.json ? evidence_box(x.evidence.json) : null, knob_table(id, source),
        parent ? nodes(h('h2', {}, 'Difference to its parent ', link(parent.id)),
                       lines ? diff_box(lines)
                             : h('p', {class : 'quiet'}, 'They have too little in common to be compared.'))
               : null,
        x.asked ? nodes(h('h2', {}, 'How it was asked for'),
                        h('p', {class : 'quiet'},
                          [
                              x.asked.record && x.asked.record.model, x.asked.record && x.asked.record.op,
                              x.asked.record && x.asked.record.tokens_out ? count(x.asked.record.tokens_out) + ' tokens'
                                                                          : null
                          ].filter(Boolean)
                              .map(t => tame(t, 80))
                              .join(', ')),
                        [
                            [ 'Answer', x.asked.answer ], [ 'Question', x.asked.prompt ],
                            [ 'Standing instructions', x.asked.system ]
                        ].map(([ name, text ]) =>
                                  text ? h('details', {}, h('summary', {}, name), text_box(text, name)) : null))
                : null,
        more.map(m => h('details', {}, h('summary', {}, `Record: ${tame(m[0], 60)}, ${stamp(m[3])}`), text_box(JSON.stringify(m[4], null, 2), m[0], true))),
        x.children.length ? h('p', {}, 'Children: ', x.children.slice(0, 60).map(c => [link(c[0]), ' '])) : null,
        h('h2', {}, `Source, ${count(source.split('\n').length)} lines`),
        p.source_length > source.length ? h('p', {class : 'quiet'},
                                            `Cut at ${count(source.length)} of ${
                                                count(p.source_length)} characters; all of it: attune show -p ${id}`)
                                        : null,
        text_box(source, 'Source'));
}

/* ---- verdicts, proposers, controls ---- */

views.verdicts = () => {
    const d = data(0), x = extra('verdicts'), groups = new Map();
    if (!d.rows.length)
        return nodes(title('Verdicts'),
                     box('No verdict yet', 'Each judged candidate is counted here with the stage that it reached.',
                         true));
    for (const r of d.rows) {
        const k = r.promoted                        ? 'became the best'
                  : r.start && r.state !== 'failed' ? 'starting program, right'
                  : r.state === 'same'              ? 'same machine code as an earlier one'
                                                    : `${r.stage}: ${r.reason.replace(/_/g, ' ')}`;
        const g = groups.get(k) || {
            label : k,
            value : 0,
            cls : r.promoted             ? ''
                  : r.state === 'failed' ? 'failed'
                  : r.state === 'same'   ? 'same'
                                         : 'right'
        };
        g.value++;
        groups.set(k, g);
    }
    const order = [ 'gate', 'build', 'quick', 'full', 'screen', 'race', 'confirm' ], rank = s => {
        const i = order.indexOf(s);
        return i < 0 ? 99 : i;
    };
    return nodes(title('Verdicts', 'Where candidates fell, and why. Failing is data: each keeps its evidence and the line that reproduces it.'),
        Chart.bars({title: 'Verdicts by stage and reason', width: width(), unit: 'programs', rows: [...groups.values()].sort((a, b) => b.value - a.value).map(g => ({...g, text: `${count(g.value)}  ${percent(g.value / d.rows.length)}`}))}),
        !x ? h('p', {class: 'quiet'}, 'Reading …') : x.failed ? trouble(x.failed) : table({name: 'verdicts', label: 'Verdicts', rows: x.rows.map(r => ({state: r[0], stage: r[1], reason: r[2], n: r[3], last: r[4], evidence: r[5], id: (d.rows[r[4] - 1] || {}).id})), first: 'n', down: true, columns: [
            ['stage', 'stage', r => r.stage, '', r => rank(r.stage)], ['reason', 'reason', r => h('span', {class: 'state ' + r.state}, r.reason.replace(/_/g, ' ')), ''], ['n', 'programs', r => count(r.n), 'n'], ['last', 'latest', r => link(r.id), 'n'], [null, 'its evidence', r => untrusted(r.evidence), 't']]}));
};
views.proposers = () => {
    const d = data(0), by = new Map();
    for (const r of d.rows) {
        const k = r.proposer === 'start' ? 'start' : r.origin, g = by.get(k) || {
            name : k,
            proposer : r.proposer,
            n : 0,
            failed : 0,
            same : 0,
            better : 0,
            promoted : 0,
            seconds : 0,
            gain : 0,
            top : NaN
        };
        g.n++;
        g.failed += r.state === 'failed';
        g.same += r.state === 'same';
        g.promoted += r.promoted ? 1 : 0;
        const p = d.by.get(r.parent1);
        if (p && isFinite(p.speedup) && r.speedup > p.speedup) g.better++;
        g.seconds += r.seconds_build + r.seconds_judge;
        if (r.promoted && p && isFinite(p.score)) g.gain += Math.max(0, r.score - p.score);
        if (!(g.top >= r.speedup) && isFinite(r.speedup)) g.top = r.speedup;
        by.set(k, g);
    }
    const all = [...by.values() ].filter(g => g.proposer !== 'start').sort((a, b) => b.n - a.n);
    /* Wilson's score interval, 95 %. */
    const wilson = (k, n) => {
        const z = 1.96, p = k / n, c = (p + z * z / (2 * n)) / (1 + z * z / n),
              e = z / (1 + z * z / n) * Math.sqrt(p * (1 - p) / n + z * z / (4 * n * n));
        return [ Math.max(0, c - e), p, Math.min(1, c + e) ];
    };
    const asked = d.run.asked || [],
          own = d.run.measurements.filter(m => !m[0].startsWith('control') &&
                                               !/^(final|result|ancestor|portfolio)/.test(m[0]));
    const beliefs = extra('beliefs');
    if (!all.length)
        return nodes(title('Proposers'), box('Nothing was proposed yet', 'Starting programs are judged first.', true));
    return nodes(title('Proposers', 'What each way of proposing costs and brings.'),
        table({name: 'proposers', rows: all, first: 'n', down: true, columns: [['name', 'proposer', r => untrusted(r.name), ''], ['n', 'proposed', r => count(r.n), 'n'], ['failed', 'failed', r => percent(r.failed / r.n), 'n', r => r.failed / r.n], ['same', 'same code', r => percent(r.same / r.n), 'n', r => r.same / r.n],
            ['better', 'beat its parent', r => percent(r.better / r.n), 'n', r => r.better / r.n], ['promoted', 'became best', r => count(r.promoted), 'n'], ['gain', 'brought', r => gain(Math.exp(r.gain) - 1), 'n'], ['seconds', 'time spent', r => clock(r.seconds), 'n'],
            ['cost', 'time per best', r => r.promoted ? clock(r.seconds / r.promoted) : '–', 'n', r => r.promoted ? r.seconds / r.promoted : NaN], ['top', 'its best', r => times(r.top), 'n']]}),
        Chart.strip({title: 'Share of proposals that beat their parent (estimate)', width: width(), unit: 'share, with 95 % interval', show: percent, rows: all.map(g => { const w = wilson(g.better, g.n); return {label: g.name, low: w[0], mid: w[1], high: w[2], note: `${g.better} of ${g.n}`}; })}),
        belief_parts(beliefs),
        asked.length ? nodes(h('h2', {}, 'Who was asked'), table({name: 'asked', rows: asked.map(r => ({who: r[0], model: r[1], n: r[2], taken: r[3], put: r[4], got: r[5], usd: r[6], seconds: r[7], won: d.rows.filter(p => p.promoted && p.proposer === r[0] && (!r[1] || String(p.note).startsWith(r[1] + ':'))).length})), first: 'n', down: true, columns: [['who', 'proposer', r => untrusted(r.who), ''], ['model', 'model', r => untrusted(r.model || '–'), ''],
            ['n', 'answers', r => count(r.n), 'n'], ['taken', 'became programs', r => count(r.taken), 'n'], ['put', 'tokens in', r => count(r.put), 'n'], ['got', 'tokens out', r => count(r.got), 'n'], ['usd', 'cost', r => dollars(r.usd), 'n'], ['won', 'became best', r => count(r.won), 'n'], ['each', 'cost per best', r => r.won && r.usd > 0 ? dollars(r.usd / r.won) : '–', 'n', r => r.won ? r.usd / r.won : NaN], ['seconds', 'waited', r => clock(r.seconds), 'n']]})) : null,
        own.length ? nodes(h('h2', {}, 'Their own records'), own.slice(-20).reverse().map(m => h('details', {}, h('summary', {}, `${tame(m[0], 60)}${m[1] ? ' #' + m[1] : ''}, ${clock(m[3])}`), text_box(JSON.stringify(m[4], null, 2), m[0], true)))) : null);
};
/* What bandits believe: shares of now with what they rest on, how the shares moved, and the lessons as prompts get them. */
function belief_parts(x) {
    if (!x || x.failed) return null;
    return x.now.filter(r => r[1] && Array.isArray(r[1].arms)).map(([ t, b ]) => {
        const who = tame(b.proposer, 30), groups = [...new Set(b.arms.map(a => a.group)) ],
              history = x.history.filter(q => q[1] && q[1].proposer === b.proposer && Array.isArray(q[1].arms));
        return nodes(
            h('h2', {}, `What ${who} believes`, h('small', {class : 'quiet'}, ` at ${stamp(t)}`)),
            b.tried ? h('p', {class : 'quiet'}, `Of the family searched most: ${count(b.measured)} settings measured, ${
                                                    count(b.failed)} failed, ${count(b.since_gain)} since one led.`)
                    : null,
            groups.map(g => {
                const arms = b.arms.filter(a => a.group === g && (a.share > 0 || a.n > 0));
                if (!arms.length) return null;
                return nodes(
                    table({
                        name : `belief-${who}-${g}`,
                        label : `${who}: ${g}s`,
                        rows : arms,
                        first : 'share',
                        down : true,
                        columns : [
                            [ 'name', tame(g, 30), r => untrusted(r.name), '' ],
                            [ 'share', 'share of the next ones', r => percent(r.share), 'n' ],
                            [ 'rate', 'reward, decayed', r => num(r.rate, 2), 'n' ],
                            [ 'n', 'weight of evidence', r => num(r.n, 3), 'n' ],
                            ...(arms.some(a => a.pulls) ? [ [ 'pulls', 'asked', r => count(r.pulls), 'n' ] ] : []),
                            ...(arms.some(a => a.prior !== undefined)
                                    ? [ [ 'prior', 'share at first', r => num(r.prior, 2), 'n' ] ]
                                    : []),
                            ...(arms.some(a => a.cost > 0) ? [ [ 'cost', 'cost each', r => dollars(r.cost), 'n' ] ] : [])
                        ]
                    }),
                    history.length > 2 ? Chart.plot({
                        title : `Shares of ${who}'s ${g}s over time`,
                        width : width(),
                        height : 240,
                        x : {label : 'minutes of the run', low : 0},
                        y : {label : 'share of proposals', low : 0, high : Math.max(...history.flatMap(q => q[1].arms.filter(a => a.group === g).map(a => a.share))), show : percent},
                        tell : t => t,
                        layers : arms.map((a, i) => ({
                                              type : 'line',
                                              cls : 'l' + i % 8,
                                              name : tame(a.name, 40),
                                              points : history.flatMap(q => q[1].arms.filter(v => v.group === g && v.name === a.name).map(v => ({
                                                                                                                                              x : q[0] / 60,
                                                                                                                                              y : v.share,
                                                                                                                                              label : `${tame(a.name, 40)}: ${percent(v.share)} at ${stamp(q[0])}`
                                                                                                                                          })))
                                          }))
                    })
                                       : null);
            }),
            b.lessons ? nodes(h('h2', {}, 'Lessons'),
                              h('p', {class : 'quiet'}, 'As the next question will hold them.'), text_box(b.lessons, 'Lessons', true))
                      : null);
    });
}
views.controls = () => {
    const c = controls_of(0);
    return nodes(
        title(
            'Controls',
            'Can this run be believed? Races whose outcome is known: a program against itself must never win, a known gain must always be seen.'),
        c.list.length
            ? nodes(h('div', {class : 'tiles'},
                      tile(`${c.aa_bad} of ${c.aa}`, 'races of a program against itself that were called a win',
                           c.aa_bad ? 'bad' : 'good'),
                      tile(`${c.plus_seen} of ${c.plus}`, 'known gains that were seen',
                           c.plus_seen < c.plus ? 'bad' : 'good'),
                      tile(num(c.sees, 2) + ' %', 'smallest difference seen reliably')),
                    table({
                        name : 'controls',
                        rows : c.list.map(m => ({kind : m[0], t : m[3], ...m[4]})),
                        columns : [
                            [
                                null, 'when',
                                r => r.kind === 'control'       ? 'before'
                                     : r.kind === 'control_end' ? 'after'
                                                                : tame(r.kind, 40),
                                ''
                            ],
                            [ null, 'at', r => stamp(r.t), 'n' ], [ null, 'A/A races', r => num(r.aa_races), 'n' ],
                            [ null, 'called a win', r => num(r.aa_promoted), 'n' ],
                            [ null, 'A/A spread', r => percent(r.aa_spread), 'n' ],
                            [ null, 'known gains', r => num(r.plus_races), 'n' ],
                            [ null, 'seen', r => num(r.plus_promoted), 'n' ],
                            [ null, 'can see', r => num(r.can_see_percent, 3) + ' %', 'n' ]
                        ]
                    }))
            : box('No controls were raced',
                  'Give the run more than half a minute, or race them now: attune doctor --judge', true),
        c.list.length && !c.good
            ? box('The judge erred',
                  'Numbers of this run may be noise. Is the machine busy, hot, or a small virtual one? Try: attune doctor --judge')
            : null);
};

/* ---- mailbox ---- */

/* The one thing that this page can write: an answer to an open question, whole, by this page only. */
async function hand_in(number) {
    const text = S.draft[number] || '';
    S.sent[number] = 'Handing in …';
    render();
    try {
        const r = await fetch(`api/answer?run=0&number=${number}`,
                              {method : 'POST', headers : {'Content-Type' : 'text/plain; charset=utf-8'}, body : text});
        const words = (await r.text()).slice(0, 300);
        S.sent[number] = r.ok ? 'Handed in. The run takes it within a second.' : 'Not taken: ' + words;
        if (r.ok) delete S.draft[number];
    } catch (e) { S.sent[number] = 'Not sent: attune serve does not answer. Your text stays here.'; }
    data(0).stale.questions = true;
    render();
    for (const ms of [ 1500, 4000 ])
        setTimeout(() => {
            data(0).stale.questions = true;
            if (where()[0] === 'mailbox') render();
        }, ms);
}
function answer_form(number, q) {
    const command = `attune mail answer ${number} FILE -o ${tame(data(0).run.folder, 100)}`, id = 'answer-' + number;
    if (!LIVE || !q || !q.folder) return h('p', {class : 'quiet'}, 'Answer: ', h('code', {}, command));
    if (q.state !== 'open') return h('p', {class : 'quiet'}, `This question is ${tame(q.state || 'closed', 20)}.`);
    return nodes(
        q.refused ? box('The last answer was not taken', tame(q.refused, 2000)) : null,
        q.waits ? h('p', {}, 'An answer waits to be taken',
                    data(0).run.state === 'running' ? '.' : ' as soon as the run goes on: attune evolve --resume')
                : h('form', {
                      class : 'answer',
                      on : {
                          submit : v => {
                              v.preventDefault();
                              hand_in(number);
                          }
                      }
                  },
                    h('label', {for : id}, 'Answer: SEARCH/REPLACE blocks, a unified diff, or the whole program in a fence'),
                    h('textarea', {
                        id,
                        rows : 12,
                        spellcheck : 'false',
                        autocapitalize : 'off',
                        maxlength : 4194304,
                        on : {
                            input : v => {
                                S.draft[number] = v.target.value;
                                v.target.form.querySelector('button').disabled = !v.target.value.trim();
                            }
                        }
                    },
                      S.draft[number] || ''),
                    h('div', {class : 'bar'}, h('button', {type : 'submit', class : 'main', disabled : !(S.draft[number] || '').trim()}, 'Hand in'),
                      h('span', {class : 'quiet'}, 'or: ', h('code', {}, command), '; the question with its standing instructions: ',
                        h('code', {}, `attune mail show ${number}`))),
                    data(0).run.state !== 'running'
                        ? h('p', {class : 'quiet'}, 'The run rests: an answer is taken when it goes on, with attune evolve --resume.')
                        : null),
        S.sent[number] ? h('p', {role : 'status'}, S.sent[number]) : null);
}
views.mailbox = () => {
    const d = data(0), x = extra('questions');
    if (!d.run.questions)
        return nodes(title('Mailbox'),
                     box('Nobody was asked in this run',
                         'Questions appear here where a run asks a model or a person: attune evolve --proposer mailbox',
                         true));
    if (!x) return nodes(title('Mailbox'), h('p', {class : 'quiet'}, 'Reading …'));
    if (x.failed) return nodes(title('Mailbox'), trouble(x.failed));
    const rows = x.rows.filter(q => q[1] !== 'mailbox' || !q[6] || !q[6].folder || q[6].state === 'open' || S.sent[q[2]]);
    return nodes(
        title('Mailbox', `${count(d.run.questions)} questions were asked; ${
                             rows.length ? 'the newest that wait for an answer are below. Answering is the only thing that this page can write.'
                                         : 'none waits for an answer.'}`),
        rows.map((q, i) => h('details', {open : i === 0, data : {key : 'question-' + q[2]}},
                             h('summary', {}, `${tame(q[1], 40)} ${q[2]}: ${tame(q[3], 40)} of `, link(q[4]), `, asked at ${stamp(q[0])}`),
                             q[1] === 'mailbox' ? answer_form(q[2], q[6]) : null, text_box(q[5] || '', 'Question ' + q[2]))));
};

/* ---- compare ---- */

views.compare = () => {
    if (S.runs < 2)
        return nodes(title('Compare'), box('Only one run is open',
                                           'Start with two to see them side by side: attune serve ' +
                                               tame(data(0).run.folder, 100) + ' OTHER',
                                           true));
    const a = data(0), b = data(1);
    if (!b.run && !b.failed) {
        load(1).then(render, e => {
            b.failed = e;
            render();
        });
        return nodes(title('Compare'), h('p', {class : 'quiet'}, 'Reading …'));
    }
    if (b.failed) return nodes(title('Compare'), trouble(b.failed));
    const ha = headline(0), hb = headline(1), names = [ short_name(0), short_name(1) ],
          keys = [ 'cpu', 'isa', 'identity.compiler', 'suite', 'identity.threads', 'seed', 'version', 'started' ];
    const la = best_line(0, true), lb = best_line(1, true),
          end = Math.max(...[0, 1].map(i => (data(i).rows.at(-1) || {t : 0}).t / 60), .1);
    const same = a.run.meta['identity.suite'] === b.run.meta['identity.suite'] &&
                 a.run.meta['identity.initial program'] === b.run.meta['identity.initial program'],
          machine = a.run.meta['identity.machine'] === b.run.meta['identity.machine'];
    const cases = d => new Map(((d.result && d.result[4].cases) || []).map(c => [c.case, c])), ca = cases(a),
          cb = cases(b), both = [...ca.keys() ].filter(k => cb.has(k));
    const line = (name, f) => h('tr', {}, h('th', {scope : 'row'}, name), h('td', {}, f(0)), h('td', {}, f(1)));
    return nodes(
        title('Compare'),
        !same      ? box('Different initial programs or suites',
                         'Speedups of the two runs are over different things: compare milliseconds, not factors.')
        : !machine ? box('Different machines', 'Each speedup is over the initial program on its own machine.', true)
                   : null,
        h('div', {class : 'tiles'}, tile(times(ha.median), `${names[0]}, ${interval(ha.low, ha.high)}`),
          tile(times(hb.median), `${names[1]}, ${interval(hb.low, hb.high)}`),
          same && machine
              ? tile(gain(ha.median / hb.median - 1),
                     'first against second; ' +
                         (ha.low > hb.high || hb.low > ha.high ? 'intervals apart' : 'within their intervals'))
              : null),
        Chart.plot({
            title : 'Best so far',
            width : width(),
            height : 320,
            x : {label : 'minutes of the run', low : 0, high : end},
            y : {label : 'speedup, logarithmic', log : true, show : v => num(v) + '×'},
            interval : 'intervals',
            layers : [
                {type : 'step', name : names[0], points : la.map(p => ({...p, id : undefined}))},
                {type : 'step', cls : 'other', name : names[1], points : lb.map(p => ({...p, id : undefined}))},
                {type : 'ref', y : 1, name : 'initial program'}
            ]
        }),
        both.length ? Chart.strip({
            title : 'Cases of both winners',
            width : width(),
            unit : 'speedup over the initial program',
            log : true,
            show : times,
            tick,
            keys : [ [ 'step', names[0] ], [ 'step other', names[1] ] ],
            rows : both.flatMap(k => [{
                                    label : k,
                                    mid : ca.get(k).speedup,
                                    low : ca.get(k).speedup_low,
                                    high : ca.get(k).speedup_high,
                                    note : microseconds(ca.get(k).ns)
                                },
                                      {
                                          label : '',
                                          mid : cb.get(k).speedup,
                                          low : cb.get(k).speedup_low,
                                          high : cb.get(k).speedup_high,
                                          cls : 'other',
                                          note : microseconds(cb.get(k).ns)
                                      }])
        })
                    : h('p', {class : 'quiet'}, 'Cases are compared once both runs have made their final comparison.'),
        h('div', {class : 'scroll'},
          h('table', {'aria-label' : 'Both runs'},
            h('thead', {}, h('tr', {}, h('th', {}, ''), names.map(n => h('th', {scope : 'col'}, n)))),
            h('tbody', {}, line('judged', i => count(data(i).rows.length)),
              line('best', i => (data(i).best ? '#' + data(i).best.id + ' ' + tame(data(i).best.origin, 60) : '–')),
              line('controls', i => {
                  const c = controls_of(i);
                  return c.list.length ? `${c.aa_bad} of ${c.aa} A/A won, ${c.plus_seen} of ${c.plus} gains seen`
                                       : 'none';
              }), keys.map(k => line(k.replace('identity.', ''), i => tame(data(i).run.meta[k] || '–', 120)))))));
};

/* ---- frame ---- */

const order = [
    'now', 'progress', 'cases', 'archive', 'lineage', 'program', 'verdicts', 'proposers', 'controls', 'mailbox',
    'compare'
];
const names = {
    program : 'programs'
};
const listed = () => order.filter(v => (v !== 'compare' || S.runs > 1) &&
                                       (v !== 'mailbox' || (data(0).run && data(0).run.questions > 0)));
const trouble = e => box(e.error || String(e), e.try || 'Reload the page.');

function header() {
    const top = document.getElementById('top'), d = data(0);
    if (!d.run)
        return top.replaceChildren(h('span', {class : 'name'}, 'attune'),
                                   h('span', {class : 'badge lost'},
                                     S.problem && S.problem.gone ? 'no server' : 'no run'));
    const hl = headline(), c = controls_of(0), lost = LIVE && S.link === 'lost';
    top.replaceChildren(
        h('span', {class : 'name', title : tame(d.run.folder, 300)}, short_name(0)),
        h('span', {class : 'badge ' + (lost ? 'lost' : d.run.state), role : 'status'},
          lost   ? 'reconnecting'
          : LIVE ? d.run.state
                 : 'a copy'),
        h('span', {class : 'big'}, times(hl.median)), h('span', {class : 'quiet'}, interval(hl.low, hl.high)),
        h('a', {href : '#controls', class : 'badge ' + (c.list.length ? c.good ? 'running' : 'lost' : 'unknown')},
          c.list.length ? `controls: A/A ${c.aa_bad} of ${c.aa}, gains ${c.plus_seen} of ${c.plus}`
                        : 'no controls yet'),
        h('span', {class : 'right'}, tame(d.run.meta.cpu || '', 60),
          d.run.meta.isa ? ', ' + tame(d.run.meta.isa, 30) : '', '  ',
          h('button', {on : {click : help}, 'aria-label' : 'Keys'}, '?')));
    document.title = `${times(hl.median)} ${short_name(0)} · attune`;
}
function navigation(view) {
    document.getElementById('nav').replaceChildren(
        ...listed().map((v, i) => h('a', {href : '#' + v, 'aria-current' : v === view ? 'page' : undefined},
                                    (names[v] || v).replace(/^./, c => c.toUpperCase()),
                                    h('small', {'aria-hidden' : 'true'}, i < 10 ? String((i + 1) % 10) : ''))));
}
const where = () => {
    const [v, ...rest] = decodeURIComponent(location.hash.slice(1) || 'now').split('/');
    return [ views[v] ? v : 'now', rest.join('/') ];
};

let shown = '';
function render() {
    const main = document.getElementById('main'), [ view, rest ] = where(), key = view + '/' + rest,
          fresh = key !== shown, began = performance.now(), within = view === 'cases' && shown.startsWith('cases/');
    if (!fresh && String(getSelection()) && main.contains(getSelection().anchorNode))
        return; /* do not take a selection away */
    const had = !fresh && main.contains(document.activeElement) ? document.activeElement : null,
          focus = had && had.id && /^(INPUT|TEXTAREA)$/.test(had.tagName)
                      ? [ had.id, had.selectionStart, had.selectionEnd, had.scrollTop ]
                      : null,
          opened = fresh ? [] : [...main.querySelectorAll('details') ].map(e => [e.querySelector('summary').textContent, e.open]),
          y = scrollY,
          inner = fresh ? [] : [...main.querySelectorAll('pre,.scroll') ].map(e => [e.scrollTop, e.scrollLeft]);
    if (fresh) S.sel = -1;
    shown = key;
    Chart.hide_tip();
    S.list = [];
    let body;
    try {
        if (S.problem && (!data(0).run || S.problem.status === 503 || S.problem.denied))
            body = [ title('attune'), trouble(S.problem) ];
        else if (!data(0).run) body = [ h('p', {class : 'quiet'}, 'Reading the run …') ];
        else body = views[view](rest);
    } catch (e) {
        console.error(e);
        body = [ trouble({
            error: 'This view failed: ' + e.message, try:
                'Please report it; the other views work.'
        }) ];
    }
    main.replaceChildren(...nodes(body));
    header();
    navigation(view);
    if (opened.length) {
        const was = new Map(opened);
        for (const e of main.querySelectorAll('details')) {
            const k = e.querySelector('summary').textContent;
            if (was.has(k)) e.open = was.get(k);
        }
    }
    if (focus) {
        const f = document.getElementById(focus[0]);
        if (f) {
            f.focus({preventScroll : true});
            f.setSelectionRange(focus[1], focus[2]);
            f.scrollTop = focus[3];
        }
    }
    if (fresh && within) {
        scrollTo(0, y);
        const p = document.getElementById('race');
        if (p) p.scrollIntoView({block : 'nearest'});
    } else if (fresh) scrollTo(0, 0);
    else {
        scrollTo(0, y);
        main.querySelectorAll('pre,.scroll').forEach((e, i) => {
            if (inner[i]) [e.scrollTop, e.scrollLeft] = inner[i];
        });
    }
    S.render_ms = performance.now() - began;
    S.slowest = Math.max(S.slowest || 0, S.render_ms);
    if (data(0).run && !S.first_ms) S.first_ms = performance.now();
    document.body.dataset.view = key;
}
function help() {
    const d = document.getElementById('help');
    d.replaceChildren(
        h('h2', {}, 'Keys'),
        h('table', {},
          h('tbody', {},
            [
                [ '1 … 9, 0', 'views' ], [ 'j, k', 'next, previous program' ], [ 'Enter', 'open the chosen one' ],
                [ '/', 'find a program' ], [ 'b', 'the best program' ], [ 'Backspace', 'back' ], [ '?', 'this help' ]
            ].map(r => h('tr', {}, h('td', {}, h('kbd', {}, r[0])), h('td', {}, r[1]))))),
        h('p', {class : 'quiet'},
          'Every view has its own address: it can be kept and sent. Charts give their drawing and their data.'),
        h('form', {method : 'dialog'},
          h('button',
            {
                on : {
                    click : v => {
                        v.preventDefault();
                        d.close();
                    }
                }
            },
            'Close')));
    if (!d.open) d.showModal();
}
function move(step) {
    const [view, rest] = where();
    if (view === 'program' && rest) {
        const rows = data(0).rows, i = rows.findIndex(r => r.id === +rest) + step;
        if (rows[i]) location.hash = '#program/' + rows[i].id;
        return;
    }
    const rows = [...document.querySelectorAll('tr[data-id]') ];
    if (!rows.length) return;
    S.sel = Math.max(0, Math.min(rows.length - 1, S.sel + step));
    rows.forEach((r, i) => r.classList.toggle('sel', i === S.sel));
    rows[S.sel].scrollIntoView({block : 'nearest'});
}
addEventListener('keydown', v => {
    if (v.ctrlKey || v.metaKey || v.altKey || document.getElementById('help').open) return;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(v.target.tagName)) {
        if (v.key === 'Escape') v.target.blur();
        return;
    }
    const shown_views = listed();
    if (v.key === 'j') move(1);
    else if (v.key === 'k') move(-1);
    else if (v.key === 'Enter' && S.sel >= 0 && !v.target.closest('a,button')) {
        const r = document.querySelectorAll('tr[data-id]')[S.sel];
        if (r) open_program(r.dataset.id);
    } else if (v.key === '/') {
        location.hash = '#program';
        setTimeout(() => {
            const f = document.getElementById('filter');
            if (f) f.focus();
        }, 60);
    } else if (v.key === '?') help();
    else if (v.key === 'b' && data(0).best) open_program(data(0).best.id);
    else if (v.key === 'Backspace') history.back();
    else if (/^[0-9]$/.test(v.key) && shown_views[(+v.key + 9) % 10])
        location.hash = '#' + shown_views[(+v.key + 9) % 10];
    else return;
    v.preventDefault();
});
addEventListener('hashchange', render);
let resized = 0;
addEventListener('resize', () => {
    clearTimeout(resized);
    resized = setTimeout(render, 150);
});
document.getElementById('skip').addEventListener('click', v => {
    v.preventDefault();
    document.getElementById('main').focus();
});

async function start() {
    if (/[?&]token=/.test(location.search)) history.replaceState(null, '', location.pathname + location.hash);
    try {
        await load(0);
        S.problem = null;
    } catch (e) {
        S.problem = e;
        if (LIVE && !e.denied) setTimeout(start, 2000);
    }
    render();
    if (LIVE && !S.problem && !(stream && stream.readyState === 1)) listen();
}
window.attune = S;
start();
