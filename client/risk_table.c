/* Prints risks as a table; contributions, when asked for, below it. */
#include "risk_table.h"

#include "command.h"
#include "table.h"

#include <math.h>
#include <string.h>

const char *risk_percent(const json_t *value, char cell[32])
{
    cell[0] = '\0';
    if (json_is_number(value))
        (void)snprintf(cell, 32, "%.1f %%", 100.0 * json_number_value(value));
    return cell;
}

const char *risk_reason(const json_t *risk, char cell[128])
{
    const char *reason = command_text(risk, "reason");
    const json_t *recorded = json_object_get(risk, "recorded");
    cell[0] = '\0';
    if (reason[0] == '\0')
        return cell;
    (void)snprintf(cell, 128, "%s", reason);
    for (char *p = cell; *p != '\0'; p++)
        if (*p == '_')
            *p = ' ';
    if (recorded != NULL) {
        size_t used = strlen(cell);
        (void)snprintf(cell + used, 128 - used, " (%s on %s)", command_text(recorded, "code"),
                       command_text(recorded, "date"));
    }
    return cell;
}

static rz_status add_row(table *t, const json_t *risk, rz_error *error)
{
    char percent[32], interval[64] = "", similar[64] = "", average[32], reason[128], low[32],
                      high[32];
    const json_t *band = json_object_get(risk, "interval");
    const json_t *alike = json_object_get(risk, "similar");
    if (json_array_size(band) == 2)
        (void)snprintf(interval, sizeof interval, "%s to %s",
                       risk_percent(json_array_get(band, 0), low),
                       risk_percent(json_array_get(band, 1), high));
    if (json_is_object(alike))
        (void)snprintf(similar, sizeof similar, "%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT,
                       json_integer_value(json_object_get(alike, "positives")),
                       json_integer_value(json_object_get(alike, "n")));
    (void)risk_reason(risk, reason);
    const char *title = command_text(risk, "title");
    const char *row[] = {
        title[0] != '\0' ? title : command_text(risk, "task"),
        reason[0] != '\0' ? reason : risk_percent(json_object_get(risk, "probability"), percent),
        interval,
        similar,
        risk_percent(json_object_get(risk, "average_age_sex"), average),
        command_text(json_object_get(risk, "model"), "id")};
    return table_row(t, row, error);
}

static void print_contributions(const json_t *risk, FILE *out)
{
    const json_t *all = json_object_get(risk, "contributions");
    if (json_array_size(all) == 0)
        return;
    (void)fprintf(out, "\n%s, what speaks for (+) and against (-):\n", command_text(risk, "task"));
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *one = json_array_get(all, i);
        double logit = json_number_value(json_object_get(one, "logit_change"));
        double risk_change = json_number_value(json_object_get(one, "risk_change"));
        (void)fprintf(out, "  %c %.1f points (%+.2f)  %s %s  %s to %s\n", logit >= 0 ? '+' : '-',
                      100.0 * fabs(risk_change), logit, command_text(one, "system"),
                      command_text(one, "code"), command_text(one, "first_day"),
                      command_text(one, "last_day"));
    }
}

/* Codes that the model does not know count for nothing; who reads the risk should know. */
static void print_unmapped(const json_t *risks, FILE *out)
{
    json_int_t most = 0;
    for (size_t i = 0; i < json_array_size(risks); i++) {
        json_int_t n =
            json_integer_value(json_object_get(json_array_get(risks, i), "unmapped_codes"));
        most = n > most ? n : most;
    }
    if (most > 0)
        (void)fprintf(
            out, "\n%" JSON_INTEGER_FORMAT " codes of this history are unknown to the model.\n",
            most);
}

/* ---- onsets ---- */

static bool is_onset(const json_t *risk)
{
    return strncmp(command_text(risk, "task"), "onset:", strlen("onset:")) == 0;
}

static rz_status add_onset(table *t, const json_t *risk, rz_error *error)
{
    char name[160], percent[32], interval[80] = "", average[32], excess[32], seen[64] = "",
                                 reason[128], low[32], high[32];
    const json_t *band = json_object_get(risk, "interval"), *code = json_object_get(risk, "code");
    const json_t *tuning = json_object_get(risk, "tuning");
    const char *from = command_text(code, "truncated_from");
    (void)snprintf(name, sizeof name, "%s%s%s%s", command_text(code, "code"),
                   from[0] != '\0' ? " (of " : "", from, from[0] != '\0' ? ")" : "");
    if (json_array_size(band) == 2)
        (void)snprintf(interval, sizeof interval, "%s to %s",
                       risk_percent(json_array_get(band, 0), low),
                       risk_percent(json_array_get(band, 1), high));
    if (json_is_object(tuning))
        (void)snprintf(seen, sizeof seen, "%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT,
                       json_integer_value(json_object_get(tuning, "positives")),
                       json_integer_value(json_object_get(tuning, "n")));
    (void)risk_reason(risk, reason);
    const char *row[] = {
        code != NULL ? name : "any code",
        command_text(code, "system"),
        reason[0] != '\0' ? reason : risk_percent(json_object_get(risk, "probability"), percent),
        interval,
        risk_percent(json_object_get(risk, "average_age_sex"), average),
        risk_percent(json_object_get(risk, "excess"), excess),
        seen,
        command_text(json_object_get(risk, "model"), "id")};
    return table_row(t, row, error);
}

static rz_status print_onsets(const json_t *risks, FILE *out, rz_error *error)
{
    table t = {0};
    rz_status status = RZ_OK;
    table_column(&t, "first record", false);
    table_column(&t, "system", false);
    table_column(&t, "risk", true);
    table_column(&t, "95 % band", true);
    table_column(&t, "age and sex", true);
    table_column(&t, "excess", true);
    table_column(&t, "had it", true);
    table_column(&t, "model", false);
    for (size_t i = 0; i < json_array_size(risks) && status == RZ_OK; i++)
        if (is_onset(json_array_get(risks, i)))
            status = add_onset(&t, json_array_get(risks, i), error);
    if (status == RZ_OK && t.n_rows > 0)
        table_print(&t, out);
    table_done(&t);
    return status;
}

/* ---- tasks ---- */

static rz_status print_tasks(const json_t *risks, FILE *out, rz_error *error)
{
    table t = {0};
    rz_status status = RZ_OK;
    table_column(&t, "within one year", false);
    table_column(&t, "risk", true);
    table_column(&t, "95 % band", true);
    table_column(&t, "scored alike", true);
    table_column(&t, "age and sex", true);
    table_column(&t, "model", false);
    for (size_t i = 0; i < json_array_size(risks) && status == RZ_OK; i++)
        if (!is_onset(json_array_get(risks, i)))
            status = add_row(&t, json_array_get(risks, i), error);
    if (status == RZ_OK && t.n_rows > 0)
        table_print(&t, out);
    table_done(&t);
    return status;
}

rz_status risk_table_print(const json_t *risks, FILE *out, rz_error *error)
{
    size_t onsets = 0, n = json_array_size(risks);
    for (size_t i = 0; i < n; i++)
        onsets += is_onset(json_array_get(risks, i));
    rz_status status = onsets < n || n == 0 ? print_tasks(risks, out, error) : RZ_OK;
    if (status == RZ_OK && onsets > 0 && onsets < n)
        (void)fputc('\n', out);
    if (status == RZ_OK && onsets > 0)
        status = print_onsets(risks, out, error);
    if (status != RZ_OK)
        return status;
    print_unmapped(risks, out);
    for (size_t i = 0; i < n; i++)
        print_contributions(json_array_get(risks, i), out);
    return RZ_OK;
}
