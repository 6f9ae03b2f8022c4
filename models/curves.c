/* Draws a run: reads the losses out of log.csv, whose columns are named in its first line. */
#include "base/file.h"
#include "report/charts.h"
#include "train_options.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LOG_BYTES_MAX = 1 << 28, SVG_BYTES_MAX = 1 << 24 };

typedef struct curve {
    double *step, *loss;
    size_t n;
} curve;

/* Rows "step,epoch,split,loss,…" of one split. */
static void add_row(curve *c, const char *line, const char *split)
{
    char *end = NULL;
    double step = strtod(line, &end);
    const char *field = strchr(end, ',');
    field = field == NULL ? NULL : strchr(field + 1, ',');
    if (field == NULL || strncmp(field + 1, split, strlen(split)) != 0)
        return;
    field += 1 + strlen(split);
    if (*field != ',')
        return;
    double loss = strtod(field + 1, &end);
    c->step[c->n] = step;
    c->loss[c->n++] = end == field + 1 ? NAN : loss;
}

static rz_status draw(const curve *train, const curve *tuning, const char *path, rz_error *error)
{
    rz_buffer svg;
    rz_buffer_init(&svg, SVG_BYTES_MAX);
    const rz_series series[2] = {{"training batch", train->step, train->loss, train->n},
                                 {"tuning split", tuning->step, tuning->loss, tuning->n}};
    rz_status status =
        rz_chart_curves("Loss while training", "step", "loss", series, 2, &svg, error);
    if (status == RZ_OK)
        status = rz_file_write(path, svg.data, svg.length, error);
    rz_buffer_done(&svg);
    return status;
}

rz_status curves_write(const char *folder, rz_error *error)
{
    char path[PATH_MAX], *text = NULL;
    curve curves[2] = {{0}};
    (void)snprintf(path, sizeof path, "%s/log.csv", folder);
    rz_status status = rz_file_read(path, LOG_BYTES_MAX, &text, NULL, error);
    if (status != RZ_OK)
        return status;
    size_t rows = 1;
    for (const char *c = text; *c != '\0'; c++)
        rows += *c == '\n';
    for (int i = 0; i < 2; i++) {
        curves[i].step = malloc(rows * sizeof(double));
        curves[i].loss = malloc(rows * sizeof(double));
        if (curves[i].step == NULL || curves[i].loss == NULL)
            status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu rows of %s", rows, path);
    }
    for (const char *line = strchr(text, '\n'); status == RZ_OK && line != NULL && line[1] != '\0';
         line = strchr(line + 1, '\n')) {
        add_row(&curves[0], line + 1, "train");
        add_row(&curves[1], line + 1, "tuning");
    }
    (void)snprintf(path, sizeof path, "%s/curves.svg", folder);
    if (status == RZ_OK)
        status = draw(&curves[0], &curves[1], path, error);
    for (int i = 0; i < 2; i++) {
        free(curves[i].step);
        free(curves[i].loss);
    }
    free(text);
    return status;
}
