/* The predictor in the process: latency of one patient, patients a second.
 *
 *   bench-predictor [--work latency,throughput] [--size 2.2m] [--db FILE] [--seconds S]
 *                   [--model FOLDER] [--threads N] [--json FILE]
 *   bench-predictor --make FOLDER [--size 2.2m] [--db FILE]
 *   bench-predictor --score FOLDER
 *
 * latency     one patient of 100 events at a time, another one each time: p50 and p99
 * throughput  batches of 32 patients from memory: what HTTP is held against; of --db when given,
 *             through the checkpoint in --model when given
 * --make      writes a checkpoint with random parameters for the codes of the database and stops:
 *             what tests/bench/run serves over HTTP
 * --score     opens a checkpoint, prints one risk and stops: what tests/bench/start.py times
 *
 * No score is ever cached here; latencies are those of cold scores. Checkpoints are made in the
 * working folder and removed. */
#include "patients.h"

#include "base/hash.h"
#include "base/size.h"
#include "bench.h"
#include "predict/predictor.h"

#include <string.h>
#include <unistd.h>

enum { SAMPLES_MAX = 20000, GROUP = 32, EVENTS = 100 };

typedef struct bench {
    bench_report report;
    rz_pool *pool;
    const char *size, *db, *model;
    double seconds;
} bench;

/* A task that everybody may have a risk of: nobody's code is the outcome. */
static rz_head make_head(const char *name)
{
    rz_error error = {0};
    rz_head head = {.task = {.kind = RZ_KIND_DIAGNOSIS,
                             .title_en = "Benchmark",
                             .title_ja = "Benchmark",
                             .n_outcomes = 1,
                             .outcomes = {{RZ_SYSTEM_ICD10, "U99"}},
                             .age_max = RZ_TASK_AGE_ANY,
                             .horizon_days = 365},
                    .calibration = {.training_prior = 0.5,
                                    .prevalence = 0.1,
                                    .slope = 1.0,
                                    .n_band = 2,
                                    .band_x = {-6.0, 2.0},
                                    .band_low = {0.001, 0.5},
                                    .band_high = {0.01, 0.95},
                                    .n_bins = 1,
                                    .bin_edge = {0.0, 1.0},
                                    .bin_n = {100},
                                    .bin_positives = {10},
                                    .tuning_n = 100,
                                    .tuning_positives = 10,
                                    .bootstraps = 1000,
                                    .date = "2026-01-01"},
                    .age_sex_beta = {-3.0},
                    .metrics = json_object(),
                    .reference = json_object()};
    (void)snprintf(head.task.name, sizeof head.task.name, "%s", name);
    must(rz_calibration_seal(&head.calibration, &error), &error);
    return head;
}

static void make_checkpoint(const char *folder, const char *size, const bench_patients *patients)
{
    rz_error error = {0};
    rz_checkpoint_origin origin = {.code_version = "bench"};
    rz_model *model = bench_model(size, patients, NULL);
    rz_head *heads = bench_memory(RZ_HEADS_MAX, sizeof *heads);
    for (size_t i = 0; i < model->n_heads; i++)
        heads[i] = make_head(model->head_names[i]);
    must(rz_checkpoint_begin(folder, &error), &error);
    must(rz_checkpoint_write(folder, model, &origin, &error), &error);
    must(rz_heads_write(folder, heads, model->n_heads, &error), &error);
    must(rz_checkpoint_finish(folder, &error), &error);
    for (size_t i = 0; i < model->n_heads; i++)
        rz_head_done(&heads[i]);
    free(heads);
    rz_model_free(model);
}

/* A folder with such a checkpoint, to be removed by remove_folder. */
static void make_folder(char *folder, const char *size, const bench_patients *patients)
{
    if (mkdtemp(folder) == NULL) {
        perror(folder);
        exit(9);
    }
    make_checkpoint(folder, size, patients);
}

static void remove_folder(const char *folder)
{
    char command[96];
    (void)snprintf(command, sizeof command, "rm -rf -- '%s'", folder);
    if (system(command) != 0)
        (void)fprintf(stderr, "bench: %s is left behind\n", folder);
}

static void predict(rz_predictor *predictor, const bench_patients *p, size_t first, size_t n,
                    rz_risk *out)
{
    rz_error error = {0};
    rz_predict_options options = rz_predict_options_defaults();
    must(rz_predictor_risks(predictor, p->list + first, p->as_of + first, n, &options, out, &error),
         &error);
}

static void report_latency(bench *b, double *took, size_t n, double p, const char *name)
{
    char work[64];
    (void)snprintf(work, sizeof work, "latency %s, %d events", name, EVENTS);
    bench_report_add(&b->report, &(bench_row){.work = work,
                                              .size = b->size,
                                              .batch = 1,
                                              .precision = "float32",
                                              .value = 1e3 * bench_quantile(took, n, p),
                                              .unit = "ms"});
}

