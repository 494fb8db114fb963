/* The network client against a mock endpoint that misbehaves (mock_endpoint.py): every class of fault, and a thousand
 * requests of which a fifth meet one. `PROGRAM MOCK.py` */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "evolve/propose/client.h"
#include "evolve/propose/sse.h"
#include "../skip.h"

static int port;
static char url[80];
extern char **environ;
static pid_t mock;

static void mock_start(const char *script)
{
    int in[2], out[2];
    char line[32] = "";
    if (pipe(in) || pipe(out)) abort();
    posix_spawn_file_actions_t f;
    posix_spawn_file_actions_init(&f);
    posix_spawn_file_actions_adddup2(&f, in[0], 0);
    posix_spawn_file_actions_adddup2(&f, out[1], 1);
    posix_spawn_file_actions_addclose(&f, in[1]);
    char *const argv[] = {"python3", (char *)script, NULL};
    if (posix_spawnp(&mock, "python3", &f, NULL, argv, environ)) abort();
    posix_spawn_file_actions_destroy(&f);
    close(in[0]);
    close(out[1]);
    FILE *p = fdopen(out[0], "r");
    if (!p || !fgets(line, sizeof line, p) || !(port = atoi(line))) {
        printf("1..0 # SKIP no python3 for the mock endpoint\n");
        exit(0);
    }
    snprintf(url, sizeof url, "http://127.0.0.1:%d/v1/chat/completions", port);
}

static client *open_client(int parallel)
{
    client *c;
    atn_error err;
    if (client_open((client_lane[]){{0, 0}}, 1, parallel, &c, &err)) fail_msg("%s", err.text);
    return c;
}

static void send_one(client *c, int id, const char *script, int retries, void *tag)
{
    char *body =
        atn_format("{\"mock\": {\"id\": %d, \"script\": [%s], \"text\": \"answer %d \xc3\xa4 \xf0\x9f\x9a\x80\"}}", id,
                   script, id);
    client_send(c, &(client_request){.url = url,
                                     .key = "secret",
                                     .body = body,
                                     .first_token_s = 2,
                                     .stall_s = 2,
                                     .retries = retries,
                                     .retry_delay_s = 0.05,
                                     .tag = tag});
    free(body);
}

static bool wait_one(client *c, client_result *r, double seconds)
{
    for (double end = clock_s() + seconds; clock_s() < end;) {
        if (client_next(c, r)) return true;
        poll(&(struct pollfd){.fd = client_fd(c), .events = POLLIN}, 1, 50);
    }
    return false;
}

typedef struct {
    const char *name, *script;
    bool ok;
    int tries;
    double least_s;
    const char *error;
} fault;

static const fault faults[] = {
    {"normal", "\"ok\"", true, 1, 0, ""},
    {"cut at every byte", "\"bytes\"", true, 1, 0, ""},
    {"plain JSON", "\"json\"", true, 1, 0, ""},
    {"no [DONE]", "\"nodone\"", true, 1, 0, ""},
    {"429, Retry-After 1", "\"429:1\", \"ok\"", true, 2, 1.0, ""},
    {"500", "\"500\", \"503\", \"ok\"", true, 3, 0, ""},
    {"stall before the first token", "\"stall0\", \"ok\"", true, 2, 1.9, ""},
    {"stall after it", "\"stall1\", \"ok\"", true, 2, 1.9, ""},
    {"truncated", "\"truncated\", \"half\", \"ok\"", true, 3, 0, ""},
    {"garbage", "\"garbage\", \"ok\"", true, 2, 0, ""},
    {"a web page", "\"html\", \"ok\"", true, 2, 0, ""},
    {"reset", "\"reset\", \"ok\"", true, 2, 0, ""},
    {"empty choices", "\"empty\", \"ok\"", true, 2, 0, ""},
    {"reaches its length", "\"cut\"", true, 1, 0, ""},
    {"a tool call", "\"tool\"", false, 1, 0, "tool"},
    {"huge", "\"huge\"", false, 1, 0, "longer than"},
    {"400 is final", "\"400\", \"ok\"", false, 1, 0, "HTTP 400: no"},
    {"401 is final", "\"401\", \"ok\"", false, 1, 0, "is the key right?"},
    {"404 is final", "\"404\", \"ok\"", false, 1, 0, "is llm.api_base right?"},
    {"a key repeated", "\"echo\", \"ok\"", false, 1, 0, "provided: ******."},
    {"moved", "\"moved\", \"ok\"", false, 1, 0, "moved to 'http://elsewhere.invalid/v1/chat/completions'"},
    {"never comes right", "\"500\"", false, 4, 0, "HTTP 500"},
};

