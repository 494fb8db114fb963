/* The words on the wire. */
#include "evolve/execute/wire.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "evolve/execute/line.h"
#include "evolve/record.h"

static int text_index(const wire_texts *t, const char *key)
{
    for (int i = 0; i < WIRE_TEXTS; i++)
        if (*key && !strcmp(t->key[i], key)) return i;
    return -1;
}

bool wire_texts_has(const wire_texts *t, const char *key)
{
    return text_index(t, key) >= 0;
}

const char *wire_texts_get(const wire_texts *t, const char *key)
{
    int i = text_index(t, key);
    return i < 0 ? NULL : t->text[i];
}

void wire_texts_put(wire_texts *t, const char *key, const char *text)
{
    int i = t->next++ % WIRE_TEXTS;
    free(t->text[i]);
    t->text[i] = text ? atn_strdup(text) : NULL;
    snprintf(t->key[i], sizeof t->key[i], "%s", key);
}

void wire_texts_free(wire_texts *t)
{
    for (int i = 0; i < WIRE_TEXTS; i++) free(t->text[i]);
    *t = (wire_texts){0};
}

static void copy(char *out, size_t room, const json_t *o, const char *key)
{
    snprintf(out, room, "%s", field_text(o, key));
}

json_t *wire_machine(const atn_machine *m)
{
    json_t *o = json_object();
    json_object_set_new(o, "cpu", record_text(m->cpu));
    json_object_set_new(o, "isa", record_text(m->isa));
    json_object_set_new(o, "features", record_text(m->features));
    json_object_set_new(o, "cpus", json_integer(m->cpus));
    json_object_set_new(o, "l1d", json_integer(m->l1d_bytes));
    json_object_set_new(o, "l2", json_integer(m->l2_bytes));
    json_object_set_new(o, "l3", json_integer(m->l3_bytes));
    json_object_set_new(o, "signature", record_text(m->signature));
    return o;
}

void wire_machine_from(const json_t *o, atn_machine *m)
{
    *m = (atn_machine){.cpus = (int)field_int(o, "cpus"),
                       .l1d_bytes = field_int(o, "l1d"),
                       .l2_bytes = field_int(o, "l2"),
                       .l3_bytes = field_int(o, "l3")};
    copy(m->cpu, sizeof m->cpu, o, "cpu");
    copy(m->isa, sizeof m->isa, o, "isa");
    copy(m->features, sizeof m->features, o, "features");
    copy(m->signature, sizeof m->signature, o, "signature");
}

