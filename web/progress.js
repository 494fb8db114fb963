/* Progress: best over time, the steps, and where the lines of the picture come from. */
'use strict';

views.progress = () => {
    const d = data(0), by_time = S.by !== 'candidate', line = d.rows.filter(r => r.promoted);
    if (!d.rows.length) return nodes(title('Progress'), no_verdict());
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
                     first : 't',
                     down : true,
                     most : 50,
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
