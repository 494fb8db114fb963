/* Files: what is written is whole, locks exclude, links are not followed. Each test works in a folder of its own. */
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"

static int enter(void **state)
{
    char folder[] = "t_base_file.XXXXXX";
    if (!mkdtemp(folder)) return -1;
    *state = realpath(folder, NULL);
    return *state ? 0 : -1;
}

static int leave(void **state)
{
    atn_status st = file_remove_tree(*state, NULL);
    int gone = !file_exists(*state);
    free(*state);
    return st == ATN_OK && gone ? 0 : -1;
}

static int entries(const char *folder)
{
    int n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) n += e->d_name[0] != '.';
    if (d) closedir(d);
    return n;
}

static void reads_back_what_was_written(void **state)
{
    char *path = file_join(*state, "x"), *big = malloc(300000), *data = NULL;
    size_t n = 0;
    for (int i = 0; i < 300000; i++) big[i] = (char)(i * 7);
    assert_int_equal(file_write(path, big, 300000, NULL), ATN_OK);
    assert_int_equal(file_read(path, 300000, &data, &n, NULL), ATN_OK);
    assert_int_equal(n, 300000);
    assert_memory_equal(data, big, n);
    assert_int_equal(data[n], 0);
    free(data);
    assert_int_equal(file_write(path, "", 0, NULL), ATN_OK);
    assert_int_equal(file_read(path, 10, &data, NULL, NULL), ATN_OK);
    assert_string_equal(data, "");
    free(data);
    assert_int_equal(file_write(path, "ab\0c", 4, NULL), ATN_OK);
    assert_int_equal(file_read_text(path, 10, &data, NULL), ATN_FORMAT); /* "ab" alone would be read */
    assert_int_equal(file_write(path, "ab", 2, NULL), ATN_OK);
    assert_int_equal(file_read_text(path, 10, &data, NULL), ATN_OK);
    assert_string_equal(data, "ab");
    free(data);
    assert_int_equal(entries(*state), 1);                        /* no temporary is left */
    free(big);
    free(path);
}

static void failures_say_which_file(void **state)
{
    char *path = file_join(*state, "missing/x"), *data = (char *)1;
    atn_error err = {0};
    assert_int_equal(file_read(path, 100, &data, NULL, &err), ATN_NOT_FOUND);
    assert_non_null(strstr(err.text, path));
    assert_true(data == (char *)1);
    assert_int_equal(file_write(path, "x", 1, &err), ATN_IO);
    assert_non_null(strstr(err.text, path));
    free(path);
    path = file_join(*state, "large");
    assert_int_equal(file_write(path, "0123456789", 10, NULL), ATN_OK);
    assert_int_equal(file_read(path, 9, &data, NULL, &err), ATN_FORMAT);
    assert_non_null(strstr(err.text, "larger than 9"));
    assert_int_equal(file_read(*state, 100, &data, NULL, &err), ATN_IO);        /* a folder */
    free(path);
}

