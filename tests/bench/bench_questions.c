/* Questions of stored patients, answered in the process: what HTTP is held against.
 *
 *   bench-questions --questions FILE --db FILE --model FOLDER [--size NAME] [--seconds S]
 *                   [--threads N] [--json FILE]
 *
 * A line of the file is "facility id YYYY-MM-DD" (tests/bench/serving.py, whose ids hold no
 * spaces). Round and round, the histories of 32 questions are read from the store and scored
 * together: all that a request does but for HTTP, JSON and the audit. */
#include "base/hash.h"
#include "base/size.h"
#include "bench.h"
#include "predict/predictor.h"
#include "store/store.h"

enum { QUESTIONS_MAX = 100000, GROUP = 32 };

typedef struct question {
    char facility[64], id[64];
    int32_t as_of;
} question;

typedef struct bench {
    rz_store *store;
    rz_predictor *predictor;
    rz_arena arena;
    rz_risk *risks;
} bench;

static question *read_questions(const char *path, size_t *n)
{
    question *all = bench_memory(QUESTIONS_MAX, sizeof *all);
    char day[RZ_DAY_TEXT];
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        perror(path);
        exit(9);
    }
    *n = 0;
    while (*n < QUESTIONS_MAX &&
           fscanf(file, "%63s %63s %10s", all[*n].facility, all[*n].id, day) == 3 &&
           rz_day_parse(day, &all[*n].as_of))
        ++*n;
    if (*n < GROUP || (*n < QUESTIONS_MAX && feof(file) == 0)) {
        (void)fprintf(stderr, "bench: %s: question %zu cannot be read\n", path, *n + 1);
        exit(2);
    }
    (void)fclose(file);
    return all;
}

static void answer(bench *b, const question *group)
{
    const rz_timeline *list[GROUP];
    int32_t as_of[GROUP];
    rz_error error = {0};
    rz_predict_options options = rz_predict_options_defaults();
    rz_arena_reset(&b->arena);
    for (size_t i = 0; i < GROUP; i++) {
        rz_patient patient;
        rz_timeline *timeline = NULL;
        as_of[i] = group[i].as_of;
        must(rz_store_patient_brief(b->store, group[i].facility, group[i].id, &patient, &error),
             &error);
        must(rz_store_timeline(b->store, patient.key, as_of[i], RZ_RECORDED_NOW, &b->arena,
                               &timeline, &error),
             &error);
        list[i] = timeline;
    }
    must(rz_predictor_risks(b->predictor, list, as_of, GROUP, &options, b->risks, &error), &error);
}

/* Patients a second, and a second of CPU. */
static double rate(bench *b, const question *all, size_t n, double seconds, double *by_cpu)
{
    size_t answered = 0;
    double start = seconds_now(), cpu = cpu_now();
    do {
        answer(b, all + answered % (n / GROUP * GROUP));
        answered += GROUP;
    } while (seconds_now() - start < seconds);
    *by_cpu = (double)answered / (cpu_now() - cpu);
    return (double)answered / (seconds_now() - start);
}

int main(int argc, char **argv)
{
    rz_error error = {0};
    rz_pool *pool = NULL;
    bench b = {0};
    bench_report report;
    const char *json = NULL, *path = NULL, *db = NULL, *model = NULL, *size = NULL;
    double seconds = 2.0, threads = 0.0;
    size_t n = 0;
    const bench_flag flags[] = {
        {"--questions", .text = &path},    {"--db", .text = &db},
        {"--model", .text = &model},       {"--size", .text = &size},
        {"--seconds", .number = &seconds}, {"--threads", .number = &threads},
        {"--json", .text = &json}};
    static const char usage[] = "bench-questions --questions FILE --db FILE --model FOLDER "
                                "[--size NAME] [--seconds S] [--threads N] [--json FILE]";
    bench_flags(argc, argv, flags, RZ_COUNT(flags), usage);
    if (path == NULL || db == NULL || model == NULL) {
        (void)fprintf(stderr, "usage: %s\n", usage);
        return 2;
    }
    must(rz_hash_setup(&error), &error);
    must(rz_pool_new((unsigned)threads, &pool, &error), &error);
    must(rz_store_open(db, NULL, &b.store, &error), &error);
    must(rz_predictor_open(model, pool, &b.predictor, &error), &error);
    b.risks = bench_memory(GROUP * rz_predictor_model(b.predictor)->n_heads, sizeof *b.risks);
    rz_arena_init(&b.arena, (size_t)1 << 30);
    question *all = read_questions(path, &n);
    bench_report_open(&report, json);
    answer(&b, all); /* packs weights and takes memory */
    bench_row row = {.work = "questions in the process",
                     .size = size,
                     .batch = GROUP,
                     .precision = "float32",
                     .unit = "patients/s"};
    row.value = rate(&b, all, n, seconds, &row.value_cpu);
    bench_report_add(&report, &row);
    bench_report_close(&report);
    free(all);
    free(b.risks);
    rz_arena_done(&b.arena);
    rz_predictor_close(b.predictor);
    rz_store_close(b.store);
    rz_pool_free(pool);
    return 0;
}
