/* Where the machine's limits and the peers stand on the scale of a run. */
'use strict';

const mean = a => a.length ? a.reduce((s, v) => s + v, 0) / a.length : NaN;
/* The winner's cases of the final comparison with what a whole call takes (the comparison may have timed fewer heads). */
function final_cases(run) {
    const d = data(run), r = d.result && d.result[4], x = extra('peers', run);
    if (!r || !r.cases || !x || x.failed) return [];
    const suite = new Map(x.suite.map(c => [c[0], c])), m = r.machine || {},
          threads = +d.run.meta['identity.threads'] || 1;
    return r.cases.filter(c => suite.has(c.case) && c.gflops > 0 && c.speedup > 0).map(c => {
        const [, flops, traffic] = suite.get(c.case), ns = flops / c.gflops;
        return {...c, flops, traffic, whole_ns : ns, cut : Math.abs(c.ns / ns - 1) > .02,
                fma_ns : flops / (m.fma_peak_gflops * threads), memory_ns : traffic / m.read_bandwidth_gbs};
    });
}
/* Which speedup over the initial program the machine's limits would be: geometric means over the cases. The band is the
   initial program's own interval; limits themselves are the best of many bursts. */
function roofs(run) {
    const c = final_cases(run).filter(x => x.fma_ns > 0), out = [];
    if (!c.length) return out;
    const place = (ns, of) => Math.exp(mean(c.map(x => Math.log(of(x) * x.whole_ns / ns(x)))));
    const ref = (name, ns, about) => ({
        type : 'ref', cls : 'peak', y : place(ns, x => x.speedup), low : place(ns, x => x.speedup_low || x.speedup),
        high : place(ns, x => x.speedup_high || x.speedup), name, about
    });
    const m = data(run).result[4].machine, fma = ref('', x => x.fma_ns);
    const both = ref('', x => Math.max(x.fma_ns, x.memory_ns || 0));
    out.push({...fma, name : `${times(fma.y)} FMA peak of this machine, ${num(m.fma_peak_gflops)} GFLOP/s a core`,
              brief : `${times(fma.y)} FMA peak`,
              about : 'Every case at the measured peak of multiply-adds; nothing can be above.'});
    if (both.y < fma.y * .99)
        out.push({...both, name : `${times(both.y)} roofline with memory, ${num(m.read_bandwidth_gbs)} GB/s`,
                  brief : `${times(both.y)} with memory`,
                  about : 'Each case at the slower of arithmetic and reading its tensors from memory. Tensors that stay in a ' +
                              'cache may go beyond.'});
    return out;
}
const peer_name = n => ({
    'torch' : 'PyTorch', 'torch-flash' : 'PyTorch flash', 'torch-math' : 'PyTorch math', 'ggml' : 'ggml (llama.cpp)',
    'openvino' : 'OpenVINO', 'onnxruntime' : 'ONNX Runtime', 'mlx' : 'mlx'
}[n] || tame(n, 30));
/* Where the peers stand on the run's scale: the winner's speedup times their mean ratio to the winner on the cases that both
   were timed on. A case may have been timed more than once (by several kernels of ours): the peer's best counts. */
function peers(run = 0) {
    const x = extra('peers', run), cases = new Map(final_cases(run).filter(c => !c.cut).map(c => [c.case, c])), by = new Map();
    if (!x || x.failed || !cases.size) return [];
    for (const [name, version, note, label, ms, low, high] of x.rows) {
        if (!cases.has(label)) continue;
        if (!by.has(name)) by.set(name, {name, version, note, rows : new Map()});
        const had = by.get(name).rows.get(label);
        if (!had || ms < had.ms) by.get(name).rows.set(label, {ms, low, high});
    }
    const hl = headline(run);
    return [...by.values() ]
        .map(p => {
            const r = [...p.rows ].map(([ k, v ]) => [Math.log(cases.get(k).ns / (v.ms * 1e6)), Math.log(v.low || 1),
                                                      Math.log(v.high || 1)]),
                  y = Math.log(hl.median) + mean(r.map(v => v[0]));
            return {...p, n : r.length, of : data(run).result[4].cases.length, y : Math.exp(y),
                    low : Math.exp(y + mean(r.map(v => v[1]))), high : Math.exp(y + mean(r.map(v => v[2])))};
        })
        .sort((a, b) => b.y - a.y);
}
