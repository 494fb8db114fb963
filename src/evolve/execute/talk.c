/* What pilots say: who they are, which class and node they belong to, what they found. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "evolve/execute/fleet_int.h"
#include "evolve/execute/pilot.h"
#include "evolve/record.h"

static fleet_node *node_of(atn_fleet *f, const char *name, int cls)
{
    for (int i = 0; i < f->n_nodes; i++)
        if (f->node[i]->cls == cls && !strcmp(f->node[i]->name, name)) return f->node[i];
    f->node = atn_realloc(f->node, (size_t)(f->n_nodes + 1) * sizeof *f->node);
    fleet_node *n = f->node[f->n_nodes++] = atn_alloc(sizeof *n);
    snprintf(n->name, sizeof n->name, "%s", name);
    n->cls = cls;
    return n;
}

static void refuse(atn_fleet *f, fleet_pilot *p, const char *why)
{
    fleet_note(f, -1, "a pilot on %s was sent away: %s", *p->name ? p->name : "an unknown node", why);
    pilot_tell(f, p, json_pack("{s:s}", "t", "bye"));
    pilot_close(f, p);
    p->state = PILOT_GONE;
    f->refused++;
    snprintf(f->why_refused, sizeof f->why_refused, "%s", why);
}

static void on_hello(atn_fleet *f, fleet_pilot *p, const json_t *m)
{
    char why[300] = "";
    snprintf(p->name, sizeof p->name, "%s", field_text(m, "node"));
    wire_machine_from(m, &p->machine);
    if (field_int(m, "protocol") != PILOT_PROTOCOL || strcmp(field_text(m, "version"), ATTUNE_VERSION))
        snprintf(why, sizeof why, "it is attune %.40s with protocol %d, this is %s with %d; install the same version "
                 "(attune worker-bundle)", field_text(m, "version"), (int)field_int(m, "protocol"), ATTUNE_VERSION,
                 PILOT_PROTOCOL);
    else if (p->machine.cpus < f->o->threads)
        snprintf(why, sizeof why, "it may use %d CPU, kernels run on %d threads; ask for --cpus-per-task=%d",
                 p->machine.cpus, f->o->threads, f->o->threads);
    if (*why) {
        refuse(f, p, why);
        return;
    }
    const char *job = field_text(m, "slurm_job");
    bool own = launch_makes_jobs(f) && *job && strspn(job, "0123456789") == strlen(job);
    snprintf(p->job, sizeof p->job, "%s", own ? job : "");
    p->state = PILOT_OPENING;
    json_t *q = json_pack("{s:s,s:O,s:i,s:f,s:b,s:f,s:b}", "t", "open", "suite", f->suite, "threads", f->o->threads,
                          "tolerance", f->o->tolerance, "unsafe", f->o->unsafe, "beat_s", f->x.beat_s, "own_job", own);
    if (f->o->cc) json_object_set_new(q, "cc", record_text(f->o->cc));
    pilot_tell(f, p, q);
}

static void slug(const char *cpu, const char *isa, const char *compiler, char *out, size_t room)
{
    char all[300];
    size_t n = 0;
    snprintf(all, sizeof all, "%s %s %s", cpu, isa, compiler);
    for (const char *c = all; *c && n + 1 < room; c++) {
        if (isalnum((unsigned char)*c) || *c == '.') out[n++] = (char)tolower((unsigned char)*c);
        else if (n && out[n - 1] != '-') out[n++] = '-';
    }
    while (n && out[n - 1] == '-') n--;
    out[n] = 0;
}

static int class_of(atn_fleet *f, const fleet_pilot *p, const json_t *m)
{
    const char *compiler = field_text(m, "compiler");
    for (int i = 0; i < f->n_classes; i++)
        if (!strcmp(f->cls[i].machine.signature, p->machine.signature) && !strcmp(f->cls[i].judge.compiler, compiler))
            return i;
    if (f->n_classes == FLEET_CLASSES_MAX) return -1;
    fleet_class *c = &f->cls[f->n_classes];
    c->machine = p->machine;
    c->peaks = (atn_peaks){field_real(m, "fma_gflops"), field_real(m, "fma_256_gflops"), field_real(m, "read_gbs")};
    slug(c->machine.cpu, c->machine.isa, compiler, c->word, sizeof c->word);
    for (int i = 0; i < f->n_classes; i++)
        if (!strcmp(f->cls[i].word, c->word)) { /* the same name, other caches */
            size_t n = strlen(c->word);
            snprintf(c->word + n, sizeof c->word - n, "-%d", f->n_classes + 1);
        }
    const json_t *cases = json_object_get(m, "cases");
    for (size_t i = 0; i < json_array_size(cases) && i < ATN_CASES_MAX; i++)
        c->has_case[i] = problem_parse(json_string_value(json_array_get(cases, i)), &c->cases[i], NULL) == ATN_OK;
    judge_init(f, f->n_classes, compiler, field_text(m, "judge"));
    return f->n_classes++;
}

