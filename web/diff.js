/* The difference of two texts, by lines. */
'use strict';

/* Lines by Myers' greedy walk; null where the texts are too different to be worth it. */
function diff(a, b) {
    let start = 0, end = 0;
    while (start < a.length && start < b.length && a[start] === b[start]) start++;
    while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
    const x = a.slice(start, a.length - end), y = b.slice(start, b.length - end), n = x.length, m = y.length,
          most = Math.min(n + m, 1200), trace = [];
    let v = new Map([ [ 1, 0 ] ]), done = -1;
    outer: for (let d = 0; d <= most; d++) {
        trace.push(new Map(v));
        for (let k = -d; k <= d; k += 2) {
            let i = k === -d || (k !== d && (v.get(k - 1) ?? -1) < (v.get(k + 1) ?? -1)) ? v.get(k + 1)
                                                                                         : v.get(k - 1) + 1,
                j = i - k;
            while (i < n && j < m && x[i] === y[j]) {
                i++;
                j++;
            }
            v.set(k, i);
            if (i >= n && j >= m) {
                done = d;
                break outer;
            }
        }
    }
    if (done < 0) return null;
    const out = [];
    let i = n, j = m;
    for (let d = done; d > 0; d--) {
        const w = trace[d], k = i - j, down = k === -d || (k !== d && (w.get(k - 1) ?? -1) < (w.get(k + 1) ?? -1)),
              pk = down ? k + 1 : k - 1, pi = w.get(pk), pj = pi - pk;
        while (i > pi && j > pj) {
            out.push([ ' ', x[--i] ]);
            j--;
        }
        if (down) out.push([ '+', y[--j] ]);
        else out.push([ '-', x[--i] ]);
    }
    while (i > 0) { out.push([ ' ', x[--i] ]); }
    return [...a.slice(0, start).map(l => [' ', l]), ...out.reverse(), ...a.slice(a.length - end).map(l => [' ', l]) ];
}
function diff_box(lines) {
    const pre = h('pre', {'aria-label' : 'Difference to the parent', tabindex : 0}),
          keep = new Uint8Array(lines.length);
    lines.forEach((l, i) => {
        if (l[0] !== ' ')
            for (let k = Math.max(0, i - 3); k <= Math.min(lines.length - 1, i + 3); k++) keep[k] = 1;
    });
    let hidden = 0, shown = 0;
    const flush = () => {
        if (hidden) pre.append(h('span', {class : 'skip-line'}, `⋯ ${hidden} equal lines`));
        hidden = 0;
    };
    lines.forEach((l, i) => {
        if (!keep[i] || shown > 3000) {
            hidden++;
            return;
        }
        flush();
        shown++;
        pre.append(h('span', {class : l[0] === '+'   ? 'add'
                                      : l[0] === '-' ? 'del'
                                                     : ''},
                     l[0] + ' ' + tame(l[1], 2000) + (l[0] === ' ' ? '\n' : '')));
    });
    flush();
    return pre;
}
