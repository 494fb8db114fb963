/* Nearest by what shapes a kernel: instruction set first (it decides registers and tiles), then matrix and bf16 units, then
 * the caches that tiles were fitted to, then how many cores share memory.
 *
 * A run starts from one neighbourhood: each starting program costs seconds of judging, and a champion of another kind
 * of machine has only lost its own fitting here. The families that ship start in any case. */
#include "evolve/champions.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"

/* Machines whose distance differs by less are equally near: less than one doubling of a cache. */
static const double SAME_CLASS = 1;

typedef struct {
    char cpu[96], units[64];             /* "avx512+bf16+amx" */
    double cache_kb[3];                  /* L1d, L2, L3 */
    int cpus;
} machine_class;

/* "CPU; units; L1d 48K L2 2048K L3 307200K" */
static bool class_read(const char *signature, int cpus, machine_class *c)
{
    *c = (machine_class){.cpus = cpus};
    const char *caches = strstr(signature, "; L1d "), *units = NULL;
    for (const char *p = signature; caches && (p = strstr(p, "; ")) && p < caches; p += 2) units = p;
    if (!units) return false;
    snprintf(c->cpu, sizeof c->cpu, "%.*s", (int)(units - signature), signature);
    snprintf(c->units, sizeof c->units, "%.*s", (int)(caches - units - 2), units + 2);
    return sscanf(caches, "; L1d %lfK L2 %lfK L3 %lfK", &c->cache_kb[0], &c->cache_kb[1], &c->cache_kb[2]) == 3;
}

/* Doublings between two sizes; nothing where one is unknown. */
static double octaves(double a, double b)
{
    return a > 0 && b > 0 ? fabs(log2(a / b)) : 0;
}

static double isa_distance(const char *a, const char *b)
{
    static const char *const ladder[] = {"generic", "avx2", "avx512"};
    int step[2] = {-1, -1};
    const char *const word[2] = {a, b};
    for (int w = 0; w < 2; w++)
        for (int i = 0; i < ATN_COUNT(ladder); i++)
            if (strlen(ladder[i]) == strcspn(word[w], "+") && text_starts(word[w], ladder[i])) step[w] = i;
    if (step[0] >= 0 && step[1] >= 0) return 8 * abs(step[0] - step[1]);
    const size_t n = strcspn(a, "+");
    return n == strcspn(b, "+") && !strncmp(a, b, n) ? 0 : 64;
}

double champions_distance(const char *a, int a_cpus, const char *b, int b_cpus)
{
    static const char *const units[] = {"+bf16", "+amx", "+sve"};
    static const double cache_weight[3] = {1, 1, 0.25};   /* the last level is shared with whoever runs beside us */
    machine_class x, y;
    if (!class_read(a, a_cpus, &x) || !class_read(b, b_cpus, &y)) return -1;
    double d = isa_distance(x.units, y.units);
    for (int i = 0; i < ATN_COUNT(units); i++) d += 2 * (!strstr(x.units, units[i]) != !strstr(y.units, units[i]));
    for (int i = 0; i < 3; i++) d += cache_weight[i] * octaves(x.cache_kb[i], y.cache_kb[i]);
    d += 0.25 * octaves(x.cpus, y.cpus);
    return d + 0.5 * (strcmp(x.cpu, y.cpu) != 0);
}

/* The signature in the record beside a champion; "" where there is none. */
static char *signature_of(const char *source, int *cpus)
{
    char *path = atn_format("%.*s.json", (int)strlen(source) - 2, source);
    json_t *record = json_load_file(path, 0, NULL), *machine = json_object_get(record, "machine");
    const char *text = json_string_value(json_object_get(machine, "signature"));
    char *out = atn_strdup(text ? text : "");
    *cpus = (int)json_integer_value(json_object_get(machine, "cpus"));
    json_decref(record);
    free(path);
    return out;
}

static void add_name(atn_text *t, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    text_addf(t, "%s%.*s", t->n ? ", " : "", (int)strlen(name) - 2, name);
}

int champions_nearest(const atn_machine *here, char **paths, int n, char **text)
{
    *text = NULL;
    if (n == 0) return 0;
    double *distance = atn_alloc((size_t)n * sizeof *distance), least = INFINITY;
    char *nearest = atn_strdup("");
    for (int i = 0; i < n; i++) {
        int cpus;
        char *signature = signature_of(paths[i], &cpus);
        distance[i] = champions_distance(signature, cpus, here->signature, here->cpus);
        if (distance[i] >= 0 && distance[i] < least) {
            least = distance[i];
            free(nearest);
            nearest = atn_strdup(signature);
        }
        free(signature);
    }
    atn_text names = {0};
    int kept = 0;
    for (int i = 0; i < n; i++) {
        if (distance[i] >= least + SAME_CLASS) {
            free(paths[i]);
            continue;
        }
        add_name(&names, paths[i]);
        paths[kept++] = paths[i];
    }
    const char *how = isinf(least)       ? ", whose machines are not recorded"
                      : least == 0       ? ", evolved on a machine like this one"
                      : least < SAME_CLASS ? ", evolved on a machine of this class: "
                                         : ", evolved on the nearest machine known: ";
    *text = atn_format("starting from champion%s %s%s%s; %d of %d", kept == 1 ? "" : "s", names.s, how,
                       least > 0 && !isinf(least) ? nearest : "", kept, n);
    text_free(&names);
    free(nearest);
    free(distance);
    return kept;
}
