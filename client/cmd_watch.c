/* `rezept watch`: looks at the worklist of each task again and again and prints what changed since
 * the last look, those that left the list included. What it saw is kept in memory only: the first
 * look shows everything. */
#include "command.h"
#include "query.h"

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
    uint64_t key;             /* of task, facility and patient; 0 = free */
    char *facility, *patient; /* owned */
    double probability;       /* NaN while not in the list */
    int64_t look;             /* the last one that showed it */
    size_t task;              /* number of the task */
} seen;

typedef struct watching {
    command c;
    seen *all; /* [SEEN_MAX], owned */
    size_t used;
    int64_t look; /* under way, from 1 */
} watching;

static uint64_t key_of(const char *task, const json_t *row)
{
    char text[512];
    int n = snprintf(text, sizeof text, "%s\n%s\n%s", task, command_text(row, "facility"),
                     command_text(row, "patient"));
    uint64_t key = rz_hash64(text, n < (int)sizeof text ? (size_t)n : sizeof text - 1, 0);
    return key != 0 ? key : 1;
}

/* The slot of a row. Errors  RZ_E_TOO_LARGE when the table is full, RZ_E_NO_MEMORY. */
static rz_status find_slot(watching *w, const char *task, size_t task_number, const json_t *row,
                           seen **out, rz_error *error)
{
    uint64_t key = key_of(task, row);
    size_t i = (size_t)key % SEEN_MAX;
    while (w->all[i].key != 0 && w->all[i].key != key)
        i = (i + 1) % SEEN_MAX;
    seen *s = *out = &w->all[i];
    if (s->key == key)
        return RZ_OK;
    if (w->used >= SEEN_MAX / 2)
        return rz_fail(error, RZ_E_TOO_LARGE,
                       "more than %d patients are watched; choose a smaller --limit", SEEN_MAX / 2);
    *s = (seen){.facility = strdup(command_text(row, "facility")),
                .patient = strdup(command_text(row, "patient")),
                .probability = NAN,
                .task = task_number};
    if (s->facility == NULL || s->patient == NULL) {
        free(s->facility);
        free(s->patient);
        *s = (seen){0};
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to watch");
    }
    s->key = key;
    w->used++;
    return RZ_OK;
}

static json_t *number_or_null(double value)
{
    return isnan(value) ? json_null() : json_real(value);
}

/* `now` is NaN for a patient who left the list: the risk fell, or there is none any more. */
static rz_status print_change(const watching *w, const char *task, const seen *s, double now,
                              rz_error *error)
{
    if (rz_options_switch(w->c.options, "json")) {
        json_t *line = json_pack("{s:s, s:s, s:s, s:o, s:o}", "task", task, "facility", s->facility,
                                 "patient", s->patient, "probability", number_or_null(now),
                                 "probability_before", number_or_null(s->probability));
        bool printed = line != NULL &&
                       json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6)) == 0 &&
                       fputc('\n', stdout) != EOF;
        json_decref(line);
        return printed ? RZ_OK : rz_fail(error, RZ_E_IO, "the change cannot be printed");
    }
    char now_text[32] = "left the list", before_text[32] = "new";
    if (!isnan(now))
        (void)snprintf(now_text, sizeof now_text, "%.1f %%", 100.0 * now);
    if (!isnan(s->probability))
        (void)snprintf(before_text, sizeof before_text, "was %.1f %%", 100.0 * s->probability);
    (void)printf("%s  %s/%s  %s  (%s)\n", task, s->facility, s->patient, now_text, before_text);
    return RZ_OK;
}

static rz_status take_rows(watching *w, const char *task, size_t task_number, const json_t *rows,
                           rz_error *error)
{
    rz_status status = RZ_OK;
    double smallest = rz_options_real(w->c.options, "change");
    for (size_t i = 0; status == RZ_OK && i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        double now = json_number_value(json_object_get(row, "probability"));
        seen *s;
        status = find_slot(w, task, task_number, row, &s, error);
        if (status != RZ_OK)
            break;
        s->look = w->look;
        if (isnan(s->probability) ||
            (now != s->probability && fabs(now - s->probability) >= smallest)) {
            status = print_change(w, task, s, now, error);
            s->probability = now;
        }
    }
    for (size_t i = 0; status == RZ_OK && i < SEEN_MAX; i++) {
        seen *s = &w->all[i];
        if (s->key != 0 && s->task == task_number && s->look != w->look && !isnan(s->probability)) {
            status = print_change(w, task, s, NAN, error);
            s->probability = NAN;
        }
    }
    return status;
}

static rz_status look(watching *w, const char *task, size_t task_number, rz_error *error)
{
    rz_reply reply = {0};
    rz_buffer path;
    rz_buffer_init(&path, 8192);
    rz_status status = rz_buffer_add_text(&path, "/v1/risks");
    if (status == RZ_OK)
        status = query_add(&path, "task", task);
    if (status == RZ_OK)
        status = query_add(&path, "sort", "probability");
    if (status == RZ_OK)
        status = query_add(&path, "facility", rz_options_text(w->c.options, "facility"));
    if (status == RZ_OK)
        status = query_add(&path, "limit", rz_options_text(w->c.options, "limit"));
    if (status != RZ_OK)
        status = rz_fail(error, status, "the question is too long");
    else
        status = rz_client_call(w->c.client, "GET", path.data, NULL, NULL, 0, &reply, error);
    if (status == RZ_OK)
        status = take_rows(w, task, task_number, json_object_get(reply.json, "risks"), error);
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

/* Looks at each task of the list once. */
static rz_status look_at_all(watching *w, const char *tasks, rz_error *error)
{
    rz_status status = RZ_OK;
    size_t number = 0;
    w->look++;
    for (const char *p = tasks; *p != '\0' && status == RZ_OK; number++) {
        char name[64];
        size_t n = strcspn(p, ",");
        (void)snprintf(name, sizeof name, "%.*s", (int)n, p);
        status = look(w, name, number, error);
        p += n + (p[n] == ',' ? 1 : 0);
    }
    return status;
}

static void free_seen(seen *all)
{
    for (size_t i = 0; all != NULL && i < SEEN_MAX; i++) {
        free(all[i].facility);
        free(all[i].patient);
    }
    free(all);
}

rz_status cmd_watch(int argc, char *const *argv, rz_error *error)
{
    watching w = {0};
    char *tasks = NULL;
    rz_status status = command_open(&w.c, table, RZ_COUNT(table), usage, 0, 0, argc, argv, error);
    if (status != RZ_OK || w.c.stop)
        goto out;
    w.all = calloc(SEEN_MAX, sizeof *w.all);
    if (w.all == NULL) {
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory to watch");
        goto out;
    }
    status = choose_tasks(&w.c, &tasks, error);
    if (status == RZ_OK && !rz_options_switch(w.c.options, "json"))
        (void)puts(DISCLAIMER);
    int64_t looks = rz_options_int(w.c.options, "looks");
    int64_t interval_s = rz_options_int(w.c.options, "interval-s");
    while (status == RZ_OK && !command_interrupted()) {
        status = look_at_all(&w, tasks, error);
        if (w.look == looks)
            break;
        for (int64_t i = 0; status == RZ_OK && i < interval_s * 10 && !command_interrupted(); i++) {
            const struct timespec tenth = {.tv_nsec = 100000000};
            (void)nanosleep(&tenth, NULL);
        }
    }
    if (status == RZ_OK && command_interrupted())
        status = rz_fail(error, RZ_E_CANCELED, "interrupted");
out:
    free(tasks);
    free_seen(w.all);
    command_close(&w.c);
    return status;
}
