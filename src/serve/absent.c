/* Stands in for http.c where libmicrohttpd was missing when attune was built. */
#include "serve/serve.h"

atn_status serve_start(const serve_options *o, serve **out, atn_error *err)
{
    (void)o;
    (void)out;
    return atn_fail(err, ATN_UNSUPPORTED,
                    "this attune was built without libmicrohttpd; install libmicrohttpd-dev (Debian) or "
                    "libmicrohttpd (Homebrew) and build again, or write the pages as files: "
                    "attune serve RUN --static DIR");
}

const char *serve_url(const serve *s)
{
    (void)s;
    return "";
}
bool serve_is_loopback(const serve *s)
{
    (void)s;
    return true;
}
void serve_stop(serve *s)
{
    (void)s;
}
