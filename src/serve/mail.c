#include "serve/mail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rng.h"
#include "evolve/propose/answer.h"
#include "serve/api.h"

enum { SAID_MOST = 4000 };

size_t mail_answer_max(void)
{
    return ANSWER_BYTES_MAX;
}

/* The folder of a question, through no link; -1 where there is none. */
static int open_letter(const char *run, int64_t number)
{
    enum { FOLDER = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC };
    char *box = file_join(run, "mailbox"), name[32];
    int outer = open(box, FOLDER), inner = -1;
    snprintf(name, sizeof name, "%03lld", (long long)number);
    if (outer >= 0 && number > 0) inner = openat(outer, name, FOLDER);
    if (outer >= 0) close(outer);
    free(box);
    return inner;
}

/* At most `room` - 1 bytes of a small file; "" where it is not there. */
static size_t read_at(int folder, const char *name, char *out, size_t room)
{
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out, room - 1) : -1;
    if (fd >= 0) close(fd);
    out[n > 0 ? n : 0] = 0;
    return n > 0 ? (size_t)n : 0;
}

static bool there(int folder, const char *name)
{
    struct stat s;
    return fstatat(folder, name, &s, AT_SYMLINK_NOFOLLOW) == 0;
}

void mail_state(const char *run, int64_t number, atn_text *json)
{
    int d = open_letter(run, number);
    char state[40] = "", said[SAID_MOST] = "";
    size_t n = 0;
    bool waits = false;
    if (d >= 0) {
        read_at(d, "state", state, sizeof state);
        state[strcspn(state, "\n")] = 0;
        n = read_at(d, "refused.md", said, sizeof said);
        waits = there(d, "answer.md");
        close(d);
    }
    text_addf(json, "{\"folder\":%s,\"state\":", d >= 0 ? "true" : "false");
    api_text(json, state, strlen(state), sizeof state);
    text_addf(json, ",\"waits\":%s,\"refused\":", waits ? "true" : "false");
    api_text(json, said, n, SAID_MOST);
    text_add(json, "}");
}

static bool write_all(int fd, const char *text, size_t n)
{
    while (n) {
        ssize_t k = write(fd, text, n);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return false;
        text += k;
        n -= (size_t)k;
    }
    return true;
}

static int put(int d, const char *text, size_t n, const char **why)
{
    char name[48];
    snprintf(name, sizeof name, ".answer-%016llx", (unsigned long long)rng_secret());
    int fd = openat(d, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644), status = 200;
    bool written = fd >= 0 && write_all(fd, text, n) && !fsync(fd);
    if (fd >= 0) close(fd);
    *why = "handed in";
    if (!written) {
        *why = errno == ENOSPC ? "the disk is full: free some space and try again"
                               : "the mailbox cannot be written: look at the permissions of its folder";
        status = 500;
    } else if (linkat(d, name, d, "answer.md", 0)) { /* never over one that is there, as a rename would */
        bool links = errno != EPERM && errno != EOPNOTSUPP, taken = errno == EEXIST || there(d, "answer.md");
        if (taken || links || renameat(d, name, d, "answer.md")) status = taken ? 409 : 500;
        if (status != 200) *why = taken ? "an answer waits to be taken already" : "the mailbox cannot be written";
    }
    if (fd >= 0) unlinkat(d, name, 0);
    return status;
}

int mail_answer(const char *run, int64_t number, const char *text, size_t n, const char **why)
{
    char state[40];
    int status;
    *why = "the answer is empty";
    if (!n || strspn(text, " \t\r\n") == n) return 400;
    *why = "the answer holds a zero byte: is it text?";
    if (memchr(text, 0, n)) return 400;
    *why = "the answer is too long";
    if (n > ANSWER_BYTES_MAX) return 413;
    int d = open_letter(run, number);
    *why = "this run's folder has no such question";
    if (d < 0) return 404;
    read_at(d, "state", state, sizeof state);
    *why = "this question is closed";
    if (!text_starts(state, "open")) status = 409;
    else status = put(d, text, n, why);
    close(d);
    return status;
}
