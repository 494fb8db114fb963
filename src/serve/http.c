/* The server: libmicrohttpd with one thread. Only this file knows it.
 *
 * Who may read: a request must name this machine as its host (else a foreign page could reach us by rebinding its
 * name), and hold the token, in the URL once and from then on in a cookie that scripts cannot read and other sites
 * cannot send. One request writes: POST /api/answer, an answer to a question of the run's mailbox. It needs the
 * cookie, and the Origin that a browser adds must be this very address: a foreign page can neither send the cookie nor
 * forge that. Every other method but GET and HEAD is refused. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rng.h"
#include "serve/api.h"
#include "serve/events.h"
#include "serve/mail.h"
#include "serve/serve.h"
#include "serve/web.h"

enum { CLIENTS_MAX = 4096, STRANGERS_MAX = 512, TOKEN = 32, CONNECTION_BYTES = 6144, STREAM_BLOCK = 1024 };

/* A connection that has not shown the token yet. */
typedef struct stranger {
    struct stranger *before, *after;
    int fd;
} stranger;

struct serve {
    struct MHD_Daemon *daemon;
    stranger *oldest, *newest; /* of the server's thread */
    int strangers;
    api_run runs[SERVE_RUNS_MAX]; /* of the server's thread */
    events_hub *hubs[SERVE_RUNS_MAX];
    int n_runs, port, listen_fd;
    bool loopback;
    char address[64], token[TOKEN + 1], cookie[32];
    char *url;
};

/* ---- answers ---- */

static enum MHD_Result reply(struct MHD_Connection *c, unsigned status, const char *type, struct MHD_Response *r)
{
    MHD_add_response_header(r, "Content-Type", type);
    MHD_add_response_header(r, "Content-Security-Policy", web_policy);
    MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(r, "Referrer-Policy", "no-referrer");
    MHD_add_response_header(r, "Cross-Origin-Resource-Policy", "same-origin");
    MHD_add_response_header(r, "Cross-Origin-Opener-Policy", "same-origin");
    MHD_add_response_header(r, "Cache-Control", "no-store");
    enum MHD_Result ok = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return ok;
}

static enum MHD_Result say(struct MHD_Connection *c, unsigned status, const char *text)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_MUST_COPY);
    if (status == 405) MHD_add_response_header(r, "Allow", "GET, HEAD");
    if (status == 413) MHD_add_response_header(r, "Connection", "close");
    return reply(c, status, "text/plain; charset=utf-8", r);
}

/* ---- who may read ---- */

/* "127.0.0.1:80" of this server. Names other than localhost are refused: a foreign page can let its own name point
 * here. */
static bool host_ok(const serve *s, const char *host)
{
    char port[16];
    snprintf(port, sizeof port, ":%d", s->port);
    size_t n = host ? strlen(host) : 0, m = strlen(port);
    if (n <= m || strcmp(host + n - m, port) != 0 || n - m >= 64) return false;
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)(n - m), host);
    if (!strcmp(name, "localhost") || !strcmp(name, "127.0.0.1") || !strcmp(name, "[::1]")) return true;
    if (s->loopback) return false;
    struct in_addr v4;
    struct in6_addr v6;
    char inner[64];
    if (inet_pton(AF_INET, name, &v4) == 1) return true; /* an address cannot be rebound */
    if (name[0] != '[' || name[n - m - 1] != ']') return false;
    snprintf(inner, sizeof inner, "%.*s", (int)(n - m - 2), name + 1);
    return inet_pton(AF_INET6, inner, &v6) == 1;
}

/* In constant time. */
static bool token_ok(const serve *s, const char *given)
{
    if (!given || strlen(given) != TOKEN) return false;
    unsigned char wrong = 0;
    for (int i = 0; i < TOKEN; i++) wrong |= (unsigned char)(given[i] ^ s->token[i]);
    return !wrong;
}

/* ---- strangers ---- */

/* Who opens connections and says little would in time hold every place. So strangers have STRANGERS_MAX places between
 * them, and the oldest gives way; the page shows its token in its first packet and is none of them for long. */
static void stranger_leaves(serve *s, stranger *x)
{
    if (!x->before && s->oldest != x) return; /* known already */
    *(x->before ? &x->before->after : &s->oldest) = x->after;
    *(x->after ? &x->after->before : &s->newest) = x->before;
    x->before = x->after = NULL;
    s->strangers--;
}

