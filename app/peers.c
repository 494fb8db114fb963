/* JSON lines to and from tools/peers/peer.py. */
#include "peers.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "cmd.h"

const char *const peer_names[] = {"torch-flash", "torch-math", "ggml", "openvino", "onnxruntime", "mlx", NULL};

enum { ANSWER_SECONDS = 180, ANSWER_BYTES = 4096 };

/* $ATTUNE_PEERS/bin/python, else that of the named folder in the cache. */
static char *python_in(const char *name)
{
    const char *own = getenv("ATTUNE_PEERS"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    return own && *own       ? atn_format("%s/bin/python", own)
           : cache && *cache ? atn_format("%s/attune/%s/bin/python", cache, name)
                             : atn_format("%s/.cache/attune/%s/bin/python", home ? home : "", name);
}

atn_status peer_python(char **out, atn_error *err)
{
    *out = python_in("peers");
    if (file_exists(*out)) return ATN_OK;
    atn_status s = atn_fail(err, ATN_NOT_FOUND, "no peers at '%s'; run tools/peers/install (3 GB of downloads)", *out);
    free(*out);
    *out = NULL;
    return s;
}

atn_status runtime_python(char **out, atn_error *err)
{
    *out = python_in("runtimes");
    if (file_exists(*out)) return ATN_OK;
    char *peers = python_in("peers"); /* holds them too where somebody said so */
    if (file_exists(peers)) {
        free(*out);
        *out = peers;
        return ATN_OK;
    }
    free(peers);
    atn_status s = atn_fail(err, ATN_NOT_FOUND, "no runtimes at '%s'; run 'tools/peers/install --models' (0.8 GB of "
                            "downloads)", *out);
    free(*out);
    *out = NULL;
    return s;
}

atn_status peer_start(atn_peer *p, const char *name, const char *python, int threads, atn_error *err)
{
    int to[2], from[2];
    *p = (atn_peer){.name = name, .to = -1, .from = -1};
    if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC)) return atn_fail(err, ATN_IO, "cannot make a pipe: %s", strerror(errno));
    posix_spawn_file_actions_t fa;
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_adddup2(&fa, to[0], 0);
    posix_spawn_file_actions_adddup2(&fa, from[1], 1);
    if (!getenv("ATTUNE_PEERS_VERBOSE")) posix_spawn_file_actions_addopen(&fa, 2, "/dev/null", O_WRONLY, 0);
    char count[32];
    snprintf(count, sizeof count, "%d", threads);
    setenv("OMP_NUM_THREADS", count, 1);
    setenv("OMP_WAIT_POLICY", "PASSIVE", 1);   /* a peer's idle threads must not spin beside our turn */
    setenv("KMP_BLOCKTIME", "0", 1);
    char *script = file_join(file_home(), "tools/peers/peer.py");
    char *argv[] = {(char *)python, script, NULL};
    extern char **environ;
    int e = posix_spawn(&p->pid, python, &fa, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&fa);
    free(script);
    close(to[0]);
    close(from[1]);
    p->to = to[1];
    p->from = from[0];
    if (!e) return ATN_OK;
    p->pid = 0; /* bench goes on, and says so in this peer's rows */
    peer_stop(p);
    return atn_fail(err, ATN_PROCESS, "cannot start '%s': %s", python, strerror(e));
}

void peer_stop(atn_peer *p)
{
    if (p->to >= 0) close(p->to);
    if (p->from >= 0) close(p->from);
    if (p->pid > 0) {
        kill(p->pid, SIGKILL);
        waitpid(p->pid, NULL, 0);
    }
    p->to = p->from = -1;
    p->pid = 0;
}

