/* Archive: the map of measured behaviours, island by island. */
'use strict';

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
