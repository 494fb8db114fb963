/* The frame: header, views and their addresses, keys. */
'use strict';

const order = [
    'now', 'progress', 'cases', 'archive', 'lineage', 'program', 'verdicts', 'proposers', 'controls', 'mailbox',
    'compare'
];
const names = {
    program : 'programs'
};
const listed = () => order.filter(v => (v !== 'compare' || S.runs > 1) &&
                                       (v !== 'mailbox' || (data(0).run && data(0).run.questions > 0)));
const trouble = e => box(e.error || String(e), e.try || 'Reload the page.');

function header() {
    const top = document.getElementById('top'), d = data(0);
    if (!d.run)
        return top.replaceChildren(h('span', {class : 'name'}, 'attune'),
                                   h('span', {class : 'badge lost'},
                                     S.problem && S.problem.gone ? 'no server' : 'no run'));
    const hl = headline(), c = controls_of(0), lost = LIVE && S.link === 'lost';
    top.replaceChildren(
        h('span', {class : 'name', title : tame(d.run.folder, 300)}, short_name(0)),
        h('span', {class : 'badge ' + (lost ? 'lost' : d.run.state), role : 'status'},
          lost   ? 'reconnecting'
          : LIVE ? d.run.state
                 : 'a copy'),
        h('span', {class : 'big'}, times(hl.median)), h('span', {class : 'quiet'}, hl.low > 0 ? interval(hl.low, hl.high) : ''),
        h('a', {href : '#controls', class : 'badge ' + (c.list.length ? c.good ? 'running' : 'lost' : 'unknown')},
          c.list.length ? `controls: A/A ${c.aa_bad} of ${c.aa}, gains ${c.plus_seen} of ${c.plus}`
                        : 'no controls yet'),
        h('span', {class : 'right'}, tame(d.run.meta.cpu || '', 60),
          d.run.meta.isa ? ', ' + tame(d.run.meta.isa, 30) : '', '  ',
          h('button', {on : {click : help}, 'aria-label' : 'Keys'}, '?')));
    document.title = `${times(hl.median)} ${short_name(0)} · attune`;
}
function navigation(view) {
    document.getElementById('nav').replaceChildren(
        ...listed().map((v, i) => h('a', {href : '#' + v, 'aria-current' : v === view ? 'page' : undefined},
                                    (names[v] || v).replace(/^./, c => c.toUpperCase()),
                                    h('small', {'aria-hidden' : 'true'}, i < 10 ? String((i + 1) % 10) : ''))));
}
const where = () => {
    const [v, ...rest] = decodeURIComponent(location.hash.slice(1) || 'now').split('/');
    return [ views[v] ? v : 'now', rest.join('/') ];
};