/* Sends one request (stolen) and reads one line of answer. */
static atn_status ask(atn_peer *p, json_t *request, json_t **answer, atn_error *err)
{
    char line[ANSWER_BYTES];
    size_t n = 0;
    char *text = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    dprintf(p->to, "%s\n", text);
    free(text);
    int64_t deadline = clock_ns() + ANSWER_SECONDS * 1000000000LL;
    while (n < sizeof line - 1 && (n == 0 || line[n - 1] != '\n')) {
        struct pollfd f = {.fd = p->from, .events = POLLIN};
        int left = (int)((deadline - clock_ns()) / 1000000), ready = left > 0 ? poll(&f, 1, left) : 0;
        if (ready < 0 && errno == EINTR && !interrupted) continue;
        if (ready < 0 && interrupted) {
            peer_stop(p);
            return atn_fail(err, ATN_CANCELLED, "interrupted");
        }
        ssize_t got = ready > 0 ? read(p->from, line + n, sizeof line - 1 - n) : 0;
        if (got <= 0) {
            peer_stop(p);
            return atn_fail(err, ATN_PROCESS, "%s %s; ATTUNE_PEERS_VERBOSE=1 lets its own messages through", p->name,
                            ready > 0 ? "died" : "did not answer in time");
        }
        n += (size_t)got;
    }
    *answer = json_loadb(line, n, 0, NULL);
    return *answer ? ATN_OK : atn_fail(err, ATN_FORMAT, "%s answered nonsense", p->name);
}

atn_status peer_open(atn_peer *p, const atn_problem *q, int threads, const char *path, const int64_t offset[4], atn_error *err)
{
    json_t *a = NULL, *problem = json_pack("{s:i s:i s:i s:i s:i s:i s:i s:i s:f s:s s:s}", "B", q->B, "Hq", q->Hq, "Hkv", q->Hkv,
        "Sq", q->Sq, "Skv", q->Skv, "D", q->D, "Dv", q->Dv, "causal", q->causal,
        "scale", q->scale != 0 ? (double)q->scale : 1 / sqrt(q->D), "dtype", dtype_name(q->dtype_q), "kv", dtype_name(q->dtype_kv));
    json_t *where = json_pack("{s:I s:I s:I s:I}", "q", (json_int_t)offset[0], "k", (json_int_t)offset[1], "v", (json_int_t)offset[2],
                              "o", (json_int_t)offset[3]);
    atn_status s = ask(p, json_pack("{s:s s:s s:s s:i s:o s:o}", "op", "open", "peer", p->name, "path", path, "threads", threads,
                                    "problem", problem, "offset", where), &a, err);
    if (s) return s;
    const char *why = json_string_value(json_object_get(a, "why")), *version = json_string_value(json_object_get(a, "version"));
    const char *note = json_string_value(json_object_get(a, "note"));
    if (!json_is_true(json_object_get(a, "ok"))) s = atn_fail(err, ATN_UNSUPPORTED, "%s", why ? why : "refused");
    if (version) snprintf(p->version, sizeof p->version, "%s", version); /* who declines a case says none */
    snprintf(p->note, sizeof p->note, "%s", note ? note : "");
    json_decref(a);
    return s;
}

atn_status peer_run(atn_peer *p, double *ns, atn_error *err)
{
    json_t *a = NULL;
    atn_status s = ask(p, json_pack("{s:s}", "op", "run"), &a, err);
    if (s) return s;
    *ns = json_number_value(json_object_get(a, "ns"));
    if (!(*ns > 0)) {
        const char *why = json_string_value(json_object_get(a, "why"));
        s = atn_fail(err, ATN_UNSUPPORTED, "%s", why ? why : "no time");
    }
    json_decref(a);
    return s;
}

atn_status peer_store(atn_peer *p, atn_error *err)
{
    json_t *a = NULL;
    atn_status s = ask(p, json_pack("{s:s}", "op", "store"), &a, err);
    if (s) return s;
    const char *why = json_string_value(json_object_get(a, "why"));
    if (!json_is_true(json_object_get(a, "ok"))) s = atn_fail(err, ATN_UNSUPPORTED, "%s", why ? why : "no result");
    json_decref(a);
    return s;
}
