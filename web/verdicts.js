/* Verdicts and controls: how candidates fell, and whether the judge can be believed. */
'use strict';

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
                                                    : `${word(r.stage)}: ${word(r.reason)}`;
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
        Chart.bars({title: 'Verdicts by stage and reason', width: width(), unit: 'programs', rows: [...groups.values()].sort((a, b) => b.value - a.value).map(g => ({...g, text: `${count(g.value)} (${percent(g.value / d.rows.length)})`}))}),
        !x ? h('p', {class: 'quiet'}, 'Reading …') : x.failed ? trouble(x.failed) : table({name: 'verdicts', label: 'Verdicts', rows: x.rows.map(r => ({state: r[0], stage: r[1], reason: r[2], n: r[3], last: r[4], evidence: r[5], row: d.rows[r[4] - 1] || {}})), first: 'n', down: true, columns: [
            ['stage', 'stage', r => word(r.stage), '', r => rank(r.stage)], ['reason', 'reason', r => r.row.start && r.state !== 'failed' ? state(r.row) : h('span', {class: 'state ' + r.state}, r.state === 'better' ? 'new best' : word(r.reason)), ''], ['n', 'programs', r => count(r.n), 'n'], ['last', 'latest', r => link(r.row.id), 'n'], [null, 'its evidence', r => untrusted(r.evidence), 't']]}));
};

/* The machines that judged, where that was elsewhere: each has controls of its own, and a noisy one times nothing. */
function node_table() {
    const all = data(0).run.measurements.filter(m => m[0] === 'nodes' && Array.isArray(m[4])), last = all[all.length - 1];
    if (!last) return null;
    const of = n => n.controls_end || n.controls_start || {};
    return nodes(h('h2', {}, 'Machines', h('small', {class : 'quiet'}, ` at ${stamp(last[3])}`)), table({
                     name : 'nodes',
                     rows : last[4],
                     first : 'node',
                     columns : [
                         [ 'node', 'machine', r => untrusted(r.node), '' ],
                         [ 'timing', 'timing', r => r.timing === 'noisy' ? 'noisy: builds and checks, times nothing' : tame(r.timing, 40), '' ],
                         [ 'cpus', 'CPUs', r => num(r.cpus), 'n' ], [ 'pilots', 'pilots', r => num(r.pilots), 'n' ],
                         [ 'fma_gflops', 'GFLOP/s a core', r => r.fma_gflops > 0 ? num(r.fma_gflops) : '–', 'n' ],
                         [ 'lost', 'lost', r => num(r.lost), 'n' ],
                         [ null, 'A/A won', r => of(r).aa_races ? `${of(r).aa_promoted} of ${of(r).aa_races}` : '–', 'n' ],
                         [ null, 'gains seen', r => of(r).plus_races ? `${of(r).plus_promoted} of ${of(r).plus_races}` : '–', 'n' ],
                         [ null, 'can see', r => of(r).can_see_percent > 0 ? num(of(r).can_see_percent, 3) + ' %' : '–', 'n' ]
                     ]
                 }));
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
        node_table(),
        c.list.length && !c.good
            ? box('The judge erred',
                  'Numbers of this run may be noise. Is the machine busy, hot, or a small virtual one? Try: attune doctor --judge')
            : null);
};
