/* CPUID and sysfs: model, features, caches, signature. */
#include "base/cpu.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atn_machine machine;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void add_feature(const char *name)
{
    size_t n = strlen(machine.features);
    snprintf(machine.features + n, sizeof machine.features - n, "%s%s", n ? " " : "", name);
}

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>

static uint64_t xgetbv0(void)
{
    uint32_t a, d;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return (uint64_t)d << 32 | a;
}

static void probe_features(void)
{
    unsigned a, b, c, d;
    static const struct {
        int leaf, sub, reg, bit, state;   /* state: 1 ymm, 2 zmm, 3 tiles must be enabled by the system */
        const char *name;
    } list[] = {
        {1, 0, 2, 12, 1, "fma"},          {1, 0, 2, 29, 1, "f16c"},        {7, 0, 1, 5, 1, "avx2"},
        {7, 0, 1, 16, 2, "avx512f"},      {7, 0, 1, 17, 2, "avx512dq"},    {7, 0, 1, 30, 2, "avx512bw"},
        {7, 0, 1, 31, 2, "avx512vl"},     {7, 0, 2, 11, 2, "avx512vnni"},  {7, 1, 0, 5, 2, "avx512bf16"},
        {7, 1, 0, 4, 1, "avxvnni"},       {7, 0, 3, 23, 2, "avx512fp16"},  {7, 0, 3, 24, 3, "amx_tile"},
        {7, 0, 3, 22, 3, "amx_bf16"},     {7, 0, 3, 25, 3, "amx_int8"},
    };
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1)) return;
    uint64_t x = xgetbv0();
    const bool ok[4] = {true, (x & 6) == 6, (x & 0xe6) == 0xe6, (x & 0x60000) == 0x60000};
    for (int i = 0; i < ATN_COUNT(list); i++) {
        unsigned r[4] = {0};
        if (!__get_cpuid_count((unsigned)list[i].leaf, (unsigned)list[i].sub, &r[0], &r[1], &r[2], &r[3])) continue;
        if (r[list[i].reg] >> list[i].bit & 1 && ok[list[i].state]) add_feature(list[i].name);
    }
}
#elif defined(__aarch64__)
#include <sys/auxv.h>
static void probe_features(void)
{
    unsigned long h = getauxval(AT_HWCAP), h2 = getauxval(AT_HWCAP2);
    add_feature("neon");
    if (h >> 10 & 1) add_feature("fphp");
    if (h >> 20 & 1) add_feature("asimddp");
    if (h >> 22 & 1) add_feature("sve");
    if (h2 >> 13 & 1) add_feature("i8mm");
    if (h2 >> 14 & 1) add_feature("bf16");
}
#else
static void probe_features(void) {}
#endif

bool machine_has(const char *feature)
{
    return machine_lists(machine_get(), feature);
}

bool machine_lists(const atn_machine *m, const char *feature)
{
    size_t n = strlen(feature);
    if (!n) return false;
    for (const char *p = m->features; (p = strstr(p, feature)); p += n)
        if ((p == m->features || p[-1] == ' ') && (p[n] == ' ' || !p[n])) return true;
    return false;
}

static void read_line(const char *path, char *out, size_t room)
{
    out[0] = 0;
    FILE *f = fopen(path, "re");
    if (!f) return;
    if (fgets(out, (int)room, f)) out[strcspn(out, "\n")] = 0;
    fclose(f);
}

static void probe_model(void)
{
    char line[512];
    FILE *f = fopen("/proc/cpuinfo", "re");
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (colon && (!strncmp(line, "model name", 10) || !strncmp(line, "CPU part", 8))) {
            colon += 1 + (colon[1] == ' ');
            colon[strcspn(colon, "\n")] = 0;
            snprintf(machine.cpu, sizeof machine.cpu, "%s", colon);
            break;
        }
    }
    if (f) fclose(f);
    if (!machine.cpu[0]) snprintf(machine.cpu, sizeof machine.cpu, "unknown CPU");
}

static void probe_caches(void)
{
    for (int i = 0; i < 8; i++) {
        char path[128], level[16], type[32], size[32];
        const char *base = "/sys/devices/system/cpu/cpu0/cache/index";
        snprintf(path, sizeof path, "%s%d/level", base, i);
        read_line(path, level, sizeof level);
        snprintf(path, sizeof path, "%s%d/type", base, i);
        read_line(path, type, sizeof type);
        snprintf(path, sizeof path, "%s%d/size", base, i);
        read_line(path, size, sizeof size);
        if (!level[0] || !strcmp(type, "Instruction")) continue;
        int64_t bytes = atoll(size) * (strchr(size, 'M') ? 1048576 : 1024);
        if (level[0] == '1') machine.l1d_bytes = bytes;
        if (level[0] == '2') machine.l2_bytes = bytes;
        if (level[0] == '3') machine.l3_bytes = bytes;
    }
    if (!machine.l1d_bytes) machine.l1d_bytes = 32768;
    if (!machine.l2_bytes) machine.l2_bytes = 524288;
}

static bool has_now(const char *feature) { return strstr(machine.features, feature) != NULL; }

static void probe(void)
{
    cpu_set_t set;
    probe_model();
    probe_features();
    probe_caches();
    machine.cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    const char *isa = has_now("avx512f") && has_now("avx512bw") ? "avx512"
                      : has_now("avx2") && has_now("fma")       ? "avx2"
                      : has_now("neon")                         ? "neon"
                                                                : "generic";
    snprintf(machine.isa, sizeof machine.isa, "%s", isa);
    snprintf(machine.signature, sizeof machine.signature, "%s; %s%s%s%s; L1d %lldK L2 %lldK L3 %lldK", machine.cpu,
             machine.isa, has_now("avx512bf16") || machine_lists(&machine, "bf16") ? "+bf16" : "",
             has_now("amx_bf16") ? "+amx" : "", has_now("sve") ? "+sve" : "", (long long)machine.l1d_bytes / 1024,
             (long long)machine.l2_bytes / 1024, (long long)machine.l3_bytes / 1024);
}

const atn_machine *machine_get(void)
{
    pthread_once(&once, probe);
    return &machine;
}
