/* `rezept watch`: looks at the worklist of each task again and again and prints what changed since
 * the last look. What it saw is kept in memory only: the first look shows everything. */
#include "command.h"
#include "query.h"
#include "risk_table.h"

#include "base/hash.h"
#include "base/size.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const rz_option table[] = {
    COMMAND_OPTIONS,
    {"task", RZ_OPTION_LIST, NULL, .group = "Watch", .value = "NAME,…", .help = "tasks [all]"},
    {"facility", RZ_OPTION_TEXT, NULL, .group = "Watch", .value = "ID", .help = "of one facility"},
    {"limit", RZ_OPTION_INT, "20", 1, 1000, "Watch", "N", "rows of a task, highest risk first"},
    {"interval-s", RZ_OPTION_INT, "30", 1, 86400, "Watch", "S", "pause between two looks, seconds"},
    {"looks", RZ_OPTION_INT, "0", 0, 1e9, "Watch", "N", "end after N looks, 0 = never"},
    {"change", RZ_OPTION_REAL, "0.01", 0, 1, "Watch", "P", "smallest change that is printed"}};

static const char usage[] =
    "usage: rezept watch [FLAGS]\n"
    "Prints risks that changed since the last look; with --json one object a line.\n";

enum { SEEN_MAX = 1 << 16 }; /* slots; a power of two, at most half of them are used */

typedef struct seen {
    uint64_t key; /* of task, facility and patient; 0 = free */
    double probability;
} seen;

static uint64_t key_of(const char *task, const json_t *row)
{
    char text[512];
    int n = snprintf(text, sizeof text, "%s\n%s\n%s", task, command_text(row, "facility"),
                     command_text(row, "patient"));
    uint64_t key = rz_hash64(text, n < (int)sizeof text ? (size_t)n : sizeof text - 1, 0);
    return key != 0 ? key : 1;
}

/* The slot of a key, or NULL when the table is full. */
static seen *slot_of(seen *all, size_t *used, uint64_t key)
{
    size_t i = (size_t)key % SEEN_MAX;
    while (all[i].key != 0 && all[i].key != key)
        i = (i + 1) % SEEN_MAX;
    if (all[i].key == key)
        return &all[i];
    if (*used >= SEEN_MAX / 2)
        return NULL;
    (*used)++;
    all[i] = (seen){.key = key, .probability = NAN};
    return &all[i];
}

static rz_status print_change_json(const char *task, const json_t *row, double before,
                                   rz_error *error)
{
    json_t *line = json_deep_copy(row);
    json_t *was = isnan(before) ? json_null() : json_real(before);
    int failed = line == NULL || json_object_set_new(line, "task", json_string(task)) != 0;
    failed = failed || json_object_set(line, "probability_before", was) != 0 ||
             json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6)) != 0 ||
             fputc('\n', stdout) == EOF;
    json_decref(was);
    json_decref(line);
    return failed ? rz_fail(error, RZ_E_IO, "the change cannot be printed") : RZ_OK;
}

static rz_status print_change(const command *c, const char *task, const json_t *row, double before,
                              rz_error *error)
{
    char now_text[32], before_text[32] = "new";
    if (rz_options_switch(c->options, "json"))
        return print_change_json(task, row, before, error);
    if (!isnan(before))
        (void)snprintf(before_text, sizeof before_text, "was %.1f %%", 100.0 * before);
    (void)printf("%s  %s/%s  %s  (%s)\n", task, command_text(row, "facility"),
                 command_text(row, "patient"),
                 risk_percent(json_object_get(row, "probability"), now_text), before_text);
    return RZ_OK;
}

