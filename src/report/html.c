/* report.html: one file with its style and its drawings in it. Text that a candidate or a model wrote goes through
 * view_add_html only, and there is no script in the page that it could reach. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "evolve/knobs.h"
#include "report/report.h"
#include "report/svg.h"
#include "report/view.h"

static const char style[] =
    ":root{color-scheme:light "
    "dark;--page:#fbfbfa;--card:#fff;--text:#1c1e21;--soft:#62676f;--rule:#e3e4e6;--best:#2563c9;"
    "--peak:#0f8a74;--roof:#8a6100;--right:#8d949e;--bad:#c2502e;--track:#eceef0;--add:#e3f4e8;--del:#fbe6e1}\n"
    "@media screen and "
    "(prefers-color-scheme:dark){:root{--page:#15171a;--card:#1d2024;--text:#e7e8ea;--soft:#9aa1ab;--rule:#"
    "33373d;"
    "--best:#6ea1f5;--peak:#4fc3a8;--roof:#e0b050;--right:#7d848e;--bad:#e88663;--track:#2a2e33;--add:#1d3a28;--del:#"
    "452720}}\n"
    "body{margin:0;background:var(--page);color:var(--text);font:15px/1.5 system-ui,-apple-system,'Segoe "
    "UI',sans-serif}\n"
    "main{max-width:960px;margin:0 auto;padding:32px 20px 64px}h1{font-size:22px;margin:0 0 4px}"
    "h2{font-size:17px;margin:40px 0 10px}p{margin:6px 0}.soft,.sub{color:var(--soft)}\n"
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:12px;margin:20px 0}"
    ".card{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:12px 14px}"
    ".card b{display:block;font-size:24px;font-weight:600;line-height:1.25}.card "
    "span{color:var(--soft);font-size:13px}\n"
    "svg{width:100%;height:auto;display:block;background:var(--card);border:1px solid var(--rule);border-radius:8px;"
    "padding:12px;box-sizing:border-box;min-width:640px}svg text{font-size:12px;fill:var(--text)}svg "
    ".value{fill:var(--soft);font-size:11px}"
    "svg .note{fill:var(--soft);font-size:11px}svg .head{fill:var(--soft)}"
    "svg .name{font-family:ui-monospace,monospace;font-size:11px}\n"
    ".grid{stroke:var(--rule)}.one{stroke:var(--soft);stroke-dasharray:3 "
    "3}.whisker{stroke:var(--text);stroke-width:1.2}"
    ".stem{stroke:var(--track);stroke-width:3}.failed{stroke:var(--bad);opacity:.7}.best{fill:var(--best)}.peak{fill:"
    "var(--peak)}"
    ".track{fill:var(--track)}.right{fill:var(--right)}.bad{fill:var(--bad)}.dot{fill:var(--right);opacity:.65}"
    ".dot-best{fill:var(--best)}.interval{fill:var(--best);opacity:.18}.step{fill:none;stroke:var(--best);stroke-width:"
    "2}\n"
    ".limit{stroke-dasharray:6 3}.limit.roof{stroke:var(--roof)}.limit.peer{stroke:var(--peak);stroke-dasharray:8 3 2 "
    "3}"
    ".band.roof{fill:var(--roof);opacity:.14}.band.peer{fill:var(--peak);opacity:.16}svg "
    ".on-line{font-size:11px;paint-order:"
    "stroke;stroke:var(--card);stroke-width:3px}svg .on-line.roof{fill:var(--roof)}svg .on-line.peer{fill:var(--peak)}"
    ".cell{fill:var(--best)}.cell.winner{stroke:var(--bad);stroke-width:2.5}svg "
    ".on-cell{fill:var(--card);font-size:11px}svg .in-cell{font-size:11px}"
    ".edge{fill:none;stroke:var(--right);stroke-opacity:.5}.lit{fill:none;stroke:var(--best);stroke-width:2.4}"
    ".node.right{fill:var(--right)}.node.failed{fill:var(--bad)}.node.same{fill:var(--roof)}.node.better{fill:var(--"
    "best)}"
    "svg .strong{font-weight:600}.tools{margin:4px 0 0;text-align:right;font-size:12px}.tools "
    "a{color:var(--soft);margin-left:"
    "12px}\n"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-"
    "nums}"
    "th,td{text-align:right;padding:5px 8px;border-bottom:1px solid var(--rule);white-space:nowrap}"
    "th{color:var(--soft);font-weight:500}th:first-child,td:first-child{text-align:left}"
    "td:first-child,code,pre{font-family:ui-monospace,SFMono-Regular,Menlo,monospace;font-size:12.5px}\n"
    "ol.lineage{list-style:none;margin:0;padding:0;border-left:2px solid var(--rule)}ol.lineage>li{padding:0 0 12px "
    "16px}"
    "details{margin:4px 0}summary{cursor:pointer;color:var(--soft);font-size:13px}"
    "pre{background:var(--card);border:1px solid var(--rule);border-radius:6px;padding:10px;overflow-x:auto;margin:6px "
    "0}"
    "pre .a{background:var(--add);display:block}pre .d{background:var(--del);display:block}pre "
    ".h{color:var(--soft);display:block}\n"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:4px "
    "16px;margin:0}dt{color:var(--soft)}dd{margin:0;min-width:0;"
    "overflow-wrap:anywhere}\n"
    "@media print{body{background:#fff}main{padding:0;max-width:none}.scroll{overflow:visible}svg{min-width:0}.tools{"
    "display:none}table{font-size:10px}th,td{padding:3px 4px;white-space:normal}td:first-child{font-size:10px}"
    "pre{white-space:pre-wrap}svg,.card,tr{break-inside:avoid}h2,.sub{break-after:avoid}"
    "pre .a,pre .d{print-color-adjust:exact;-webkit-print-color-adjust:exact}}";

static void heading(atn_text *t, const char *s, const char *sub)
{
    text_addf(t, "<h2>%s</h2>\n", s);
    if (*sub) text_addf(t, "<p class=\"sub\">%s</p>\n", sub);
}

/* ---- to take away: links that hold the drawing and its data, so that no script is needed ---- */

