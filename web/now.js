/* Now: what the run does at this moment, and the numbers that matter. */
'use strict';

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
          running = d.run.state === 'running', asked = d.run.asked || [],
          answers = asked.reduce((s, r) => s + r[2], 0);
    const failed = d.rows.reduce((n, r) => n + (r.state === 'failed'), 0),
          promoted = d.rows.reduce((n, r) => n + (r.promoted ? 1 : 0), 0);
    const since = d.best ? d.rows.length - d.best.seq : 0, p = d.result && d.result[4].provenance;
    if (!d.rows.length)
        return nodes(title('Now'),
                     no_verdict(),
                     disk(), h('div', {id : 'workers'}, workers()), in_flight(), feed());
    return nodes(
        disk(), h('div', {class : 'hero'}, h('h1', {class : 'number', title : 'speedup over the initial program'}, times(hl.median)),
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
               asked.length ? `spent: ${count(answers)} ${answers === 1 ? 'answer' : 'answers'}, ${
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
const no_verdict = () => box('No verdict yet',
                             data(0).run.state === 'running'
                                 ? 'The first programs are being judged; this page fills itself.'
                                 : `This run has no judged program. Go on with it: attune evolve --resume -o ${tame(data(0).run.folder, 200)}`,
                             true);
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
