/* The state of the page and the data of its runs. All of it comes from get(). New events arrive by one stream; programs are
   then fetched from the last one that we have, so that a page that was cut off has neither a gap nor a double. */
'use strict';

const LIVE = document.querySelector('meta[name=attune]').content === 'live';
const MOST_TEXT = 200000;
const S = {
    runs : 1,
    data : [],
    seq : 0,
    link : 'off',
    rest_ms : 10000,
    list : [],
    sel : -1,
    sort : {},
    filter : '',
    gaps : 0,
    doubles : 0,
    detail : new Map(),
    races : new Map(),
    draft : {},
    sent : {},
    metric : 'speedup',
    at : null
};

const waiting = new Map();
window.attune_data = (name, text) => {
    const w = waiting.get(name);
    waiting.delete(name);
    if (w) w(text);
};

async function get(name, run = 0, number) {
    if (!LIVE)
        return JSON.parse(await new Promise((ok, no) => {
            const key = number ? `${name}-${number}` : name, s = document.createElement('script');
            waiting.set(`${run}/${key}`, ok);
            s.src = `data/${run}/${key}.js`;
            s.onerror = () => no({
                error: `data/${run}/${key}.js is missing`, try:
                    'Keep index.html and its data folder together.'
            });
            s.onload = () => s.remove();
            document.head.append(s);
        }));
    let r;
    try {
        r = await fetch(`api/${name}?run=${run}` + (number ? `&${name === 'programs' ? 'after' : 'id'}=${number}` : ''));
    } catch (e) {
        throw {
            gone: true, error: 'attune serve does not answer', try:
                'This page waits and goes on by itself. If the server was stopped, start it again: attune serve'
        };
    }
    const text = await r.text();
    if (r.status === 403) throw {
            denied: true, error: 'This page has no token any more', try: text
        };
    try {
        const o = JSON.parse(text);
        if (r.ok) return o;
        throw {...o, status : r.status};
    } catch (e) { throw e.error ? e : {error : `${name}: ${r.status}`, try : text.slice(0, 300)}; }
}

const data = run => S.data[run] || (S.data[run] = {
                        run : null,
                        rows : [],
                        by : new Map(),
                        extra : {},
                        stale : {}
                    });

function take(run, answer) {
    const d = data(run), names = answer.columns.split(', ').map(n => n.replace(/^.*\./, ''));
    for (const r of answer.rows) {
        const o = {};
        names.forEach((n, i) => { o[n] = r[i]; });
        const last = d.rows.length ? d.rows[d.rows.length - 1].seq : 0;
        if (o.seq <= last) {
            S.doubles++;
            continue;
        }
        if (last && o.seq !== last + 1) S.gaps++;
        o.speedup = o.score === null ? NaN : Math.exp(o.score);
        o.low = o.score_low === null ? NaN : Math.exp(o.score_low);
        o.high = o.score_high === null ? NaN : Math.exp(o.score_high);
        o.start = o.proposer === 'start';
        d.rows.push(o);
        d.by.set(o.id, o);
        if (o.promoted) d.best = o;
        else if (!d.best && o.start && o.origin === 'initial' && o.state !== 'failed') d.best = o;
    }
    return answer.rows.length;
}

async function load(run) {
    const d = data(run), before = d.run, last = d.rows.length ? d.rows[d.rows.length - 1].seq : 0;
    d.run = await get('run', run);
    if (before && (d.run.seq < last || d.run.meta.started !== before.meta.started)) { /* another run under the same name */
        d.rows = [];
        d.by = new Map();
        d.best = undefined;
    }
    S.runs = d.run.runs;
    S.at = Date.now();
    if (!run && S.event === undefined) S.event = d.run.event_seq || 0; /* from then on the stream counts */
    if (!run) {
        try {
            doing(JSON.parse(d.run.meta.now || 'null'));
        } catch (e) { doing(null); }
    }
    take(run, await get('programs', run, LIVE && d.rows.length ? d.rows[d.rows.length - 1].seq : 0));
    d.labels = (d.run.meta['identity.suite'] || '').split('; ');
    const results = d.run.measurements.filter(m => m[0] === 'result' && m[4]);
    d.result = results.length ? results[results.length - 1] : null;
    if (d.result && d.best && d.result[1] !== d.best.id) d.result = null; /* of an earlier winner */
}