static void add_url(atn_text *t, const char *s)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~!*();:@=+$,/?[] ";
    for (; *s; s++) {
        size_t n = strspn(s, plain);
        text_addn(t, s, n);
        s += n;
        if (!*s) break;
        text_addf(t, "%%%02X", (unsigned char)*s);
    }
}

static void csv_real(atn_text *t, double x)
{
    text_add(t, ",");
    if (isfinite(x)) text_addf(t, "%.6g", x);
}

/* Under the picture that begins at `from`. Takes csv. */
static void takeaway(atn_text *t, size_t from, const char *name, atn_text *csv)
{
    const char *svg = t->n > from ? strstr(t->s + from, "<svg") : NULL, *end = svg ? strstr(svg, "</svg>") : NULL;
    if (end) {
        atn_text whole = {0};
        text_add(&whole, "<svg xmlns=\"http://www.w3.org/2000/svg\"");
        const char *open = strchr(svg, '>');
        text_addn(&whole, svg + 4, (size_t)(open + 1 - svg - 4));
        text_addf(&whole, "<style>%s</style>", style);
        text_addn(&whole, open + 1, (size_t)(end + strlen("</svg>") - open - 1));
        text_addf(t, "<p class=\"tools\"><a download=\"attune-%s.svg\" href=\"data:image/svg+xml;charset=utf-8,", name);
        add_url(t, whole.s);
        text_addf(t, "\">SVG</a><a download=\"attune-%s.csv\" href=\"data:text/csv;charset=utf-8,", name);
        add_url(t, csv->s ? csv->s : "");
        text_add(t, "\">CSV</a></p>\n");
        text_free(&whole);
    }
    text_free(csv);
}

