/* Elements, words and numbers: what every view is made of. All text goes in through textContent, so that nothing that a
   candidate, a compiler or a model wrote is ever markup. */
'use strict';

function h(tag, props, ...kids) {
    const e = document.createElement(tag);
    for (const k in props || {}) {
        const v = props[k];
        if (v === undefined || v === null || v === false) continue;
        if (k === 'on')
            for (const t in v) e.addEventListener(t, v[t]);
        else if (k === 'class') e.className = v;
        else if (k === 'data')
            for (const d in v) e.dataset[d] = v[d];
        else e.setAttribute(k, v === true ? '' : v);
    }
    e.append(...kids.flat(9).filter(k => k !== null && k !== undefined && k !== false));
    return e;
}
const nodes = (...k) => k.flat(9).filter(x => x !== null && x !== undefined && x !== false);
const untrusted = s => h('span', {class : 'untrusted'}, tame(s, 400));
/* Characters that turn the direction of text around, or show as nothing, are made visible. */
function tame(s, most) {
    s = String(s ?? '');
    if (s.length > most) s = s.slice(0, most) + ' …';
    return s.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]|[\u{e0000}-\u{e007f}]/gu,
                     c => '\\u' + c.codePointAt(0).toString(16).padStart(4, '0'));
}

/* ---- numbers ---- */
/* Words of a verdict: out_of_bounds. */
const word = s => tame(s, 60).replace(/_/g, ' ');

const num = (v, d = 3) => v === null || v === undefined || !isFinite(v) ? '–' : String(+(+v).toPrecision(d));
const times = v => v === null || v === undefined || !isFinite(v) ? '–'
                   : v === 1                                     ? '1×'
                                                                 : (v >= 100  ? v.toFixed(0)
                                                                    : v >= 10 ? v.toFixed(1)
                                                                              : v.toFixed(v < 2 ? 3 : 2)) +
                                   '×';
const tick = v => num(v) + '×';
const gain = v => v >= 9.995 ? times(1 + v) : isFinite(v) ? (v >= 0 ? '+' : '−') + Math.abs(100 * v).toFixed(Math.abs(v) < .1 ? 1 : 0) + ' %' : '–';
const percent = v => v === null || v === undefined || !isFinite(v) ? '–' : !v ? '0 %' : (100 * v).toFixed(v < .1 ? 1 : 0) + ' %';
const count = v => Number(v || 0).toLocaleString('en').replace(/,/g, '\u202f');
const bytes = v => v >= 1048576 ? (v / 1048576).toFixed(v % 1048576 ? 1 : 0) + ' MB'
                   : v >= 1024  ? (v / 1024).toFixed(0) + ' kB'
                                : (v || 0) + ' B';
const error = v => v === null || v === undefined ? '–' : !v ? '0' : (+v).toExponential(1).replace('e-', 'e−');
function clock(s) {
    if (!(s >= 0)) return '–';
    s = Math.round(s);
    return s < 90     ? s + ' s'
           : s < 5400 ? `${Math.floor(s / 60)} min ${s % 60 ? s % 60 + ' s' : ''}`.trim()
                      : `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
}
/* In tables: 1:05, 2:00:07. */
const stamp = s => {
    if (!(s >= 0)) return '–';
    s = Math.round(s);
    const two = n => String(n).padStart(2, '0');
    return s < 3600 ? `${Math.floor(s / 60)}:${two(s % 60)}`
                    : `${Math.floor(s / 3600)}:${two(Math.floor(s % 3600 / 60))}:${two(s % 60)}`;
};
const interval = (a, b) => `[${times(a).replace('×', '')}, ${times(b).replace('×', '')}]`;
const dollars = v => v > 0 ? '$' + (v < 1 ? v.toPrecision(2) : v.toFixed(2)) : '$0';
const microseconds = ns => ns === null || ns === undefined ? '–'
                           : ns >= 1e6                     ? (ns / 1e6).toFixed(2) + ' ms'
                                                           : (ns / 1e3).toFixed(1) + ' µs';
