/* `rezept push`: claims from a file or standard input, with progress and a list of what was
 * refused. */
#include "command.h"

#include "base/size.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

enum { REFUSED_SHOWN = 20, DOCUMENT_BYTES_MAX = 64 << 20 };

typedef struct pushed_so_far {
    uint64_t refused, size; /* bytes of the input; 0 when unknown */
    bool terminal;
} pushed_so_far;

static uint64_t size_of(FILE *input)
{
    struct stat info;
    return fstat(fileno(input), &info) == 0 && S_ISREG(info.st_mode) ? (uint64_t)info.st_size : 0;
}

static void print_progress(void *context, const rz_push_counts *counts)
{
    const pushed_so_far *so_far = context;
    if (!so_far->terminal)
        return;
    (void)fprintf(stderr, "\r\033[Kpush %" PRIu64 " claims", counts->lines);
    if (so_far->size > 0)
        (void)fprintf(stderr, "  %.0f %%", 100.0 * (double)counts->bytes / (double)so_far->size);
    (void)fflush(stderr);
}

static void print_refused(void *context, uint64_t line, const json_t *result)
{
    pushed_so_far *so_far = context;
    if (++so_far->refused > REFUSED_SHOWN)
        return;
    if (so_far->terminal)
        (void)fputs("\r\033[K", stderr);
    const json_t *errors = json_object_get(result, "errors");
    const char *detail = command_text(result, "detail");
    (void)fprintf(stderr, "refused: line %" PRIu64 ": %s\n", line, detail);
    for (size_t i = 0; i < json_array_size(errors); i++) {
        const json_t *one = json_array_get(errors, i);
        (void)fprintf(stderr, "  %s: %s\n", command_text(one, "pointer"),
                      command_text(one, "detail"));
    }
}

/* A file whose first line is no JSON of its own but whose whole is: one claim, written for people.
 * Sets *document to the text, or NULL when the input is NDJSON. */
static rz_status read_document(FILE *input, char **document, size_t *length, rz_error *error)
{
    struct stat info;
    *document = NULL;
    if (fstat(fileno(input), &info) != 0 || !S_ISREG(info.st_mode) ||
        info.st_size > DOCUMENT_BYTES_MAX)
        return RZ_OK;
    size_t size = (size_t)info.st_size;
    char *text = malloc(size + 1);
    if (text == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu bytes", size);
    size_t got = fread(text, 1, size, input);
    text[got] = '\0';
    json_t *first = json_loadb(text, strcspn(text, "\n"), 0, NULL);
    json_t *whole = first == NULL ? json_loadb(text, got, 0, NULL) : NULL;
    if (whole != NULL) {
        *document = text;
        *length = got;
    } else {
        free(text);
    }
    json_decref(first);
    json_decref(whole);
    if (fseeko(input, 0, SEEK_SET) != 0)
        return rz_fail_errno(error, errno, "the input cannot be rewound");
    return RZ_OK;
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

static rz_status push_document(command *c, const char *text, size_t length, rz_error *error)
{
    rz_reply reply = {0};
    rz_push_counts counts = {.lines = 1, .bytes = length};
    rz_status status = rz_client_call(c->client, "POST", "/v1/claims", "application/json", text,
                                      length, &reply, error);
    if (status == RZ_OK) {
        const json_t *result = json_array_get(json_object_get(reply.json, "claims"), 0);
        const char *outcome = command_text(result, "outcome");
        counts.added = strcmp(outcome, "added") == 0;
        counts.unchanged = strcmp(outcome, "unchanged") == 0;
        counts.superseded = strcmp(outcome, "superseded") == 0;
        print_counts(&counts, rz_options_switch(c->options, "json"));
    } else {
        pushed_so_far so_far = {0};
        print_refused(&so_far, 1, reply.json);
    }
    rz_reply_done(&reply);
    return status;
}

static rz_status push_lines(command *c, FILE *input, const char *state_path, rz_error *error)
{
    rz_push push = rz_push_defaults();
    rz_push_counts counts;
    pushed_so_far so_far = {.size = size_of(input), .terminal = isatty(STDERR_FILENO) == 1};
    push.batch_lines_max = (size_t)rz_options_int(c->options, "batch-lines");
    push.batch_bytes_max = (size_t)rz_options_int(c->options, "batch-bytes");
    push.state_path = state_path;
    push.refused = print_refused;
    push.context = &so_far;
    push.done = print_progress;
    rz_status status = rz_client_push(c->client, input, &push, &counts, error);
    if (so_far.terminal)
        (void)fputs("\r\033[K", stderr);
    if (so_far.refused > REFUSED_SHOWN)
        (void)fprintf(stderr, "… and %" PRIu64 " more refused\n", so_far.refused - REFUSED_SHOWN);
    if (status == RZ_OK || counts.lines > 0)
        print_counts(&counts, rz_options_switch(c->options, "json"));
    if (status != RZ_OK && state_path != NULL && counts.lines > 0)
        (void)fprintf(stderr, "the same command goes on after line %" PRIu64 "\n", counts.lines);
    if (status == RZ_OK && counts.refused > 0)
        status = rz_fail(error, RZ_E_INVALID,
                         "%" PRIu64 " of %" PRIu64 " claims were refused; the others are stored",
                         counts.refused, counts.lines);
    return status;
}

rz_status cmd_push(int argc, char *const *argv, rz_error *error)
{
    command c;
    char *document = NULL, *own_state = NULL;
    size_t length = 0;
    FILE *input = stdin;
    rz_status status = command_open(&c, table, RZ_COUNT(table), usage, 0, 1, argc, argv, error);
    if (status != RZ_OK || c.stop) {
        command_close(&c);
        return status;
    }
    const char *path = c.n_operands == 1 && strcmp(c.operands[0], "-") != 0 ? c.operands[0] : NULL;
    const char *state_path = rz_options_text(c.options, "state");
    if (path != NULL) {
        input = fopen(path, "rb");
        if (input == NULL) {
            status = rz_fail_errno(error, errno, "cannot open %s", path);
            goto out;
        }
        status = read_document(input, &document, &length, error);
        if (state_path == NULL) {
            size_t bytes = strlen(path) + sizeof ".rezept-push";
            own_state = malloc(bytes);
            if (own_state != NULL)
                (void)snprintf(own_state, bytes, "%s.rezept-push", path);
            state_path = own_state;
        }
    } else if (state_path != NULL) {
        status =
            rz_fail(error, RZ_E_USAGE, "--state needs a FILE: standard input cannot be resumed");
    }
    if (status == RZ_OK)
        status = document != NULL ? push_document(&c, document, length, error)
                                  : push_lines(&c, input, state_path, error);
out:
    if (input != NULL && input != stdin)
        (void)fclose(input);
    free(document);
    free(own_state);
    command_close(&c);
    return status;
}