/* A picture with its links. */
static void picture(atn_text *t, const run_view *v, void (*draw)(atn_text *, const run_view *),
                    void (*data)(atn_text *, const run_view *), const char *name)
{
    size_t from = t->n;
    atn_text csv = {0};
    text_add(t, "<div class=\"scroll\">\n");
    draw(t, v);
    text_add(t, "</div>\n");
    data(&csv, v);
    takeaway(t, from, name, &csv);
}

static void data_cases(atn_text *t, const run_view *v)
{
    text_add(t, "case,speedup,low,high,best_ms,gflops,peak_fraction,error,workspace_bytes\n");
    for (int i = 0; i < v->n_cases; i++) {
        const view_case *c = &v->cases[i];
        text_add_csv(t, c->label);
        const double x[] = {c->speedup.median, c->speedup.low,   c->speedup.high, c->best_ms,
                            c->gflops,         c->peak_fraction, c->error,        (double)c->workspace_bytes};
        for (int k = 0; k < ATN_COUNT(x); k++) csv_real(t, x[k]);
        text_add(t, "\n");
    }
}

/* Every program: of the pictures of progress, of verdicts and of the tree. */
static void data_programs(atn_text *t, const run_view *v)
{
    text_add(t, "id,parent,island,origin,note,state,stage,reason,seconds,speedup,low,high\n");
    for (int i = 0; i < v->n_programs; i++) {
        const store_program *p = &v->programs[i];
        text_addf(t, "%lld,%lld,%d,", (long long)p->made.id, (long long)p->made.parent1, p->made.island);
        const char *texts[] = {p->made.origin, p->made.note, p->state, p->stage, p->reason};
        for (int k = 0; k < ATN_COUNT(texts); k++) {
            if (k) text_add(t, ",");
            text_add_csv(t, texts[k] ? texts[k] : "");
        }
        const double x[] = {p->t, exp(p->score), exp(p->score_low), exp(p->score_high)};
        for (int k = 0; k < ATN_COUNT(x); k++) csv_real(t, x[k]);
        text_add(t, "\n");
    }
}

static void data_progress(atn_text *t, const run_view *v)
{
    data_programs(t, v);
    for (int i = 0; i < v->n_lines; i++) {
        text_add(t, ",,,");
        text_add_csv(t, v->lines[i].name);
        text_add(t, ",,,,,");
        csv_real(t, v->lines[i].y);
        csv_real(t, v->lines[i].low);
        csv_real(t, v->lines[i].high);
        text_add(t, "\n");
    }
}

static void data_archive(atn_text *t, const run_view *v)
{
    text_add(t, "island,profile,log2_workspace,decode,program,speedup\n");
    for (int i = 0; i < v->n_cells; i++) {
        const view_cell *c = &v->cells[i];
        text_addf(t, "%d,%d,%d,%d,%lld", c->island, c->profile, c->workspace, c->decode, (long long)c->program);
        csv_real(t, exp(c->score));
        text_add(t, "\n");
    }
}

static void card(atn_text *t, const char *value, const char *what)
{
    text_add(t, "<div class=\"card\"><b>");
    view_add_html(t, value);
    text_add(t, "</b><span>");
    view_add_html(t, what);
    text_add(t, "</span></div>\n");
}

static void add_cards(atn_text *t, const run_view *v)
{
    char value[64], what[200];
    text_add(t, "<div class=\"cards\">\n");
    snprintf(value, sizeof value, "%.2f×", v->speedup.median);
    snprintf(what, sizeof what, "the initial program, between %.2f× and %.2f×%s", v->speedup.low, v->speedup.high,
             v->from_chain ? " (estimate of the run)" : "");
    card(t, value, what);
    double peak = view_best_peak_fraction(v);
    if (isfinite(peak)) {
        snprintf(value, sizeof value, "%.0f %%", 100 * peak);
        snprintf(what, sizeof what, "of the measured FMA peak at the best case, %.0f GFLOP/s a core",
                 v->fma_peak_gflops);
        card(t, value, what);
    }
    if (isfinite(v->error)) {
        snprintf(value, sizeof value, "%.1e", v->error);
        card(t, value, "worst relative L2 error against fp64");
    }
    snprintf(value, sizeof value, "%d", v->n_programs);
    snprintf(what, sizeof what, "programs judged in %d:%02d; %d failed", (int)(v->seconds / 60), (int)v->seconds % 60,
             v->failed);
    card(t, value, what);
    text_add(t, "</div>\n");
}