static void connection_changes(void *ctx, struct MHD_Connection *c, void **of_connection,
                               enum MHD_ConnectionNotificationCode what)
{
    serve *s = ctx;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (*of_connection) stranger_leaves(s, *of_connection);
        free(*of_connection);
        *of_connection = NULL;
        return;
    }
    stranger *x = atn_alloc(sizeof *x);
    *x = (stranger){.before = s->newest,
                    .fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd};
    *(s->newest ? &s->newest->after : &s->oldest) = x;
    s->newest = x;
    *of_connection = x;
    if (++s->strangers <= STRANGERS_MAX) return;
    stranger *old = s->oldest;
    stranger_leaves(s, old);
    shutdown(old->fd, SHUT_RDWR); /* the daemon sees its end and closes it */
}

static void is_known(serve *s, struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *i = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    if (i && i->socket_context) stranger_leaves(s, i->socket_context);
}

/* ---- the event stream ---- */

static void stream_wake(void *owner)
{
    MHD_resume_connection(owner);
}
static void stream_sleep(void *owner)
{
    MHD_suspend_connection(owner);
}

static ssize_t stream_read(void *ctx, uint64_t at, char *out, size_t room)
{
    (void)at;
    ssize_t n = events_read(ctx, out, room, stream_sleep);
    return n < 0 ? MHD_CONTENT_READER_END_OF_STREAM : n;
}

static void stream_end(void *ctx)
{
    events_unlisten(ctx);
}

static enum MHD_Result stream(serve *s, struct MHD_Connection *c, int run)
{
    const char *last = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Last-Event-ID");
    const char *after = last ? last : MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "after");
    long long n = 0;
    if (after && (!text_to_i64(after, &n) || n < 0 || n == INT64_MAX))
        return say(c, 400, "after: the number of an event\n");
    events_listener *l = events_listen(s->hubs[run], n, c);
    struct MHD_Response *r =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, stream_read, l, stream_end);
    return reply(c, 200, "text/event-stream", r);
}

/* ---- requests ---- */

static enum MHD_Result answer(serve *s, struct MHD_Connection *c, const char *name)
{
    api_question q = {.name = name, .runs = s->n_runs};
    const char *run = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "run");
    const char *id = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "id");
    long long n = 0;
    if (run && (!text_to_i64(run, &n) || n < 0 || n >= s->n_runs)) return say(c, 404, "no such run\n");
    q.run = (int)n;
    if (!id) id = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "after");
    n = 0;
    if (id && (!text_to_i64(id, &n) || n < 0)) return say(c, 400, "a number, please\n");
    q.number = n;
    if (!strcmp(name, "events")) return stream(s, c, q.run);
    atn_text t = {0};
    int status = api_answer(&s->runs[q.run], &q, &t);
    size_t bytes = t.n;
    return reply(c, (unsigned)status, "application/json; charset=utf-8",
                 MHD_create_response_from_buffer(bytes, text_take(&t), MHD_RESPMEM_MUST_FREE));
}

/* ---- the one thing that can be written ---- */

/* What a request brought so far. Only the body of an answer is kept, and only while it may still be taken. */
typedef struct {
    atn_text body;
    bool keep, too_long;
} upload;

static bool is_answer(const char *url, const char *method)
{
    return !strcmp(method, "POST") && !strcmp(url, "/api/answer");
}

/* The page itself asks, not another one: browsers name the origin of every POST. */
static bool origin_ok(const serve *s, struct MHD_Connection *c)
{
    const char *origin = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Origin"),
               *host = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Host"),
               *site = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Sec-Fetch-Site");
    return origin && text_starts(origin, "http://") && host && !strcmp(origin + strlen("http://"), host) &&
           host_ok(s, host) && (!site || !strcmp(site, "same-origin"));
}

static bool may_answer(const serve *s, struct MHD_Connection *c)
{
    return token_ok(s, MHD_lookup_connection_value(c, MHD_COOKIE_KIND, s->cookie)) && origin_ok(s, c);
}

static upload *upload_begin(const serve *s, struct MHD_Connection *c, const char *url, const char *method)
{
    upload *u = atn_alloc(sizeof *u);
    const char *length = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Content-Length");
    long long n = 0;
    u->keep = is_answer(url, method) && may_answer(s, c);
    u->too_long = length && text_to_i64(length, &n) && n > (long long)mail_answer_max();
    return u;
}

static void upload_part(upload *u, const char *data, size_t n)
{
    if (!u->keep || u->too_long) return;
    if (u->body.n + n > mail_answer_max()) {
        u->too_long = true;
        text_free(&u->body);
        return;
    }
    text_addn(&u->body, data, n);
}