let shown = '';
function render() {
    const main = document.getElementById('main'), [ view, rest ] = where(), key = view + '/' + rest,
          fresh = key !== shown, began = performance.now(), within = view === 'cases' && shown.startsWith('cases/');
    if (!fresh && String(getSelection()) && main.contains(getSelection().anchorNode))
        return; /* do not take a selection away */
    const had = !fresh && main.contains(document.activeElement) ? document.activeElement : null,
          focus = had && had.id && /^(INPUT|TEXTAREA)$/.test(had.tagName)
                      ? [ had.id, had.selectionStart, had.selectionEnd, had.scrollTop ]
                      : null,
          opened = fresh ? [] : [...main.querySelectorAll('details') ].map(e => [e.querySelector('summary').textContent, e.open]),
          y = scrollY,
          inner = fresh ? [] : [...main.querySelectorAll('pre,.scroll') ].map(e => [e.scrollTop, e.scrollLeft]);
    if (fresh) S.sel = -1;
    shown = key;
    Chart.hide_tip();
    S.list = [];
    let body;
    try {
        if (S.problem && (!data(0).run || S.problem.status === 503 || S.problem.denied))
            body = [ title('attune'), trouble(S.problem) ];
        else if (!data(0).run) body = [ h('p', {class : 'quiet'}, 'Reading the run …') ];
        else body = views[view](rest);
    } catch (e) {
        console.error(e);
        body = [ trouble({
            error: 'This view failed: ' + e.message, try:
                'Please report it; the other views work.'
        }) ];
    }
    main.replaceChildren(...nodes(body));
    header();
    navigation(view);
    if (opened.length) {
        const was = new Map(opened);
        for (const e of main.querySelectorAll('details')) {
            const k = e.querySelector('summary').textContent;
            if (was.has(k)) e.open = was.get(k);
        }
    }
    if (focus) {
        const f = document.getElementById(focus[0]);
        if (f) {
            f.focus({preventScroll : true});
            f.setSelectionRange(focus[1], focus[2]);
            f.scrollTop = focus[3];
        }
    }
    if (fresh && within) {
        scrollTo(0, y);
        const p = document.getElementById('race');
        if (p) p.scrollIntoView({block : 'nearest'});
    } else if (fresh) scrollTo(0, 0);
    else {
        scrollTo(0, y);
        main.querySelectorAll('pre,.scroll').forEach((e, i) => {
            if (inner[i]) [e.scrollTop, e.scrollLeft] = inner[i];
        });
    }
    S.render_ms = performance.now() - began;
    S.slowest = Math.max(S.slowest || 0, S.render_ms);
    if (data(0).run && !S.first_ms) S.first_ms = performance.now();
    document.body.dataset.view = key;
}
function help() {
    const d = document.getElementById('help');
    d.replaceChildren(
        h('h2', {}, 'Keys'),
        h('table', {},
          h('tbody', {},
            [
                [ '1 … 9, 0', 'views' ], [ 'j, k', 'next, previous program' ], [ 'Enter', 'open the chosen one' ],
                [ '/', 'find a program' ], [ 'b', 'the best program' ], [ 'Backspace', 'back' ], [ '?', 'this help' ]
            ].map(r => h('tr', {}, h('td', {}, h('kbd', {}, r[0])), h('td', {}, r[1]))))),
        h('p', {class : 'quiet'},
          'Every view has its own address: it can be kept and sent. Charts give their drawing and their data.'),
        h('form', {method : 'dialog'},
          h('button',
            {
                on : {
                    click : v => {
                        v.preventDefault();
                        d.close();
                    }
                }
            },
            'Close')));
    if (!d.open) d.showModal();
}
function move(step) {
    const [view, rest] = where();
    if (view === 'program' && rest) {
        const rows = data(0).rows, i = rows.findIndex(r => r.id === +rest) + step;
        if (rows[i]) location.hash = '#program/' + rows[i].id;
        return;
    }
    const rows = [...document.querySelectorAll('tr[data-id]') ];
    if (!rows.length) return;
    S.sel = Math.max(0, Math.min(rows.length - 1, S.sel + step));
    rows.forEach((r, i) => r.classList.toggle('sel', i === S.sel));
    rows[S.sel].scrollIntoView({block : 'nearest'});
}
addEventListener('keydown', v => {
    if (v.ctrlKey || v.metaKey || v.altKey || document.getElementById('help').open) return;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(v.target.tagName)) {
        if (v.key === 'Escape') v.target.blur();
        return;
    }
    const shown_views = listed();
    if (v.key === 'j') move(1);
    else if (v.key === 'k') move(-1);
    else if (v.key === 'Enter' && S.sel >= 0 && !v.target.closest('a,button')) {
        const r = document.querySelectorAll('tr[data-id]')[S.sel];
        if (r) open_program(r.dataset.id);
    } else if (v.key === '/') {
        location.hash = '#program';
        setTimeout(() => {
            const f = document.getElementById('filter');
            if (f) f.focus();
        }, 60);
    } else if (v.key === '?') help();
    else if (v.key === 'b' && data(0).best) open_program(data(0).best.id);
    else if (v.key === 'Backspace') history.back();
    else if (/^[0-9]$/.test(v.key) && shown_views[(+v.key + 9) % 10])
        location.hash = '#' + shown_views[(+v.key + 9) % 10];
    else return;
    v.preventDefault();
});
/* Numbers are copied as a spreadsheet reads them: without the thin spaces and long minus signs that they are shown with. */
document.addEventListener('copy', v => {
    const s = String(getSelection()), plain = s.replace(/(\d)\u202f(?=\d)/g, '$1').replace(/−(?=\d)/g, '-');
    if (plain === s || v.target.closest?.('pre,textarea,input')) return;
    v.clipboardData.setData('text/plain', plain);
    v.preventDefault();
});
addEventListener('hashchange', render);
/* Paper is narrower than a screen: pictures are drawn for it, so that their words stay as large as the others. */
for (const [event, paper] of [[ 'beforeprint', true ], [ 'afterprint', false ]])
    addEventListener(event, () => {
        S.paper = paper;
        render();
    });
let resized = 0;
addEventListener('resize', () => {
    clearTimeout(resized);
    resized = setTimeout(render, 150);
});
document.getElementById('skip').addEventListener('click', v => {
    v.preventDefault();
    document.getElementById('main').focus();
});

async function start() {
    if (/[?&]token=/.test(location.search)) history.replaceState(null, '', location.pathname + location.hash);
    try {
        await load(0);
        S.problem = null;
    } catch (e) {
        S.problem = e;
        if (LIVE && !e.denied) setTimeout(start, 2000);
    }
    render();
    if (LIVE && !S.problem && !(stream && stream.readyState === 1)) listen();
    rest_or_wake();
}
window.attune = S;
start();