static void cell(atn_text *t, const char *format, double x)
{
    char s[48] = "–";
    if (isfinite(x)) snprintf(s, sizeof s, format, x);
    text_addf(t, "<td>%s</td>", s);
}

static void add_table(atn_text *t, const run_view *v)
{
    text_add(
        t,
        "<div class=\"scroll\"><table><thead><tr><th>case<th>initial ms<th>best ms<th>speedup<th>low<th>high<th>GFLOP/s"
        "<th>% of peak<th>tokens/s<th>error<th>workspace</tr></thead><tbody>\n");
    for (int i = 0; i < v->n_cases; i++) {
        const view_case *c = &v->cases[i];
        text_add(t, "<tr><td>");
        view_add_html(t, c->label);
        text_add(t, "</td>");
        cell(t, "%.4g", c->initial_ms);
        cell(t, "%.4g", c->best_ms);
        cell(t, "%.2f×", c->speedup.median);
        cell(t, "%.2f", view_has_bounds(c) ? c->speedup.low : (double)NAN);
        cell(t, "%.2f", view_has_bounds(c) ? c->speedup.high : (double)NAN);
        cell(t, "%.1f", c->gflops);
        cell(t, "%.1f", 100 * c->peak_fraction);
        cell(t, "%.0f", c->tokens_per_s);
        cell(t, "%.1e", c->error);
        text_addf(t, "<td>%.1f kB</td></tr>\n", (double)c->workspace_bytes / 1024);
    }
    text_add(t, "</tbody></table></div>\n");
}

/* A unified diff with its lines coloured; a whole file would be long, so it is folded away. */
static void add_diff(atn_text *t, const char *before, const char *after)
{
    char *diff = program_diff(before, after, "before", "after");
    int plus = 0, minus = 0;
    for (const char *p = diff; *p; p += strcspn(p, "\n"), p += *p == '\n') {
        plus += p[0] == '+' && p[1] != '+';
        minus += p[0] == '-' && p[1] != '-';
    }
    text_addf(t, "<details%s><summary>%d line%s added, %d removed</summary><pre>", plus + minus <= 12 ? " open" : "",
              plus, plus == 1 ? "" : "s", minus);
    for (const char *p = diff; *p;) {
        int n = (int)strcspn(p, "\n");
        char *one = atn_strndup(p, (size_t)n);
        const char *class = *one == '+' ? "a" : *one == '-' ? "d" : *one == '@' ? "h" : NULL;
        if (class) text_addf(t, "<span class=\"%s\">", class);
        view_add_html(t, one);
        text_add(t, class ? "</span>" : "\n");
        free(one);
        p += n + (p[n] == '\n');
    }
    text_add(t, "</pre></details>\n");
    free(diff);
}

