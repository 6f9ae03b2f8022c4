/* Progress on standard error and interruption: the only globals of the program, because a signal
 * handler can reach nothing else. */
#include "program.h"

#include <math.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;

static struct {
    double last_s;
    bool line_open;
} shown;

static void on_signal(int signal_number)
{
    if (interrupted)
        _exit(128 + signal_number);
    interrupted = 1;
}

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void print_line(const rz_progress_report *report, FILE *out)
{
    (void)fprintf(out, "%s %llu", report->phase, (unsigned long long)report->done);
    if (report->total > 0)
        (void)fprintf(out, "/%llu", (unsigned long long)report->total);
    (void)fprintf(out, " %s", report->unit);
    if (!isnan(report->loss))
        (void)fprintf(out, "  loss %.4f", report->loss);
    if (!isnan(report->rate_per_s))
        (void)fprintf(out, "  %.0f %s/s", report->rate_per_s, report->rate_unit);
    if (!isnan(report->seconds_left))
        (void)fprintf(out, "  %d:%02d left", (int)report->seconds_left / 60,
                      (int)report->seconds_left % 60);
}

static bool report_progress(void *context, const rz_progress_report *report)
{
    (void)context;
    bool terminal = isatty(STDERR_FILENO) == 1;
    bool last = report->total > 0 && report->done >= report->total;
    double now = now_s();
    if (last || now - shown.last_s >= (terminal ? 0.2 : 10.0)) {
        shown.last_s = now;
        if (terminal)
            (void)fputs("\r\033[K", stderr);
        print_line(report, stderr);
        if (!terminal)
            (void)fputc('\n', stderr);
        (void)fflush(stderr);
        shown.line_open = terminal;
    }
    return interrupted == 0;
}

rz_progress program_progress(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    return (rz_progress){.fn = report_progress};
}

void program_progress_end(void)
{
    if (shown.line_open)
        (void)fputc('\n', stderr);
    shown.line_open = false;
}

rz_status program_options(const rz_option *table, size_t n, const char *usage, bool operands,
                          int argc, char *const *argv, rz_options **out, bool *stop,
                          rz_error *error)
{
    rz_options *options = NULL;
    const char *const *given;
    *stop = false;
    rz_status status = rz_options_new(table, n, "REZEPT", &options, error);
    if (status != RZ_OK)
        return status;
    status = rz_options_read_environment(options, error);
    if (status == RZ_OK)
        status = rz_options_read_arguments(options, argc, argv, error);
    if (status == RZ_OK && !operands && rz_options_operands(options, &given) > 0)
        status =
            rz_fail(error, RZ_E_USAGE, "%s takes no operand, not \"%.60s\"", argv[0], given[0]);
    if (status != RZ_OK) {
        rz_options_free(options);
        return status;
    }
    if (rz_options_wants_help(options)) {
        (void)fputs(usage, stdout);
        rz_options_print_help(options, stdout);
        *stop = true;
    }
    *out = options;
    return RZ_OK;
}