static void upload_end(void *ctx, struct MHD_Connection *c, void **per_request, enum MHD_RequestTerminationCode why)
{
    (void)ctx;
    (void)c;
    (void)why;
    upload *u = *per_request;
    if (u) text_free(&u->body);
    free(u);
    *per_request = NULL;
}

static enum MHD_Result take_answer(serve *s, struct MHD_Connection *c, const upload *u)
{
    const char *run = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "run"),
               *number = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "number"), *why;
    long long r = 0, n = 0;
    if (!may_answer(s, c))
        return say(c, 403, "Answers are taken from this server's own page only, with its token in the cookie.\n");
    is_known(s, c);
    if ((run && !text_to_i64(run, &r)) || !number || !text_to_i64(number, &n)) return say(c, 400, "a number, please\n");
    if (r < 0 || r >= s->n_runs) return say(c, 404, "no such run\n");
    if (u->too_long) return say(c, 413, "the answer is too long\n");
    int status = mail_answer(s->runs[r].folder, n, u->body.s ? u->body.s : "", u->body.n, &why);
    return say(c, (unsigned)status, why);
}

static enum MHD_Result request(void *ctx, struct MHD_Connection *c, const char *url, const char *method,
                               const char *version, const char *sent, size_t *upload_bytes, void **per_request)
{
    serve *s = ctx;
    (void)version;
    if (!*per_request) {
        *per_request = upload_begin(s, c, url, method);
        return MHD_YES;
    }
    if (*upload_bytes) {
        upload_part(*per_request, sent, *upload_bytes);
        *upload_bytes = 0;
        return MHD_YES;
    }
    if (!host_ok(s, MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Host")))
        return say(c, 403, "This server answers only under the address that attune printed.\n");
    if (is_answer(url, method)) return take_answer(s, c, *per_request);
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) return say(c, 405, "Nothing can be written here.\n");
    bool by_url = token_ok(s, MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "token"));
    if (!by_url && !token_ok(s, MHD_lookup_connection_value(c, MHD_COOKIE_KIND, s->cookie)))
        return say(c, 403, "Open the address that attune printed, with its token: it ends in ?token=...\n");
    is_known(s, c);
    if (text_starts(url, "/api/")) return answer(s, c, url + 5);
    const char *name = !strcmp(url, "/") ? "index.html" : url + 1;
    for (int i = 0; i < web_file_count; i++) {
        const web_file *f = &web_files[i];
        if (strcmp(f->name, name) != 0) continue;
        struct MHD_Response *r = MHD_create_response_from_buffer(f->n, (void *)f->data, MHD_RESPMEM_PERSISTENT);
        if (by_url) {
            char cookie[160];
            snprintf(cookie, sizeof cookie, "%s=%s; HttpOnly; SameSite=Strict; Path=/", s->cookie, s->token);
            MHD_add_response_header(r, "Set-Cookie", cookie);
        }
        return reply(c, 200, f->type, r);
    }
    return say(c, 404, "no such page\n");
}

/* ---- address, port and token ---- */

static int bind_to(const char *address, int port, char *error, size_t room)
{
    struct sockaddr_storage a = {0};
    socklen_t n;
    struct sockaddr_in *v4 = (struct sockaddr_in *)&a;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&a;
    if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        n = sizeof *v4;
    } else if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        n = sizeof *v6;
    } else {
        snprintf(error, room, "not an address of numbers, such as 127.0.0.1");
        return -1;
    }
    int fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, n) || listen(fd, 1024)) {
        snprintf(error, room, "%s", strerror(errno));
        if (fd >= 0) close(fd);
        return -1;
    }
    return fd;
}

static int port_of(int fd)
{
    struct sockaddr_storage a;
    socklen_t n = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &n)) return 0;
    return ntohs(a.ss_family == AF_INET ? ((struct sockaddr_in *)&a)->sin_port
                                        : ((struct sockaddr_in6 *)&a)->sin6_port);
}

static char *key_path(const serve *s)
{
    struct stat sb;
    return !stat(s->runs[0].folder, &sb) && S_ISDIR(sb.st_mode) ? file_join(s->runs[0].folder, "serve.key") : NULL;
}

/* Port and token of the server that was here before, if the file is ours alone. */
static int key_read(serve *s)
{
    char *path = key_path(s);
    int fd = path ? open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1, port = 0;
    struct stat sb;
    char line[64] = "", token[64] = "";
    if (fd >= 0 && !fstat(fd, &sb) && S_ISREG(sb.st_mode) && sb.st_uid == geteuid() && !(sb.st_mode & 077) &&
        read(fd, line, sizeof line - 1) > 0 && sscanf(line, "%d %40s", &port, token) == 2 && port > 0 && port < 65536 &&
        strlen(token) == TOKEN && strspn(token, "0123456789abcdef") == TOKEN)
        memcpy(s->token, token, TOKEN);
    else port = 0;
    if (fd >= 0) close(fd);
    free(path);
    return port;
}

