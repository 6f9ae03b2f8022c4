/* Folders of studies, made up: patients with a known true risk, and arms that see it through noise
 * of a chosen size. */
#ifndef RZ_TESTS_STUDY_FIXTURE_H
#define RZ_TESTS_STUDY_FIXTURE_H

#include "check.h"
#include "folder.h"

#include "base/file.h"
#include "base/portable_math.h"
#include "base/rng.h"
#include "claims/day.h"

#include <stdbool.h>

enum { MADE_PATIENTS_MAX = 4000 };

/* The patients of a task in a split; the same for every cell. */
typedef struct made_patients {
    size_t n;
    double age[MADE_PATIENTS_MAX], eta[MADE_PATIENTS_MAX];
    int label[MADE_PATIENTS_MAX];
} made_patients;

static inline uint64_t made_stream(const char *task, const char *split)
{
    return rz_hash64(task, strlen(task), split[0] == 't' ? 1 : 2);
}

static inline void made_draw(const char *task, const char *split, size_t n, made_patients *out)
{
    rz_rng rng;
    rz_rng_init(&rng, 17, made_stream(task, split));
    out->n = n;
    for (size_t i = 0; i < n; i++) {
        out->age[i] = rz_rng_normal(&rng);
        out->eta[i] = 0.6 * out->age[i] + 1.3 * rz_rng_normal(&rng) - 2.6;
        out->label[i] = rz_rng_uniform(&rng) < rz_sigmoid(out->eta[i]) ? 1 : 0;
    }
}

typedef struct made_cell {
    const char *name, *kind, *size, *init, *engine; /* NULL: null */
    const char *tasks[3];                           /* up to the first NULL */
    int labels, seed;
    double noise[3]; /* of each task: deviation of what the arm adds to the logit */
    double cpu_seconds, parameters, tuning_loss; /* a loss of 0: null */
    bool model;
} made_cell;

static inline void made_text(const char *folder, const char *name, const char *text)
{
    rz_error error = {0};
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    check_ok(rz_file_write(path, text, strlen(text), &error));
}

static inline const char *made_quoted(const char *text, char out[64])
{
    if (text == NULL)
        return "null";
    (void)snprintf(out, 64, "\"%s\"", text);
    return out;
}

static inline void made_cell_file(const char *folder, const made_cell *c, const char *more)
{
    char text[4096], file[160], loss[32] = "null", a[64], b[64], d[64], tasks[256] = "",
                                model[160] = "null";
    for (size_t i = 0; i < 3 && c->tasks[i] != NULL; i++)
        (void)snprintf(tasks + strlen(tasks), sizeof tasks - strlen(tasks), "%s\"%s\"",
                       i > 0 ? "," : "", c->tasks[i]);
    if (c->tuning_loss > 0.0)
        (void)snprintf(loss, sizeof loss, "%.9g", c->tuning_loss);
    if (c->model)
        (void)snprintf(model, sizeof model, "\"models/%s\"", c->name);
    (void)snprintf(text, sizeof text,
                   "{\"cell\":\"%s\",\"kind\":\"%s\",\"size\":%s,\"init\":%s,\"engine\":%s,"
                   "\"tasks\":[%s],\"labels\":%d,\"seed\":%d,\"parameters\":%.0f,\"seconds\":%g,"
                   "\"cpu_seconds\":%g,\"peak_bytes\":300000000,\"tokens\":2100000,"
                   "\"tuning_loss\":%s,\"model\":%s,\"commands\":[\"rezept-train\"]%s}",
                   c->name, c->kind, made_quoted(c->size, a), made_quoted(c->init, b),
                   made_quoted(c->engine, d), tasks, c->labels, c->seed, c->parameters,
                   c->cpu_seconds / 1.8, c->cpu_seconds, loss, model, more);
    (void)snprintf(file, sizeof file, "cells/%s.json", c->name);
    made_text(folder, file, text);
}

/* Scores of a cell in a split. `reversed`: rows from the last patient to the first, which must not
 * matter. */
