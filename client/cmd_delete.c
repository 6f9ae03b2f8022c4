/* `rezept delete`: voids a claim, or erases a patient after being asked to with --yes. */
#include "command.h"
#include "query.h"

#include "base/size.h"

#include <string.h>

static const rz_option table[] = {COMMAND_OPTIONS,
                                  {"facility", RZ_OPTION_TEXT, NULL, .group = "Delete",
                                   .value = "ID",
                                   .help = "the facility, where an id fits several patients"},
                                  {"yes", RZ_OPTION_SWITCH, "false", .group = "Delete",
                                   .help = "erase the patient: there is no way back"}};

static const char usage[] =
    "usage: rezept delete [FLAGS] claim FACILITY CLAIM_ID\n"
    "       rezept delete [FLAGS] --yes patient PATIENT\n"
    "Voids a claim (its versions stay readable), or erases a patient physically.\n";

rz_status cmd_delete(int argc, char *const *argv, rz_error *error)
{
    command c;
    rz_reply reply = {0};
    rz_buffer path;
    rz_buffer_init(&path, 8192);
    rz_status status = command_open(&c, table, RZ_COUNT(table), usage, 2, 3, argc, argv, error);
    if (status != RZ_OK || c.stop)
        goto out;
    bool claim = strcmp(c.operands[0], "claim") == 0 && c.n_operands == 3;
    bool patient = strcmp(c.operands[0], "patient") == 0 && c.n_operands == 2;
    if (!claim && !patient) {
        status = rz_fail(error, RZ_E_USAGE, "neither a claim nor a patient is named; %s", usage);
        goto out;
    }
    if (patient && !rz_options_switch(c.options, "yes")) {
        status = rz_fail(error, RZ_E_USAGE,
                         "erasing a patient cannot be undone; give --yes if it is meant");
        goto out;
    }
    status = rz_buffer_add_text(&path, claim ? "/v1/claims/" : "/v1/patients/");
    if (status == RZ_OK)
        status = query_escape(&path, c.operands[1]);
    if (status == RZ_OK && claim)
        status = rz_buffer_add_text(&path, "/");
    if (status == RZ_OK && claim)
        status = query_escape(&path, c.operands[2]);
    if (status == RZ_OK && patient)
        status = query_add(&path, "facility", rz_options_text(c.options, "facility"));
    if (status != RZ_OK) {
        status = rz_fail(error, status, "the names are too long");
        goto out;
    }
    status = rz_client_call(c.client, "DELETE", path.data, NULL, NULL, 0, &reply, error);
    if (status == RZ_OK && rz_options_switch(c.options, "json"))
        status = command_print_json(reply.json, error);
    else if (status == RZ_OK)
        (void)puts(claim ? "claim voided" : "patient erased");
out:
    rz_reply_done(&reply);
    rz_buffer_done(&path);
    command_close(&c);
    return status;
}