static void each_fault(void **state)
{
    (void)state;
    client *c = open_client(16);
    int seen[ATN_COUNT(faults)] = {0};
    for (int i = 0; i < ATN_COUNT(faults); i++) send_one(c, 10000 + i, faults[i].script, 3, (void *)(intptr_t)i);
    client_result r;
    for (int n = 0; n < ATN_COUNT(faults); n++) {
        if (!wait_one(c, &r, 20)) fail_msg("only %d results", n);
        int i = (int)(intptr_t)r.tag;
        char want[60];
        snprintf(want, sizeof want, "answer %d \xc3\xa4 \xf0\x9f\x9a\x80", 10000 + i);
        if (seen[i]++ || r.ok != faults[i].ok || r.tries != faults[i].tries || r.seconds < faults[i].least_s ||
            (r.ok ? strcmp(r.text, want) != 0 : !strstr(r.error, faults[i].error)))
            fail_msg("%s: ok %d, %d tries, %.2f s, '%.60s', %s", faults[i].name, r.ok, r.tries, r.seconds, r.text,
                     r.error);
        if (strstr(r.error, "secret")) fail_msg("the key is in an error");
        if (!strcmp(faults[i].script, "\"ok\"")) assert_true(r.tokens_in == 100 && r.tokens_out == 10);
        assert_int_equal(r.cut, !strcmp(faults[i].script, "\"cut\""));
        client_result_clear(&r);
    }
    assert_int_equal(client_flying(c), 0);
    client_close(c);
}

/* How often the endpoint gave a whole answer, by its own count. */
static void stats(int *total, int *ids, int *most)
{
    char command[120], *text = atn_alloc(1 << 20);
    snprintf(command, sizeof command,
             "exec 3<>/dev/tcp/127.0.0.1/%d; printf 'GET /stats HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3", port);
    char *quoted = atn_format("bash -c \"%s\"", command);
    FILE *f = popen(quoted, "r");
    size_t n = fread(text, 1, (1 << 20) - 1, f);
    text[n] = 0;
    pclose(f);
    *total = *ids = *most = 0;
    char *at = strstr(text, "\"whole\": {");
    assert_non_null(at);
    sscanf(strstr(text, "\"total\": "), "\"total\": %d", total);
    for (at += 10; *at && *at != '}';) {
        int id, count;
        if (sscanf(at, "\"%d\": %d", &id, &count) == 2 && id < 10000) ++*ids, *most = ATN_MAX(*most, count);
        at += strcspn(at, ",}");
        if (*at == ',') at += 2;
    }
    free(text);
    free(quoted);
}

static void thousand(void **state)
{
    (void)state;
    enum { N = 1000 };
    static const char *const bad[] = {"\"429:0\", \"ok\"",
                                      "\"500\", \"ok\"",
                                      "\"reset\", \"ok\"",
                                      "\"garbage\", \"ok\"",
                                      "\"half\", \"ok\"",
                                      "\"empty\", \"ok\"",
                                      "\"truncated\", \"503\", \"ok\"",
                                      "\"html\", \"ok\""};
    static int seen[N];
    client *c = open_client(64);
    double t0 = clock_s();
    for (int i = 0; i < N; i++)
        send_one(c, i, i % 5 == 0 ? bad[i / 5 % ATN_COUNT(bad)] : "\"ok\"", 5, (void *)(intptr_t)i);
    client_result r;
    int tries = 0;
    for (int n = 0; n < N; n++) {
        if (!wait_one(c, &r, 25)) fail_msg("only %d of %d results", n, N);
        int i = (int)(intptr_t)r.tag, id = -1;
        if (!r.ok || sscanf(r.text, "answer %d", &id) != 1 || id != i || seen[i]++)
            fail_msg("request %d: '%s' %s", i, r.text, r.error);
        tries += r.tries;
        client_result_clear(&r);
    }
    double wall = clock_s() - t0;
    int total, ids, most;
    stats(&total, &ids, &most);
    print_message("# 1000 requests, %d tries, %.2f s, network thread %.2f s of CPU\n", tries, wall, client_cpu_s(c));
    assert_int_equal(ids, N);         /* none lost */
    assert_int_equal(most, 1);        /* none paid twice */
    assert_false(client_next(c, &r)); /* none used twice */
    client_close(c);
}

