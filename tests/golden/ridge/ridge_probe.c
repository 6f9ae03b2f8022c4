/* Reads "n_columns penalty threads", then a row a line, "label n column value …", and prints the
 * coefficients of the standardised columns, the intercept first, then the logits of the rows. */
#include "ridge.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 5000, COLUMNS = 2000 };

static uint8_t label[ROWS];
static double beta[COLUMNS + 1], logit[ROWS];

static int run(sparse_rows *rows, double penalty, rz_pool *pool, rz_error *error)
{
    ridge_scale scale = {0};
    rz_status status = ridge_scale_of(rows, &scale, error);
    if (status == RZ_OK)
        status = ridge_fit(rows, label, &scale, penalty, pool, beta, error);
    if (status == RZ_OK) {
        ridge_logits(rows, &scale, beta, logit);
        for (size_t j = 0; j <= rows->n_columns; j++)
            (void)printf("%.17g\n", beta[j]);
        for (size_t i = 0; i < rows->n; i++)
            (void)printf("%.17g\n", logit[i]);
    } else {
        (void)fprintf(stderr, "%s\n", error->text);
    }
    ridge_scale_done(&scale);
    return status == RZ_OK ? 0 : 1;
}

int main(void)
{
    rz_error error = {0};
    sparse_rows rows;
    rz_pool *pool = NULL;
    size_t n_columns, n;
    double penalty;
    unsigned threads, y;
    if (scanf("%zu %lf %u", &n_columns, &penalty, &threads) != 3 || n_columns > COLUMNS ||
        rz_pool_new(threads, &pool, &error) != RZ_OK ||
        sparse_init(&rows, n_columns, &error) != RZ_OK)
        return 2;
    while (scanf("%u %zu", &y, &n) == 2) {
        static uint32_t column[COLUMNS];
        static float value[COLUMNS];
        for (size_t i = 0; i < n && i < n_columns; i++)
            if (scanf("%u %f", &column[i], &value[i]) != 2)
                return 2;
        label[rows.n] = (uint8_t)y;
        if (rows.n + 1 == ROWS || sparse_add(&rows, column, value, n, &error) != RZ_OK)
            return 2;
    }
    int code = run(&rows, penalty, pool, &error);
    sparse_done(&rows);
    rz_pool_free(pool);
    return code;
}