static void add_lineage(atn_text *t, const run_view *v)
{
    char root[128];
    view_root_words(v, root, sizeof root);
    int steps = v->n_lineage - 1;
    bool own = steps >= 0 && !strcmp(v->lineage[steps].origin, "initial");
    heading(t, "Where the winner comes from", "");
    text_add(t, "<p>It began as ");
    view_add_html(t, root);
    if (!steps)
        text_add(t,
                 own ? ", and nothing better was found.</p>\n" : ", and is unchanged: evolution added nothing.</p>\n");
    else text_addf(t, ", and changed in %d step%s.</p>\n", steps, steps == 1 ? "" : "s");
    if (steps > 0 && !own && v->ancestor.median > 0)
        text_addf(t,
                  "<p>That ancestor alone is <b>%.2f×</b> the initial program [%.2f, %.2f]; evolution made it another "
                  "<b>%.3f×</b> faster [%.3f, %.3f].</p>\n",
                  v->ancestor.median, v->ancestor.low, v->ancestor.high, v->evolved.median, v->evolved.low,
                  v->evolved.high);
    text_add(t, "<ol class=\"lineage\">\n");
    for (int i = v->n_lineage - 1; i >= 0; i--) {
        const view_step *s = &v->lineage[i];
        text_addf(t, "<li><b>#%lld</b> ", (long long)s->id);
        view_add_html(t, s->origin);
        if (*s->note) {
            text_add(t, ": <code>");
            view_add_html(t, s->note);
            text_add(t, "</code>");
        }
        if (isfinite(s->speedup)) text_addf(t, " <span class=\"soft\">%.2f×</span>", s->speedup);
        text_add(t, "\n");
        if (i + 1 < v->n_lineage) add_diff(t, v->lineage[i + 1].source, s->source);
        text_add(t, "</li>\n");
    }
    text_add(t, "</ol>\n");
    if (v->n_lineage) {
        text_add(t, "<details><summary>the winner's whole source</summary><pre>");
        view_add_html(t, v->lineage[0].source);
        text_add(t, "</pre></details>\n");
    }
}

/* For each reason the latest program that fell by it, with what was seen and the command that shows it again. */
static void add_failures(atn_text *t, const run_view *v)
{
    bool any = false;
    for (int r = 0; r < ATN_REASON_COUNT; r++) {
        const store_program *last = NULL;
        for (int i = 0; i < v->n_programs; i++)
            if (!strcmp(v->programs[i].state, "failed") && !strcmp(v->programs[i].reason, reason_word((atn_reason)r)))
                last = &v->programs[i];
        if (!last) continue;
        if (!any) text_add(t, "<details><summary>the latest of each kind of failure</summary>\n");
        any = true;
        text_addf(t, "<p><b>#%lld</b> %s at stage ", (long long)last->made.id, reason_word((atn_reason)r));
        view_add_html(t, last->stage);
        if (*last->evidence) text_add(t, ": ");
        view_add_html(t, last->evidence);
        text_add(t, "</p>\n");
        if (!*last->reproduce) continue;
        text_addf(t, "<pre>attune show -p %lld > PROGRAM.c\n", (long long)last->made.id);
        view_add_html(t, last->reproduce);
        text_add(t, "</pre>\n");
    }
    if (any) text_add(t, "</details>\n");
}

static void row(atn_text *t, const char *name, const char *value)
{
    if (!*value) return;
    text_addf(t, "<dt>%s</dt><dd>", name);
    view_add_html(t, value);
    text_add(t, "</dd>\n");
}

static void add_controls(atn_text *t, const run_view *v)
{
    heading(t, "Controls",
            "A program raced against its own copy must not win; one made slower by a known factor must lose.");
    text_add(t, "<dl>\n");
    for (int i = 0; i < 2; i++) {
        const atn_controls *c = &v->controls[i];
        char s[240];
        if (!v->has_controls[i]) continue;
        snprintf(
            s, sizeof s,
            "%d of %d races of equal programs called a win; %d of %d known gains seen; gains above %.1f %% are seen; "
            "spread of equal programs %.2f %%",
            c->aa_promoted, c->aa_races, c->plus_promoted, c->plus_races, c->can_see_percent, 100 * c->aa_spread);
        row(t, i ? "after the run" : "before the run", s);
    }
    if (!v->has_controls[0] && !v->has_controls[1]) row(t, "none", "no control was run");
    atn_text nodes = {0}, demoted = {0};
    demotions_text(v->folder, &demoted);
    if (demoted.n) row(t, "demoted", demoted.s);
    text_free(&demoted);
    nodes_text(v->folder, &nodes);
    if (nodes.n) {
        row(t, "nodes", nodes.s);
        text_free(&nodes);
        nodes_cost(v, &nodes);
        row(t, "cost", nodes.s);
    }
    text_free(&nodes);
    text_add(t, "</dl>\n");
}

