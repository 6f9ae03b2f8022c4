/* `rezept push`: claims from a file or standard input, with progress and a list of what was
 * refused. */
#include "command.h"

#include "base/size.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const rz_option table[] = {
    COMMAND_OPTIONS,
    {"state", RZ_OPTION_TEXT, NULL, .group = "Push", .value = "PATH",
     .help = "where the acknowledged place is kept [FILE.rezept-push]"},
    {"batch-lines", RZ_OPTION_INT, "1000", 1, 100000, "Push", "N", "claims of one request"},
    {"batch-bytes", RZ_OPTION_INT, "1048576", 1024, 1073741824, "Push", "N",
     "bytes of one request; the server's limit is in /v1/server"}};

static const char usage[] =
    "usage: rezept push [FLAGS] [FILE]\n"
    "Sends claims (NDJSON, one a line, or one JSON document) and waits until they are durable.\n"
    "Without FILE, or with -, standard input is read. An interrupted push of a file goes on where\n"
    "it was acknowledged last when the command is given again.\n";

enum { REFUSED_SHOWN = 20, PLAIN_LINE_EVERY_S = 10 };

typedef struct pushed_so_far {
    uint64_t refused, size; /* bytes of the input; 0 when unknown */
    uint64_t first_bytes;   /* acknowledged at the first report, an earlier push included */
    bool terminal, any;
    struct timespec first, printed;
} pushed_so_far;

static double seconds_between(const struct timespec *from, const struct timespec *to)
{
    return (double)(to->tv_sec - from->tv_sec) + 1e-9 * (double)(to->tv_nsec - from->tv_nsec);
}

/* One self-overwriting line on a terminal, a plain line every ten seconds elsewhere. */
static void print_progress(void *context, const rz_push_counts *counts)
{
    pushed_so_far *so_far = context;
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    if (so_far->first_bytes == 0) {
        so_far->first_bytes = counts->bytes;
        so_far->first = now;
    }
    if (!so_far->terminal && seconds_between(&so_far->printed, &now) < PLAIN_LINE_EVERY_S)
        return;
    so_far->printed = now;
    so_far->any = so_far->terminal;
    (void)fprintf(stderr, "%spush %" PRIu64 " lines", so_far->terminal ? "\r\033[K" : "",
                  counts->lines);
    double seconds = seconds_between(&so_far->first, &now);
    double rate = seconds > 0 ? (double)(counts->bytes - so_far->first_bytes) / seconds : 0.0;
    if (so_far->size > 0 && counts->bytes <= so_far->size)
        (void)fprintf(stderr, "  %.0f %%", 100.0 * (double)counts->bytes / (double)so_far->size);
    if (so_far->size > 0 && counts->bytes <= so_far->size && rate > 0)
        (void)fprintf(stderr, "  %.1f MB/s  %.0f s left", 1e-6 * rate,
                      (double)(so_far->size - counts->bytes) / rate);
    if (!so_far->terminal)
        (void)fputc('\n', stderr);
    (void)fflush(stderr);
}

static void clear_line(pushed_so_far *so_far)
{
    if (so_far->any)
        (void)fputs("\r\033[K", stderr);
    so_far->any = false;
}

static void print_refused(void *context, uint64_t line, const json_t *result)
{
    pushed_so_far *so_far = context;
    if (++so_far->refused > REFUSED_SHOWN)
        return;
    clear_line(so_far);
    const json_t *problem = json_object_get(result, "problem");
    const json_t *errors = json_object_get(problem, "errors");
    (void)fprintf(stderr, "refused: line %" PRIu64 ": %s\n", line, command_text(problem, "detail"));
    for (size_t i = 0; i < json_array_size(errors); i++) {
        const json_t *one = json_array_get(errors, i);
        (void)fprintf(stderr, "  %s: %s\n", command_text(one, "pointer"),
                      command_text(one, "detail"));
    }
}