void wire_node_name(char *out, size_t room)
{
    const char *slurm = getenv("SLURMD_NODENAME");
    snprintf(out, room, "%s", slurm ? slurm : "");
    if (!*out && gethostname(out, room)) snprintf(out, room, "unknown");
    out[room - 1] = 0;
    for (char *c = out; *c; c++)
        if (*c == '/' || (unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f) *c = '_';
}

json_t *wire_built(const build_result *b)
{
    json_t *o = json_pack("{s:s,s:s,s:s,s:f}", "reason", reason_word(b->reason), "stage", stage_name(b->stage), "object",
                          b->object_hash, "seconds", b->seconds);
    json_object_set_new(o, "evidence", record_text(b->evidence));
    json_object_set_new(o, "compiler", record_text(b->compiler));
    json_object_set_new(o, "flags", record_text(b->flags));
    return o;
}

bool wire_built_from(const json_t *o, build_result *b)
{
    int r = 0, s = 0;
    while (r < ATN_REASON_COUNT && strcmp(field_text(o, "reason"), reason_word((atn_reason)r))) r++;
    while (s < ATN_STAGE_COUNT && strcmp(field_text(o, "stage"), stage_name((atn_stage)s))) s++;
    *b = (build_result){.reason = (atn_reason)r, .stage = (atn_stage)s, .so_fd = -1,
                        .seconds = field_real(o, "seconds")};
    copy(b->object_hash, sizeof b->object_hash, o, "object");
    copy(b->evidence, sizeof b->evidence, o, "evidence");
    copy(b->compiler, sizeof b->compiler, o, "compiler");
    copy(b->flags, sizeof b->flags, o, "flags");
    return r < ATN_REASON_COUNT && s < ATN_STAGE_COUNT;
}

json_t *wire_cases(const evolve_judge *j, int n, bool final)
{
    json_t *a = json_array();
    for (int i = 0; i < n; i++) {
        char text[200] = "";
        const atn_problem *p = j->case_problem ? j->case_problem(j->ctx, i, final) : NULL;
        if (p) problem_print(p, text, sizeof text);
        json_array_append_new(a, json_string(text));
    }
    return a;
}

/* Eight hex digits for the bits of each float: a third of what JSON's own numbers would take, and exact. */
static char *floats_text(const float *d, int n)
{
    char *s = atn_alloc(8 * (size_t)n + 1), *at = s;
    for (int i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &d[i], sizeof bits);
        for (int k = 28; k >= 0; k -= 4) *at++ = "0123456789abcdef"[bits >> k & 15];
    }
    return s;
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool floats_from(const char *s, float *d, int n)
{
    for (int i = 0; i < n; i++) {
        uint32_t bits = 0;
        for (int k = 0; k < 8; k++, s++) {
            if (digit(*s) < 0) return false;
            bits = bits << 4 | (uint32_t)digit(*s);
        }
        memcpy(&d[i], &bits, sizeof bits);
    }
    return true;
}

json_t *wire_pairs(const race_pairs *p)
{
    if (!p || !p->n) return NULL;
    json_t *cases = json_array();
    for (int i = 0; i < p->n; i++) {
        const race_case *c = &p->cases[i];
        char *d = floats_text(c->d, c->n);
        json_array_append_new(cases, json_pack("{s:i,s:o,s:s}", "case", c->case_index, "effect", record_real(c->effect),
                                               "d", d));
        free(d);
    }
    return json_pack("{s:s,s:o}", "kind", p->kind, "cases", cases);
}

race_pairs *wire_pairs_from(const json_t *o)
{
    static const char *const kinds[] = {"screen", "race", "confirm"};
    const json_t *cases = json_object_get(o, "cases");
    size_t n = json_array_size(cases);
    bool ok = n > 0 && n <= ATN_CASES_MAX;
    race_pairs *p = ok ? atn_alloc(sizeof *p) : NULL;
    if (!ok) return NULL;
    p->cases = atn_alloc(n * sizeof *p->cases);
    p->n = (int)n;
    for (int i = 0; i < ATN_COUNT(kinds); i++)
        if (!strcmp(field_text(o, "kind"), kinds[i])) p->kind = kinds[i];
    for (int i = 0; i < p->n; i++) {
        const json_t *c = json_array_get(cases, (size_t)i);
        const char *d = field_text(c, "d");
        size_t pairs = strlen(d) / 8;
        int64_t index = field_int(c, "case");
        ok &= p->kind && index >= 0 && index < ATN_CASES_MAX && pairs <= WIRE_PAIRS && strlen(d) % 8 == 0;
        p->cases[i] = (race_case){.case_index = (int)index, .n = ok ? (int)pairs : 0, .effect = field_real(c, "effect")};
        p->cases[i].d = atn_alloc(ATN_MAX(pairs, 1) * sizeof(float));
        ok = ok && floats_from(d, p->cases[i].d, p->cases[i].n);
    }
    if (ok) return p;
    race_pairs_free(p);
    return NULL;
}

#define METRICS(X)                                                                                                     \
    X(accuracy_score) X(performance_score) X(memory_efficiency) X(stability_score) X(success_rate) X(combined_score)

json_t *wire_metrics(const seed_metrics *m)
{
    json_t *o = json_object();
#define ATN_X(name) json_object_set_new(o, #name, record_real(m->name));
    METRICS(ATN_X)
#undef ATN_X
    return o;
}

void wire_metrics_from(const json_t *o, seed_metrics *m)
{
#define ATN_X(name)                                                                                                    \
    m->name = json_is_number(json_object_get(o, #name)) ? field_real(o, #name) : (double)NAN;
    METRICS(ATN_X)
#undef ATN_X
}