static inline void made_scores(const char *folder, const made_cell *c, const char *split, size_t n,
                               bool reversed)
{
    static made_patients patients;
    rz_error error = {0};
    char path[512], day[RZ_DAY_TEXT];
    rz_atomic_file file = {0};
    (void)snprintf(path, sizeof path, "%s/scores/%s-%s.csv", folder, c->name, split);
    check_ok(rz_atomic_file_open(&file, path, &error));
    /* Files of baselines are as an older version wrote them. */
    bool grouped = c->engine == NULL;
    (void)fprintf(file.stream,
                  "task,patient_key,index_day,split,label,logit,probability,age_sex,truth%s\n",
                  grouped ? ",sex,age_band,facility" : "");
    for (size_t t = 0; t < 3 && c->tasks[t] != NULL; t++) {
        rz_rng rng;
        double noise[MADE_PATIENTS_MAX];
        made_draw(c->tasks[t], split, n, &patients);
        rz_rng_init(&rng, 23, rz_hash64(c->name, strlen(c->name), made_stream(c->tasks[t], split)));
        for (size_t i = 0; i < n; i++)
            noise[i] = c->noise[t] * rz_rng_normal(&rng);
        for (size_t k = 0; k < n; k++) {
            size_t i = reversed ? n - 1 - k : k;
            double logit = patients.eta[i] + noise[i];
            (void)fprintf(file.stream, "%s,%zu,%s,%s,%d,%.9g,%.9g,%.9g,%.9g", c->tasks[t], i + 1,
                          rz_day_text((int32_t)(18000 + i % 300), day), split, patients.label[i],
                          logit, rz_sigmoid(logit), rz_sigmoid(0.6 * patients.age[i] - 2.2),
                          rz_sigmoid(patients.eta[i]));
            if (grouped) /* one in three a man, the last hospital small and with a comma */
                (void)fprintf(file.stream, ",%s,%s,%s", i % 3 == 0 ? "M" : "F",
                              patients.age[i] < 0 ? "40-49" : "50-59",
                              i % 100 == 0 ? "\"small, <B>\"" : "H1");
            (void)fputc('\n', file.stream);
        }
    }
    check_ok(rz_atomic_file_commit(&file, &error));
}

/* A cell with both score files. */
static inline void made_fit(const char *folder, const made_cell *c, size_t n_tuning,
                            size_t n_held_out)
{
    made_scores(folder, c, "tuning", n_tuning, false);
    made_scores(folder, c, "held_out", n_held_out, false);
    made_cell_file(folder, c, "");
}

static inline void made_folder(const char *folder, const char *study)
{
    static const char *const parts[] = {"cells", "scores", "models"};
    rz_error error = {0};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s/%s", folder, parts[i]);
        check_ok(rz_folder_make(path, &error));
    }
    made_text(folder, "study.json", study);
}

#define MADE_STUDY                                                                                 \
    "{\"format_version\":1,\"code_version\":\"0.1.0\",\"db\":\"s.db\",\"data_sha256\":\"0123ab\"," \
    "\"tasks\":[{\"name\":\"ckd\",\"kind\":\"disease\",\"title_en\":\"Chronic kidney disease\","   \
    "\"title_ja\":\"慢性腎臓病\",\"prevalence\":0.1},{\"name\":\"amlodipine\","               \
    "\"kind\":\"medication\",\"title_en\":\"Amlodipine\",\"title_ja\":\"アムロジピン\","     \
    "\"prevalence\":0.1}],\"sizes\":[\"2.2m\",\"4.7m\",\"11m\",\"32m\",\"101m\"],\"labels\":[100," \
    "0,1000],"                                                                                     \
    "\"seeds\":3,\"engines\":[\"xgboost\",\"logistic\"],\"margin\":0.05,\"prefer\":\"accuracy\","  \
    "\"pretrained\":{},\"truth\":true,\"command\":\"rezept-train study --db s.db\","               \
    "\"started_at\":\"2026-01-02T03:04:05Z\"}"

#endif
