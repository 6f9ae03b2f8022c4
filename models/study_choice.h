/* Which size answers a task, decided on the tuning split alone, and what it costs. */
#ifndef RZ_MODELS_STUDY_CHOICE_H
#define RZ_MODELS_STUDY_CHOICE_H

#include "study_statistics.h"

typedef enum study_prefer { STUDY_PREFER_ACCURACY, STUDY_PREFER_COST } study_prefer;

/* One size of a task at one label count. */
typedef struct study_size {
    int size;
    const study_group *group;    /* on the tuning split; borrowed */
    rz_interval below_best;      /* its average precision minus the best size's, paired */
    double lower_bound;          /* one-sided 95 %, of the same difference */
    bool within;                 /* lower_bound above -margin times the best's average precision */
    double parameters;           /* NaN when no cell tells */
    double fit_cpu_seconds;      /* of one fit of this task: a shared cell's are divided */
    double pretrain_cpu_seconds; /* of the size; NaN when its pretraining is not a cell */
} study_size;

typedef struct study_choice {
    size_t task, labels; /* places in the design */
    study_init init;     /* pretrained where there is any */
    size_t n_sizes;
    study_size sizes[STUDY_SIZES_MAX]; /* those measured, small to large */
    int best, saturated; /* places in sizes, STUDY_NONE when nothing was measured or none is
                            positive: highest average precision; smallest one within the margin */
    int chosen;          /* one of the two, as preferred */
    double margin;       /* as given: a share of the best average precision */
    study_prefer prefer;
    size_t cell; /* whose model answers: the seed of the chosen size with the highest average
                    precision among those whose folder was kept; SIZE_MAX without one */
} study_choice;

/* Errors  RZ_E_NO_MEMORY. */
RZ_MUST_CHECK rz_status study_choose(const study_results *results, const study_statistics *tuning,
                                     size_t task, size_t labels, double margin, study_prefer prefer,
                                     study_choice *out, rz_error *error);

/* One sentence for people, in English: why this size. */
enum { STUDY_WHY = 256 };
const char *study_choice_why(const study_results *results, const study_choice *choice,
                             char out[STUDY_WHY]);

/* The share of the largest measured size's parameters, and of its CPU time for a fit with its
 * pretraining, that the chosen one does without; NaN where unknown. */
double study_choice_parameters_saved(const study_choice *choice);
double study_choice_cpu_saved(const study_choice *choice);

/* The id by which the daemon knows the chosen cell's model: the last part of its folder. NULL when
 * no model was kept. */
const char *study_choice_model(const study_results *results, const study_choice *choice);

/* The largest label count that any encoder was fitted with for this task, which is what is routed
 * by; -1 without one. */
int study_routed_labels(const study_statistics *tuning, size_t task);

/* routing.json: {"tasks": {NAME: {"model", "size", "why", "evidence"}}}, of tasks whose chosen
 * model was kept; new, NULL when memory is exhausted. choices  [n] one a task at most */
json_t *study_routing_json(const study_results *results, const study_choice *choices, size_t n);

#endif
