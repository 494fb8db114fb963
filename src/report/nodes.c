/* The machines of a run that was judged elsewhere, from the last "nodes" row of its store. */
#include <dirent.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "report/view.h"
#include "store/store.h"

static void add_controls(atn_text *t, const json_t *node, const char *key, const char *when)
{
    const json_t *c = json_object_get(node, key);
    if (!c) return;
    text_addf(t, ", %s: %lld of %lld equal programs called a win, %lld of %lld known gains seen", when,
              (long long)json_integer_value(json_object_get(c, "aa_promoted")),
              (long long)json_integer_value(json_object_get(c, "aa_races")),
              (long long)json_integer_value(json_object_get(c, "plus_promoted")),
              (long long)json_integer_value(json_object_get(c, "plus_races")));
}

static void add_node(atn_text *t, const json_t *n)
{
    const char *name = json_string_value(json_object_get(n, "node"));
    const char *timing = json_string_value(json_object_get(n, "timing"));
    long long lost = json_integer_value(json_object_get(n, "lost"));
    if (!name || !timing) return;
    if (t->n) text_add(t, "; ");
    text_add(t, name);
    if (!strcmp(timing, "noisy")) text_add(t, " noisy, built and checked but did not time");
    else text_add(t, !strcmp(timing, "quiet") ? " quiet" : " not measured");
    add_controls(t, n, "controls_start", "before");
    add_controls(t, n, "controls_end", "after");
    if (lost) text_addf(t, ", lost %lld time%s", lost, lost == 1 ? "" : "s");
}

void nodes_text(const char *folder, atn_text *out)
{
    atn_store *s = NULL;
    store_measurement *m;
    int n;
    if (store_open(folder, STORE_READ, NULL, 0, &s, NULL)) return;
    if (store_measurements(s, "nodes", &m, &n, NULL) == ATN_OK) {
        json_t *a = n ? json_loads(m[n - 1].json, 0, NULL) : NULL;
        for (size_t i = 0; i < json_array_size(a); i++) add_node(out, json_array_get(a, i));
        json_decref(a);
        store_measurements_free(m, n);
    }
    store_close(s);
}

void nodes_cost(const run_view *v, atn_text *out)
{
    double s = 0;
    for (int i = 0; i < v->n_programs; i++) s += v->programs[i].seconds_build + v->programs[i].seconds_judge;
    text_addf(out, "building and judging took %.3g slot-hours (%.2g s for each of %d programs)", s / 3600,
              v->n_programs ? s / v->n_programs : 0, v->n_programs);
}

void nodes_others(const char *folder, atn_text *out)
{
    char *machines = file_join(folder, "machines");
    DIR *d = opendir(machines);
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.') text_addf(out, "%s%s/%s", out->n ? ", " : "", machines, e->d_name);
    if (d) closedir(d);
    free(machines);
}
