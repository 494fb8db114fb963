/* The server over real sockets: who may read, what the answers are, the event stream. First argument: make_run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "serve/serve.h"
#include "../skip.h"

enum { PATIENCE_MS = 60000 }; /* of a busy machine; what takes that long is broken */

static char dir[] = "/tmp/attune-serve-XXXXXX";
static const char *make_run;
static serve *s;
static char run_folder[64], token[40];
static int port;

static void make(const char *name, const char *args)
{
    char *command = atn_format("%s %s/%s %s", make_run, dir, name, args);
    if (system(command)) fail_msg("%s", command);
    free(command);
}

static void start(const char *name)
{
    atn_error err = {0};
    snprintf(run_folder, sizeof run_folder, "%s/%s", dir, name);
    serve_options o = {.folders = {run_folder}, .n_folders = 1};
    if (serve_start(&o, &s, &err)) fail_msg("%s", err.text);
    assert_int_equal(sscanf(serve_url(s), "http://127.0.0.1:%d/?token=%39s", &port, token), 2);
}

static int stop(void **state)
{
    (void)state;
    serve_stop(s);
    s = NULL;
    return 0;
}

static int dial(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static void send_text(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* What arrives within `ms` of silence or until `until` is in it. Caller frees. */
static char *receive(int fd, const char *until, int ms)
{
    atn_text t = {0};
    char part[65536];
    struct pollfd p = {fd, POLLIN, 0};
    while (poll(&p, 1, ms) > 0) {
        ssize_t n = read(fd, part, sizeof part);
        if (n <= 0) break;
        text_addn(&t, part, (size_t)n);
        if (until && strstr(t.s, until)) break;
    }
    return text_take(&t);
}

static char *ask(const char *method, const char *path, const char *host, const char *headers)
{
    int fd = dial();
    char *own = atn_format("127.0.0.1:%d", port);
    char *text = atn_format("%s %s HTTP/1.1\r\nHost: %s\r\n%sConnection: close\r\n\r\n", method, path,
                            host ? host : own, headers ? headers : "");
    send_text(fd, text);
    char *answer = receive(fd, NULL, PATIENCE_MS);
    close(fd);
    free(text);
    free(own);
    return answer;
}

static char *cookie(void)
{
    return atn_format("Cookie: a=b; attune_%d=%s\r\n", port, token);
}

static int status_of(const char *method, const char *path, const char *host, const char *headers)
{
    char *a = ask(method, path, host, headers);
    int status = 0;
    sscanf(a, "HTTP/1.1 %d", &status);
    free(a);
    return status;
}

static json_t *json_of(const char *path)
{
    char *c = cookie(), *a = ask("GET", path, NULL, c), *body = strstr(a, "\r\n\r\n");
    json_error_t e;
    assert_non_null(body);
    json_t *o = json_loads(body, JSON_REJECT_DUPLICATES, &e);
    if (!o) fail_msg("%s: %s at %d: %.80s", path, e.text, e.position, body);
    free(a);
    free(c);
    return o;
}

static void test_who_may_read(void **state)
{
    (void)state;
    start("small");
    char *c = cookie(), *with = atn_format("/?token=%s", token), *other = atn_format("localhost:%d", port),
         *wrong = strdup(c);
    assert_int_equal(status_of("GET", "/", NULL, NULL), 403);
    assert_int_equal(status_of("GET", "/api/run", NULL, NULL), 403);
    assert_int_equal(status_of("GET", "/api/events", NULL, NULL), 403);
    assert_int_equal(status_of("GET", with, NULL, NULL), 200);
    assert_int_equal(status_of("GET", "/", NULL, c), 200);
    assert_int_equal(status_of("GET", "/", other, c), 200);
    wrong[strlen(wrong) - 3] ^= 1;
    assert_int_equal(status_of("GET", "/", NULL, wrong), 403);
    assert_int_equal(status_of("GET", "/?token=", NULL, NULL), 403);
    const char *hosts[] = {"evil.example",   "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:80",
                           "192.168.0.1:80", ""};
    for (int i = 0; i < ATN_COUNT(hosts); i++) assert_int_equal(status_of("GET", with, hosts[i], c), 403);
    char *evil = atn_format("evil.example:%d", port);
    assert_int_equal(status_of("GET", with, evil, c), 403);
    const char *methods[] = {"POST", "PUT", "DELETE", "PATCH", "OPTIONS"};
    for (int i = 0; i < ATN_COUNT(methods); i++) assert_int_equal(status_of(methods[i], "/api/run", NULL, c), 405);
    assert_int_equal(status_of("HEAD", "/", NULL, c), 200);
    const char *none[] = {"/../../etc/passwd", "/run.db",        "/serve.key",           "/api/",
                          "/api/nothing",      "/%2e%2e/run.db", "/api/program?id=99999"};
    for (int i = 0; i < ATN_COUNT(none); i++) assert_int_equal(status_of("GET", none[i], NULL, c), 404);
    assert_int_equal(status_of("GET", "/api/run?run=7", NULL, c), 404);
    assert_int_equal(status_of("GET", "/api/program?id=1;drop", NULL, c), 400);
    char *page = ask("GET", with, NULL, NULL);
    const char *headers[] = {"Content-Security-Policy: default-src 'none'; script-src 'self'",
                             "X-Content-Type-Options: nosniff", "Referrer-Policy: no-referrer",
                             "HttpOnly; SameSite=Strict", "Cache-Control: no-store"};
    for (int i = 0; i < ATN_COUNT(headers); i++) assert_non_null(strstr(page, headers[i]));
    assert_null(strstr(page, "Access-Control"));
    char *key = file_join(run_folder, "serve.key");
    struct stat sb;
    assert_int_equal(stat(key, &sb), 0);
    assert_int_equal(sb.st_mode & 0777, 0600);
    char *all[] = {c, with, other, wrong, evil, page, key};
    for (int i = 0; i < ATN_COUNT(all); i++) free(all[i]);
}

static void test_answers(void **state)
{
    (void)state;
    start("small");
    json_t *run = json_of("/api/run"), *programs = json_of("/api/programs"), *later = json_of("/api/programs?after=55"),
           *one = json_of("/api/program?id=7");
    assert_string_equal(json_string_value(json_object_get(run, "state")), "finished");
    assert_int_equal(json_array_size(json_object_get(programs, "rows")), 60);
    assert_int_equal(json_array_size(json_object_get(later, "rows")), 5);
    assert_true(
        text_starts(json_string_value(json_object_get(json_object_get(one, "program"), "source")), "/* program 7"));
    const char *rest[] = {"/api/cases",     "/api/archive", "/api/verdicts",
                          "/api/questions", "/api/beliefs", "/api/peers"};
    for (int i = 0; i < ATN_COUNT(rest); i++) json_decref(json_of(rest[i]));
    json_t *races = json_of("/api/races?id=9"), *first = json_array_get(json_object_get(races, "rows"), 0);
    assert_int_equal(json_array_size(json_object_get(races, "rows")), 6);
    assert_int_equal(json_array_size(json_array_get(first, 4)), 32);
    json_decref(races);
    json_t *nine = json_of("/api/program?id=9"), *open = json_of("/api/questions");
    assert_string_equal(json_string_value(json_object_get(json_object_get(nine, "asked"), "prompt")),
                        "Make it faster.");
    assert_int_equal(json_array_size(json_object_get(open, "rows")), 1);
    json_decref(nine);
    json_decref(open);
    json_decref(run);
    json_decref(programs);
    json_decref(later);
    json_decref(one);
}

/* Whatever bytes a candidate wrote: each answer is valid JSON in valid UTF-8, without a "<" that could open a tag. */
static void test_hostile(void **state)
{
    (void)state;
    start("hostile");
    for (int id = 1; id <= 40; id++) {
        char path[64];
        snprintf(path, sizeof path, "/api/program?id=%d", id);
        json_t *o = json_of(path);
        if (id == 7) {
            json_t *p = json_object_get(o, "program");
            assert_true(json_integer_value(json_object_get(p, "source_length")) > 6000000);
            assert_true(json_string_length(json_object_get(p, "source")) < 3 << 20);
        }
        json_decref(o);
    }
    const char *rest[] = {"/api/run",      "/api/programs",  "/api/cases",  "/api/archive",
                          "/api/verdicts", "/api/questions", "/api/beliefs"};
    char *c = cookie();
    for (int i = 0; i < ATN_COUNT(rest); i++) {
        json_decref(json_of(rest[i]));
        char *a = ask("GET", rest[i], NULL, c);
        assert_null(strchr(a, '<'));
        free(a);
    }
    free(c);
}

/* ---- the one thing that can be written ---- */

static char *letter(const char *name)
{
    return atn_format("%s/mailbox/002/%s", run_folder, name);
}

/* The status of a POST with these headers; NULL: the page's own. */
static int post(const char *path, const char *headers, const char *body, size_t n)
{
    char *c = cookie(), *own = atn_format("%sOrigin: http://127.0.0.1:%d\r\nSec-Fetch-Site: same-origin\r\n", c, port),
         *head = atn_format("POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%sContent-Type: text/plain\r\nContent-Length: "
                            "%zu\r\nConnection: close\r\n\r\n",
                            path, port, headers ? headers : own, n);
    int fd = dial(), status = 0;
    send_text(fd, head);
    for (size_t at = 0; at < n;) {
        ssize_t k = write(fd, body + at, ATN_MIN(n - at, (size_t)65536));
        if (k <= 0) break; /* refused before it was whole */
        at += (size_t)k;
    }
    char *a = receive(fd, NULL, PATIENCE_MS);
    sscanf(a, "HTTP/1.1 %d", &status);
    close(fd);
    free(a);
    free(c);
    free(own);
    free(head);
    return status;
}

static void test_mailbox(void **state)
{
    (void)state;
    make("mail", "40 live");
    start("mail");
    const char *path = "/api/answer?run=0&number=2", *text = "<<<<<<< SEARCH\nx\n=======\ny\n>>>>>>> REPLACE\n";
    size_t n = strlen(text);
    char *answer = letter("answer.md"), *c = cookie();
    /* Without the cookie, from elsewhere, or from nowhere that it says: refused, and nothing is there. */
    char *no_cookie = atn_format("Origin: http://127.0.0.1:%d\r\n", port),
         *elsewhere = atn_format("%sOrigin: http://evil.example\r\n", c),
         *other_port = atn_format("%sOrigin: http://127.0.0.1:%d\r\n", c, port ^ 1),
         *null_origin = atn_format("%sOrigin: null\r\n", c),
         *cross = atn_format("%sOrigin: http://127.0.0.1:%d\r\nSec-Fetch-Site: cross-site\r\n", c, port),
         *with_token = atn_format("%s&token=%s", path, token);
    const char *refused[] = {no_cookie, elsewhere, other_port, null_origin, cross, c};
    for (int i = 0; i < ATN_COUNT(refused); i++) assert_int_equal(post(path, refused[i], text, n), 403);
    assert_int_equal(post(with_token, no_cookie, text, n), 403); /* a link to the page is not enough */
    assert_int_equal(post("/api/run", NULL, text, n), 405);
    assert_int_equal(post(path, NULL, "", 0), 400);
    assert_int_equal(post(path, NULL, " \n", 2), 400);
    assert_int_equal(post(path, NULL, "a\0b", 3), 400);
    assert_int_equal(post("/api/answer?run=0&number=3", NULL, text, n), 404);
    assert_int_equal(post("/api/answer?run=0&number=-2", NULL, text, n), 404);
    assert_int_equal(post("/api/answer?run=0&number=../2", NULL, text, n), 400);
    assert_int_equal(post("/api/answer?run=5&number=2", NULL, text, n), 404);
    char *large = malloc(5 << 20);
    memset(large, 'x', 5 << 20);
    int status = post(path, NULL, large, 5 << 20);
    assert_true(status == 413 || status == 0); /* cut off while still sending */
    assert_false(file_exists(answer));
    assert_int_equal(post(path, NULL, text, n), 200);
    char *got = NULL;
    assert_int_equal(file_read(answer, 1 << 20, &got, NULL, NULL), 0);
    assert_string_equal(got, text);
    assert_int_equal(post(path, NULL, "another", 7), 409); /* never over one that waits */
    json_t *q = json_of("/api/questions"), *row = json_array_get(json_object_get(q, "rows"), 0);
    assert_true(json_is_true(json_object_get(json_array_get(row, json_array_size(row) - 1), "waits")));
    json_decref(q);
    assert_int_equal(unlink(answer), 0);
    /* Closed questions, and folders that are links, take nothing. */
    char *word = letter("state"), *box = letter("");
    assert_int_equal(file_write(word, "judged\n", 7, NULL), 0);
    assert_int_equal(post(path, NULL, text, n), 409);
    file_write(word, "open\n", 5, NULL);
    char *moved = atn_format("%s/elsewhere", dir);
    box[strlen(box) - 1] = 0;
    assert_int_equal(rename(box, moved), 0);
    assert_int_equal(symlink(moved, box), 0);
    assert_int_equal(post(path, NULL, text, n), 404);
    assert_false(file_exists(answer));
    char *all[] = {answer,     c,     no_cookie, elsewhere, other_port, null_origin, cross,
                   with_token, large, got,       word,      box,        moved};
    for (int i = 0; i < ATN_COUNT(all); i++) free(all[i]);
}

static int listen_after(long after, bool by_header)
{
    int fd = dial();
    char *c = cookie(),
         *text = by_header
                     ? atn_format("GET /api/events HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%sLast-Event-ID: %ld\r\n\r\n",
                                  port, c, after)
                     : atn_format("GET /api/events?after=%ld HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%s\r\n", after, port, c);
    send_text(fd, text);
    free(c);
    free(text);
    return fd;
}

/* The text of a chunked answer, without its head and the lengths between the chunks, in place. */
static void join_chunks(char *a)
{
    char *in = strstr(a, "\r\n\r\n"), *out = a;
    if (!in || !text_starts(a, "HTTP/")) fail_msg("no answer: %.80s", a);
    in += 4;
    for (char *end; *in;) {
        size_t n = strtoul(in, &end, 16), left = strlen(end);
        if (end == in || !n || left < 2) break;
        n = ATN_MIN(n, left - 2);
        memmove(out, end + 2, n);
        out += n;
        in = end + 2 + n;
        if (!text_starts(in, "\r\n")) break;
        in += 2;
    }
    *out = 0;
}

/* The ids of a stream must be after+1, after+2, ... last. */
static void assert_ids(const char *stream, long after, long last)
{
    long want = after + 1;
    for (const char *at = stream; (at = strstr(at, "id: ")); at++) {
        if (at != stream && at[-1] != '\n') continue;
        assert_int_equal(strtol(at + 4, NULL, 10), want);
        want++;
    }
    assert_int_equal(want, last + 1);
}

static void test_stream(void **state)
{
    (void)state;
    make("live", "800 live"); /* events 1 .. 801, more than the hub keeps in memory */
    start("live");
    long cases[] = {0, 100, 700, 800};
    for (int i = 0; i < ATN_COUNT(cases); i++) {
        int fd = listen_after(cases[i], i % 2);
        char *a = receive(fd, "id: 801\n", PATIENCE_MS);
        char *rest = receive(fd, NULL, 200);
        assert_non_null(strstr(a, "text/event-stream"));
        char *all = atn_format("%s%s", a, rest);
        join_chunks(all);
        assert_ids(all, cases[i], 801);
        close(fd);
        free(all);
        free(a);
        free(rest);
    }
    int up_to_date = listen_after(801, true), ahead = listen_after(5000, true);
    char *anew = receive(ahead, "event: anew", PATIENCE_MS);
    assert_non_null(strstr(anew, "event: anew"));
    free(anew);
    make("live", "5 add");
    char *a = receive(up_to_date, "id: 806\n", PATIENCE_MS);
    assert_ids(a, 801, 806);
    free(a);
    make("live", "20 live"); /* another run under the same name */
    a = receive(up_to_date, "event: anew", PATIENCE_MS);
    assert_non_null(strstr(a, "event: anew"));
    free(a);
    close(up_to_date);
    close(ahead);
    int fd = listen_after(21, true); /* what goes on now comes without a number of its own */
    a = receive(fd, "event: now", PATIENCE_MS);
    char *now = strstr(a, "event: now");
    assert_non_null(now);
    assert_non_null(strstr(now, "\"stage\":\"race\""));
    assert_null(strstr(now, "id: "));
    free(a);
    close(fd);
}

static void test_same_address_again(void **state)
{
    (void)state;
    start("small");
    char *url = strdup(serve_url(s));
    serve_stop(s);
    start("small");
    assert_string_equal(serve_url(s), url);
    serve *first = s; /* two at once: the second gets an address of its own */
    start("small");
    assert_string_not_equal(serve_url(s), url);
    serve_stop(first);
    free(url);
}

/* Who opens connections and says nothing keeps nobody out: the oldest of them give way. */
static void test_strangers(void **state)
{
    (void)state;
    enum { N = 700 };
    static int fd[N];
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) || files.rlim_max < 2 * N + 100) SKIP_TEST("too few files may be open");
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    start("small");
    int stream = listen_after(0, true);
    free(receive(stream, "retry: ", PATIENCE_MS));
    for (int i = 0; i < N; i++) {
        fd[i] = dial();
        send_text(fd[i], "GET / HTTP/1.1\r\nHost: ");
    }
    char *c = cookie(), *first = receive(fd[0], NULL, PATIENCE_MS), *last = receive(fd[N - 1], NULL, 50);
    assert_int_equal(status_of("GET", "/api/run", NULL, c), 200);
    assert_string_equal(first, ""); /* closed without a word */
    struct pollfd p = {fd[N - 1], POLLIN, 0};
    assert_int_equal(poll(&p, 1, 0), 0);
    p.fd = stream; /* it has the token: it stays, with nothing but what it is told */
    char byte;
    while (poll(&p, 1, 0) > 0) assert_int_equal(read(stream, &byte, 1), 1);
    for (int i = 0; i < N; i++) close(fd[i]);
    close(stream);
    free(c);
    free(first);
    free(last);
}

