/* Progress of an evolution: one event in, at most one redraw out. */
#include "progress.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cmd.h"

enum { PLAIN_EVERY_S = 15 };

void progress_clock(double seconds, char out[24])
{
    long long s = seconds > 0 && seconds < 1e9 ? (long long)(seconds + 0.5) : 0;
    if (s >= 3600) snprintf(out, 24, "%lld:%02d:%02d", s / 3600, (int)(s / 60 % 60), (int)(s % 60));
    else snprintf(out, 24, "%d:%02d", (int)(s / 60), (int)(s % 60));
}

void progress_begin(atn_progress *p, bool json, bool quiet)
{
    *p = (atn_progress){.mode = json                ? PROGRESS_JSON
                                : quiet             ? PROGRESS_QUIET
                                : term_live(stderr) ? PROGRESS_LIVE
                                                    : PROGRESS_PLAIN};
}

static void clear(atn_progress *p)
{
    if (p->drawn) fputs("\r\033[2K", stderr);
    p->drawn = false;
}

void progress_end(atn_progress *p)
{
    clear(p);
    fflush(stderr);
}

void progress_say(atn_progress *p, const char *format, ...)
{
    if (p->mode == PROGRESS_QUIET || p->mode == PROGRESS_JSON) return;
    clear(p);
    va_list ap;
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
}

/* Bytes of s that take at most `columns` columns; UTF-8 sequences stay whole. */
static int fit(const char *s, int columns)
{
    int n = 0;
    for (int seen = 0; s[n]; n++) {
        if (((unsigned char)s[n] & 0xc0) != 0x80 && seen++ == columns) break;
    }
    return n;
}

static void add_best(atn_text *t, const evolve_event *e)
{
    if (!e->best) return;
    text_addf(t, "best %.2fx", e->best_speedup);
    if (e->best_low > 0 && e->best_low < e->best_speedup) text_addf(t, " (at least %.2fx)", e->best_low);
}

/* What a person wants to know at a glance: how far, how long still, how good, how fast it goes. */
static void add_state(const atn_progress *p, const evolve_event *e, atn_text *t)
{
    char left[24];
    if (p->stopped > 0) {   /* what remains is the comparison: how long it has run is all that is known */
        progress_clock(clock_s() - p->stopped, left);
        text_addf(t, "%s, %s  ", p->phase, left);
        add_best(t, e);
        return;
    }
    if (e->seconds_left >= 0 && isfinite(e->seconds_left)) {
        progress_clock(e->seconds_left, left);
        text_addf(t, "%3.0f%%  %s left  ", 100 * fmin(1, fmax(0, e->done)), left);
    } else {
        progress_clock(e->t, left);
        text_addf(t, "%s  ", left);
    }
    size_t before = t->n;
    add_best(t, e);
    if (t->n > before) text_add(t, "  ");
    if (e->counts.judged) text_addf(t, "%lld judged", (long long)e->counts.judged);
    if (e->counts.per_minute > 0) text_addf(t, ", %.0f/min", e->counts.per_minute);
    if (*p->phase) text_addf(t, "%s%s", e->counts.judged ? "  " : "", p->phase);
}

/* Whether the terminal takes UTF-8, by the usual variables in their order of rank. */
static bool is_utf8(void)
{
    const char *names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (int i = 0; i < ATN_COUNT(names); i++) {
        const char *v = getenv(names[i]);
        if (v && *v) return strstr(v, "UTF-8") || strstr(v, "utf8") || strstr(v, "UTF8") || strstr(v, "utf-8");
    }
    return false;
}

static void draw(atn_progress *p, const evolve_event *e)
{
    enum { BAR = 16 };
    atn_text t = {0};
    int full = (int)(BAR * fmin(1, fmax(0, e->done)));
    bool utf8 = is_utf8();
    for (int i = 0; i < BAR; i++) text_add(&t, i < full ? (utf8 ? "━" : "#") : utf8 ? "╌" : "-");
    text_add(&t, " ");
    add_state(p, e, &t);
    fprintf(stderr, "\r\033[2K%.*s", fit(t.s, term_width() - 1), t.s);
    fflush(stderr);
    p->drawn = true;
    text_free(&t);
}