static void key_write(const serve *s)
{
    char *path = key_path(s);
    if (!path) return;
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0) { /* a folder that cannot be written only costs the address its constancy */
        dprintf(fd, "%d %s\n", s->port, s->token);
        close(fd);
    }
    free(path);
}

static atn_status choose_address(serve *s, const serve_options *o, atn_error *err)
{
    const char *address = o->listen ? o->listen : "127.0.0.1";
    char why[128];
    snprintf(s->address, sizeof s->address, "%s", address);
    s->loopback = text_starts(address, "127.") || !strcmp(address, "::1");
    int before = key_read(s);
    if (!s->token[0])
        snprintf(s->token, sizeof s->token, "%016llx%016llx", (unsigned long long)rng_secret(),
                 (unsigned long long)rng_secret());
    s->listen_fd = bind_to(address, o->port ? o->port : before, why, sizeof why);
    if (s->listen_fd < 0 && !o->port && before) {
        snprintf(s->token, sizeof s->token, "%016llx%016llx", (unsigned long long)rng_secret(),
                 (unsigned long long)rng_secret());
        s->listen_fd = bind_to(address, 0, why, sizeof why);
    }
    if (s->listen_fd < 0)
        return atn_fail(err, ATN_IO, "cannot listen on '%s', port %d: %s; leave --port out for any free one", address,
                        o->port, why);
    s->port = port_of(s->listen_fd);
    /* Cookies do not know ports: one name for each server, or two of them would log each other out. */
    snprintf(s->cookie, sizeof s->cookie, "attune_%d", s->port);
    const char *shown = !strcmp(address, "0.0.0.0") ? "127.0.0.1" : !strcmp(address, "::") ? "::1" : address;
    s->url = atn_format(strchr(shown, ':') ? "http://[%s]:%d/?token=%s" : "http://%s:%d/?token=%s", shown, s->port,
                        s->token);
    key_write(s);
    return ATN_OK;
}

/* ---- whole ---- */

atn_status serve_start(const serve_options *o, serve **out, atn_error *err)
{
    ATN_ASSERT(o->n_folders >= 1 && o->n_folders <= SERVE_RUNS_MAX);
    serve *s = atn_alloc(sizeof *s);
    s->listen_fd = -1;
    for (; s->n_runs < o->n_folders; s->n_runs++) api_init(&s->runs[s->n_runs], o->folders[s->n_runs]);
    atn_status st = choose_address(s, o, err);
    if (st) goto out;
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files;
    if (!getrlimit(RLIMIT_NOFILE, &files) && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max == RLIM_INFINITY || files.rlim_max > 65536 ? 65536 : files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    for (int i = 0; i < s->n_runs; i++) s->hubs[i] = events_hub_create(o->folders[i], stream_wake);
    s->daemon = MHD_start_daemon(MHD_USE_AUTO_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, request, s,
                                 MHD_OPTION_LISTEN_SOCKET, s->listen_fd, MHD_OPTION_CONNECTION_LIMIT,
                                 (unsigned)CLIENTS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
                                 MHD_OPTION_CONNECTION_TIMEOUT, 0u, MHD_OPTION_NOTIFY_COMPLETED, upload_end, NULL,
                                 MHD_OPTION_NOTIFY_CONNECTION, connection_changes, s, MHD_OPTION_END);
    if (!s->daemon) st = atn_fail(err, ATN_IO, "libmicrohttpd cannot start: %s", strerror(errno));
    else s->listen_fd = -1; /* the daemon closes it */
out:
    if (st) serve_stop(s);
    else *out = s;
    return st;
}

const char *serve_url(const serve *s)
{
    return s->url;
}
bool serve_is_loopback(const serve *s)
{
    return s->loopback;
}

void serve_stop(serve *s)
{
    if (!s) return;
    for (int i = 0; i < s->n_runs; i++)
        if (s->hubs[i]) events_hub_stop(s->hubs[i]);
    if (s->daemon) MHD_stop_daemon(s->daemon);
    if (s->listen_fd >= 0) close(s->listen_fd);
    for (int i = 0; i < s->n_runs; i++) {
        if (s->hubs[i]) events_hub_destroy(s->hubs[i]);
        api_close(&s->runs[i]);
    }
    free(s->url);
    free(s);
}
