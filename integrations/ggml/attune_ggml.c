/* libggml-attune.so: attention of an unmodified llama.cpp (any program with ggml's CPU backend) by attune's kernels.
 *
 *     GGML_BACKEND_PATH=/path/libggml-attune.so llama-cli -m MODEL ...         (a program that loads backends)
 *     ggml_backend_load("/path/libggml-attune.so")                             (before the model is loaded)
 *
 *     ATTUNE_KERNEL=/path/best_program.so    the evolved kernel, or the folder of a run after `attune build FOLDER`; without
 *                                            it the best that the library knows
 *     ATTUNE_REPORT=FILE                     at exit: counts and kernel as JSON (- is stderr)
 *     ATTUNE_GGML_ROUTE=hook|device          this way in and no other
 *
 * There are two ways in: a hook in the CPU backend (ggml_hook.c), and where that cannot be placed a device beside it
 * (ggml_device.c).
 *
 * Invariants: an operator that we do not take (quantised keys, odd strides) is computed by ggml exactly as without us. A
 * host whose layout is not the one declared in ggml_layout.h is refused with one line on stderr before anything of it
 * is changed. Symbols of the host are found at run time; never unloaded, since the host keeps pointers to us. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ggml_plugin.h"

#define PUBLIC __attribute__((visibility("default")))

enum { API_OLDEST = 2, API_NEWEST = 3 };

plugin_state plugin = {.enabled = true};
static const char *route;          /* "hook" or "device"; NULL: none */
static char nonce_path[512];

const char *plugin_why(const char *format, ...)
{
    static char text[400];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    return text;
}

/* ---- finding the host ---- */

void *plugin_find(const char *name)
{
    void *f = dlsym(RTLD_DEFAULT, name);
    for (int i = 0; !f && i < 3; i++)
        if (plugin.objects[i]) f = dlsym(plugin.objects[i], name);
    return f;
}

const char *plugin_find_all(const plugin_wanted *wanted, int n)
{
    for (int i = 0; i < n; i++)
        if (!(*(void **)wanted[i].to = plugin_find(wanted[i].name)))
            return plugin_why("cannot find '%s' in this ggml (built with hidden symbols, or older than August 2025)",
                              wanted[i].name);
    return NULL;
}

static void *object_at(const void *address)
{
    Dl_info where;
    return address && dladdr(address, &where) && where.dli_fname ? dlopen(where.dli_fname, RTLD_NOW | RTLD_NOLOAD) : NULL;
}

static const char *find_host(const void *caller)
{
    plugin.objects[0] = object_at(caller);
    /* the registry first: through its CPU entry we find a CPU backend that was itself loaded at run time */
    *(void **)&plugin.reg_by_name = plugin_find("ggml_backend_reg_by_name");
    if (!plugin.reg_by_name)
        return plugin_why("cannot find 'ggml_backend_reg_by_name': this program does not show ggml's functions");
    const host_reg *cpu = plugin.reg_by_name("CPU");
    if (!cpu) return plugin_why("ggml's CPU backend is not loaded yet: load the plug-in after it");
    plugin.objects[1] = object_at((const void *)cpu->get_name);
    plugin.objects[2] = object_at((const void *)plugin.reg_by_name);
    const plugin_wanted wanted[] = {
        {"ggml_op_name", &plugin.op_name},
        {"ggml_version", &plugin.version},
        {"ggml_tensor_overhead", &plugin.tensor_overhead},
    };
    plugin.api = cpu->api_version;
    return plugin_find_all(wanted, sizeof wanted / sizeof *wanted);
}

static const char *check_host(void)
{
    const char *version = plugin.version();
    int major = 0, minor = 0;
    if (plugin.api < API_OLDEST || plugin.api > API_NEWEST)
        return plugin_why("plug-in version %d of ggml %s is not known here (known: %d to %d)", plugin.api, version,
                          API_OLDEST, API_NEWEST);
    if (sscanf(version, "%d.%d", &major, &minor) != 2 || (major == 0 && minor < 10))
        return plugin_why("ggml %s has an older layout; 0.10 or later is needed", version);
    const size_t overhead = plugin.tensor_overhead(); /* the tensor and ggml's own 32-byte header of it */
    if (overhead != sizeof(host_tensor) + 32) return plugin_why("ggml %s lays tensors out in an unknown way", version);
    for (int op = 1; op < 256 && !plugin.flash_attn; op++) {
        const char *name = plugin.op_name(op);
        if (!name || !strcmp(name, "NONE")) break;
        if (!strcmp(name, "FLASH_ATTN_EXT")) plugin.flash_attn = op;
    }
    return plugin.flash_attn ? NULL : plugin_why("ggml %s has no FLASH_ATTN_EXT", version);
}

/* ---- the report ---- */

/* For tests and workloads: counts so far. Returns 0, or -1 where this host was refused. */
PUBLIC int attune_ggml_counts(planner_counts *out, long long *not_taken, char *kernel, int room)
{
    if (!plugin.plans) return -1;
    planner_read(plugin.plans, out);
    *not_taken = plugin.declined;
    planner_kernel(plugin.plans, kernel, room);
    return 0;
}

PUBLIC void attune_ggml_kernels(char *out, int room)
{
    if (plugin.plans) planner_kernels(plugin.plans, out, room);
}