static void print_json(const atn_progress *p, const evolve_event *e)
{
    if (e->type == EVOLVE_TICK) return;
    char *line = evolve_event_json(e);
    char *result = e->type == EVOLVE_RESULT && e->result ? evolve_result_json(p->options, p->judge, e->result) : NULL;
    size_t n = strlen(line);
    if (result && n && line[n - 1] == '}') { /* the result joins its event; both are objects that we wrote */
        for (char *c = result; *c; c++)
            if (*c == '\n') *c = ' ';
        printf("%.*s,\"result\":%s}\n", (int)n - 1, line, result);
    } else {
        puts(line);
    }
    fflush(stdout);
    free(result);
    free(line);
}

static void say_program(atn_progress *p, const evolve_event *e)
{
    char at[24];
    progress_clock(e->t, at);
    const store_program *q = e->program;
    const char *note = q && q->made.note && *q->made.note ? q->made.note : "";
    progress_say(p, "%s%6s  %.2fx%s [%.2f, %.2f]  #%lld %s%s%s", term_set(stderr, TERM_GREEN), at, e->best_speedup,
                 term_set(stderr, TERM_PLAIN), e->best_low, e->best_high, (long long)e->best,
                 q && q->made.origin ? q->made.origin : "", *note ? ": " : "", note);
}

static void say_controls(atn_progress *p, const evolve_event *e)
{
    const atn_controls *c = e->controls;
    progress_say(p,
                 "        control: %d of %d races of a program with its own copy were called a win%s; gains above %.1f "
                 "%% are seen",
                 c->aa_promoted, c->aa_races, c->aa_promoted ? " (too many: the machine is noisy)" : "",
                 c->can_see_percent);
}

void progress_event(void *ctx, const evolve_event *e)
{
    atn_progress *p = ctx;
    if (e->type == EVOLVE_PHASE) snprintf(p->phase, sizeof p->phase, "%s", e->text);
    if (p->mode == PROGRESS_JSON) print_json(p, e);
    if (p->mode == PROGRESS_QUIET || p->mode == PROGRESS_JSON) return;
    switch (e->type) {
    case EVOLVE_START:
        if (*e->text) progress_say(p, "%s%s", e->text, e->resumed && !strstr(e->text, "resum") ? " (resumed)" : "");
        break;
    case EVOLVE_PHASE:
        if (p->mode == PROGRESS_PLAIN) progress_say(p, "        %s", e->text);
        break;
    case EVOLVE_BEST: say_program(p, e); break;
    case EVOLVE_CONTROL: say_controls(p, e); break;
    case EVOLVE_DEMOTED:
    case EVOLVE_WARNING:
        progress_say(p, "%swarning:%s %s", term_set(stderr, TERM_YELLOW), term_set(stderr, TERM_PLAIN), e->text);
        break;
    case EVOLVE_STOP: progress_say(p, "        stopped: %s", *e->text ? e->text : evolve_stop_text(e->stop)); break;
    default: break;
    }
    if (e->type == EVOLVE_STOP) {
        snprintf(p->phase, sizeof p->phase, "finishing");
        p->stopped = clock_s();
    }
    if (p->mode == PROGRESS_LIVE && e->type != EVOLVE_RESULT) {
        draw(p, e);
    } else if (p->mode == PROGRESS_PLAIN && (e->type == EVOLVE_TICK || e->type == EVOLVE_JUDGED)) {
        double now = clock_s();
        if (now < p->plain_next) return;
        bool first = p->plain_next == 0;
        p->plain_next = now + (p->stopped > 0 ? 2 : 1) * PLAIN_EVERY_S;
        if (first) return;
        atn_text t = {0};
        add_state(p, e, &t);
        progress_say(p, "        %s", t.s);
        text_free(&t);
    }
}
