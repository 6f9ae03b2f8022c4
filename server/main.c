/* rezeptd: starts everything in order, waits for a signal, drains, and ends. */
#include "audit.h"
#include "auth.h"
#include "cache.h"
#include "changes.h"
#include "config.h"
#include "http.h"
#include "log.h"
#include "metrics.h"
#include "readers.h"
#include "registry.h"
#include "scorer.h"
#include "server.h"
#include "supervisor.h"
#include "tally.h"
#include "tokens.h"
#include "writer.h"

#include "base/file.h"
#include "import/titles.h"
#include "tensor/gemm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SETTLE_MS = 50, PROBE_MS = 2000 };

static const char usage[] =
    "usage: rezeptd serve [FLAGS]       answer on http://127.0.0.1:8480\n"
    "       rezeptd token create|list|revoke [FLAGS]\n"
    "       rezeptd --check-config [FLAGS]\n"
    "       rezeptd --version\n"
    "Claims in, risks out. Every flag has a twin in the environment (--port is REZEPTD_PORT) and "
    "in\n"
    "the settings file. Decision support for research use, not a diagnosis.\n";

static const char last_words[] =
    "\nexample: rezeptd serve --db rezept.db --models models --port 8480\n";

/* The first one is written into a pipe that main() looks at, the second ends the process at once.
 * A handler from the beginning and not a wait for blocked signals: OpenBLAS starts threads before
 * main() can block anything, and a signal that such a thread takes would end the process without
 * draining. */
static int signal_pipe[2] = {-1, -1};
static atomic_int signals;

static void on_signal(int signal_number)
{
    int before = errno;
    if (atomic_fetch_add(&signals, 1) > 0)
        _exit(128 + signal_number);
    ssize_t written = write(signal_pipe[1], "", 1);
    (void)written; /* an empty pipe takes one byte */
    errno = before;
}

static sigset_t ending_signals(void)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    return set;
}

static rz_status start_signals(rz_error *error)
{
    sigset_t set = ending_signals();
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction end = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    if (pipe(signal_pipe) != 0 || fcntl(signal_pipe[0], F_SETFD, FD_CLOEXEC) != 0 ||
        fcntl(signal_pipe[1], F_SETFD, FD_CLOEXEC) != 0)
        return rz_fail_errno(error, errno, "no pipe for signals");
    (void)sigaction(SIGPIPE, &ignore, NULL);
    (void)sigaction(SIGXFSZ, &ignore, NULL); /* a full quota is an error of write, not an end */
    /* Our own threads inherit this and are not interrupted; main() lets them in while it waits. */
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    (void)sigaction(SIGTERM, &end, NULL);
    (void)sigaction(SIGINT, &end, NULL);
    return RZ_OK;
}

/* Also the service manager hears that the models are there, and from then on, as often as it wants,
 * that we answer. Requests that were answered meanwhile say so, too: a daemon whose connections are
 * all taken by busy clients has none left for its own question. */
static void tell(server *s, int port, bool *ready, uint64_t *answered)
{
    uint64_t now = metrics_requests(s->metrics);
    if (!*ready && registry_settled(s->registry)) {
        size_t models = registry_ready(s->registry);
        *ready = true;
        log_event("info", "ready", "{s:I}", "models_ready", (json_int_t)models);
        supervisor_tell(&s->supervisor, "READY=1\nSTATUS=listening on %s port %d, %zu models ready",
                        s->config.listen, port, models);
    }
    if (!*ready || s->supervisor.watchdog_ms == 0)
        return;
    if (supervisor_probe(&s->config, port, PROBE_MS) || now != *answered)
        supervisor_tell(&s->supervisor, "WATCHDOG=1");
    else
        log_event("error", "not_answering", "{s:i}", "probe_ms", PROBE_MS);
    *answered = metrics_requests(s->metrics);
}

