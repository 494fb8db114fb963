/* The level of isolation, from the layers that the probe found. */
#include <stdio.h>
#include <unistd.h>

#include "judge/link.h"
#include "judge/sandbox.h"
#include "judge/wire.h"

atn_isolation isolation_probe(char *text, size_t room)
{
    int have = sandbox_layers();
    static const struct {
        int layer;
        const char *name;
    } names[] = {{LAYER_SECCOMP, "seccomp"},    {LAYER_LANDLOCK, "Landlock"},
                 {LAYER_SCOPE, "signal scope"}, {LAYER_NAMESPACES, "namespaces (net, ipc, mount)"},
                 {LAYER_UID, "private uid"},    {LAYER_MSEAL, "sealed mappings"}};
    atn_isolation level = (have & LAYER_SECCOMP) && (have & LAYER_LANDLOCK)
                              ? (have & LAYER_NAMESPACES) ? ISOLATION_FULL : ISOLATION_REDUCED
                              : ISOLATION_NONE;
    if (text && room) {
        static const char *const levels[] = {
            [ISOLATION_NONE] = "none", [ISOLATION_REDUCED] = "reduced", [ISOLATION_FULL] = "full"};
        size_t n = (size_t)snprintf(text, room, "%s: rlimits, no-new-privileges", levels[level]);
        for (int i = 0; i < ATN_COUNT(names) && n < room; i++)
            if (have & names[i].layer) n += (size_t)snprintf(text + n, room - n, ", %s", names[i].name);
        const char *sep = "; missing here: ";
        for (int i = 0; i < ATN_COUNT(names) && n < room; i++) {
            if ((have & names[i].layer) || (names[i].layer == LAYER_UID && geteuid() != 0)) continue;
            n += (size_t)snprintf(text + n, room - n, "%s%s", sep, names[i].name);
            sep = ", ";
        }
    }
    return level;
}
