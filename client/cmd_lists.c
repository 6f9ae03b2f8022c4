/* `rezept patients`, `models`, `tasks` and `health`: a GET and a table of its rows. */
#include "command.h"
#include "query.h"
#include "table.h"

#include "base/size.h"

#include <string.h>

static const rz_option plain_table[] = {COMMAND_OPTIONS};

/* Whether a server is ready is asked to be told now. */
static const rz_option health_table[] = {COMMAND_OPTIONS_TRIES("1")};

static const rz_option patients_table[] = {
    COMMAND_OPTIONS,
    {"facility", RZ_OPTION_TEXT, NULL, .group = "List", .value = "ID", .help = "of one facility"},
    {"after", RZ_OPTION_TEXT, NULL, .group = "List", .value = "CURSOR",
     .help = "go on after the `next` of the last page"},
    {"limit", RZ_OPTION_INT, "100", 1, 1000, "List", "N",
     "patients of one page, as far as the server's page-patients-max allows"}};

/* A column: heading, member ("a.b" reaches into an object), alignment. */
typedef struct column {
    const char *heading, *member;
    bool right;
} column;

/* Room for the names of all tasks a model can have, in part. */
enum { CELL_BYTES = 1024 };

static const char *cell_of(const json_t *row, const char *member, char cell[CELL_BYTES])
{
    const char *dot = strchr(member, '.');
    const json_t *value;
    if (dot != NULL) {
        char outer[32];
        (void)snprintf(outer, sizeof outer, "%.*s", (int)(dot - member), member);
        value = json_object_get(json_object_get(row, outer), dot + 1);
    } else {
        value = json_object_get(row, member);
    }
    cell[0] = '\0';
    if (json_is_string(value))
        return json_string_value(value);
    if (json_is_integer(value))
        (void)snprintf(cell, CELL_BYTES, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        (void)snprintf(cell, CELL_BYTES, "%.3f", json_real_value(value));
    else if (json_is_array(value)) /* a list of names */
        for (size_t i = 0; i < json_array_size(value); i++) {
            const char *name = json_string_value(json_array_get(value, i));
            size_t used = strlen(cell);
            (void)snprintf(cell + used, CELL_BYTES - used, "%s%s", i > 0 ? ", " : "",
                           name != NULL ? name : "");
        }
    return cell;
}

static rz_status print_rows(const json_t *rows, const column *columns, size_t n, rz_error *error)
{
    table t = {0};
    rz_status status = RZ_OK;
    for (size_t i = 0; i < n; i++)
        table_column(&t, columns[i].heading, columns[i].right);
    for (size_t r = 0; r < json_array_size(rows) && status == RZ_OK; r++) {
        const char *texts[TABLE_COLUMNS_MAX];
        char cells[TABLE_COLUMNS_MAX][CELL_BYTES];
        for (size_t i = 0; i < n; i++)
            texts[i] = cell_of(json_array_get(rows, r), columns[i].member, cells[i]);
        status = table_row(&t, texts, error);
    }
    if (status == RZ_OK)
        table_print(&t, stdout);
    table_done(&t);
    return status;
}

/* GET `path`; prints the answer as JSON or the rows of its member `key` as a table. */
static rz_status list(command *c, const char *path, const char *key, const column *columns,
                      size_t n, rz_error *error)
{
    rz_reply reply = {0};
    rz_status status = rz_client_call(c->client, "GET", path, NULL, NULL, 0, &reply, error);
    if (status == RZ_OK && rz_options_switch(c->options, "json"))
        status = command_print_json(reply.json, error);
    else if (status == RZ_OK)
        status = print_rows(json_object_get(reply.json, key), columns, n, error);
    if (status == RZ_OK && json_is_string(json_object_get(reply.json, "next")) &&
        !rz_options_switch(c->options, "json"))
        (void)printf("more: --after %s\n", command_text(reply.json, "next"));
    const json_t *onset = json_object_get(reply.json, "onset");
    if (status == RZ_OK && json_is_object(onset) && !rz_options_switch(c->options, "json"))
        (void)printf("\nThe first record of %" JSON_INTEGER_FORMAT
                     " codes, from %s: rezept risk --task onset:CODE, or --top N\n",
                     json_integer_value(json_object_get(onset, "codes")),
                     command_text(onset, "model"));
    rz_reply_done(&reply);
    return status;
}

rz_status cmd_patients(int argc, char *const *argv, rz_error *error)
{
    static const column columns[] = {{"patient", "id", false},   {"facility", "facility", false},
                                     {"sex", "sex", false},      {"born", "birth_date", false},
                                     {"claims", "claims", true}, {"events", "events", true},
                                     {"last", "last_day", false}};
    command c;
    rz_buffer path;
    rz_buffer_init(&path, 8192);
    rz_status status =
        command_open(&c, patients_table, RZ_COUNT(patients_table),
                     "usage: rezept patients [FLAGS]\nLists patients.\n", 0, 0, argc, argv, error);
    if (status == RZ_OK && !c.stop) {
        status = rz_buffer_add_text(&path, "/v1/patients");
        static const char *const names[] = {"facility", "after", "limit"};
        for (size_t i = 0; i < RZ_COUNT(names) && status == RZ_OK; i++)
            if (rz_options_given(c.options, names[i]))
                status = query_add(&path, names[i], rz_options_text(c.options, names[i]));
        if (status != RZ_OK)
            status = rz_fail(error, status, "the question is too long");
        else
            status = list(&c, path.data, "patients", columns, RZ_COUNT(columns), error);
    }
    rz_buffer_done(&path);
    command_close(&c);
    return status;
}

static rz_status plain_list(const char *usage, const char *path, const char *key,
                            const column *columns, size_t n, int argc, char *const *argv,
                            rz_error *error)
{
    command c;
    rz_status status =
        command_open(&c, plain_table, RZ_COUNT(plain_table), usage, 0, 0, argc, argv, error);
    if (status == RZ_OK && !c.stop)
        status = list(&c, path, key, columns, n, error);
    command_close(&c);
    return status;
}

rz_status cmd_models(int argc, char *const *argv, rz_error *error)
{
    static const column columns[] = {{"model", "id", false},          {"state", "state", false},
                                     {"size", "size", false},         {"tasks", "tasks", false},
                                     {"onsets", "onset.codes", true}, {"why not", "reason", false}};
    return plain_list("usage: rezept models [FLAGS]\nLists models and their state.\n", "/v1/models",
                      "models", columns, RZ_COUNT(columns), argc, argv, error);
}

rz_status cmd_tasks(int argc, char *const *argv, rz_error *error)
{
    static const column columns[] = {{"task", "name", false},   {"title", "title", false},
                                     {"kind", "kind", false},   {"days", "horizon_days", true},
                                     {"model", "model", false}, {"size", "size", false},
                                     {"why", "why", false}};
    return plain_list(
        "usage: rezept tasks [FLAGS]\nLists tasks, the model that answers each, and why "
        "that one does.\n",
        "/v1/tasks", "tasks", columns, RZ_COUNT(columns), argc, argv, error);
}

rz_status cmd_health(int argc, char *const *argv, rz_error *error)
{
    command c;
    rz_reply reply = {0};
    rz_status status = command_open(
        &c, health_table, RZ_COUNT(health_table),
        "usage: rezept health [FLAGS]\nIs the server ready? Exit code 0 if so, 7 if not yet.\n", 0,
        0, argc, argv, error);
    if (status == RZ_OK && !c.stop) {
        status = rz_client_call(c.client, "GET", "/readyz", NULL, NULL, 0, &reply, error);
        rz_status printed = RZ_OK;
        if (rz_options_switch(c.options, "json") && (status == RZ_OK || reply.json != NULL))
            printed = command_print_json(reply.json, error);
        else if (status == RZ_OK)
            (void)puts("ready");
        status = status == RZ_OK ? printed : status;
    }
    rz_reply_done(&reply);
    command_close(&c);
    return status;
}
