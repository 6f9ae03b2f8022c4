/* `rezept risk`: what the server says of one patient. */
#include "command.h"
#include "query.h"
#include "risk_table.h"

#include "base/size.h"

static const rz_option table[] = {
    COMMAND_OPTIONS,
    {"facility", RZ_OPTION_TEXT, NULL, .group = "Question", .value = "ID",
     .help = "the facility, where an id fits several patients"},
    {"task", RZ_OPTION_LIST, NULL, .group = "Question", .value = "NAME,…",
     .help = "tasks, and onset:CODE for the first record of a code [all tasks]"},
    {"top", RZ_OPTION_INT, NULL, 1, 100, "Question", "N",
     "the N first records whose risk lies highest above age and sex"},
    {"as-of", RZ_OPTION_TEXT, NULL, .group = "Question", .value = "YYYY-MM-DD",
     .help = "from what was known on this day [today]"},
    {"model", RZ_OPTION_TEXT, NULL, .group = "Question", .value = "ID",
     .help = "one model instead of the routed ones"},
    {"explain", RZ_OPTION_INT, "0", 0, 8, "Question", "N",
     "codes that contribute most to each risk"}};

static const char usage[] = "usage: rezept risk [FLAGS] PATIENT\n"
                            "Prints a patient's one-year risks.\n";

rz_status cmd_risk(int argc, char *const *argv, rz_error *error)
{
    command c;
    rz_reply reply = {0};
    rz_buffer path;
    rz_buffer_init(&path, 8192);
    rz_status status = command_open(&c, table, RZ_COUNT(table), usage, 1, 1, argc, argv, error);
    if (status != RZ_OK || c.stop)
        goto out;
    status = rz_buffer_add_text(&path, "/v1/patients/");
    if (status == RZ_OK)
        status = query_escape(&path, c.operands[0]);
    if (status == RZ_OK)
        status = rz_buffer_add_text(&path, "/risks");
    static const char *const same_name[] = {"facility", "task", "model"};
    for (size_t i = 0; i < RZ_COUNT(same_name) && status == RZ_OK; i++)
        status = query_add(&path, same_name[i], rz_options_text(c.options, same_name[i]));
    if (status == RZ_OK && rz_options_given(c.options, "top"))
        status = query_add(&path, "top", rz_options_text(c.options, "top"));
    if (status == RZ_OK)
        status = query_add(&path, "as_of", rz_options_text(c.options, "as-of"));
    if (status == RZ_OK && rz_options_given(c.options, "explain"))
        status = query_add(&path, "explain", rz_options_text(c.options, "explain"));
    if (status != RZ_OK) {
        status = rz_fail(error, status, "the question is too long");
        goto out;
    }
    status = rz_client_call(c.client, "GET", path.data, NULL, NULL, 0, &reply, error);
    if (status == RZ_OK && rz_options_switch(c.options, "json")) {
        status = command_print_json(reply.json, error);
    } else if (status == RZ_OK) {
        status = risk_table_print(json_object_get(reply.json, "risks"), stdout, error);
        (void)printf("\nas of %s. " DISCLAIMER "\n", command_text(reply.json, "as_of"));
    }
out:
    rz_reply_done(&reply);
    rz_buffer_done(&path);
    command_close(&c);
    return status;
}