static void in_flight(int rate)
{
    client *c = open_client(64);
    double t0 = clock_s();
    char script[40];
    snprintf(script, sizeof script, "\"slow:%d@%d\"", 4 * rate, rate);
    for (int i = 0; i < 64; i++) send_one(c, 20000 + rate * 100 + i, script, 0, NULL);
    client_result r;
    assert_false(wait_one(c, &r, 1)); /* all streams are open now */
    double begun = client_cpu_s(c), from = clock_s();
    assert_false(wait_one(c, &r, 2.5));
    double share = (client_cpu_s(c) - begun) / (clock_s() - from);
    for (int n = 0; n < 64; n++) {
        if (!wait_one(c, &r, 20)) fail_msg("only %d of 64", n);
        if (!r.ok) fail_msg("%s", r.error);
        client_result_clear(&r);
    }
    print_message("# 64 streams of %d events a second: network thread %.2f %% of a core; with opening and closing %.2f "
                  "%% of %.1f s\n",
                  rate, 100 * share, 100 * client_cpu_s(c) / (clock_s() - t0), clock_s() - t0);
    client_close(c);
}

/* What a model writes: 20 tokens a second of a large one, 50 of a small one. Figures, not verdicts: the machine may be
 * busy with anything. */
static void many_in_flight(void **state)
{
    (void)state;
    in_flight(20);
    in_flight(50);
}

/* A proxy gets the whole address; the mock stands in for one. */
static void through_a_proxy(void **state)
{
    (void)state;
    client *c = open_client(2);
    char proxy[60];
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%d", port);
    client_send(c,
                &(client_request){.url = "http://model.invalid/v1/chat/completions",
                                  .key = "secret",
                                  .proxy = proxy,
                                  .first_token_s = 5,
                                  .stall_s = 5,
                                  .body =
                                      "{\"mock\": {\"id\": 40000, \"script\": [\"proxied\"], \"text\": \"answer\"}}"});
    client_result r;
    if (!wait_one(c, &r, 10)) fail_msg("no result");
    if (!r.ok || strcmp(r.text, "answer")) fail_msg("'%s' %s", r.text, r.error);
    client_result_clear(&r);
    client_close(c);
}

/* 60 requests a minute: six at once, then one a second. */
static void keeps_the_rate(void **state)
{
    (void)state;
    client *c;
    atn_error err;
    client_result r;
    if (client_open((client_lane[]){{.requests_per_minute = 60}}, 1, 16, &c, &err)) fail_msg("%s", err.text);
    double t0 = clock_s();
    for (int i = 0; i < 8; i++) send_one(c, 41000 + i, "\"ok\"", 0, NULL);
    for (int i = 0; i < 8; i++) {
        if (!wait_one(c, &r, 10) || !r.ok) fail_msg("request %d", i);
        client_result_clear(&r);
    }
    if (clock_s() - t0 < 1.9) fail_msg("eight requests in %.2f s", clock_s() - t0);
    client_close(c);
}

/* A server's Retry-After and a rate limit are waits, not slowness: they use up nothing of an answer's time. A model that says
 * nothing does, and is not asked again when its time is over. */
