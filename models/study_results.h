/* What a study has measured so far, read from its folder: what was asked (study.json), the finished
 * cells, and the scores that each gave to the same patients.
 *
 * A cell is one piece of work: a pretraining, or one fit of one or several tasks. A panel is the
 * patients of one task in one split; every score of the panel has their order, so that figures on
 * them are paired. Cells that are not finished are absent; a file that is damaged or does not
 * belong here is an error that names its cell. */
#ifndef RZ_MODELS_STUDY_RESULTS_H
#define RZ_MODELS_STUDY_RESULTS_H

#include "base/progress.h"
#include "base/status.h"
#include "claims/facilities.h"
#include "study_groups.h"
#include "tasks/task.h"

#include <jansson.h>

enum { STUDY_SIZES_MAX = 16, STUDY_ENGINES_MAX = 8, STUDY_LABELS_MAX = 16, STUDY_NONE = -1 };

/* What a cell is for. The grid compares sizes, starts and label counts; where facilities are held
 * out, it has learnt from the others alone, and the other cells say what that is worth at those. */
typedef enum study_transfer {
    STUDY_GRID,
    STUDY_ZERO_SHOT,    /* a model of the grid with all labels, at the held-out facilities */
    STUDY_RECALIBRATED, /* the same, calibrated on their tuning patients */
    STUDY_TUNED,        /* pretrained by the others, fine-tuned with labels of theirs */
    STUDY_LOCAL, /* pretrained and fine-tuned, or a baseline fitted, on their patients alone */
    STUDY_TRANSFERS
} study_transfer;
/* "zero_shot", …, as cells write it; "grid". */
const char *study_transfer_name(study_transfer transfer);

/* Texts are borrowed from the files' JSON, which the results own. */
typedef struct study_task {
    const char *name, *kind, *title_en, *title_ja;
    double prevalence; /* NaN when study.json gives none */
} study_task;

/* What was asked for. */
typedef struct study_design {
    const char *code_version, *db, *data_sha256, *command, *started_at; /* "" when not given */
    size_t n_tasks, n_sizes, n_labels, n_engines, seeds;
    bool onsets; /* all at once are asked for, too */
    study_task tasks[RZ_TASKS_MAX];
    const char *sizes[STUDY_SIZES_MAX]; /* small to large */
    size_t labels[STUDY_LABELS_MAX];    /* rising, all (0) last */
    const char *engines[STUDY_ENGINES_MAX];
    size_t n_hold_out;
    const char *hold_out[RZ_FACILITIES_MAX]; /* facilities that the grid has not seen */
} study_design;

typedef enum study_kind { STUDY_PRETRAIN, STUDY_FINETUNE, STUDY_BASELINE } study_kind;
/* How a fine-tuning begins and what it learns: tasks from a pretrained encoder or from scratch, or
 * from the pretrained one the onsets of all codes at once, through which it answers the tasks. */
typedef enum study_init { STUDY_PRETRAINED, STUDY_SCRATCH, STUDY_ONSET, STUDY_INITS } study_init;

typedef struct study_cell {
    const char *name;
    study_kind kind;
    study_transfer transfer;
    int size, engine; /* place in the design, STUDY_NONE where the cell has none */
    study_init init;  /* of a fine-tuning */
    uint64_t tasks;   /* one bit a task of the design */
    size_t n_tasks;   /* as many bits */
    size_t labels;    /* place in the design; of no meaning in a pretraining */
    uint64_t seed;
    /* NaN where the cell does not say */
    double parameters, seconds, cpu_seconds, peak_bytes, tokens, tuning_loss;
    const char *model;            /* folder relative to the study's, NULL when it was not kept */
    const json_t *loss_by_tokens; /* pairs; NULL when there is none */
} study_cell;

/* One task of one cell: two columns of the panel's scores. */
typedef struct study_measure {
    size_t cell;
    size_t score, age_sex;
} study_measure;

/* Up to one row in so many may lack its true risk, and is then left out. */
enum { STUDY_UNKNOWN_TRUTH = 100 };

typedef struct study_panel {
    size_t n, positives;       /* rows, a patient on an index day each */
    size_t patients, left_out; /* whose rows; rows without a true risk that were taken out */
    int64_t *patient;          /* [n] keys, rising; with index_day unique */
    uint32_t *number;          /* [n] of the patient, as rows of metrics/metrics.h have it */
    int32_t *index_day;        /* [n] */
    uint8_t *label;            /* [n] */
    double *truth;             /* [n] NaN where unknown */
    bool truth_known;          /* of every row, and there is one */
    study_groups groups;       /* from the first cell whose scores tell them */
    size_t n_scores, scores_capacity;
    double **score; /* [n_scores][n] different ones only; probabilities */
    size_t n_measures, measures_capacity;
    study_measure *measures; /* in the order of the cells' names */
    size_t first_cell;       /* whose patients these are; of no meaning without measures */
} study_panel;

typedef struct study_results {
    study_design design;
    size_t n_cells;
    study_cell *cells;                                /* by name */
    study_panel *tuning;                              /* [design.n_tasks] */
    study_panel *held_out;                            /* [design.n_tasks], NULL unless asked for */
    study_panel *transfer_tuning, *transfer_held_out; /* of the held-out facilities, likewise */
    json_t *design_json, *cells_json;
} study_results;

/* Reads a folder. The held_out scores are not even opened unless `open_held_out`.
 *
 * Errors  RZ_E_NOT_FOUND without study.json, or when a finished cell lacks its scores; RZ_E_FORMAT
 *         and RZ_E_INVALID naming file, line and what was expected; RZ_E_CONFLICT when two cells
 *         measure the same, or disagree on a task's patients, index days, labels or true risks;
 *         RZ_E_CANCELED. */
RZ_MUST_CHECK rz_status study_results_read(const char *folder, bool open_held_out,
                                           const rz_progress *progress, study_results *out,
                                           rz_error *error);
void study_results_done(study_results *results); /* accepts a zeroed one */

/* The pretraining of a size in the grid; NULL where it is not finished, or not a part of the study.
 */
const study_cell *study_pretraining(const study_results *results, int size);

/* As files write it: "pretrained", "scratch", "onset". */
const char *study_init_name(study_init init);

/* "100", or "all" for 0; how a label count is written. */
enum { STUDY_LABELS_TEXT = 24 };
const char *study_labels_text(size_t labels, char out[STUDY_LABELS_TEXT]);

/* ---- pieces, private to the reader ---- */

/* study.json and cells (study_cells.c). */
RZ_MUST_CHECK rz_status study_cells_read(const char *folder, study_results *out, rz_error *error);
/* The scores of one cell, added to the panels of its tasks (study_scores.c). */
RZ_MUST_CHECK rz_status study_scores_read(const char *folder, const char *split, size_t cell,
                                          const study_results *results, study_panel *panels,
                                          rz_error *error);

#endif