/* What the run does at this moment, as it says itself. Between two words of it the clock here goes on. */
function doing(o) {
    if (!o || typeof o !== 'object' || (S.now && !(o.t > S.now.t) && o.t > S.now.t - 60)) return;
    S.now = o;
    S.now_at = Date.now();
}
const run_clock = () => S.now ? S.now.t + (LIVE ? (Date.now() - S.now_at) / 1000 : 0) : NaN;

/* Answers beside the programs: fetched when a view wants them, again when something new was judged. */
function extra(name, run = 0) {
    const d = data(run);
    if (d.extra[name] && d.stale[name] !== true) return d.extra[name];
    if (d.stale[name] !== 'under way') {
        d.stale[name] = 'under way';
        get(name, run).then(
            a => {
                d.extra[name] = a;
                if (d.stale[name] === 'under way') d.stale[name] = false;
                render();
            },
            e => {
                d.extra[name] = {failed : e};
                d.stale[name] = false;
                render();
            });
    }
    return d.extra[name];
}

let due = 0, more = false;
function news() { /* one fetch at a time: two would bring the same programs twice */
    if (due) {
        more = true;
        return;
    }
    due = setTimeout(async () => {
        more = false;
        try {
            await load(0);
            for (const k of Object.keys(data(0).extra)) /* peers change with the result only */
                if (k !== 'peers' || !data(0).result !== !S.had_result) data(0).stale[k] = true;
            S.had_result = data(0).result;
            S.problem = null;
        } catch (e) { S.problem = e; }
        due = 0;
        render();
        if (more) news();
    }, 120);
}

let stream = null;
function listen() {
    if (stream) stream.close();
    stream = new EventSource(`api/events?run=0&after=${S.event || 0}`);
    stream.onopen = () => {
        if (S.link === 'lost') news();
        S.link = 'live';
        header();
    };
    stream.onmessage = m => {
        const seq = +m.lastEventId;
        if (seq <= S.event) S.doubles++;
        else if (seq !== S.event + 1 && S.streamed) S.gaps++;
        S.streamed = (S.streamed || 0) + 1;
        S.event = seq;
        news();
    };
    stream.addEventListener('now', m => {
        try {
            doing(JSON.parse(m.data));
        } catch (e) { return; }
        beat();
    });
    stream.addEventListener('state', m => { /* a run that was killed tells nothing more */
        if (data(0).run && JSON.stringify(data(0).run.state) !== m.data) news();
    });
    stream.addEventListener('anew', m => { anew(+m.lastEventId); });
    stream.onerror = () => {
        S.link = 'lost';
        header();
        if (stream.readyState === 2) setTimeout(again, 1500);
    };
}
/* A browser holds six connections to a server, and a stream is one for as long as it lasts: pages that nobody sees let theirs
   go, and look once a minute. Who comes back gets what happened meanwhile from the stream. */
let resting = 0, naps = 0;
function rest_or_wake() {
    clearTimeout(resting);
    if (!LIVE || !data(0).run) return;
    if (document.visibilityState === 'hidden') {
        resting = setTimeout(() => {
            if (!stream) return;
            stream.close();
            stream = null;
            S.link = 'rests';
            naps = setInterval(news, 60000);
        }, S.rest_ms);
    } else if (S.link === 'rests') {
        clearInterval(naps);
        S.link = 'off';
        news();
        listen();
    }
}
document.addEventListener('visibilitychange', rest_or_wake);
function anew(event) {
    S.data = [];
    S.now = null;
    S.races.clear();
    S.detail.clear();
    S.event = event;
    S.streamed = 0;
    start();
}
async function again() {
    try {
        await load(0);
        S.problem = null;
        listen();
    } catch (e) {
        S.problem = e;
        if (!e.denied) setTimeout(again, 2000);
    }
    render();
}
