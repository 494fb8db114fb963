/* Charts as SVG elements, labelled with their units, each with its drawing and its data to take away. Text goes in through
   textContent and attributes only. Many points are one path, so that ten thousand cost what ten do. */
'use strict';
const Chart = (() => {
    const NS = 'http://www.w3.org/2000/svg';
    const tip = () => document.getElementById('tip');

    function make(tag, attributes, ...kids) {
        const e = document.createElementNS(NS, tag);
        for (const k in attributes)
            if (attributes[k] !== undefined) e.setAttribute(k, attributes[k]);
        for (const kid of kids) e.append(kid);
        return e;
    }
    const label = (x, y, anchor, cls, text) =>
        make('text', {x : x.toFixed(1), y : y.toFixed(1), 'text-anchor' : anchor, class : cls}, text);
    const line = (x1, y1, x2, y2, cls) =>
        make('path', {class : cls, d : `M${x1.toFixed(1)} ${y1.toFixed(1)}L${x2.toFixed(1)} ${y2.toFixed(1)}`});
    const clip = (s, n) => {
        s = String(s);
        return s.length > n ? s.slice(0, n - 1) + '…' : s;
    };

    function show_tip(text, x, y) {
        const t = tip();
        t.textContent = text;
        t.hidden = false;
        t.style.left = Math.max(0, Math.min(x + 14, innerWidth - t.offsetWidth - 8)) + 'px';
        t.style.top = (y + 18 + t.offsetHeight > innerHeight ? y - t.offsetHeight - 8 : y + 16) + 'px';
    }
    function hide_tip() { tip().hidden = true; }
    function tipped(e, text) {
        e.addEventListener('pointermove', v => show_tip(text, v.clientX, v.clientY));
        e.addEventListener('pointerleave', hide_tip);
        e.append(make('title', {}, text));
        return e;
    }

    /* Something in a picture that leads somewhere: by pointer, Tab and Enter. */
    function leads(e, run, text) {
        e.classList.add('link');
        for (const [k, v] of [[ 'tabindex', 0 ], [ 'role', 'link' ], [ 'aria-label', text ]]) e.setAttribute(k, v);
        e.addEventListener('click', run);
        e.addEventListener('keydown', v => {
            if (v.key !== 'Enter') return;
            v.stopPropagation();
            run();
        });
    }

    /* ---- scales ---- */

    function ticks(low, high, n, log) {
        const out = [];
        if (log && high / low > 4) {
            const marks = high / low > 300 ? [ 1 ] : high / low > 12 ? [ 1, 2, 5 ] : [ 1, 1.5, 2, 3, 5, 7 ];
            for (let p = Math.floor(Math.log10(low)); p <= Math.log10(high); p++)
                for (const m of marks) {
                    const v = m * 10 ** p;
                    if (v >= low && v <= high) out.push(v);
                }
            return out;
        }
        const raw = (high - low) / n || 1, p = 10 ** Math.floor(Math.log10(raw)), f = raw / p;
        const step = p * (f < 1.5 ? 1 : f < 3.5 ? 2 : f < 7.5 ? 5 : 10);
        for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-6; v += step)
            out.push(Math.abs(v) < step * 1e-6 ? 0 : v);
        return out;
    }
    function scale(low, high, from, to, log) {
        if (!(high > low)) {
            high = log ? low * 1.1 : low + 1;
            if (!(high > low)) {
                low = 1;
                high = 2;
            }
        }
        const f = log ? Math.log : x => x, a = f(low), b = f(high);
        const s = v => from + (f(v) - a) / (b - a) * (to - from);
        s.low = low;
        s.high = high;
        return s;
    }
    const short = v => Math.abs(v) >= 1e6   ? +(v / 1e6).toPrecision(3) + 'M'
                       : Math.abs(v) >= 1e4 ? +(v / 1e3).toPrecision(3) + 'k'
                                            : String(+v.toPrecision(3));

    /* ---- to take away ---- */

    function save(name, type, text) {
        const a = document.createElement('a');
        a.href = URL.createObjectURL(new Blob([ text ], {type}));
        a.download = name;
        a.click();
        setTimeout(() => URL.revokeObjectURL(a.href), 5000);
    }
    function svg_text(svg) {
        const copy = svg.cloneNode(true), from = [ svg, ...svg.querySelectorAll('*') ],
              to = [ copy, ...copy.querySelectorAll('*') ];
        from.forEach((e, i) => {
            const c = getComputedStyle(e);
            for (const p of ['fill', 'stroke', 'stroke-width', 'stroke-dasharray', 'stroke-linecap', 'stroke-opacity', 'opacity', 'paint-order', 'font-size',
                             'font-weight', 'font-family', 'text-anchor'])
                to[i].setAttribute(p, c.getPropertyValue(p));
        });
        copy.querySelectorAll('.hot').forEach(e => e.remove());
        copy.insertBefore(
            make('rect', {width : '100%', height : '100%', fill : getComputedStyle(document.body).backgroundColor}),
            copy.firstChild);
        copy.setAttribute('xmlns', NS);
        return new XMLSerializer().serializeToString(copy);
    }
    /* A spreadsheet runs a text that begins with = + - @ as a formula: such texts get an apostrophe. */
    function csv_text(rows) {
        const cell = v => v === null || v === undefined || Number.isNaN(v) ? ''
                          : typeof v === 'number'
                              ? String(v)
                              : '"' + String(v).replace(/^[=+\-@\t\r]/, "'$&").replace(/"/g, '""') + '"';
        return rows.map(r => r.map(cell).join(',')).join('\n') + '\n';
    }
    function figure(title, svg, csv, keys) {
        const f = document.createElement('figure'), c = document.createElement('figcaption'),
              name = title.toLowerCase().replace(/[^a-z0-9]+/g, '-').slice(0, 40);
        const word = (cls, text) => {
            const s = document.createElement('span');
            s.className = cls;
            s.textContent = text;
            c.append(s);
            return s;
        };
        word('title', title);
        for (const k of keys || []) word('key', ' ' + k[1]).prepend(sample(k[0]));
        const tools = word('tools', '');
        for (const [text, what,
                    run] of [[ 'SVG', 'Save the drawing', () => save(name + '.svg', 'image/svg+xml', svg_text(svg)) ],
                             [ 'CSV', 'Save the data', () => save(name + '.csv', 'text/csv', csv_text(csv())) ]]) {
            const b = document.createElement('button');
            b.textContent = text;
            b.setAttribute('aria-label', `${what}: ${title}`);
            b.addEventListener('click', run);
            tools.append(b, ' ');
        }
        svg.setAttribute('role', svg.querySelector('[role=link]') ? 'group' : 'img'); /* what is in an image nobody hears of */
        svg.setAttribute('aria-label', title + (keys && keys.length ? ': ' + keys.map(k => k[1]).join(', ') : '') +
                                           '. The data as a table: button CSV.');
        f.append(c, svg);
        return f;
    }
    function sample(cls) {
        const s = make('svg', {width : 18, height : 10, viewBox : '0 0 18 10', 'aria-hidden' : 'true'});
        s.style.display = 'inline-block';
        if (cls.startsWith('mark')) s.append(make('path', {class : cls, d : 'M9 5h0'}));
        else if (cls.startsWith('band')) s.append(make('rect', {class : cls, width : 18, height : 10}));
        else s.append(make('path', {class : cls, d : 'M0 5h18'}));
        return s;
    }
    const canvas = (w, h) => make('svg', {viewBox : `0 0 ${w} ${h}`, width : w, height : h});

    /* ---- lines with bands, and scatter ---- */

    /* o: title, width, height, x: {label, low, high, log, show}, y: the same, layers, pick(id), tell(id).
       layers: {type: 'points', cls, name, points: [[x, y, id]]}, {type: 'step', cls, name, points: [{x, y, low, high}]},
       {type: 'ref', y, low, high, cls, name, brief (where the name has no room), about}; {type: 'line', cls, name, points: [{x, y, label}]} */
    function plot(o) {
        const w = o.width, h = o.height, left = 56, right = 14, narrow = w < 520, top = narrow ? 26 : 10, bottom = 38;
        const svg = canvas(w, h), xs = [], ys = [];
        for (const l of o.layers) {
            if (l.type === 'ref') {
                if (l.y > 0 || !o.y.log) ys.push(l.y, ...(l.high > 0 ? [ l.low, l.high ] : []));
                continue;
            }
            for (const p of l.points) {
                xs.push(p[0] ?? p.x);
                ys.push(p[1] ?? p.y);
                if (p.low > 0 && p.high > 0) ys.push(p.low, p.high);
            }
        }
        const good = o.y.log ? ys.filter(v => v > 0 && isFinite(v)) : ys.filter(isFinite);
        const least = a => a.reduce((m, v) => Math.min(m, v), Infinity),
              most = a => a.reduce((m, v) => Math.max(m, v), -Infinity);
        let lo = o.y.low ?? least(good), hi = o.y.high ?? most(good);
        if (o.y.log) {
            lo /= 1.06;
            hi *= (hi / lo) ** .05 * 1.02; /* room for the name of what is on top */
        } else hi += (hi - lo) * .05;
        const x = scale(o.x.low ?? least(xs), o.x.high ?? most(xs), left, w - right, o.x.log),
              y = scale(lo, hi, h - bottom, top, o.y.log);
        for (const v of ticks(y.low, y.high, Math.max(3, h / 60), o.y.log)) {
            svg.append(line(left, y(v), w - right, y(v), 'grid'),
                       label(left - 7, y(v) + 4, 'end', '', (o.y.show || short)(v)));
        }
        for (const v of ticks(x.low, x.high, w / 110, o.x.log))
            svg.append(line(x(v), h - bottom, x(v), h - bottom + 4, 'axis'),
                       label(x(v), h - bottom + 17, 'middle', '', (o.x.show || short)(v)));
        svg.append(line(left, h - bottom, w - right, h - bottom, 'axis'), label(w - right, h - 4, 'end', '', o.x.label),
                   label(4, narrow ? 13 : h - 4, 'start', '', '↑ ' + o.y.label));
        const near = [], refs = o.layers.filter(l => l.type === 'ref' && l.y >= y.low && l.y <= y.high);
        for (const l of refs) {
            if (l.high > l.low) {
                const a = y(Math.min(l.high, y.high)), b = y(Math.max(l.low, y.low));
                svg.append(make('rect', {
                    class : 'refband ' + (l.cls || ''),
                    x : left,
                    y : a.toFixed(1),
                    width : (w - right - left).toFixed(1),
                    height : Math.max(1, b - a).toFixed(1)
                }));
            }
            svg.append(line(left, y(l.y), w - right, y(l.y), 'ref ' + (l.cls || '')));
        }
        for (const l of o.layers) {
            if (l.type === 'ref') continue;
            if (l.type === 'line') {
                const p = l.points.filter(q => q.y >= y.low && q.y <= y.high * 1.0001);
                svg.append(make('path', {
                    class : 'line ' + (l.cls || ''),
                    d : p.map((q, i) => `${i ? 'L' : 'M'}${x(q.x).toFixed(1)} ${y(q.y).toFixed(1)}`).join('')
                }));
                for (const q of p)
                    if (q.label) near.push([ x(q.x), y(q.y), q.label ]);
            } else if (l.type === 'points') {
                const seen = new Set();
                let d = '';
                for (const p of l.points) {
                    if (!(p[1] >= y.low)) {
                        if (!l.floor) continue;
                    }
                    const px = x(p[0]), py = l.floor ? h - bottom - 4 : y(p[1]),
                          key = Math.round(px * 2) * 8192 + Math.round(py * 2);
                    near.push([ px, py, p[2] ]);
                    if (seen.has(key)) continue;
                    seen.add(key);
                    d += `M${px.toFixed(1)} ${py.toFixed(1)}h0`;
                }
                svg.append(make('path', {class : 'mark ' + l.cls, d}));
            } else if (l.points.length) {
                const p = l.points.filter(q => q.y >= y.low), end = x(o.x.high ?? most(xs));
                let d = '', up = '', down = '';
                p.forEach((q, i) => {
                    const a = x(q.x), b = i + 1 < p.length ? x(p[i + 1].x) : end, f = v => v.toFixed(1);
                    d += `${i ? 'L' : 'M'}${f(a)} ${f(y(q.y))}L${f(b)} ${f(y(q.y))}`;
                    if (q.low > 0) {
                        up += `L${f(a)} ${f(y(q.high))}L${f(b)} ${f(y(q.high))}`;
                        const lowest = Math.max(q.low, y.low);
                        down = `L${f(b)} ${f(y(lowest))}L${f(a)} ${f(y(lowest))}` + down;
                    }
                    if (q.id) near.push([ a, y(q.y), q.id ]);
                });
                if (up) svg.append(make('path', {class : 'band', d : 'M' + up.slice(1) + down + 'Z'}));
                svg.append(make('path', {class : 'step ' + (l.cls || ''), d}));
            }
        }
        /* Names of the lines last, so that nothing covers them, and apart from each other. */
        let lowest = -Infinity;
        for (const l of refs.slice().sort((a, b) => b.y - a.y)) {
            const at = Math.max(y(l.y) - 4, lowest + 13, top + 9), room = Math.floor((w - left) / 6.6),
                  name = clip(l.brief && l.name.length > room ? l.brief : l.name, room);
            lowest = at;
            const t = label(w - right - 4, at, 'end', 'halo ' + (l.cls || ''), name);
            if (l.about) tipped(t, l.about);
            svg.append(t);
        }
        const hot = make('circle', {class : 'hot', r : 6, visibility : 'hidden'});
        svg.append(hot);
        let found = 0;
        svg.addEventListener('pointermove', v => {
            const box = svg.getBoundingClientRect(), k = w / box.width, px = (v.clientX - box.left) * k,
                  py = (v.clientY - box.top) * k;
            let best = 400, at = null;
            for (const n of near) {
                const q = (n[0] - px) ** 2 + (n[1] - py) ** 2;
                if (q < best) {
                    best = q;
                    at = n;
                }
            }
            found = at ? at[2] : 0;
            hot.setAttribute('visibility', at ? 'visible' : 'hidden');
            svg.classList.toggle('link', !!(at && o.pick));
            if (!at) return hide_tip();
            hot.setAttribute('cx', at[0]);
            hot.setAttribute('cy', at[1]);
            show_tip(o.tell ? o.tell(at[2]) : String(at[2]), v.clientX, v.clientY);
        });
        svg.addEventListener('pointerleave', () => {
            hot.setAttribute('visibility', 'hidden');
            hide_tip();
        });
        if (o.pick)
            svg.addEventListener('click', () => {
                if (found) o.pick(found);
            });
        const csv = () => {
            const rows = [ [ 'series', o.x.label, o.y.label, 'low', 'high', 'id' ] ];
            for (const l of o.layers)
                if (l.type === 'ref') rows.push([ l.name, null, l.y, l.low, l.high ]);
                else
                    for (const p of l.points)
                        rows.push([ l.name || l.cls, p[0] ?? p.x, p[1] ?? p.y, p.low, p.high, p[2] ?? p.id ?? p.label ]);
            return rows;
        };
        const keys = o.layers.filter(l => l.name && l.type !== 'ref' && l.points.length)
                         .map(l => [(l.type === 'points' ? 'mark ' : l.type === 'line' ? 'line ' : 'step ') + (l.cls || ''), l.name]);
        if (o.layers.some(l => l.type === 'step' && l.points.some(p => p.low > 0)))
            keys.push([ 'band', o.interval || 'its interval' ]);
        return figure(o.title, svg, csv, keys);
    }

    /* ---- intervals, one a line ---- */

    /* o: title, width, unit, log, ref, show, rows: [{label, low, mid, high, cls, note, pick}] */
    function strip(o) {
        const w = o.width, narrow = w < 520, row = narrow ? 38 : 23, left = narrow ? 12 : Math.min(230, w * .34),
              right = narrow ? 70 : 92, top = 8, bottom = 40,
              h = top + bottom + row * o.rows.length;
        const svg = canvas(w, h), good = o.rows.filter(r => isFinite(r.mid)),
              all = good.flatMap(r => [r.low, r.mid, r.high]).filter(isFinite);
        if (o.ref !== undefined) all.push(o.ref);
        let lo = Math.min(...all), hi = Math.max(...all);
        if (o.log) {
            lo /= 1.04;
            hi *= 1.04;
        } else {
            const m = (hi - lo) * .06 || .01;
            lo -= m;
            hi += m;
        }
        const x = scale(lo, hi, left, w - right, o.log), show = o.show || short;
        for (const v of ticks(lo, hi, w / 130, o.log))
            svg.append(line(x(v), top, x(v), h - bottom, 'grid'),
                       label(x(v), h - bottom + 16, 'middle', '', (o.tick || show)(v)));
        if (o.ref !== undefined) svg.append(line(x(o.ref), top, x(o.ref), h - bottom, 'ref'));
        svg.append(label(narrow ? w - 4 : w - right, h - 5, 'end', '', o.unit));
        o.rows.forEach((r, i) => {
            const y = top + row * (i + (narrow ? .72 : .5)), g = make('g', {});
            g.append(narrow ? label(4, y - 12, 'start', 'strong halo', clip(r.label, 48))
                            : label(left - 10, y + 4, 'end', 'strong', clip(r.label, 34)));
            if (isFinite(r.mid) && r.mid !== null) {
                if (isFinite(r.low) && r.low !== null)
                    g.append(line(x(r.low), y, x(r.high), y, 'whisker ' + (r.cls || '')));
                g.append(make('circle',
                              {class : 'dot ' + (r.cls || ''), cx : x(r.mid).toFixed(1), cy : y.toFixed(1), r : 4}));
                g.append(label(w - right + 8, y + 4, 'start', 'strong', show(r.mid)));
                tipped(g,
                       `${r.label}: ${show(r.mid)}  [${show(r.low)}, ${show(r.high)}]${r.note ? '\n' + r.note : ''}`);
            } else g.append(label(left + 6, y + 4, 'start', '', r.note || 'not measured'));
            if (r.pick) leads(g, r.pick, r.label);
            svg.append(g);
        });
        return figure(o.title, svg,
                      () => [[ 'name', o.unit, 'low', 'high', 'note' ],
                             ...o.rows.map(r => [r.label, r.mid, r.low, r.high, r.note])],
                      o.keys);
    }

    /* ---- every pair of a race ---- */

    const quantile = (sorted, q) => sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] : NaN;
    /* The median's 95 % interval by the sign test: order statistics, no shape assumed. */
    function median_of(d) {
        const s = d.slice().sort((a, b) => a - b), n = s.length, k = Math.floor((n - 1.96 * Math.sqrt(n)) / 2) - 1;
        const mid = n % 2 ? s[n >> 1] : (s[n / 2 - 1] + s[n / 2]) / 2;
        return k >= 0 ? {mid, low : s[k], high : s[n - 1 - k]} : {mid, low : s[0], high : s[n - 1]};
    }

    /* o: title, width, unit, rows: [{label, cls, d: [ln ratio, ...] in the order of time}]. Within a row time runs downwards, so
       that a machine that drifts shows as a slope. What lies far out stands on the rim. */
    function pairs(o) {
        const w = o.width, narrow = w < 620, row = narrow ? 104 : 78, left = narrow ? 14 : Math.min(190, w * .3),
              right = narrow ? 14 : 118, top = 8, bottom = 40,
              h = top + bottom + row * o.rows.length, svg = canvas(w, h);
        const all = o.rows.flatMap(r => r.d).sort((a, b) => a - b), stats = o.rows.map(r => median_of(r.d));
        let lo = Math.min(0, quantile(all, .02), ...stats.map(s => s.low)),
            hi = Math.max(0, quantile(all, .98), ...stats.map(s => s.high));
        const room = Math.max((hi - lo) * .06, .002);
        lo -= room;
        hi += room;
        const x = scale(Math.exp(lo), Math.exp(hi), left, w - right, true), show = v => String(+v.toPrecision(4)) + '×';
        for (const v of ticks(Math.exp(lo), Math.exp(hi), w / 150, true))
            svg.append(line(x(v), top, x(v), h - bottom, 'grid'), label(x(v), h - bottom + 16, 'middle', '', show(v)));
        svg.append(line(x(1), top, x(1), h - bottom, 'ref'), label(w - right, h - 5, 'end', '', o.unit));
        o.rows.forEach((r, i) => {
            const from = top + row * i + (narrow ? 34 : 8), tall = row - (narrow ? 42 : 16), s = stats[i], n = r.d.length, g = make('g', {});
            let d = '', out = '', beyond = 0;
            r.d.forEach((v, k) => {
                const far = v < lo || v > hi, px = x(Math.exp(Math.max(lo, Math.min(hi, v)))),
                      py = from + tall * (n > 1 ? k / (n - 1) : .5), at = `M${px.toFixed(1)} ${py.toFixed(1)}h0`;
                beyond += far;
                if (far) out += at;
                else d += at;
            });
            g.append(make('rect', {
                         class : 'band',
                         x : x(Math.exp(s.low)).toFixed(1),
                         y : from - 4,
                         width : Math.max(1, x(Math.exp(s.high)) - x(Math.exp(s.low))).toFixed(1),
                         height : tall + 8
                     }),
                     make('path', {class : 'mark pair ' + (r.cls || ''), d}), make('path', {class : 'mark failed', d : out}),
                     line(x(Math.exp(s.mid)), from - 4, x(Math.exp(s.mid)), from + tall + 4, 'whisker'));
            const many = `${n} pairs${beyond ? `, ${beyond} far out` : ''}`,
                  bounds = `[${+Math.exp(s.low).toPrecision(4)}, ${+Math.exp(s.high).toPrecision(4)}]`;
            if (narrow)
                g.append(label(4, from - 22, 'start', 'strong halo', `${clip(r.label, 30)}: ${show(Math.exp(s.mid))}`),
                         label(4, from - 8, 'start', 'halo', `${bounds}, ${many}`));
            else
                g.append(label(left - 10, from + tall / 2 - 3, 'end', 'strong', clip(r.label, 28)),
                         label(left - 10, from + tall / 2 + 12, 'end', '', many),
                         label(w - right + 8, from + tall / 2 - 3, 'start', 'strong', show(Math.exp(s.mid))),
                         label(w - right + 8, from + tall / 2 + 12, 'start', '', bounds));
            if (i) svg.append(line(left, top + row * i, w - right, top + row * i, 'grid'));
            svg.append(tipped(g, `${r.label}: median of ${n} paired ratios ${show(Math.exp(s.mid))}, 95 % by the sign test [${
                                     show(Math.exp(s.low))}, ${show(Math.exp(s.high))}]`));
        });
        return figure(o.title, svg,
                      () => [[ 'race', 'pair', 'ln ratio', 'ratio' ],
                             ...o.rows.flatMap(r => r.d.map((v, k) => [r.label, k, v, Math.exp(v)]))],
                      [ [ 'mark pair', 'one pair; time runs downwards' ], [ 'band', '95 % interval of the median' ] ]);
    }

    /* ---- bars: o.title, width, unit, rows: [{label, value, cls, text, note}] ---- */

    function bars(o) {
        const w = o.width, narrow = w < 520, row = narrow ? 40 : 24, left = narrow ? 4 : Math.min(210, w * .36), right = 86,
              h = row * o.rows.length + 6,
              svg = canvas(w, h);
        const most = Math.max(...o.rows.map(r => r.value), 1e-9);
        o.rows.forEach((r, i) => {
            const y = 3 + row * i + (narrow ? 16 : 0), g = make('g', {});
            g.append(narrow ? label(left, y + 1, 'start', 'strong', clip(r.label, 48))
                            : label(left - 10, y + 16, 'end', 'strong', clip(r.label, 30)), make('rect', {
                         class : 'fill ' + (r.cls || ''),
                         x : left,
                         y : y + 4,
                         width : Math.max(1, (w - left - right) * r.value / most).toFixed(1),
                         height : 15,
                         rx : 2
                     }),
                     label(left + (w - left - right) * r.value / most + 8, y + 16, 'start', 'strong',
                           r.text ?? short(r.value)));
            tipped(g, `${r.label}: ${r.text ?? short(r.value)} ${o.unit}${r.note ? '\n' + r.note : ''}`);
            svg.append(g);
        });
        return figure(o.title, svg, () => [[ 'name', o.unit, 'note' ], ...o.rows.map(r => [r.label, r.value, r.note])]);
    }

    /* ---- heat map: o.title, xs, ys (texts; null: rows left out), x_label, y_label, at(x, y) -> {value, text, tip, pick, cls,
       shade (else of low to high)} or null, low, high, left (room for the texts of ys) ---- */

    const bucket = (v, low, high) => 'q' + Math.max(0, Math.min(8, Math.floor((v - low) / (high - low || 1) * 8.999)));
    function heat(o) {
        const cw = o.cell || 58, ch = 30, gap = 14, left = o.left || 62, top = 26, bottom = 40,
              w = Math.max(left + cw * o.xs.length + 8, 330), tall = o.ys.map(v => v === null ? gap : ch),
              start = tall.map((_, j) => top + tall.slice(0, j).reduce((s, v) => s + v, 0)),
              h = top + tall.reduce((s, v) => s + v, 0) + bottom;
        const svg = canvas(w, h), rows = [ [ o.x_label, o.y_label, 'value', 'what' ] ];
        o.ys.forEach((yv, j) => {
            if (yv === null) return svg.append(label(left - 14, start[j] + 9, 'middle', '', '⋮'));
            svg.append(label(left - 7, start[j] + ch / 2 + 4, 'end', '', yv));
            o.xs.forEach((xv, i) => {
                const c = o.at(xv, yv), x = left + cw * i, y = start[j];
                if (!c)
                    return svg.append(
                        make('rect', {class : 'empty', x : x + 1, y : y + 1, width : cw - 2, height : ch - 2, rx : 3}));
                const q = c.shade || bucket(c.value, o.low, o.high), g = make('g', {class : c.pick ? 'link' : ''});
                rows.push([ xv, yv, c.value, c.tip ]);
                g.append(make('rect', {
                             class : `cell ${q} ${c.cls || ''}`,
                             x : x + 1,
                             y : y + 1,
                             width : cw - 2,
                             height : ch - 2,
                             rx : 3
                         }),
                         label(x + cw / 2, y + ch / 2 + 4, 'middle', +q[1] >= 5 ? 'dark' : 'pale', c.text));
                if (c.pick) leads(g, c.pick, c.tip);
                svg.append(tipped(g, c.tip));
            });
        });
        o.xs.forEach((xv, i) => svg.append(label(left + cw * (i + .5), h - bottom + 16, 'middle', '', xv)));
        svg.append(label(left, h - 5, 'start', '', o.x_label + ' →'), label(4, 14, 'start', '', '↑ ' + o.y_label));
        return figure(o.title, svg, () => rows);
    }

    /* ---- tree: o.title, width, height, nodes: [{id, x, y, parent, cls, lit}] with x, y in 0 .. 1 ---- */

    function tree(o) {
        const w = o.width, h = o.height, svg = canvas(w, h), left = 22, top = 14, bottom = 30, place = new Map(),
              marks = {}, near = [];
        const px = n => left + n.x * (w - 2 * left), py = n => top + n.y * (h - top - bottom);
        for (const n of o.nodes) place.set(n.id, n);
        let edges = '', path = '';
        const seen = new Set();
        for (const n of o.nodes) {
            const p = place.get(n.parent), x = px(n), y = py(n);
            near.push([ x, y, n.id ]);
            (marks[n.cls] = marks[n.cls] || []).push(`M${x.toFixed(1)} ${y.toFixed(1)}h0`);
            if (!p) continue;
            const a = px(p), b = py(p), m = (a + x) / 2, key = `${a | 0} ${b | 0} ${x | 0} ${y | 0}`;
            const d = `M${a.toFixed(1)} ${b.toFixed(1)}C${m.toFixed(1)} ${b.toFixed(1)} ${m.toFixed(1)} ${
                y.toFixed(1)} ${x.toFixed(1)} ${y.toFixed(1)}`;
            if (n.lit && p.lit) path += d;
            else if (!seen.has(key)) {
                seen.add(key);
                edges += d;
            }
        }
        svg.append(make('path', {class : 'edge', d : edges}));
        for (const k of ['failed', 'right', 'same', 'better', 'start'])
            if (marks[k]) svg.append(make('path', {class : 'mark ' + k, d : marks[k].join('')}));
        if (path) svg.append(make('path', {class : 'path', d : path}));
        const lit = o.nodes.filter(n => n.lit).sort((a, b) => b.x - a.x);
        let free = Infinity; /* from the winner back: its number is always there, others where there is room */
        for (const n of lit) {
            svg.append(
                make('circle',
                     {class : 'dot', cx : px(n).toFixed(1), cy : py(n).toFixed(1), r : lit.length > 40 ? 3.5 : 5.5}));
            if (px(n) > free) continue;
            svg.append(label(px(n), py(n) - 10, 'middle', 'head', '#' + n.id));
            free = px(n) - 48;
        }
        for (const t of o.ticks || []) svg.append(label(left + t.x * (w - 2 * left), h - 8, 'middle', '', t.text));
        const hot = make('circle', {class : 'hot', r : 7, visibility : 'hidden'});
        svg.append(hot);
        let found = 0;
        svg.addEventListener('pointermove', v => {
            const box = svg.getBoundingClientRect(), k = w / box.width, x = (v.clientX - box.left) * k,
                  y = (v.clientY - box.top) * k;
            let best = 300, at = null;
            for (const n of near) {
                const q = (n[0] - x) ** 2 + (n[1] - y) ** 2;
                if (q < best) {
                    best = q;
                    at = n;
                }
            }
            found = at ? at[2] : 0;
            hot.setAttribute('visibility', at ? 'visible' : 'hidden');
            svg.classList.toggle('link', !!at);
            if (!at) return hide_tip();
            hot.setAttribute('cx', at[0]);
            hot.setAttribute('cy', at[1]);
            show_tip(o.tell(at[2]), v.clientX, v.clientY);
        });
        svg.addEventListener('pointerleave', () => {
            hot.setAttribute('visibility', 'hidden');
            hide_tip();
        });
        svg.addEventListener('click', () => {
            if (found) o.pick(found);
        });
        return figure(o.title, svg,
                      () => [[ 'id', 'parent', 'state', 'on the path' ],
                             ...o.nodes.map(n => [n.id, n.parent, n.cls, n.lit ? 1 : 0])],
                      o.keys);
    }

    return {plot, strip, pairs, median_of, bars, heat, tree, bucket, hide_tip, csv_text, save};
})();