static void waits_are_not_slowness(void **state)
{
    (void)state;
    client *c;
    atn_error err;
    client_result r;
    static const struct {
        const char *script;
        double total_s;
        bool ok;
        int tries;
    } asked[] = {{"\"429:1\", \"429:1\", \"ok\"", 1.5, true, 3}, {"\"stall0\"", 1, false, 1}};
    if (client_open((client_lane[]){{0, 0}}, 1, 4, &c, &err)) fail_msg("%s", err.text);
    for (int i = 0; i < ATN_COUNT(asked); i++) {
        char *body = atn_format("{\"mock\": {\"id\": %d, \"script\": [%s], \"text\": \"answer\"}}", 43000 + i, asked[i].script);
        double t0 = clock_s();
        client_send(c, &(client_request){.url = url,
                                         .key = "secret",
                                         .body = body,
                                         .first_token_s = 30,
                                         .stall_s = 30,
                                         .total_s = asked[i].total_s,
                                         .retries = 3,
                                         .retry_delay_s = 0.05});
        free(body);
        if (!wait_one(c, &r, 20)) fail_msg("no result for %s", asked[i].script);
        if (r.ok != asked[i].ok || r.tries != asked[i].tries)
            fail_msg("%s: ok %d, %d tries, %.2f s, %s", asked[i].script, r.ok, r.tries, clock_s() - t0, r.error);
        if (!r.ok) assert_non_null(strstr(r.error, "no answer within 1 s"));
        client_result_clear(&r);
    }
    client_close(c);
}

/* Failures in a row pause their lane and no other; what is sent meanwhile waits. */
static void breaks(void **state)
{
    (void)state;
    client *c;
    atn_error err;
    client_result r;
    if (client_open((client_lane[]){{0}, {0}}, 2, 4, &c, &err)) fail_msg("%s", err.text);
    for (int i = 0; i < 6; i++) {
        assert_true(client_lane_open(c, 0));
        send_one(c, 42000 + i, "\"503\"", 0, NULL);
        if (!wait_one(c, &r, 10) || r.ok) fail_msg("request %d", i);
        client_result_clear(&r);
    }
    assert_false(client_lane_open(c, 0));
    assert_true(client_lane_open(c, 1));
    send_one(c, 42100, "\"ok\"", 0, NULL);
    assert_false(wait_one(c, &r, 0.5));
    client_send(c, &(client_request){.url = url,
                                     .lane = 1,
                                     .first_token_s = 5,
                                     .stall_s = 5,
                                     .key = "secret",
                                     .body = "{\"mock\": {\"id\": 42200, \"script\": [\"ok\"], \"text\": \"other\"}}"});
    if (!wait_one(c, &r, 10) || !r.ok || strcmp(r.text, "other")) fail_msg("the other lane waits as well");
    client_result_clear(&r);
    assert_int_equal(client_flying(c), 1);
    client_close(c); /* and what waits is dropped, not leaked */
}

static int free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    close(fd);
    return ntohs(a.sin_port);
}

static bool answers_at(int at)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)at),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool ok = connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
    close(fd);
    return ok;
}

/* nghttpx before the mock; another port where somebody was quicker. */
static pid_t start_proxy(const char *dir, int *at)
{
    for (int tries = 0; tries < 3; tries++) {
        *at = free_port();
        char *serve = atn_format(
            "PATH=$PATH:/usr/sbin; exec nghttpx --conf=/dev/null -f127.0.0.1,%d -b127.0.0.1,%d "
            "--frontend-http2-max-concurrent-streams=100 --accesslog-file=%s/log "
            "--accesslog-format='$alpn $remote_port' --errorlog-file=%s/err --workers=1 %s/key %s/cert 2>/dev/null",
            *at, port, dir, dir, dir, dir);
        pid_t proxy = fork();
        if (proxy == 0) {
            execl("/bin/sh", "sh", "-c", serve, (char *)NULL);
            _exit(127);
        }
        free(serve);
        for (int i = 0; i < 1000 && waitpid(proxy, NULL, WNOHANG) == 0; i++) {
            if (answers_at(*at)) return proxy;
            usleep(10000);
        }
        kill(proxy, SIGKILL);
        waitpid(proxy, NULL, 0);
    }
    fail_msg("nghttpx does not answer");
    return -1;
}

/* nghttpx with a certificate made for the occasion stands before the mock and speaks HTTP/2 with us: 64 streams at once, a
 * fifth of the requests meeting faults, all over one connection unless it breaks. */
