/* Proposers: what each costs and brings, and what the bandits believe. */
'use strict';

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
                                               !/^(final|result|ancestor|portfolio|nodes|ablation|demotion)/.test(m[0]));
    const beliefs = extra('beliefs');
    if (!all.length)
        return nodes(title('Proposers'), box('Nothing was proposed yet', 'Starting programs are judged first.', true));
    return nodes(title('Proposers', 'What each way of proposing costs and brings.'),
        table({name: 'proposers', rows: all, first: 'n', down: true, columns: [['name', 'proposer', r => untrusted(r.name), ''], ['n', 'proposed', r => count(r.n), 'n'], ['failed', 'failed', r => percent(r.failed / r.n), 'n', r => r.failed / r.n], ['same', 'same code', r => percent(r.same / r.n), 'n', r => r.same / r.n],
            ['better', 'beat its parent', r => percent(r.better / r.n), 'n', r => r.better / r.n], ['promoted', 'became best', r => count(r.promoted), 'n'], ['gain', 'brought', r => gain(Math.exp(r.gain) - 1), 'n'], ['seconds', 'time spent', r => clock(r.seconds), 'n'],
            ['cost', 'time per best', r => r.promoted ? clock(r.seconds / r.promoted) : '–', 'n', r => r.promoted ? r.seconds / r.promoted : NaN], ['top', 'its best', r => times(r.top), 'n']]}),
        Chart.strip({title: 'Share of proposals that beat their parent (estimate)', width: width(), unit: 'share, with 95 % interval', show: percent, rows: all.map(g => { const w = wilson(g.better, g.n); return {label: tame(g.name, 60), low: w[0], mid: w[1], high: w[2], note: `${g.better} of ${g.n}`}; })}),
        belief_parts(beliefs),
        asked.length ? nodes(h('h2', {}, 'Who was asked'), table({name: 'asked', rows: asked.map(r => ({who: r[0], model: r[1], n: r[2], taken: r[3], put: r[4], got: r[5], usd: r[6], seconds: r[7], won: d.rows.filter(p => p.promoted && p.proposer === r[0] && (!r[1] || String(p.note).startsWith(r[1] + ':'))).length})), first: 'n', down: true, columns: [['who', 'proposer', r => untrusted(r.who), ''], ['model', 'model', r => untrusted(r.model || '–'), ''],
            ['n', 'answers', r => count(r.n), 'n'], ['taken', 'became programs', r => count(r.taken), 'n'], ['put', 'tokens in', r => count(r.put), 'n'], ['got', 'tokens out', r => count(r.got), 'n'], ['usd', 'cost', r => dollars(r.usd), 'n'], ['won', 'became best', r => count(r.won), 'n'], ['each', 'cost per best', r => r.won && r.usd > 0 ? dollars(r.usd / r.won) : '–', 'n', r => r.won ? r.usd / r.won : NaN], ['seconds', 'waited', r => clock(r.seconds), 'n']]})) : null,
        own.length ? nodes(h('h2', {}, 'Their own records'), own.slice(-20).reverse().map(m => h('details', {}, h('summary', {}, `${tame(m[0], 60)}${m[1] ? ' #' + m[1] : ''}, ${clock(m[3])}`), text_box(JSON.stringify(m[4], null, 2), m[0], true)))) : null);
};
/* What bandits believe: shares of now with what they rest on, how the shares moved, and the lessons as prompts get them. */
function belief_parts(x) {
    if (!x || x.failed) return null;
    const time = time_axis(0);
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
                        x : {label : time.label, low : 0},
                        y : {label : 'share of proposals', low : 0, high : Math.max(...history.flatMap(q => q[1].arms.filter(a => a.group === g).map(a => a.share))), show : percent},
                        tell : t => t,
                        layers : arms.map((a, i) => ({
                                              type : 'line',
                                              cls : 'l' + i % 8,
                                              name : tame(a.name, 40),
                                              points : history.flatMap(q => q[1].arms.filter(v => v.group === g && v.name === a.name).map(v => ({
                                                                                                                                              x : q[0] / time.unit,
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
