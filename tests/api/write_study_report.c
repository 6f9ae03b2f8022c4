/* write-study-report FOLDER accuracy|cost: report.html, report.json and routing.json of a study's
 * folder, with held_out open, for the tests of what the daemon makes of them. */
#include "study_report.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    rz_error error = {0};
    study_report_options options = study_report_options_defaults();
    if (argc != 3) {
        (void)fprintf(stderr, "usage: write-study-report FOLDER accuracy|cost\n");
        return 2;
    }
    options.bootstraps = 200;
    options.open_held_out = true;
    options.prefer = strcmp(argv[2], "cost") == 0 ? STUDY_PREFER_COST : STUDY_PREFER_ACCURACY;
    rz_status status = study_report_write(argv[1], &options, NULL, NULL, &error);
    if (status != RZ_OK)
        (void)fprintf(stderr, "%s\n", error.text);
    return status == RZ_OK ? 0 : rz_status_exit_code(status);
}
