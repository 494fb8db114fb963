/* Programs: the list, and all that is known of one. */
'use strict';

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
/* A list of like objects, such as what bounds each case. */
function evidence_list(name, list) {
    const keys = [...new Set(list.flatMap(Object.keys)) ].slice(0, 12), labels = data(0).labels, show = (k, v) =>
        k === 'case' && labels[v] ? tame(labels[v], 60)
        : typeof v === 'number'   ? num(v)
                                  : tame(typeof v === 'object' ? JSON.stringify(v) : v, 200);
    return h('div', {class : 'scroll'},
             h('table', {'aria-label' : name},
               h('thead', {}, h('tr', {}, keys.map(k => h('th', {scope : 'col', class : k !== 'case' && typeof list[0][k] === 'number' ? 'n' : ''}, tame(k.replace(/_/g, ' '), 40))))),
               h('tbody', {}, list.map(o => h('tr', {}, keys.map(k => h('td', {class : typeof o[k] === 'number' && k !== 'case' ? 'n' : ''}, show(k, o[k]))))))));
}
/* What compiler, object code and counters say: numbers as a table, lists of words as text. */
function evidence_box(o) {
    const rows = [], lists = [], walk = (v, name, depth) => {
        if (Array.isArray(v) && v.length && v.every(x => x && typeof x === 'object' && !Array.isArray(x))) lists.push([ name, v.slice(0, 60) ]);
        else if (v && typeof v === 'object' && !Array.isArray(v) && depth < 4)
            for (const k of Object.keys(v).slice(0, 60)) walk(v[k], name ? name + ' ' + k : k, depth + 1);
        else if (v !== null && v !== '' && rows.length < 80)
            rows.push([ name, typeof v === 'object' ? JSON.stringify(v) : String(v) ]);
    };
    walk(o, '', 0);
    return rows.length ? nodes(h('h2', {}, 'What the compiler made of it'),
                               h('div', {class : 'scroll'},
                                 h('table', {'aria-label' : 'Evidence'},
                                   h('tbody', {}, rows.map(([ k, v ]) => h('tr', {}, h('th', {scope : 'row'}, tame(k.replace(/_/g, ' '), 60)),
                                                                           h('td', {class : 't lines'}, h('span', {class : 'untrusted'}, tame(v, 4000)))))))),
                               lists.map(([ name, list ]) => evidence_list(name, list)))
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
        size : 40,
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
                       : tile('failed', `${word(p.stage)}: ${word(p.reason)}`, 'bad'),
          tile(p.promoted ? 'new best' : word(p.state), `stage ${word(p.stage)}, ${word(p.reason)}`),
          tile(error(p.error), v.error_of_tolerance ? `error, ${percent(v.error_of_tolerance)} of the tolerance`
                                                    : 'error, relative L2'),
          tile(v.checks ? `${v.checks_passed} of ${v.checks}` : '–', 'checks passed',
               v.checks && v.checks_passed < v.checks ? 'bad' : ''),
          tile(bytes(p.workspace_bytes), 'workspace'),
          tile(clock(p.seconds_build + p.seconds_judge),
               `${num(p.seconds_build, 2)} s to build, ${num(p.seconds_judge, 2)} s to judge`)),
        p.flags ? h('p', {}, 'Compiler flags of its own: ', h('code', {}, tame(p.flags, 400))) : null,
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
                       lines && lines.every(l => l[0] === ' ') ? h('p', {class : 'quiet'}, 'The same source; what changed is said at the top.')
                       : lines ? diff_box(lines)
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