static void http2(void **state)
{
    (void)state;
    enum { N = 200 };
    static int seen[N];
    char dir[] = "/tmp/t_client.XXXXXX", ours[80], line[200];
    int at = 0, of_h2 = 0, ports[1024] = {0}, n_ports = 0;
    if (system("PATH=$PATH:/usr/sbin; command -v nghttpx >/dev/null && command -v openssl >/dev/null"))
        SKIP_TEST("no nghttpx (Debian: nghttp2-proxy), or no openssl");
    assert_non_null(mkdtemp(dir));
    char *make =
        atn_format("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout %s/key "
                   "-out %s/cert -subj /CN=attune -addext subjectAltName=IP:127.0.0.1 2>/dev/null",
                   dir, dir);
    char *cert = atn_format("%s/cert", dir), *log = atn_format("%s/log", dir);
    assert_int_equal(system(make), 0);
    pid_t proxy = start_proxy(dir, &at);
    setenv("CURL_CA_BUNDLE", cert, 1);
    snprintf(ours, sizeof ours, "https://127.0.0.1:%d/v1/chat/completions", at);
    client *c = open_client(64);
    for (int i = 0; i < N; i++) {
        static const char *const bad[] = {"\"503\", \"ok\"", "\"429:0\", \"ok\"", "\"garbage\", \"ok\"",
                                          "\"truncated\", \"ok\""};
        char *body = atn_format("{\"mock\": {\"id\": %d, \"script\": [%s], \"text\": \"answer %d\"}}", 50000 + i,
                                i % 5 == 0   ? bad[i / 5 % ATN_COUNT(bad)]
                                : i % 5 == 1 ? "\"slow:5@20\""
                                             : "\"ok\"",
                                i);
        client_send(c, &(client_request){.url = ours,
                                         .key = "secret",
                                         .body = body,
                                         .http_version = "2",
                                         .first_token_s = 5,
                                         .stall_s = 5,
                                         .retries = 5,
                                         .retry_delay_s = 0.05,
                                         .tag = (void *)(intptr_t)i});
        free(body);
    }
    client_result r;
    for (int n = 0; n < N; n++) {
        if (!wait_one(c, &r, 25)) fail_msg("only %d of %d results", n, N);
        int i = (int)(intptr_t)r.tag, id = -1;
        const char *said = r.text ? strstr(r.text, "answer ") : NULL;
        if (!r.ok || !said || sscanf(said, "answer %d", &id) != 1 || id != i || seen[i]++)
            fail_msg("request %d: '%s' %s", i, r.text, r.error);
        client_result_clear(&r);
    }
    client_close(c);
    unsetenv("CURL_CA_BUNDLE");
    kill(proxy, SIGTERM);
    waitpid(proxy, NULL, 0);
    FILE *f = fopen(log, "r");
    while (f && fgets(line, sizeof line, f)) {
        int from = 0, known = 0;
        of_h2 += sscanf(line, "h2 %d", &from) == 1;
        while (known < n_ports && ports[known] != from) known++;
        if (known == n_ports && n_ports < ATN_COUNT(ports)) ports[n_ports++] = from;
    }
    if (f) fclose(f);
    print_message("# %d requests over HTTP/2 on %d connection%s\n", of_h2, n_ports, n_ports == 1 ? "" : "s");
    assert_true(of_h2 >= N);
    assert_in_range(n_ports, 1, 4); /* of 64 at once: a broken one is replaced */
    file_remove_tree(dir, NULL);
    free(make), free(cert), free(log);
}

/* Whatever the cuts, the same result. */
static void every_cut(void **state)
{
    (void)state;
    static const char stream[] =
        ": hello\r\n\r\nevent: x\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\xc3\xa4\"}}]}\r\n\r\n"
        "data: {\"choices\":\ndata: [{\"delta\":{\"content\":\"\\u0041\"},\"finish_reason\":\"stop\"}]}\r\r"
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":7}}\n\ndata: [DONE]\n\n";
    for (size_t cut = 0; cut < sizeof stream; cut++)
        for (size_t step = 1; step < 12; step += 5) {
            sse_reader r = {0};
            sse_feed(&r, stream, cut);
            for (size_t i = cut; i < sizeof stream - 1; i += step)
                sse_feed(&r, stream + i, ATN_MIN(step, sizeof stream - 1 - i));
            sse_end(&r);
            if (!r.done || r.failed ||
                strcmp(r.text.s, "a\xc3\xa4"
                                 "A") ||
                r.tokens_in != 5 || r.tokens_out != 7)
                fail_msg("cut at %zu, steps of %zu: %s", cut, step, r.error);
            sse_free(&r);
        }
}