/* on 0: ggml's own attention in every graph made from now on; with the hook, in every one computed. */
PUBLIC void attune_ggml_enable(int on)
{
    plugin.enabled = on != 0;
}

PUBLIC void attune_ggml_repeat(int n)
{
    if (plugin.plans) planner_repeat(plugin.plans, n);
}

/* "hook" or "device"; NULL: this host was refused, or has not loaded us. */
PUBLIC const char *attune_ggml_route(void)
{
    return route;
}

static void report(void)
{
    const char *path = getenv("ATTUNE_REPORT");
    planner_counts c;
    char kernel[64], kernels[8192];
    if (!path || !plugin.plans) return;
    FILE *f = strcmp(path, "-") ? fopen(path, "w") : stderr;
    if (!f) return;
    planner_read(plugin.plans, &c);
    planner_kernel(plugin.plans, kernel, sizeof kernel);
    planner_kernels(plugin.plans, kernels, sizeof kernels);
    fprintf(f, "{\"runtime\": \"ggml %s\", \"route\": \"%s\", \"kernel\": \"%s\", \"program\": \"%s\", "
               "\"calls\": %lld, \"evolved_calls\": %lld, \"declined\": %lld, \"attention_seconds\": %.6f, "
               "\"kernels\": %s}\n",
            plugin.version(), route, kernel, nonce_path, (long long)c.calls, (long long)c.evolved,
            (long long)plugin.declined, (double)c.ns * 1e-9, kernels);
    if (f != stderr) fclose(f);
}

/* ---- the entry ---- */

static const char *name_of_hook(host_reg *reg)
{
    (void)reg;
    return "attune-hook";
}

static const char *name_of_device(host_reg *reg)
{
    (void)reg;
    return "attune-device";
}

static size_t no_devices(host_reg *reg)
{
    (void)reg;
    return 0;
}

static void *no_device(host_reg *reg, size_t index)
{
    (void)reg, (void)index;
    return NULL;
}

static void *no_function(host_reg *reg, const char *name)
{
    (void)reg, (void)name;
    return NULL;
}

/* ggml's line about a backend that it loaded has our name, so it says which way it was. */
static host_reg by_hook = {.get_name = name_of_hook, .get_device_count = no_devices, .get_device = no_device,
                           .get_proc_address = no_function};
static host_reg by_device = {.get_name = name_of_device, .get_device_count = device_count, .get_device = device_get,
                             .get_proc_address = device_function};
static host_reg *in_use;           /* NULL: refused */

static const char *make_plans(bool pools)
{
    const char *own = getenv("ATTUNE_KERNEL");
    atn_error err;
    planner_options o = {.host_workspace = 1, .own_pools = pools};
    if (own && *own) {
        if (strchr(own, '/') || (strlen(own) > 3 && !strcmp(own + strlen(own) - 3, ".so"))) {
            if (atn_kernel_load(own, NULL, &o.table, &err) != ATN_OK) return plugin_why("%s", err.text);
            snprintf(nonce_path, sizeof nonce_path, "%s", own);
        } else o.kernel = own;
    }
    return planner_new(&o, &plugin.plans, &err) == ATN_OK ? NULL : plugin_why("%s", err.text);
}

/* Puts us into the host. NULL: done, else why not. */
static const char *enter(const void *caller)
{
    const char *asked = getenv("ATTUNE_GGML_ROUTE"), *why, *no_hook = NULL;
    char text[400];
    if (asked && !*asked) asked = NULL;
    if (asked && strcmp(asked, "hook") && strcmp(asked, "device"))
        return plugin_why("ATTUNE_GGML_ROUTE is '%s'; it must be hook or device", asked);
    if ((why = find_host(caller)) || (why = check_host())) return why;
    if (!asked || !strcmp(asked, "hook")) {
        if (!(no_hook = hook_find())) {
            if ((why = make_plans(false)) || (why = hook_place())) return why;
            route = "hook";
            in_use = &by_hook;
            return NULL;
        }
        if (asked) return no_hook;
        snprintf(text, sizeof text, "%s", no_hook);
    }
    if ((why = device_find(&by_device, !no_hook))) return no_hook ? plugin_why("%s; for the device: %s", text, why) : why;
    if ((why = make_plans(true))) return why;
    fprintf(stderr, "attune: %s; so attention is a device, for which flash attention must be on ('auto' leaves it "
            "off)\n", no_hook ? text : "ATTUNE_GGML_ROUTE=device");
    route = "device";
    in_use = &by_device;
    return NULL;
}

/* ggml calls this once or several times, from ggml_backend_load or ggml_backend_load_all. NULL: not loaded. */
PUBLIC host_reg *ggml_backend_init(void)
{
    static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
    static bool tried;
    const void *caller = __builtin_return_address(0);
    pthread_mutex_lock(&once);
    if (!tried) {
        const char *why = enter(caller);
        Dl_info self;
        tried = true;
        if (why) {
            planner_free(plugin.plans);
            plugin.plans = NULL;
            fprintf(stderr, "attune: %s; ggml's own attention runs\n", why);
        } else {
            atexit(report);
            in_use->api_version = plugin.api;
            /* never unloaded: the host keeps pointers to us */
            if (dladdr((void *)in_use, &self)) dlopen(self.dli_fname, RTLD_NOW | RTLD_NODELETE | RTLD_NOLOAD);
        }
    }
    pthread_mutex_unlock(&once);
    return in_use;
}
