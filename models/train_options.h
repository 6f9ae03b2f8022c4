/* What pretrain, finetune and calibrate share: rows of the option table, how they are read, and
 * what is drawn and said at the end. */
#ifndef RZ_MODELS_TRAIN_OPTIONS_H
#define RZ_MODELS_TRAIN_OPTIONS_H

#include "claims/facilities.h"
#include "predict/predictor.h"
#include "program.h"
#include "train/labels.h"
#include "train/trainer.h"

/* Bounds, optimiser and folder; the defaults of the two courses differ. */
#define TRAIN_OPTION_ROWS(dropout_text, batch, decay)                                              \
    {"steps",                                                                                      \
     RZ_OPTION_INT,                                                                                \
     "0",                                                                                          \
     .max = 1e12,                                                                                  \
     .group = "End of the run (the first that is met)",                                            \
     .value = "N",                                                                                 \
     .help = "optimiser steps; 0 = no bound"},                                                     \
        {"epochs",   RZ_OPTION_REAL, "0",                                                          \
         .max = 1e6, .value = "X",   .help = "passes over the training part; 0 = no bound"},       \
        {"minutes",                                                                                \
         RZ_OPTION_REAL,                                                                           \
         "0",                                                                                      \
         .max = 1e6,                                                                               \
         .value = "X",                                                                             \
         .help = "minutes of training; the number of steps is planned from the speed"},            \
        {"patience",   RZ_OPTION_INT,                                                              \
         "5",          .max = 1000,                                                                \
         .value = "N", .help = "evaluations without a gain before the run ends; 0 = never"},       \
        {"evaluations",                                                                            \
         RZ_OPTION_INT,                                                                            \
         "10",                                                                                     \
         .min = 1,                                                                                 \
         .max = 10000,                                                                             \
         .value = "N",                                                                             \
         .help = "evaluations on the tuning split, spread over the run"},                          \
        {"lr",         RZ_OPTION_REAL,                                                             \
         "0",          .min = 0,                                                                   \
         .max = 1,     .group = "Optimiser (AdamW)",                                               \
         .value = "X", .help = "highest learning rate; 0 = by width and norm"},                    \
        {"lr-factor",  RZ_OPTION_REAL,      "1", .min = 1e-6, .max = 1e3,                          \
         .value = "X", .help = "times --lr"},                                                      \
        {"warmup",   RZ_OPTION_REAL, "0.06",                                                       \
         .max = 0.9, .value = "X",   .help = "share of the run in which the rate rises"},          \
        {"weight-decay", RZ_OPTION_REAL, decay,                                                    \
         .max = 1,       .value = "X",   .help = "of matrices, decoupled"},                        \
        {"clip",     RZ_OPTION_REAL, "1",                                                          \
         .max = 1e6, .value = "X",   .help = "largest norm of the gradient; 0 = no clipping"},     \
        {"dropout",  RZ_OPTION_REAL, dropout_text,                                                 \
         .max = 0.9, .value = "X",   .help = "share of activations left out"},                     \
        {"batch-tokens",                                                                           \
         RZ_OPTION_INT,                                                                            \
         batch,                                                                                    \
         .min = 1,                                                                                 \
         .max = 1e9,                                                                               \
         .value = "N",                                                                             \
         .help = "tokens of one optimiser step"},                                                  \
        {"precision", RZ_OPTION_TEXT, "float32", .value = "NAME",                                  \
         .help = "of the layers' products: float32, or bf16 where the CPU has it"},                \
        {"part-tokens",                                                                            \
         RZ_OPTION_INT,                                                                            \
         "4096",                                                                                   \
         .min = 1,                                                                                 \
         .max = 1e7,                                                                               \
         .value = "N",                                                                             \
         .help = "tokens computed at once: bounds the memory"},                                    \
        {"seed",                                                                                   \
         RZ_OPTION_INT,                                                                            \
         "1",                                                                                      \
         .max = 9e15,                                                                              \
         .group = "Run",                                                                           \
         .value = "N",                                                                             \
         .help = "of initial values, order, masks and dropout (never of the splits)"},             \
        {"threads",   RZ_OPTION_INT, "0",                                                          \
         .max = 1024, .value = "N",  .help = "0 = all cores this process may use"},                \
        {"save-seconds",                                                                           \
         RZ_OPTION_REAL,                                                                           \
         "60",                                                                                     \
         .min = 0.001,                                                                             \
         .max = 1e6,                                                                               \
         .value = "S",                                                                             \
         .help = "between two saved states for --resume"},                                         \
        {"resume", RZ_OPTION_SWITCH, "false",                                                      \
         .help = "continue an interrupted run, with the same settings"},                           \
        {"force", RZ_OPTION_SWITCH, "false", .help = "throw away what is in the output folder"},   \
    {                                                                                              \
        "fold", RZ_OPTION_TEXT, NULL,                                                              \
            .value = "K/N",                                                                        \
            .help =                                                                                \
                "small sets: hold out fold K of N (1/5 … 5/5) and tune on a quarter of the rest" \
    }

