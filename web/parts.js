/* Parts that several views share: headline and controls of a run, tables that sort, boxes, the chart of progress. */
'use strict';

const views = {}; /* name: what is after its slash -> nodes; each view's file adds itself */

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

/* The axis of time: seconds while a run is short. */
function time_axis(...runs) {
    const end = Math.max(...runs.map(i => data(i).rows.length ? data(i).rows[data(i).rows.length - 1].t : 0), 1e-3);
    return end < 150 ? {unit : 1, end, label : 'seconds of the run'} : {unit : 60, end : end / 60, label : 'minutes of the run'};
}
function best_line(run, by_time, unit = 60) {
    const d = data(run), out = [];
    let top = null;
    for (const r of d.rows) {
        if (!(r.promoted || (r.start && r.origin === 'initial' && !top)) || !isFinite(r.speedup)) continue;
        top = r;
        out.push({x : by_time ? r.t / unit : r.seq, y : r.speedup, low : r.low, high : r.high, id : r.id});
    }
    return out;
}

function describe(id, run = 0) {
    const r = data(run).by.get(id);
    if (!r) return '#' + id;
    return `#${id} ${tame(r.origin, 60)}${r.note ? '\n' + tame(r.note, 120) : ''}\n${
        r.state === 'failed' ? `failed at ${word(r.stage)}: ${word(r.reason)}`
                             : `${times(r.speedup)} ${interval(r.low, r.high)}, ${r.state}`}`;
}
const open_program = id => { location.hash = '#program/' + id; };
const link = id => id ? h('a', {href : '#program/' + id}, '#' + id) : '–';
const state = r => h('span', {class : 'state ' + r.state},
                     r.promoted             ? 'new best'
                     : r.start && r.state !== 'failed' ? 'start'
                     : r.state === 'failed' ? `${word(r.stage)}: ${word(r.reason)}`
                                            : r.state);
const tile = (value, words, cls, title) =>
    h('div', {class : 'tile ' + (cls || ''), title}, h('b', {}, value), h('span', {}, words));
const box = (title, text, calm) => h('div', {class : 'box' + (calm ? ' calm' : ''), role : calm ? 'note' : 'alert'},
                                     h('b', {}, title), h('p', {}, text));
const width = (share = 1) =>
    S.paper ? 640 : Math.max(320,
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
    error : [ 'error', 'error', r => r.state === 'failed' && !r.error ? '–' : error(r.error), 'n' ],
    memory : [ 'workspace_bytes', 'workspace', r => bytes(r.workspace_bytes), 'n' ],
    island : [ 'island', 'island', r => String(r.island), 'n' ],
};

function progress_chart(height, run = 0, by_time = true, w) {
    const d = data(run), time = time_axis(run), groups = {start : [], better : [], right : [], same : [], failed : []};
    for (const r of d.rows)
        groups[r.start && r.state !== 'failed' ? 'start' : r.state].push(
            [ by_time ? r.t / time.unit : r.seq, r.state === 'failed' ? NaN : r.speedup, r.id ]);
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
        {type : 'step', name : 'best so far', points : best_line(run, by_time, time.unit)},
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
                     brief : `${times(f.median)} winner at the end`,
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
        x : {label : by_time ? time.label : 'candidate', low : 0},
        y : {label : 'speedup, logarithmic', log : true, show : tick, low : floor},
        pick : open_program,
        tell : id => describe(id, run)
    });
}