/* Events that are alike are not parsed: the text is still that of each event read by itself. */
static void alike(void **state)
{
    (void)state;
    static const char *const events[] = {
        "{\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":null}],\"usage\":null}",
        "{\"choices\":[{\"delta\":{\"content\":\"token \"},\"finish_reason\":null}],\"usage\":null}",
        "{\"choices\":[{\"delta\":{\"content\":\"\"},\"finish_reason\":null}],\"usage\":null}",
        "{\"choices\":[{\"delta\":{\"content\":\"x\\ny \\u00e4 \\\"\"},\"finish_reason\":null}],\"usage\":null}",
        "{\"choices\":[{\"delta\":{\"content\":\"\\n\\t/\\/\\\\n\\\"end\\n\"},\"finish_reason\":null}],\"usage\":null}",
        "{\"choices\":[{\"delta\":{\"content\":\"\xc3\xa4\"},\"finish_reason\":null}],\"usage\":null}",
        "{\"choices\":[{\"delta\":{\"content\":\"a\",\"x\":\"b\"},\"finish_reason\":null}],\"usage\":null}",
        "{\"choices\":[{\"delta\":{\"content\":\"a\",\"content\":\"b\"},\"finish_reason\":null}],\"usage\":null}",
        "{\"choices\": [{\"delta\": {\"content\": \"spaced\"}}]}",
        "{\"choices\": [{\"delta\": {\"content\": \"\\\\\"}}]}",
        "{\"choices\": [{\"delta\": {\"content\": null}}]}",
        "{\"choices\": [{\"delta\": {\"content\": [{\"text\": \"part\"}]}}]}",
        "{\"content\":\"not this\",\"choices\":[{\"delta\":{\"\\u0063ontent\":\"this\"}}]}",
        "{\"content\":\"nor that\",\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}",
        "{\"choices\":[{\"delta\":{\"content\":\"1\"}},{\"delta\":{\"content\":\"2\"}}]}",
        "{\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}",
        "{\"choices\":[]}"};
    uint64_t x = 88172645463325252ull;
    for (int round = 0; round < 400; round++) {
        sse_reader all = {0};
        atn_text want = {0};
        for (int i = 0; i < 40; i++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            char *text = atn_format("data: %s\n\n", events[x % ((size_t)(round % ATN_COUNT(events)) + 1)]);
            sse_reader one = {0};
            sse_feed(&all, text, strlen(text));
            sse_feed(&one, text, strlen(text));
            if (one.text.n) text_addn(&want, one.text.s, one.text.n);
            if (all.failed || one.failed) fail_msg("'%s': %s", text, all.error);
            sse_free(&one);
            free(text);
        }
        if (all.text.n != want.n || (want.n && strcmp(all.text.s, want.s)))
            fail_msg("'%s', not '%s'", all.text.s, want.s);
        sse_free(&all);
        text_free(&want);
    }
    /* What no longer is JSON is still refused, however alike. */
    sse_reader r = {0};
    const char *broken = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"b\"}}]}\n\n";
    sse_feed(&r, broken, strlen(broken));
    assert_true(r.failed);
    sse_free(&r);
}

int main(int argc, char **argv)
{
    if (argc < 2) return fprintf(stderr, "usage: %s mock_endpoint.py\n", argv[0]), 2;
    mock_start(argv[1]);
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_cut),       cmocka_unit_test(alike), cmocka_unit_test(each_fault),
                                       cmocka_unit_test(through_a_proxy), cmocka_unit_test(keeps_the_rate),
                                       cmocka_unit_test(waits_are_not_slowness),
                                       cmocka_unit_test(breaks),          cmocka_unit_test(thousand),
                                       cmocka_unit_test(http2), cmocka_unit_test(many_in_flight)};
    int bad = cmocka_run_group_tests(tests, NULL, NULL);
    kill(mock, SIGTERM);
    waitpid(mock, NULL, 0);
    return bad;
}