/* Whose patients a command looks at. */
#define FACILITY_OPTION_ROWS                                                                       \
    {"hold-out-facility",                                                                          \
     RZ_OPTION_LIST,                                                                               \
     NULL,                                                                                         \
     .group = "Whose patients",                                                                    \
     .value = "NAME,…",                                                                            \
     .help = "leave out all patients of these facilities"},                                        \
    {                                                                                              \
        "facility", RZ_OPTION_LIST, NULL, .value = "NAME,…",                                       \
                                          .help = "look at the patients of these facilities alone" \
    }

/* The two of them as one selection. That the facilities exist the store tells when it is read. */
RZ_MUST_CHECK rz_status train_facilities_read(const rz_options *options, rz_facilities *out,
                                              rz_error *error);

rz_train_options train_options_read(const rz_options *options, const rz_progress *progress);

/* "float32", "bf16" or "int8"; says so where this CPU is slow at it. */
RZ_MUST_CHECK rz_status train_precision_read(const char *name, rz_precision *out, rz_error *error);

/* The tasks of a folder, or those of them that `names` ("a,b"; NULL = all) lists; `out` holds
 * RZ_TASKS_MAX. Errors  those of rz_tasks_load; RZ_E_NOT_FOUND for a name that is not there. */
RZ_MUST_CHECK rz_status train_tasks_load(const char *folder, const char *names, rz_task *tasks,
                                         size_t *n, rz_error *error);

/* "1/5" -> fold 1 of 5; NULL -> the 70/15/15 splits. */
RZ_MUST_CHECK rz_status train_fold_read(const char *text, rz_split_rule *out, rz_error *error);
/* "0.03" for all tasks, or "ckd=0.03,pregabalin=0.05"; NaN where nothing is said. */
RZ_MUST_CHECK rz_status train_prevalence_read(const char *text, const rz_task *tasks,
                                              size_t n_tasks, double *out, rz_error *error);
/* --balanced and --enriched, which both need --labels. */
RZ_MUST_CHECK rz_status train_mix_read(const rz_options *options, rz_label_mix *out,
                                       rz_error *error);
RZ_MUST_CHECK rz_status train_method_read(const char *text, rz_calibration_method *out,
                                          rz_error *error);
/* A required text option. */
RZ_MUST_CHECK rz_status train_text_required(const rz_options *options, const char *name,
                                            const char **out, rz_error *error);

void train_result_print(const char *what, const char *out, const rz_train_result *result);

/* curves.svg out of log.csv, both in `folder`. */
RZ_MUST_CHECK rz_status curves_write(const char *folder, rz_error *error);

/* card.md of a model in `folder`; n_heads 0 for a pretrained one. */
typedef struct card {
    const char *folder, *title;
    const rz_model *model;           /* may be NULL */
    const rz_train_result *result;   /* may be NULL */
    const rz_options *options;       /* settings are listed by name; may be NULL */
    const char *const *option_names; /* [n_options] */
    size_t n_options;
    const rz_head *heads;
    size_t n_heads;
    const rz_onset *onset;   /* may be NULL */
    const rz_labels *labels; /* counts of the training part; may be NULL */
    const char *data_sha256, *parent_sha256;
    const rz_facilities *learnt_from; /* NULL for all */
} card;
RZ_MUST_CHECK rz_status card_write(const card *card, rz_error *error);

#endif