/* A limit on file sizes is a full disk that also stops root. */
static void a_failed_write_leaves_the_old_file(void **state)
{
    char *path = file_join(*state, "x"), *data;
    struct rlimit was, small;
    atn_error err = {0};
    assert_int_equal(file_write(path, "old", 3, NULL), ATN_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    small = was;
    small.rlim_cur = 2;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    atn_status st = file_write(path, "new", 3, &err);
    setrlimit(RLIMIT_FSIZE, &was);
    assert_int_equal(st, ATN_IO);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(file_read(path, 10, &data, NULL, NULL), ATN_OK);
    assert_string_equal(data, "old");
    assert_int_equal(entries(*state), 1);
    free(data);
    free(path);
}

/* As root, a rename over /dev/full or /dev/stdout would take it from everybody. */
static void only_files_are_replaced(void **state)
{
    char *file = file_join(*state, "x"), *link = file_join(*state, "link"), *pipe = file_join(*state, "pipe"), *data, got[8] = "";
    struct stat s;
    atn_error err = {0};
    assert_int_equal(file_write(file, "old", 3, NULL), ATN_OK);
    assert_int_equal(symlink("x", link), 0);
    assert_int_equal(file_write(link, "new", 3, NULL), ATN_OK);
    assert_true(lstat(link, &s) == 0 && S_ISLNK(s.st_mode));
    assert_int_equal(file_read(file, 10, &data, NULL, NULL), ATN_OK);
    assert_string_equal(data, "new");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_int_equal(file_write(pipe, "x", 1, &err), ATN_IO);    /* nobody reads it: not waited for */
    assert_non_null(strstr(err.text, pipe));
    int fd = open(pipe, O_RDONLY | O_NONBLOCK);
    assert_int_equal(file_write(pipe, "through", 7, NULL), ATN_OK);
    assert_int_equal(read(fd, got, 7), 7);
    assert_string_equal(got, "through");
    close(fd);
    assert_true(lstat(pipe, &s) == 0 && S_ISFIFO(s.st_mode));
    assert_int_equal(entries(*state), 3);
    free(data);
    free(file), free(link), free(pipe);
}

static void folders_are_made_and_removed(void **state)
{
    char *deep = file_join(*state, "a/b//c"), *file = file_join(*state, "a/file"),
         *below = file_join(*state, "a/file/x");
    atn_error err = {0};
    assert_int_equal(file_mkdirs(deep, NULL), ATN_OK);
    assert_int_equal(file_mkdirs(deep, NULL), ATN_OK);
    assert_true(file_exists(deep));
    assert_int_equal(file_write(file, "x", 1, NULL), ATN_OK);
    assert_int_equal(file_mkdirs(file, &err), ATN_IO);
    assert_non_null(strstr(err.text, "file"));
    assert_int_equal(file_mkdirs(below, &err), ATN_IO);
    char *a = file_join(*state, "a");
    assert_int_equal(file_remove_tree(a, NULL), ATN_OK);
    assert_false(file_exists(a));
    assert_int_equal(file_remove_tree(a, NULL), ATN_OK);         /* missing is fine */
    free(a), free(deep), free(file), free(below);
}

static void removal_does_not_follow_links(void **state)
{
    char *kept = file_join(*state, "kept"), *inside = file_join(*state, "kept/x"), *gone = file_join(*state, "gone"),
         *link = file_join(*state, "gone/link");
    assert_int_equal(file_mkdirs(kept, NULL), ATN_OK);
    assert_int_equal(file_mkdirs(gone, NULL), ATN_OK);
    assert_int_equal(file_write(inside, "x", 1, NULL), ATN_OK);
    assert_int_equal(symlink(kept, link), 0);
    assert_int_equal(file_remove_tree(gone, NULL), ATN_OK);
    assert_true(file_exists(inside) && !file_exists(gone));
    free(kept), free(inside), free(gone), free(link);
}

static void a_lock_excludes_until_its_holder_dies(void **state)
{
    char *path = file_join(*state, "lock");
    int fd = -1, ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char c = file_lock(path, 0, &fd, NULL) == ATN_OK ? 'y' : 'n';
        if (write(ready[1], &c, 1) != 1) _exit(1);
        for (;;) pause();
    }
    char c;
    assert_int_equal(read(ready[0], &c, 1), 1);
    assert_int_equal(c, 'y');
    int64_t t = clock_ns();
    atn_error err = {0};
    assert_int_equal(file_lock(path, 30, &fd, &err), ATN_BUSY);
    assert_true(clock_ns() - t >= 30000000);
    assert_non_null(strstr(err.text, path));
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_int_equal(file_lock(path, 5000, &fd, NULL), ATN_OK);
    int again = -1;
    assert_int_equal(file_lock(path, 0, &again, NULL), ATN_BUSY);
    close(fd);
    assert_int_equal(file_lock(path, 0, &again, NULL), ATN_OK);
    close(again), close(ready[0]), close(ready[1]);
    free(path);
}

static void home_has_the_contract(void **state)
{
    (void)state;
    char *header = file_join(file_home(), "include/attune/kernel.h");
    if (!file_exists(header)) fail_with("no '%s'; set ATTUNE_HOME to the checkout", header);
    free(header);
}

#define IN_A_FOLDER(test) cmocka_unit_test_setup_teardown(test, enter, leave)
static const struct CMUnitTest tests[] = {
    IN_A_FOLDER(reads_back_what_was_written),   IN_A_FOLDER(failures_say_which_file),
    IN_A_FOLDER(a_failed_write_leaves_the_old_file), IN_A_FOLDER(only_files_are_replaced),
    IN_A_FOLDER(folders_are_made_and_removed),
    IN_A_FOLDER(removal_does_not_follow_links), IN_A_FOLDER(a_lock_excludes_until_its_holder_dies),
    cmocka_unit_test(home_has_the_contract),
};
TEST_MAIN(tests)