/* A run that starts or is killed cannot say so itself. */
static void test_state(void **state)
{
    (void)state;
    make("state", "10 live");
    start("state");
    int fd = listen_after(11, true);
    char *a = receive(fd, "event: state\ndata: \"stopped\"", PATIENCE_MS),
         *command = atn_format("exec %s %s/state 100000 add", make_run, dir);
    assert_non_null(strstr(a, "\"stopped\""));
    pid_t writer = fork();
    if (!writer) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    free(a);
    a = receive(fd, "event: state\ndata: \"running\"", PATIENCE_MS);
    assert_non_null(strstr(a, "\"running\""));
    kill(writer, SIGKILL);
    waitpid(writer, NULL, 0);
    free(a);
    a = receive(fd, "event: state\ndata: \"stopped\"", PATIENCE_MS);
    assert_non_null(strstr(a, "\"stopped\""));
    close(fd);
    free(a);
    free(command);
}

static long resident_kb(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%*d %ld", &pages) != 1) pages = 0;
    if (f) fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* 1,000 idle listeners: < 2 % of a core, < 64 MB, and each gets the next event. */
static void test_thousand(void **state)
{
    (void)state;
    enum { N = 1000 };
    static int fd[N];
    make("many", "10 live");
    struct rlimit files = {4096, 4096};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < 2 * N + 100) SKIP_TEST("too few open files are allowed");
    start("many");
    for (int i = 0; i < N; i++) fd[i] = listen_after(11, true);
    for (int i = 0; i < N; i++) free(receive(fd[i], "retry: ", PATIENCE_MS));
    sleep(1);
    double cpu = (double)clock_cpu_ns(), wall = (double)clock_ns();
    sleep(2);
    cpu = ((double)clock_cpu_ns() - cpu) / ((double)clock_ns() - wall);
    long kb = resident_kb();
    print_message("# 1,000 idle listeners: %.2f %% of a core, %ld kB resident\n", 100 * cpu, kb);
    assert_true(cpu < 0.02);
    assert_true(kb < 64 * 1024);
    make("many", "3 add");
    int64_t began = clock_ns();
    for (int i = 0; i < N; i++) {
        char *a = receive(fd[i], "id: 14\n", PATIENCE_MS);
        assert_ids(a, 11, 14);
        free(a);
    }
    print_message("# all have the event after %.2f s\n", (double)(clock_ns() - began) * 1e-9);
    for (int i = 0; i < N; i++) close(fd[i]);
}

int main(int argc, char **argv)
{
    if (argc < 2) return 2;
    make_run = argv[1];
    if (!mkdtemp(dir)) return 1;
    make("small", "60");
    make("hostile", "40 hostile");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_who_may_read, stop), cmocka_unit_test_teardown(test_answers, stop),
        cmocka_unit_test_teardown(test_hostile, stop),      cmocka_unit_test_teardown(test_mailbox, stop),
        cmocka_unit_test_teardown(test_stream, stop),       cmocka_unit_test_teardown(test_same_address_again, stop),
        cmocka_unit_test_teardown(test_thousand, stop),     cmocka_unit_test_teardown(test_strangers, stop),
        cmocka_unit_test_teardown(test_state, stop),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    file_remove_tree(dir, NULL);
    return failed;
}
