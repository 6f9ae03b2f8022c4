/* rezept-train simulate: claims of simulated patients, and their true risks. */
#include "base/file.h"
#include "base/size.h"
#include "program.h"
#include "simulate/simulate.h"
#include "tasks/cohort.h"

#include <inttypes.h>

static const rz_option table[] = {
    {"patients", RZ_OPTION_INT, "8000", .min = 1, .max = RZ_SIMULATE_PATIENTS_MAX, .group = "Who",
     .value = "N", .help = "patients to simulate"},
    {"hospitals", RZ_OPTION_INT, "4", .min = 1, .max = RZ_SIMULATE_HOSPITALS_MAX, .group = "Who",
     .value = "K", .help = "hospitals, each with its own habits"},
    {"seed", RZ_OPTION_INT, "1", .min = 0, .max = 9e15, .group = "Who", .value = "S",
     .help = "the same seed gives the same bytes"},
    {"frailty", RZ_OPTION_REAL, "0", .min = 0, .max = 2, .group = "Who", .value = "SD",
     .help = "deviation of a hidden log factor on all diseases"},
    {"out", RZ_OPTION_TEXT, NULL, .group = "Files", .value = "PATH",
     .help = "claims as NDJSON, written when all is done"},
    {"truth", RZ_OPTION_TEXT, NULL, .group = "Files", .value = "PATH",
     .help = "also true risks, as CSV"},
    {"draws", RZ_OPTION_INT, "1", .min = 1, .max = RZ_COHORT_DRAWS_MAX, .group = "Files",
     .value = "N", .help = "index days of a patient in the truth, for evaluate --draws"},
    {"titles", RZ_OPTION_TEXT, NULL, .group = "Files", .value = "PATH",
     .help = "also what the codes are called, as CSV for rezeptd --code-titles"},
    {"tasks", RZ_OPTION_TEXT, "models/tasks", .group = "Files", .value = "DIR",
     .help = "task files of the truth"},
    {"threads", RZ_OPTION_INT, "0", .min = 0, .max = 1024, .group = "Work", .value = "N",
     .help = "threads, 0 for all cores; never changes the output"},
};

static rz_status write_files(const rz_simulate_options *o, const rz_options *options, rz_pool *pool,
                             rz_error *error)
{
    rz_atomic_file claims = {0}, truth = {0};
    const char *claims_path = rz_options_text(options, "out");
    const char *truth_path = rz_options_text(options, "truth");
    rz_simulate_summary summary;
    rz_progress progress = program_progress();
    rz_status status = rz_atomic_file_open(&claims, claims_path, error);
    if (status == RZ_OK && truth_path != NULL)
        status = rz_atomic_file_open(&truth, truth_path, error);
    if (status == RZ_OK)
        status = rz_simulate(o, pool, claims.stream, truth.stream, &progress, &summary, error);
    if (status != RZ_OK && truth.stream != NULL && ferror(truth.stream))
        rz_error_prefix(error, "%s: ", truth_path);
    else if (status != RZ_OK && claims.stream != NULL && ferror(claims.stream))
        rz_error_prefix(error, "%s: ", claims_path);
    /* Claims first: claims without their truth are of use, a truth without claims is not. */
    if (status == RZ_OK)
        status = rz_atomic_file_commit(&claims, error);
    if (status == RZ_OK && truth_path != NULL)
        status = rz_atomic_file_commit(&truth, error);
    rz_atomic_file_abort(&claims);
    rz_atomic_file_abort(&truth);
    if (status != RZ_OK)
        return status;
    program_progress_end();
    (void)printf("%" PRIu64 " patients, %" PRIu64 " claims, %" PRIu64 " events, %" PRIu64
                 " deaths -> %s\n",
                 summary.patients, summary.claims, summary.events, summary.deaths, claims_path);
    if (truth_path != NULL)
        (void)printf("%" PRIu64 " true risks -> %s\n", summary.truths, truth_path);
    return RZ_OK;
}

static rz_status write_titles(const char *path, rz_error *error)
{
    rz_atomic_file file = {0};
    rz_status status = rz_atomic_file_open(&file, path, error);
    if (status == RZ_OK)
        status = rz_simulate_titles(file.stream, error);
    if (status == RZ_OK)
        status = rz_atomic_file_commit(&file, error);
    rz_atomic_file_abort(&file);
    return status;
}

rz_status cmd_simulate(int argc, char *const *argv, rz_error *error)
{
    static const char usage[] =
        "usage: rezept-train simulate --out claims.ndjson [--truth truth.csv] [FLAGS]\n"
        "Simulates claims of patients who do not exist (models/SIMULATOR.md).\n";
    rz_options *options = NULL;
    rz_pool *pool = NULL;
    static rz_task tasks[RZ_TASKS_MAX];
    bool stop = false;
    rz_status status =
        program_options(table, RZ_COUNT(table), usage, false, argc, argv, &options, &stop, error);
    if (status != RZ_OK || stop)
        goto out;
    rz_simulate_options o = rz_simulate_options_defaults();
    o.patients = (uint64_t)rz_options_int(options, "patients");
    o.hospitals = (unsigned)rz_options_int(options, "hospitals");
    o.seed = (uint64_t)rz_options_int(options, "seed");
    o.frailty_deviation = rz_options_real(options, "frailty");
    o.draws = (unsigned)rz_options_int(options, "draws");
    o.tasks = tasks;
    if (rz_options_text(options, "out") == NULL) {
        status = rz_fail(error, RZ_E_USAGE, "--out PATH is missing: where to write the claims");
        goto out;
    }
    if (rz_options_text(options, "truth") != NULL)
        status = rz_tasks_load(rz_options_text(options, "tasks"), tasks, &o.n_tasks, error);
    if (status == RZ_OK)
        status = rz_pool_new((unsigned)rz_options_int(options, "threads"), &pool, error);
    if (status == RZ_OK)
        status = write_files(&o, options, pool, error);
    if (status == RZ_OK && rz_options_text(options, "titles") != NULL)
        status = write_titles(rz_options_text(options, "titles"), error);
out:
    rz_pool_free(pool);
    rz_options_free(options);
    return status;
}