static void wait_for_signal(server *s, int port)
{
    sigset_t set = ending_signals();
    struct pollfd asked = {.fd = signal_pipe[0], .events = POLLIN};
    bool ready = false;
    uint64_t answered = 0;
    (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    do {
        tell(s, port, &ready, &answered);
    } while (poll(&asked, 1,
                  !ready                          ? SETTLE_MS
                  : s->supervisor.watchdog_ms > 0 ? s->supervisor.watchdog_ms / 4 + 1
                                                  : -1) <= 0);
}

/* Everything but the listener; in the order in which each needs the one before. */
static rz_status start_rooms(server *s, rz_error *error)
{
    rz_status status = rz_tensor_choose(&s->tensor, error);
    if (status == RZ_OK && s->config.code_titles != NULL)
        status = rz_titles_read(s->config.code_titles, &s->titles, error);
    if (status == RZ_OK)
        status = supervisor_open(&s->supervisor, error);
    if (status == RZ_OK)
        status = metrics_new(&s->metrics, error);
    if (status == RZ_OK)
        status = auth_new(&s->config, &s->auth, error);
    if (status == RZ_OK)
        status = changes_new(&s->changes, error);
    /* Models load beside all that follows: opening the store looks through it for damage. */
    if (status == RZ_OK)
        status = registry_new(&s->config, s->changes, &s->registry, error);
    if (status == RZ_OK)
        status = cache_new(s->config.cache_bytes_max, s->changes, &s->cache, error);
    if (status == RZ_OK)
        status = tally_new(&s->tally, error);
    if (status == RZ_OK)
        status = audit_new(s, &s->audit, error);
    if (status == RZ_OK)
        status = writer_new(&s->config, s->metrics, s->changes, &s->writer, error);
    if (status == RZ_OK)
        status = readers_new(&s->config, s->metrics, &s->readers, error);
    return status;
}

static void stop_rooms(server *s)
{
    scorer_free(s->scorer);
    registry_free(s->registry);
    readers_free(s->readers);
    writer_free(s->writer);
    audit_free(s->audit);
    tally_free(s->tally);
    cache_free(s->cache);
    changes_free(s->changes);
    auth_free(s->auth);
    metrics_free(s->metrics);
    rz_titles_free(s->titles);
    supervisor_close(&s->supervisor);
}

static void drain(server *s)
{
    log_event("info", "draining", "{s:i}", "drain_seconds", s->config.drain_seconds);
    supervisor_tell(&s->supervisor, "STOPPING=1\nSTATUS=draining");
    atomic_store(&s->draining, true);
    http_stop_accepting(s->http);
    bool idle = http_wait_idle(s->http, s->config.drain_seconds);
    http_stop(s->http);
    s->http = NULL;
    log_event(idle ? "info" : "warning", "drained", "{s:b}", "all_answered", (int)idle);
}

static rz_status serve(server *s, rz_error *error)
{
    int port = 0;
    rz_status status = start_rooms(s, error);
    if (status == RZ_OK)
        status = scorer_new(s, &s->scorer, error);
    /* Last: from here on requests look at all of the above. */
    if (status == RZ_OK)
        status = http_start(s, &s->http, &port, error);
    if (status != RZ_OK) {
        http_stop(s->http);
        return status;
    }
    log_event("info", "started", "{s:s, s:s, s:i, s:i}", "version", REZEPT_VERSION, "listen",
              s->config.listen, "port", port, "pid", (int)getpid());
    supervisor_tell(&s->supervisor, "STATUS=loading the models");
    wait_for_signal(s, port);
    drain(s);
    return RZ_OK;
}

static void print_blas(const rz_blas_info *blas)
{
    (void)printf("%-28s = %s, kernel %s, %u threads, %.1f GFLOP/s\n%-28s = %s (%s), %.1f GFLOP/s\n",
                 "blas", blas->config, blas->core, blas->threads, blas->gflops, "kernels",
                 blas->path.name, blas->path.why, blas->weight_gflops);
    for (unsigned i = 0; i < blas->n_warnings; i++)
        (void)printf("warning: %s\n", blas->warnings[i]);
}

static rz_status check_config(const config *c, rz_error *error)
{
    rz_blas_info blas;
    rz_pool *pool = NULL;
    rz_options_print_values(c->options, stdout);
    (void)printf("%-28s = %s  (in use)\n%-28s = %s  (in use)\n%-28s = %s  (in use)\n", "db", c->db,
                 "models", c->models, "pseudonym-key-file",
                 c->key_file != NULL ? c->key_file : "none");
    rz_status status = rz_pool_new(c->model_threads, &pool, error);
    if (status == RZ_OK)
        status = rz_blas_describe(pool, &blas, error);
    if (status == RZ_OK)
        print_blas(&blas);
    rz_pool_free(pool);
    return status;
}

static rz_status run(int argc, char **argv, rz_error *error)
{
    server *s = calloc(1, sizeof *s);
    bool stop = false, serving = argc > 1 && strcmp(argv[1], "serve") == 0;
    if (s == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to start");
    s->started_us = time_now_us();
    s->supervisor.fd = -1;
    rz_status status = config_read(&s->config, serving ? argc - 1 : argc, serving ? argv + 1 : argv,
                                   usage, &stop, error);
    const char *const *operands;
    if (status == RZ_OK && stop)
        (void)fputs(last_words, stdout);
    else if (status == RZ_OK && rz_options_operands(s->config.options, &operands) > 0)
        status =
            rz_fail(error, RZ_E_USAGE, "there is no command %s; --help lists them", operands[0]);
    else if (status == RZ_OK && rz_options_switch(s->config.options, "check-config"))
        status = check_config(&s->config, error);
    else if (status == RZ_OK && !serving)
        status = rz_fail(error, RZ_E_USAGE, "say `rezeptd serve`; --help lists the rest");
    else if (status == RZ_OK)
        status = serve(s, error);
    stop_rooms(s);
    config_done(&s->config);
    free(s);
    return status;
}

int main(int argc, char **argv)
{
    rz_error error = {0};
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        (void)puts("rezeptd " REZEPT_VERSION);
        return 0;
    }
    rz_status status = start_signals(&error);
    if (status == RZ_OK)
        status = rz_hash_setup(&error);
    if (status == RZ_OK)
        status = argc > 1 && strcmp(argv[1], "token") == 0
                     ? tokens_command(argc - 1, argv + 1, &error)
                     : run(argc, argv, &error);
    if (status == RZ_OK)
        status = rz_output_flush(stdout, "the output", &error);
    if (status != RZ_OK)
        (void)fprintf(stderr, "rezeptd: %s\n",
                      error.text[0] != '\0' ? error.text : rz_status_text(status));
    return rz_status_exit_code(status);
}
