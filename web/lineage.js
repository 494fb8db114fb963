/* Lineage: every program under its parent, the winner's path lit. */
'use strict';

function ancestors(run, id) {
    const out = [], by = data(run).by;
    for (let r = by.get(id); r && out.length < 10000; r = r.parent1 && r.parent1 < r.id ? by.get(r.parent1) : null)
        out.push(r);
    return out;
}
/* What the winner loses without each edit of its path, as the end of the run raced it. */
function edits() {
    const d = data(0), fate = {needed : 'fails without it', same : 'same machine code without it'};
    const rows = d.run.measurements.filter(m => m[0] === 'ablation' && d.best && m[1] === d.best.id && m[4]).map(m => ({...m[4], id : m[2]}));
    return !rows.length ? null : nodes(h('h2', {}, 'What each edit is worth'), table({
                     name : 'edits',
                     rows,
                     columns : [
                         [ null, 'of', r => link(r.id), 'n' ], [ null, 'edit', r => untrusted(r.what), 't' ],
                         [ null, 'with it', r => fate[r.fate] || times(r.median), 'n' ],
                         [ null, 'interval', r => fate[r.fate] ? '' : interval(r.low, r.high), 'n' ],
                         [ null, '', r => r.removed ? 'worth nothing: left out' : '', '' ]
                     ]
                 }));
}
function demotions() {
    const list = data(0).run.measurements.filter(m => m[0] === 'demotion' && m[4]);
    return list.map(m => h('p', {}, link(m[1]), ` was the best and failed after ${count(m[4].after)} verdicts: `,
                           untrusted((m[4].verdict || {}).reason), ', ', untrusted((m[4].verdict || {}).evidence), '; ', link(m[2]), ' took its place.'));
}
views.lineage = () => {
    const d = data(0), path = d.best ? ancestors(0, d.best.id) : [], lit = new Set(path.map(r => r.id)),
          kids = new Map(), roots = [];
    const kind = r => r.start && r.state !== 'failed' ? 'start' : r.state;
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
    const labels = Math.min(deepest, 12, Math.floor(width() / 64)); /* as many as have room */
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
                                      : d.rows.some(r => kind(r) === k[0].slice(5))),
        ticks : Array.from({length : labels + 1},
                           (_, i) => {
                               const g = Math.round(i * deepest / labels);
                               return {x : g / deepest, text : g ? 'step ' + g : 'start'};
                           }),
        nodes : d.rows.map(r => ({
                               id : r.id,
                               parent : r.parent1,
                               x : depth.get(r.id) / deepest,
                               y : y.get(r.id),
                               lit : lit.has(r.id),
                               cls : kind(r)
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
                 edits(), demotions(), tree);
};
