/* Finds, then writes: report.json first, because it keeps when held_out was opened. */
#include "study_report.h"

#include "base/file.h"
#include "study_findings.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PAGE_BYTES_MAX = 256 << 20, SEED = 1 };

study_report_options study_report_options_defaults(void)
{
    return (study_report_options){.bootstraps = RZ_BOOTSTRAPS,
                                  .seed = SEED,
                                  .margin = 0.05,
                                  .prefer = STUDY_PREFER_ACCURACY,
                                  .open_held_out = false};
}

/* Takes the JSON, which may be NULL. */
static rz_status write_json(const char *folder, const char *name, json_t *json, rz_error *error)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    char *text = json != NULL ? json_dumps(json, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) : NULL;
    rz_status status = text != NULL ? rz_file_write(path, text, strlen(text), error)
                                    : rz_fail(error, RZ_E_NO_MEMORY, "no memory for %s", path);
    free(text);
    json_decref(json);
    return status;
}

static rz_status write_html(const char *folder, const study_findings *f, rz_error *error)
{
    char path[PATH_MAX];
    rz_buffer page;
    rz_buffer_init(&page, PAGE_BYTES_MAX);
    (void)snprintf(path, sizeof path, "%s/report.html", folder);
    rz_status status = study_report_html(f, &page, error);
    if (status == RZ_OK)
        status = rz_file_write(path, page.data, page.length, error);
    rz_buffer_done(&page);
    return status;
}

static rz_status note_opening(study_findings *f, rz_error *error)
{
    char text[32];
    time_t now = time(NULL);
    struct tm utc;
    if (!f->options.open_held_out)
        return RZ_OK;
    if (gmtime_r(&now, &utc) == NULL ||
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        return rz_fail(error, RZ_E_INTERNAL, "the time of day cannot be told");
    return json_array_append_new(f->held_out_opened, json_string(text)) == 0
               ? RZ_OK
               : rz_fail(error, RZ_E_NO_MEMORY, "no memory for a time");
}

rz_status study_report_write(const char *folder, const study_report_options *options, rz_pool *pool,
                             const rz_progress *progress, rz_error *error)
{
    study_findings f = {.done = 0};
    if (!(options->margin >= 0.0 && options->margin <= 1.0))
        return rz_fail(error, RZ_E_RANGE, "margin %g is no share from 0 to 1", options->margin);
    rz_status status = study_findings_make(folder, options, pool, progress, &f, error);
    if (status == RZ_OK)
        status = note_opening(&f, error);
    if (status == RZ_OK)
        status = write_json(folder, "report.json", study_report_json(&f), error);
    if (status == RZ_OK)
        status = write_html(folder, &f, error);
    if (status == RZ_OK)
        status =
            write_json(folder, "routing.json",
                       study_routing_json(&f.results, f.routed, f.results.design.n_tasks), error);
    study_findings_done(&f);
    return status;
}
