/* A study: the same tasks learnt by models of several sizes, pretrained and from scratch, from few
 * and from all labels, beside what learns from counts. It is made of cells, units of work with a
 * result file each, so that it can be stopped anywhere and goes on where it was.
 *
 *   OUT/study.json           what was asked for; the same when it is continued
 *   OUT/pretrained/SIZE      models that know histories
 *   OUT/local/SIZE           the same of the held-out facilities
 *   OUT/models/NAME          models with all labels of the first seed, for the daemon
 *   OUT/scores/NAME-SPLIT.csv  a cell's scores of tuning and held-out patients
 *   OUT/cells/NAME.json      a finished cell and what it cost
 *   OUT/skipped/NAME.json    a cell that the data do not allow, and why
 *   OUT/logs/NAME.txt        what its programs said
 *   OUT/cohorts.json         who was left out of each task, and why (study_cohorts.c)
 *   OUT/report.html, report.json, routing.json   what it all says (study_report.h)
 *
 * study_plan.c lists the cells, study_transfer_plan.c those of held-out facilities, study_run.c
 * works them off. */
#ifndef RZ_MODELS_STUDY_H
#define RZ_MODELS_STUDY_H

#include "base/buffer.h"
#include "base/progress.h"
#include "study_results.h"
#include "tasks/task.h"

#include <jansson.h>

enum {
    PLAN_SIZES_MAX = 5,
    PLAN_LABELS_MAX = 8,
    PLAN_ENGINES_MAX = 3,
    STUDY_SEEDS_MAX = 100,
    STUDY_NAME = 128,
    STUDY_COMMANDS_MAX = 3,
    STUDY_ARGUMENTS_MAX = 60
};

typedef struct study_settings {
    const char *db, *out, *truth, *pretrained; /* truth, pretrained: NULL or a path */
    unsigned draws;   /* index days of a patient whom figures are made of */
    bool begin_onset; /* with all labels, the grid's pretrained models begin with that of all
                         onsets, of the same size and seed */
    const char *tasks_folder, *command; /* command: as it was given, for the report */
    const char *pretrain_flags, *finetune_flags, *few_flags, *onset_flags, *baseline_flags;
    size_t n_tasks, n_sizes, n_labels, n_engines;
    rz_task *tasks;                 /* [n_tasks] */
    char sizes[PLAN_SIZES_MAX][16]; /* from small to large */
    size_t labels[PLAN_LABELS_MAX]; /* 0 = all */
    char engines[PLAN_ENGINES_MAX][16];
    unsigned seeds, threads;
    double minutes; /* the run ends after so many, cells that run save themselves; 0 = no bound */
    rz_facilities hold_out; /* n = 0: none; else the named ones, which the grid does not see */
    double margin;
    const char *prefer; /* "accuracy" or "cost" */
} study_settings;

/* Whom the grid sees: all but those held out. */
rz_facilities study_grid_facilities(const study_settings *settings);

typedef enum study_state { STUDY_WAITING, STUDY_RUNNING, STUDY_DONE, STUDY_SKIPPED } study_state;

typedef struct planned_cell {
    study_kind kind;
    study_transfer transfer;
    char name[STUDY_NAME];
    size_t size;   /* place in the settings; of baselines unused, as are: */
    size_t engine; /* … of models */
    size_t task;   /* SIZE_MAX: all of them in one model */
    size_t labels; /* 0 = all */
    study_init init;
    unsigned seed;
    size_t needs;          /* the cell that makes what this one begins with; SIZE_MAX = none */
    bool small;            /* cannot fill the cores: two run side by side */
    double seconds, bytes; /* as estimated */
    study_state state;
} planned_cell;

typedef struct study_plan {
    const study_settings *settings; /* borrowed */
    size_t n_cells;
    planned_cell *cells; /* owned; in the order of work */
    double gflops;       /* of this machine's products, measured */
} study_plan;

/* Sets begin_onset: "onset", "pretrained" or, NULL, onset where the tasks, which are read before,
 * allow it. Errors  RZ_E_USAGE. */
RZ_MUST_CHECK rz_status study_begin_read(const char *text, study_settings *settings,
                                         rz_error *error);
/* Lists the cells, estimates them from a short measurement and marks those that are done.
 * Errors  those of the store; RZ_E_CONFLICT when OUT holds a study that was asked otherwise. */
RZ_MUST_CHECK rz_status study_plan_make(const study_settings *settings, study_plan *out,
                                        rz_error *error);
void study_plan_done(study_plan *plan); /* accepts a zeroed one */
void study_plan_print(const study_plan *plan);
/* Of cells that are still to be done, two small ones counting as one after the other. */
double study_seconds_left(const study_plan *plan);

/* The programs of a cell, each a list of arguments that ends with NULL, all owned. */
typedef struct study_commands {
    size_t n;
    char *argv[STUDY_COMMANDS_MAX][STUDY_ARGUMENTS_MAX];
} study_commands;
RZ_MUST_CHECK rz_status study_commands_make(const study_plan *plan, const planned_cell *cell,
                                            unsigned threads, study_commands *out, rz_error *error);
void study_commands_done(study_commands *commands);

/* Adds a cell: names it and looks up its state. There must be room. */
void study_plan_add(study_plan *plan, planned_cell cell);
/* The cells of held-out facilities, after those of the grid; none without such facilities. */
size_t study_transfer_cells(const study_settings *settings); /* at most so many */
void study_transfer_list(study_plan *plan);
/* Models that are given must not know the held-out facilities. Errors  RZ_E_CONFLICT naming the
 * model; RZ_E_NOT_FOUND, RZ_E_FORMAT. */
RZ_MUST_CHECK rz_status study_transfer_check(const study_settings *settings, rz_error *error);

/* "OUT/<folder>/<name><end>" in new memory; NULL when there is none. */
char *study_path(const study_settings *settings, const char *folder, const char *name,
                 const char *end);

/* Works off what is left, or what fits into the settings' minutes.
 * Errors  RZ_E_CANCELED when progress says stop (running cells save what they have and go on the
 *         next time); RZ_E_IO with the end of its log when a cell's program fails. */
RZ_MUST_CHECK rz_status study_run(study_plan *plan, const rz_progress *progress, rz_error *error);

/* OUT/cohorts.json, unless it is there: {"tasks": [{"name", "attrition": [{"step", "patients"}],
 * "splits": {"train": {"patients", "positives"}, "tuning": …, "held_out": {"patients"}}}]}.
 * Outcomes of held-out patients are not counted. Errors  those of the store; RZ_E_CANCELED. */
RZ_MUST_CHECK rz_status study_cohorts_write(const study_settings *settings,
                                            const rz_progress *progress, rz_error *error);

#endif
