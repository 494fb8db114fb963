/* Compare: the run beside another one, of another day or another class of machine. */
'use strict';

/* Runs beside the first have no event stream of their own: they are read again while this view is open and they go on. */
function look_at(run) {
    const d = data(run), age = Date.now() - (d.read || 0);
    if (d.reading || (d.read && (!LIVE || (d.run && d.run.state !== 'running') || age < 4000))) return;
    d.reading = true;
    load(run)
        .then(() => { d.failed = null; }, e => { d.failed = e; })
        .then(() => {
            d.reading = false;
            d.read = Date.now();
            render();
        });
}
if (LIVE)
    setInterval(() => {
        if (where()[0] === 'compare' && document.visibilityState === 'visible' && data(0).run)
            for (let i = 1; i < S.runs; i++) look_at(i);
    }, 2500);
/* Where there are more than two: all of them, and which one is compared. */
function other_runs(others, mine) {
    if (others.length < 2) return null;
    const row = i => {
        const d = data(i), hl = d.run ? headline(i) : {}, c = controls_of(i);
        return h('tr', {class : i === mine ? 'sel' : ''}, h('td', {}, d.run ? untrusted(short_name(i)) : d.failed ? tame(d.failed.error, 80) : '…'),
                 h('td', {}, d.run ? tame(d.run.meta.cpu || '', 60) : ''), h('td', {class : 'n'}, times(hl.median)),
                 h('td', {class : 'n'}, d.run ? interval(hl.low, hl.high) : ''), h('td', {class : 'n'}, count(d.rows.length)),
                 h('td', {}, d.run ? d.run.state : ''), h('td', {class : 't'}, c.list.length ? `${c.aa_bad} of ${c.aa} A/A won, ${c.plus_seen} of ${c.plus} gains seen` : 'none'),
                 h('td', {}, i ? h('button', {
                     'aria-pressed' : String(i === mine),
                     on : {
                         click : () => {
                             S.other = i;
                             render();
                         }
                     }
                 },
                                   'compare')
                               : 'this run'));
    };
    return h('div', {class : 'scroll'},
             h('table', {'aria-label' : 'All runs'},
               h('thead', {}, h('tr', {}, [ 'run', 'machine', 'speedup', 'interval', 'judged', 'state', 'controls', '' ].map((t, i) => h('th', {scope : 'col', class : i > 1 && i < 5 ? 'n' : ''}, t)))),
               h('tbody', {}, [ 0, ...others ].map(row))));
}
views.compare = () => {
    if (S.runs < 2)
        return nodes(title('Compare'), box('Only one run is open',
                                           'Start with two to see them side by side: attune serve ' +
                                               tame(data(0).run.folder, 100) + ' OTHER',
                                           true));
    const others = Array.from({length : S.runs - 1}, (_, i) => i + 1), mine = others.includes(S.other) ? S.other : 1,
          a = data(0), b = data(mine);
    for (const i of others) look_at(i);
    if (!b.run && !b.failed) return nodes(title('Compare'), h('p', {class : 'quiet'}, 'Reading …'));
    if (b.failed) return nodes(title('Compare'), other_runs(others, mine), trouble(b.failed));
    const ha = headline(0), hb = headline(mine), both_runs = [ 0, mine ], names = both_runs.map(short_name),
          keys = [ 'cpu', 'isa', 'identity.compiler', 'suite', 'identity.threads', 'seed', 'version', 'started' ];
    const time = time_axis(...both_runs), la = best_line(0, true, time.unit), lb = best_line(mine, true, time.unit);
    const same = a.run.meta['identity.suite'] === b.run.meta['identity.suite'] &&
                 a.run.meta['identity.initial program'] === b.run.meta['identity.initial program'],
          machine = a.run.meta['identity.machine'] === b.run.meta['identity.machine'],
          one_kind = machine && a.run.meta['identity.compiler'] === b.run.meta['identity.compiler'];
    const cases = d => new Map(((d.result && d.result[4].cases) || []).map(c => [c.case, c])), ca = cases(a),
          cb = cases(b), both = [...ca.keys() ].filter(k => cb.has(k));
    const line = (name, f) => h('tr', {}, h('th', {scope : 'row'}, name), h('td', {}, f(0)), h('td', {}, f(mine)));
    return nodes(
        title('Compare'), other_runs(others, mine),
        !one_kind ? box(machine ? 'Different compilers' : 'Different machines',
                        'Each speedup is over the initial program on its own kind of machine: they share no scale.', true)
        : !same   ? box('Different initial programs or suites',
                        'Speedups of the two runs are over different things: compare milliseconds, not factors.')
                  : null,
        h('div', {class : 'tiles'}, tile(times(ha.median), `${names[0]}, ${interval(ha.low, ha.high)}`),
          tile(times(hb.median), `${names[1]}, ${interval(hb.low, hb.high)}`),
          same && one_kind
              ? tile(gain(ha.median / hb.median - 1),
                     'first against second; ' +
                         (ha.low > hb.high || hb.low > ha.high ? 'intervals apart' : 'within their intervals'))
              : null),
        one_kind && Chart.plot({
            title : 'Best so far',
            width : width(),
            height : 320,
            x : {label : time.label, low : 0, high : time.end},
            y : {label : 'speedup, logarithmic', log : true, show : v => num(v) + '×'},
            interval : 'intervals',
            layers : [
                {type : 'step', name : names[0], points : la.map(p => ({...p, id : undefined}))},
                {type : 'step', cls : 'other', name : names[1], points : lb.map(p => ({...p, id : undefined}))},
                {type : 'ref', y : 1, name : 'initial program'}
            ]
        }),
        !one_kind ? null
        : both.length ? Chart.strip({
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
