/* Pushing while each allocation in turn fails, alone and with all that follow it: there is an
 * error, nothing leaks, and the same push afterwards goes on to the right end. The server is a
 * thread of this program that allocates nothing. */
#include "allocations.h"
#include "check.h"
#include "folder.h"

#include "rezept_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINES = 7, REFUSED = 2 };

static long fail_at = -1, allocations; /* -1 = all succeed */
static bool fail_after;                /* and all after it */

static bool allocation_fails(void)
{
    long number = allocations++;
    return fail_at >= 0 && (number == fail_at || (fail_after && number > fail_at));
}

/* ---- the server ----------------------------------------------------------------------------- */

static int listener;
static char url[64], input_path[64], state_path[64];
static char folder[] = "/dev/shm/rezept-client-XXXXXX"; /* the place is synced thousands of times */

/* Answers one request from the connection; false at its end. A line "no" is refused. */
static bool answer_one(int fd)
{
    static char in[16384], out[16384];
    size_t got = 0, body = 0, length = 0, used, number = 1;
    while (body == 0 || got < body + length) {
        ssize_t n = read(fd, in + got, sizeof in - 1 - got);
        if (n <= 0)
            return false;
        got += (size_t)n;
        in[got] = '\0';
        const char *end = strstr(in, "\r\n\r\n"), *header = strstr(in, "Content-Length: ");
        body = end != NULL ? (size_t)(end - in) + 4 : 0;
        length = header != NULL ? strtoul(header + 16, NULL, 10) : 0;
    }
    used = (size_t)snprintf(out, sizeof out, "{\"claims\": [");
    bool any = false;
    for (const char *p = in + body; *p != '\0'; number++) {
        size_t n = strcspn(p, "\n");
        if (n > 0)
            used += (size_t)snprintf(out + used, sizeof out - used,
                                     "%s{\"line\": %zu, \"outcome\": \"%s\"}", any ? "," : "",
                                     number, strncmp(p, "no", 2) == 0 ? "refused" : "added");
        any = any || n > 0;
        p += n + (p[n] != '\0' ? 1 : 0);
    }
    used += (size_t)snprintf(out + used, sizeof out - used, "]}");
    /* In one piece: two would wait for each other's acknowledgement. */
    static char all[sizeof out + 128];
    int n =
        snprintf(all, sizeof all, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", used, out);
    return send(fd, all, (size_t)n, MSG_NOSIGNAL) == n;
}

static void *serve(void *context)
{
    (void)context;
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;) {
        while (answer_one(fd))
            continue;
        (void)close(fd);
    }
    return NULL;
}

static int start(void **state)
{
    (void)state;
    pthread_t thread;
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 8) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) != 0 ||
        pthread_create(&thread, NULL, serve, NULL) != 0 || pthread_detach(thread) != 0)
        return -1;
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%d", ntohs(address.sin_port));
    if (temp_folder(folder) == NULL)
        return -1;
    (void)snprintf(input_path, sizeof input_path, "%s/in", folder);
    (void)snprintf(state_path, sizeof state_path, "%s/state", folder);
    json_set_alloc_funcs(__wrap_malloc, free);
    FILE *file = fopen(input_path, "w");
    if (file == NULL || fprintf(file, "{}\n\nno\n{}\n%0*d\n{}\n{}", 300, 7) < 0)
        return -1;
    return fclose(file) == 0 && rz_client_setup() == RZ_OK ? 0 : -1;
}

/* ---- the pushes ----------------------------------------------------------------------------- */

static rz_status push(rz_push_counts *counts, rz_error *error)
{
    rz_client *client = NULL;
    rz_client_options options = rz_client_options_defaults();
    rz_push how = rz_push_defaults();
    FILE *input = fopen(input_path, "r");
    assert_non_null(input);
    options.url = url;
    options.token = "token";
    options.tries = 1;
    how.batch_lines_max = 2;
    how.batch_bytes_max = 200;
    how.state_path = state_path;
    rz_status status = rz_client_open(&options, &client, error);
    if (status == RZ_OK)
        status = rz_client_push(client, input, &how, counts, error);
    rz_client_close(client);
    (void)fclose(input);
    return status;
}

static void check_counts(const rz_push_counts *counts)
{
    assert_int_equal(counts->lines, LINES);
    assert_int_equal(counts->added, 4);
    assert_int_equal(counts->refused, REFUSED);
}

static void fail_each(bool all_after)
{
    bool failed = true;
    long points = 0;
    for (; failed && points < 2000; points++) {
        rz_error error = {0};
        rz_push_counts counts = {0};
        allocations = 0;
        fail_after = all_after;
        fail_at = points;
        rz_status status = push(&counts, &error);
        failed = allocations > points;
        fail_at = -1;
        if (status == RZ_OK)
            check_counts(&counts);
        else
            assert_true(error.text[0] != '\0' && error.status == status);
        rz_error again = {0};
        check_ok(push(&counts, &again));
        check_counts(&counts);
        assert_int_not_equal(access(state_path, F_OK), 0);
    }
    assert_in_range(points, 20, 1999); /* else nothing was tried, or not all of it */
}

static void each_allocation_fails_once(void **state)
{
    (void)state;
    fail_each(false);
}

static void all_later_allocations_fail_too(void **state)
{
    (void)state;
    fail_each(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_allocation_fails_once),
                                       cmocka_unit_test(all_later_allocations_fail_too)};
    return cmocka_run_group_tests(tests, start, NULL);
}