static void add_machine(atn_text *t, const run_view *v)
{
    char s[200];
    heading(t, "Machine and settings", "");
    text_add(t, "<dl>\n");
    row(t, "CPU", v->cpu);
    row(t, "vectors", v->isa);
    if (v->fma_peak_gflops > 0) {
        snprintf(s, sizeof s, "%.1f GFLOP/s FMA in f32 and %.1f GB/s read, one core", v->fma_peak_gflops,
                 v->read_bandwidth_gbs);
        row(t, "measured", s);
    }
    row(t, "compiler", v->compiler);
    row(t, "threads", v->threads);
    row(t, "suite", v->suite);
    row(t, "initial program", v->initial);
    row(t, "seed", v->seed);
    row(t, "started", v->started);
    row(t, "attune", v->version);
    text_add(t, "</dl>\n");
}

atn_status report_write(const char *folder, const char *html_path, atn_error *err)
{
    run_view v;
    atn_status st = view_read(folder, &v, err);
    if (st) return st;
    atn_text t = {0};
    text_addf(
        &t,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        "<title>attune: %.2f×</title>\n<style>%s</style></head><body><main>\n",
        v.speedup.median, style);
    text_add(&t, "<h1>Attention, evolved for ");
    view_add_html(&t, *v.cpu ? v.cpu : "this machine");
    text_add(&t, "</h1>\n<p class=\"soft\">");
    view_add_html(&t, v.started);
    text_add(&t, " · ");
    view_add_html(&t, v.suite);
    text_add(&t, " · attune ");
    view_add_html(&t, v.version);
    text_add(&t, "</p>\n");
    if (v.winner) {
        add_cards(&t, &v);
        heading(&t, "Cases",
                v.from_chain ? "Estimates of the run, chained over its races: there was no comparison at the end."
                             : "Winner and initial program, interleaved in fresh processes at the end of the run.");
        picture(&t, &v, svg_cases, data_cases, "cases");
        add_table(&t, &v);
        heading(&t, "Progress", "Every judged program: speedup over the initial program, logarithmic.");
        if (v.n_lines) {
            text_add(
                &t,
                "<p class=\"sub\">The curve is chained over races of cases cut to one group of heads; the lines of the "
                "machine's limits and of peers are of whole calls, as the comparison at the end timed them.");
            if (*v.peers_source) text_add(&t, " Peers: ");
            view_add_html(&t, v.peers_source);
            text_add(&t, "</p>\n");
        }
        picture(&t, &v, svg_progress, data_progress, "progress");
        heading(&t, "Error", "Relative L2 distance from an fp64 reference, of outputs of timed calls.");
        picture(&t, &v, svg_errors, data_cases, "errors");
    } else {
        text_add(&t, v.n_programs
                         ? "<p>No program of this run was right, the initial one included.</p>\n"
                         : "<p>No program of this run has been judged yet. Go on with it: attune evolve --resume -o ");
        if (!v.n_programs) view_add_html(&t, folder), text_add(&t, "</p>\n");
    }
    heading(&t, "Verdicts", "");
    picture(&t, &v, svg_verdicts, data_programs, "verdicts");
    add_failures(&t, &v);
    if (v.n_cells) {
        heading(&t, "Archive",
                "Each cell keeps the best program of one measured behaviour. The stronger the shade, the faster; the "
                "winner has a "
                "rim.");
        picture(&t, &v, svg_archive, data_archive, "archive");
    }
    if (v.winner) add_lineage(&t, &v);
    if (v.n_programs > 1) {
        heading(&t, "Every program under its parent",
                "From the starting programs on the left; the winner's path is lit.");
        picture(&t, &v, svg_tree, data_programs, "tree");
    }
    proposers_html(&t, &v);
    add_controls(&t, &v);
    add_machine(&t, &v);
    text_add(&t, "</main></body></html>\n");
    st = file_write(html_path, t.s, t.n, err);
    text_free(&t);
    view_free(&v);
    return st;
}