static void on_ready(atn_fleet *f, fleet_pilot *p, const json_t *m)
{
    if (*field_text(m, "error")) {
        refuse(f, p, field_text(m, "error"));
        return;
    }
    p->cls = class_of(f, p, m);
    if (p->cls < 0) {
        refuse(f, p, "there are more kinds of machines than one run can keep apart");
        return;
    }
    if (strcmp(field_text(m, "judge"), f->cls[p->cls].judge.version)) {
        refuse(f, p, "it judges by other rules");
        return;
    }
    p->node = node_of(f, p->name, p->cls);
    p->node->pilots++;
    p->node->cpus = p->machine.cpus;
    p->node->fma_gflops = field_real(m, "fma_gflops");
    p->state = PILOT_READY;
    p->delay = 0;
    f->ever_ready = true;
    pilot_offer(f, p);
}

static void node_proved(atn_fleet *f, fleet_node *n, const atn_controls *c)
{
    bool noisy = c->aa_promoted > 0 || (c->plus_races > 0 && 2 * c->plus_promoted < c->plus_races);
    if (!n->has_start) n->start = *c, n->has_start = true;
    else n->end = *c, n->has_end = true;
    n->state = noisy ? NODE_NOISY : NODE_QUIET;
    if (noisy)
        fleet_note(f, n->cls, "%s is noisy (a kernel beat its own copy %d of %d times, a known gain was seen %d of %d times): it "
                   "builds and checks, and does not time", n->name, c->aa_promoted, c->aa_races, c->plus_promoted,
                   c->plus_races);
    bool quiet = false;
    for (int i = 0; i < f->n_nodes; i++)
        quiet |= f->node[i]->cls == n->cls && f->node[i]->state != NODE_NOISY;
    if (!quiet && noisy)
        fleet_note(f, n->cls, "no node of this kind is quiet: races wait; ask for --exclusive nodes, or for fewer slots on each");
}

static void on_done(atn_fleet *f, fleet_pilot *p, json_t *m)
{
    fleet_task *t = p->task;
    if (!t || t->id != field_int(m, "id")) return; /* answered before, or not asked */
    fleet_node *node = p->node;
    bool proof = t->proves != NULL;
    p->task = NULL;
    f->counts.answers++;
    bool blames = t->kind == TASK_JUDGE && *field_text(m, "incumbent_failed"); /* not its machine, but the incumbent */
    if (*field_text(m, "error") && !blames) {
        t->errors++;
        t->status = field_int(m, "status") ? (atn_status)field_int(m, "status") : ATN_PROCESS;
        snprintf(t->error, sizeof t->error, "%s: %.500s", node->name, field_text(m, "error"));
        fleet_note(f, p->cls, "pilot %d on %s could not do its work: %.500s", p->index, node->name, field_text(m, "error"));
        bool bad = ++p->errors >= FLEET_ERRORS_MAX;
        if (bad) {
            p->delay = 5;
            pilot_lost(f, p, "three failures in a row");
        }
        task_ask_again(f, t);
        if (!bad) pilot_offer(f, p);
        return;
    }
    p->errors = 0;
    t->status = ATN_OK;
    if (t->proves) {
        atn_controls c;
        if (controls_from_json(field_text(m, "controls"), &c)) node_proved(f, t->proves, &c);
    }
    atn_verdict v;
    if (t->kind == TASK_JUDGE && t->untimed && !verdict_from_json(field_text(m, "race"), &v, NULL) && v.correct) {
        t->checked = true; /* right: now it wants a quiet node, */
        t->prefer = -1;    /* whichever */
        if (t->cancelled) task_end(f, t);
        else task_submit(f, t, true);
    } else {
        t->reply = json_incref(m);
        t->prefer = p->index;
        bool own = t->proves && !t->waited_for; /* asked by ourselves: nobody takes the answer */
        t->cancelled |= own;
        task_end(f, t);
    }
    for (int i = 0; i < f->n_pilots && proof && f->n_idle; i++) pilot_again(f, f->pilot[i]);
    pilot_offer(f, p);
}

static void on_message(atn_fleet *f, fleet_pilot *p, json_t *m)
{
    const char *word = field_text(m, "t");
    f->counts.messages++;
    if (!strcmp(word, "beat")) pilot_tell(f, p, json_pack("{s:s}", "t", "beat"));
    else if (!strcmp(word, "hello") && p->state == PILOT_STARTING) on_hello(f, p, m);
    else if (!strcmp(word, "ready") && p->state == PILOT_OPENING) on_ready(f, p, m);
    else if (!strcmp(word, "done") && p->state == PILOT_READY) on_done(f, p, m);
    else if (!strcmp(word, "leaving")) {
        p->leaving = true; /* what it has begun it may still end */
        pilot_busy(f, p);
    }
}

void pilot_hear(atn_fleet *f, fleet_pilot *p)
{
    if (!pilot_open(p)) return;
    if (link_read(&p->link)) p->heard = clock_s();
    for (json_t *m; pilot_open(p) && (m = link_next(&p->link));) {
        on_message(f, p, m);
        json_decref(m);
    }
    if (pilot_open(p) && p->link.ended) pilot_lost(f, p, p->leaving ? "it left" : "the connection ended");
}
