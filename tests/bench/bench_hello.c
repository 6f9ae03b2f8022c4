/* The least that libmicrohttpd can do: every GET is answered with the same bytes of memory.
 *
 *   bench-hello --port N [--bytes N] [--threads N]
 *
 * What tests/bench/serving.py holds cached answers against: the library, the kernel and the load
 * thread cost as much here as there. Threads and polling are set as rezeptd sets them. Runs until
 * its standard input ends. */
#include "base/pool.h"
#include "base/size.h"
#include "bench.h"

#include <microhttpd.h>
#include <string.h>
#include <unistd.h>

static struct MHD_Response *answer;

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_n, void **context)
{
    static int seen;
    (void)cls, (void)url, (void)method, (void)version, (void)upload, (void)upload_n;
    if (*context == NULL) { /* the head alone, as the library wants it */
        *context = &seen;
        return MHD_YES;
    }
    return MHD_queue_response(connection, MHD_HTTP_OK, answer);
}

int main(int argc, char **argv)
{
    double port = 0.0, bytes = 1000.0, threads = 0.0;
    const bench_flag flags[] = {{"--port", .number = &port},
                                {"--bytes", .number = &bytes},
                                {"--threads", .number = &threads}};
    bench_flags(argc, argv, flags, RZ_COUNT(flags),
                "bench-hello --port N [--bytes N] [--threads N]");
    unsigned n = threads > 0.0 ? (unsigned)threads : rz_cores();
    char *body = bench_memory((size_t)bytes, 1), byte;
    memset(body, 'x', (size_t)bytes);
    answer = MHD_create_response_from_buffer((size_t)bytes, body, MHD_RESPMEM_PERSISTENT);
    struct MHD_Daemon *daemon =
        MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, (uint16_t)port, NULL, NULL, on_request,
                         NULL, MHD_OPTION_THREAD_POOL_SIZE, n > 1 ? n : 0u,
                         MHD_OPTION_CONNECTION_TIMEOUT, 65u, MHD_OPTION_END);
    if (answer == NULL || daemon == NULL) {
        (void)fprintf(stderr, "bench: port %.0f cannot be served\n", port);
        return 9;
    }
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    MHD_stop_daemon(daemon);
    MHD_destroy_response(answer);
    free(body);
    return 0;
}
