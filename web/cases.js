/* Cases: case x kernel, the race behind each number, the roofline. */
'use strict';

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
    /* The table as a picture, to take away. */
    const take = which => {
        const at = Array.from({length : v.n}, (_, i) => i), labels = at.map(i => tame(d.labels[i] || 'case ' + i, 60));
        const f = Chart.heat({
            title : 'Cases by kernel: ' + m[0],
            xs : kernels.map(k => '#' + k.id),
            ys : labels,
            x_label : 'program',
            y_label : 'case',
            left : 24 + 7 * Math.max(...labels.map(l => l.length)),
            at : (x, y) => {
                const k = d.by.get(+x.slice(1)), i = labels.indexOf(y), c = v.by.get(k.id)[i], value = c ? m[1](d, i, c) : NaN;
                return c && {value, shade : shade(value, i) || 'q0', text : m[2](value), tip : `${y}, program ${k.id}: ${m[2](value)}`};
            }
        });
        f.hidden = true;
        document.getElementById('main').append(f);
        f.querySelectorAll('.tools button')[which].click();
        f.remove();
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
                   h('span', {class : 'tools'},
                     [ [ 'SVG', 'Save the drawing' ], [ 'CSV', 'Save the data' ] ].map(([ text, what ], at) => h('button', {
                                                                     'aria-label' : `${what}: cases by kernel, ${m[0]}`,
                                                                     on : {click : () => take(at)}
                                                                 },
                                                                                             text))),
                   !isFinite(low) &&
                       h('span', {class : 'quiet'}, 'Not known for this run: the final comparison has not been made.')),
                 h('div', {class : 'scroll'},
                   h('table', {class : 'matrix', 'aria-label' : 'Cases by kernel: ' + m[0]},
                     h('thead', {},
                       h('tr', {}, h('th', {scope : 'col'}, 'case'),
                         kernels.map(k => h('th', {scope : 'col', class : 'n', title : describe(k.id)}, link(k.id),
                                            k === d.best ? ' ★' : '', k.origin === 'initial' && h('div', {}, 'initial'))))),
                     h('tbody', {},
                       row ? h('tr', {class : 'all'}, h('th', {scope : 'row'}, 'all, with interval'),
                               kernels.map(k => h('td', {}, times(k.speedup), h('small', {}, interval(k.low, k.high)))))
                           : null,
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
                                                               title : c.pairs ? `against #${k.incumbent || '–'}: ${times(Math.exp(c.ratio))} ${
                                                                                     interval(Math.exp(c.low), Math.exp(c.high))}, ${c.pairs} pairs` : undefined,
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
/* A race with the initial program has a scale of its own: beside it a percent would not be seen. */
function race_pictures(rows) {
    const far = r => r.kind === 'final', one = (title, list) => list.length && Chart.pairs({
        title, width : width(), unit : 'ratio of times, right of 1 this program is faster', rows : list
    });
    return [ one('Each pair: time of the other over time of this program', rows.filter(r => !far(r))),
             one('Each pair of the final comparison: time of the initial program over time of this one', rows.filter(far)) ].filter(Boolean);
}
function race_panel(v) {
    const [id, i] = S.cell.split('/').map(Number), d = data(0), r = d.by.get(id), c = v.by.has(id) && v.by.get(id)[i];
    if (!r || !d.labels[i]) return box('No such race', 'This run has no such program or case. The table leads to races; so does each program.');
    const x = races(id), rows = x.rows ? race_rows(x, i) : [];
    return h('section', {id : 'race', 'aria-label' : 'Race', tabindex : -1},
             h('h2', {}, 'Program ', link(id), ` on ${tame(d.labels[i], 60)}`),
             c && h('p', {}, /* the table, and so what is known here, holds the best and the newest programs */
               `Raced against #${r.incumbent || '–'}: ${times(Math.exp(c.ratio))} ${
                   interval(Math.exp(c.low), Math.exp(c.high))} from ${c.pairs} pairs, with the judge's own, wider bounds; fastest call ${
                   microseconds(c.ns)} against ${microseconds(c.old_ns)}.`),
             x.loading  ? h('p', {class : 'quiet'}, 'Reading …')
             : x.failed ? trouble(x.failed)
             : rows.length
                 ? race_pictures(rows)
                 : nodes(h('p', {class : 'quiet'},
                           !r.incumbent ? 'The initial program was timed alone: there was nothing to race it with.'
                       : c                       ? 'This run kept medians and bounds only; runs of now keep every pair.'
                                                 : 'Nothing of this race was kept: the program failed before it, or the run is of an old version.'),
                         r.incumbent && c ? Chart.strip({
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