static void print_counts(const rz_push_counts *counts, bool json)
{
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {{"lines", counts->lines},
                {"added", counts->added},
                {"unchanged", counts->unchanged},
                {"superseded", counts->superseded},
                {"refused", counts->refused}};
    (void)fputs(json ? "{" : "pushed ", stdout);
    for (size_t i = 0; i < RZ_COUNT(rows); i++) {
        if (json)
            (void)printf("%s\"%s\": %" PRIu64, i > 0 ? ", " : "", rows[i].name, rows[i].value);
        else
            (void)printf("%s%" PRIu64 " %s",
                         i > 1    ? ", "
                         : i == 1 ? ": "
                                  : "",
                         rows[i].value, rows[i].name);
    }
    (void)puts(json ? "}" : "");
}

static rz_status push(command *c, FILE *input, const char *state_path, uint64_t size,
                      rz_error *error)
{
    rz_push options = rz_push_defaults();
    rz_push_counts counts;
    pushed_so_far so_far = {.size = size, .terminal = isatty(STDERR_FILENO) == 1};
    (void)clock_gettime(CLOCK_MONOTONIC, &so_far.printed);
    options.batch_lines_max = (size_t)rz_options_int(c->options, "batch-lines");
    options.batch_bytes_max = (size_t)rz_options_int(c->options, "batch-bytes");
    options.state_path = state_path;
    options.refused = print_refused;
    options.context = &so_far;
    options.done = print_progress;
    rz_status status = rz_client_push(c->client, input, &options, &counts, error);
    clear_line(&so_far);
    if (so_far.refused > REFUSED_SHOWN)
        (void)fprintf(stderr, "… and %" PRIu64 " more refused\n", so_far.refused - REFUSED_SHOWN);
    if (status == RZ_OK || counts.lines > 0)
        print_counts(&counts, rz_options_switch(c->options, "json"));
    if (status != RZ_OK && state_path != NULL && counts.lines > 0)
        (void)fprintf(stderr, "the same command goes on after line %" PRIu64 "\n", counts.lines);
    if (status == RZ_OK && counts.refused > 0)
        status = rz_fail(error, RZ_E_INVALID,
                         "%" PRIu64 " of %" PRIu64 " claims were refused; the others are stored",
                         counts.refused,
                         counts.refused + counts.added + counts.unchanged + counts.superseded);
    return status;
}

rz_status cmd_push(int argc, char *const *argv, rz_error *error)
{
    command c;
    char *own_state = NULL;
    struct stat info;
    FILE *input = stdin;
    rz_status status = command_open(&c, table, RZ_COUNT(table), usage, 0, 1, argc, argv, error);
    if (status != RZ_OK || c.stop) {
        command_close(&c);
        return status;
    }
    const char *path = c.n_operands == 1 && strcmp(c.operands[0], "-") != 0 ? c.operands[0] : NULL;
    const char *state_path = rz_options_text(c.options, "state");
    if (path != NULL)
        input = fopen(path, "rb");
    if (input == NULL || fstat(fileno(input), &info) != 0) {
        status = rz_fail_errno(error, errno, "cannot open %s", path != NULL ? path : "the input");
        goto out;
    }
    bool regular = S_ISREG(info.st_mode);
    if (S_ISDIR(info.st_mode)) {
        status = rz_fail(error, RZ_E_USAGE, "%s is a folder; name one file", path);
    } else if (state_path != NULL && (path == NULL || !regular)) {
        status = rz_fail(error, RZ_E_USAGE, "--state needs a FILE: a pipe cannot be resumed");
    } else if (path != NULL && regular && state_path == NULL) {
        size_t bytes = strlen(path) + sizeof ".rezept-push";
        own_state = malloc(bytes);
        if (own_state == NULL)
            status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for a path");
        else
            (void)snprintf(own_state, bytes, "%s.rezept-push", path);
        state_path = own_state;
    }
    if (status == RZ_OK)
        status = push(&c, input, state_path, regular ? (uint64_t)info.st_size : 0, error);
out:
    if (input != NULL && input != stdin)
        (void)fclose(input);
    free(own_state);
    command_close(&c);
    return status;
}