static rz_status look(command *c, const char *task, seen *all, size_t *used, rz_error *error)
{
    rz_reply reply = {0};
    rz_buffer path;
    rz_buffer_init(&path, 8192);
    double smallest = rz_options_real(c->options, "change");
    rz_status status = rz_buffer_add_text(&path, "/v1/risks");
    if (status == RZ_OK)
        status = query_add(&path, "task", task);
    if (status == RZ_OK)
        status = query_add(&path, "facility", rz_options_text(c->options, "facility"));
    if (status == RZ_OK)
        status = query_add(&path, "limit", rz_options_text(c->options, "limit"));
    if (status == RZ_OK)
        status = rz_client_call(c->client, "GET", path.data, NULL, NULL, 0, &reply, error);
    const json_t *rows = json_object_get(reply.json, "risks");
    for (size_t i = 0; status == RZ_OK && i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        double now = json_number_value(json_object_get(row, "probability"));
        seen *s = slot_of(all, used, key_of(task, row));
        if (s == NULL) {
            status = rz_fail(error, RZ_E_TOO_LARGE,
                             "more than %d patients are watched; choose "
                             "a smaller --limit",
                             SEEN_MAX / 2);
            break;
        }
        if (isnan(s->probability) || fabs(now - s->probability) >= smallest) {
            status = print_change(c, task, row, s->probability, error);
            s->probability = now;
        }
    }
    if (status == RZ_OK && fflush(stdout) != 0)
        status = rz_fail(error, RZ_E_IO, "the changes cannot be printed");
    rz_reply_done(&reply);
    rz_buffer_done(&path);
    return status;
}

/* The tasks to look at: those given, else all that the server has. New text, joined by commas. */
static rz_status choose_tasks(command *c, char **out, rz_error *error)
{
    rz_reply reply = {0};
    rz_buffer names;
    const char *given = rz_options_text(c->options, "task");
    rz_status status = RZ_OK;
    rz_buffer_init(&names, 8192);
    if (given != NULL) {
        status = rz_buffer_add_text(&names, given);
    } else {
        status = rz_client_call(c->client, "GET", "/v1/tasks", NULL, NULL, 0, &reply, error);
        const json_t *tasks = json_object_get(reply.json, "tasks");
        for (size_t i = 0; status == RZ_OK && i < json_array_size(tasks); i++)
            status = rz_buffer_addf(&names, "%s%s", i > 0 ? "," : "",
                                    command_text(json_array_get(tasks, i), "name"));
    }
    if (status == RZ_OK && names.length == 0)
        status = rz_fail(error, RZ_E_NOT_FOUND, "the server has no tasks");
    if (status == RZ_OK)
        *out = rz_buffer_take(&names, NULL);
    rz_reply_done(&reply);
    rz_buffer_done(&names);
    return status;
}

rz_status cmd_watch(int argc, char *const *argv, rz_error *error)
{
    command c;
    char *tasks = NULL;
    size_t used = 0;
    seen *all = NULL;
    rz_status status = command_open(&c, table, RZ_COUNT(table), usage, 0, 0, argc, argv, error);
    if (status != RZ_OK || c.stop)
        goto out;
    all = calloc(SEEN_MAX, sizeof *all);
    if (all == NULL) {
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory to watch");
        goto out;
    }
    status = choose_tasks(&c, &tasks, error);
    if (status == RZ_OK && !rz_options_switch(c.options, "json"))
        (void)puts(DISCLAIMER);
    int64_t looks = rz_options_int(c.options, "looks"),
            interval_s = rz_options_int(c.options, "interval-s");
    for (int64_t done = 0; status == RZ_OK && !command_interrupted();) {
        for (char *p = tasks; *p != '\0' && status == RZ_OK;) {
            char name[64];
            size_t n = strcspn(p, ",");
            (void)snprintf(name, sizeof name, "%.*s", (int)n, p);
            status = look(&c, name, all, &used, error);
            p += n + (p[n] == ',' ? 1 : 0);
        }
        if (++done == looks)
            break;
        for (int64_t i = 0; i < interval_s * 10 && !command_interrupted(); i++) {
            const struct timespec tenth = {.tv_nsec = 100000000};
            (void)nanosleep(&tenth, NULL);
        }
    }
    if (status == RZ_OK && command_interrupted())
        status = rz_fail(error, RZ_E_CANCELED, "interrupted");
out:
    free(tasks);
    free(all);
    command_close(&c);
    return status;
}