static void bench_latency(bench *b)
{
    static double took[SAMPLES_MAX];
    char folder[] = "rezept-bench-XXXXXX";
    rz_error error = {0};
    rz_predictor *predictor = NULL;
    bench_patients patients;
    rz_risk risks[4];
    bench_patients_random(&patients, BENCH_POPULATION, EVENTS + 2);
    make_folder(folder, b->size, &patients);
    must(rz_predictor_open(folder, b->pool, &predictor, &error), &error);
    for (size_t i = 0; i < 20; i++)
        predict(predictor, &patients, i, 1, risks);
    size_t n = 0;
    for (double start = seconds_now();
         n < 100 || (n < SAMPLES_MAX && seconds_now() - start < b->seconds); n++) {
        double before = seconds_now();
        predict(predictor, &patients, n % patients.n, 1, risks);
        took[n] = seconds_now() - before;
    }
    report_latency(b, took, n, 0.5, "p50");
    report_latency(b, took, n, 0.99, "p99");
    rz_predictor_close(predictor);
    bench_patients_done(&patients);
    remove_folder(folder);
}

static void bench_throughput(bench *b)
{
    static double rates[SAMPLES_MAX];
    char folder[] = "rezept-bench-XXXXXX";
    rz_error error = {0};
    rz_predictor *predictor = NULL;
    bench_patients patients;
    rz_risk *risks = NULL;
    if (b->db != NULL)
        bench_patients_stored(&patients, b->db, BENCH_POPULATION, GROUP);
    else
        bench_patients_random(&patients, BENCH_POPULATION, 0);
    if (b->model == NULL)
        make_folder(folder, b->size, &patients);
    must(rz_predictor_open(b->model != NULL ? b->model : folder, b->pool, &predictor, &error),
         &error);
    risks = bench_memory(GROUP * rz_predictor_model(predictor)->n_heads, sizeof *risks);
    predict(predictor, &patients, 0, GROUP, risks);
    size_t passes = 0, all = patients.n / GROUP * GROUP;
    for (double start = seconds_now();
         passes == 0 || (passes < SAMPLES_MAX && seconds_now() - start < b->seconds); passes++) {
        double before = seconds_now();
        for (size_t first = 0; first < all; first += GROUP)
            predict(predictor, &patients, first, GROUP, risks);
        rates[passes] = (double)all / (seconds_now() - before);
    }
    bench_report_add(&b->report, &(bench_row){.work = b->db != NULL ? "scores in process, imported"
                                                                    : "scores in process",
                                              .size = b->size,
                                              .batch = GROUP,
                                              .precision = "float32",
                                              .value = bench_quantile(rates, passes, 0.5),
                                              .unit = "patients/s"});
    rz_predictor_close(predictor);
    bench_patients_done(&patients);
    free(risks);
    if (b->model == NULL)
        remove_folder(folder);
}

/* What tests/bench/start.py measures: a line as soon as there is a score. */
static void score_once(const bench *b, const char *folder)
{
    rz_error error = {0};
    rz_predictor *predictor = NULL;
    bench_patients patients;
    bench_patients_random(&patients, 1, EVENTS + 2);
    must(rz_predictor_open(folder, b->pool, &predictor, &error), &error);
    rz_risk *risks = bench_memory(rz_predictor_model(predictor)->n_heads, sizeof *risks);
    predict(predictor, &patients, 0, 1, risks);
    (void)printf("%.9f\n", risks[0].probability);
    (void)fflush(stdout);
    free(risks);
    rz_predictor_close(predictor);
    bench_patients_done(&patients);
}

static void make(const bench *b, const char *folder)
{
    bench_patients patients;
    if (b->db != NULL)
        bench_patients_stored(&patients, b->db, BENCH_POPULATION, GROUP);
    else
        bench_patients_random(&patients, GROUP, 0);
    make_checkpoint(folder, b->size, &patients);
    bench_patients_done(&patients);
}

int main(int argc, char **argv)
{
    rz_error error = {0};
    bench b = {.seconds = 2.0, .size = "2.2m"};
    const char *json = NULL, *made = NULL, *scored = NULL, *work = "latency,throughput";
    double threads = 0.0;
    char name[16];
    const bench_flag flags[] = {
        {"--json", .text = &json},        {"--size", .text = &b.size},
        {"--db", .text = &b.db},          {"--work", .text = &work},
        {"--model", .text = &b.model},    {"--make", .text = &made},
        {"--score", .text = &scored},     {"--seconds", .number = &b.seconds},
        {"--threads", .number = &threads}};
    bench_flags(argc, argv, flags, RZ_COUNT(flags),
                "bench-predictor [--work LIST] [--size NAME] [--db FILE] [--seconds S] "
                "[--model FOLDER] [--threads N] [--json FILE] [--make FOLDER | --score FOLDER]");
    must(rz_hash_setup(&error), &error);
    must(rz_pool_new((unsigned)threads, &b.pool, &error), &error);
    bench_report_open(&b.report, json);
    if (made != NULL)
        make(&b, made);
    if (scored != NULL)
        score_once(&b, scored);
    if (made != NULL || scored != NULL)
        work = "";
    for (size_t i = 0; bench_list(work, i, name, sizeof name); i++)
        if (strcmp(name, "latency") == 0)
            bench_latency(&b);
        else
            bench_throughput(&b);
    rz_pool_free(b.pool);
    bench_report_close(&b.report);
    return 0;
}
