/* The encoder against an independent implementation (make_reference.py): pooled states, logits,
 * losses, every gradient, and ten AdamW steps. REZEPT_GOLDEN_ENCODER names the folder of cases. */
#include "check.h"

#include "model/safetensors.h"
#include "train/optimizer.h"

#include <dirent.h>

/* Per tensor: |difference| <= 1e-4 |reference|, in the Euclidean norm, plus 1e-7 of the whole
 * gradient for tensors whose gradient is zero by symmetry (the key biases) and is rounding here. */
#define TOLERANCE       1e-4
#define TOLERANCE_WHOLE 1e-7

enum { CASES_MAX = 16 };

typedef struct golden {
    rz_safetensors *file;
    rz_model *model;
    rz_vocabulary *vocabulary;
    rz_batch batch;
    rz_targets targets;
    float *labels, *head_weights, *grads;
    uint64_t *onset_bits;
    rz_scratch *scratch;
} golden;

static float *read_floats(const golden *g, const char *name, size_t *count)
{
    rz_error error = {0};
    const rz_safetensor *tensor = rz_safetensors_find(g->file, name);
    if (tensor == NULL)
        fail_msg("the reference has no %s", name);
    float *out = malloc((tensor->count + 1) * sizeof *out);
    assert_non_null(out);
    check_ok(rz_safetensors_read(g->file, tensor, out, &error));
    if (count != NULL)
        *count = tensor->count;
    return out;
}

static size_t read_integers(const golden *g, const char *name, int32_t *out)
{
    size_t n;
    float *values = read_floats(g, name, &n);
    for (size_t i = 0; i < n; i++)
        out[i] = (int32_t)values[i];
    free(values);
    return n;
}

static rz_config read_config(const golden *g)
{
    int32_t v[13] = {0};
    assert_in_range(read_integers(g, "config", v), 11, 13);
    return (rz_config){.family = "encoder",
                       .size = "custom",
                       .hidden = v[0],
                       .layers = v[1],
                       .heads = v[2],
                       .feed_forward = v[3],
                       .age_hidden = v[4],
                       .age_bins = v[5],
                       .context = v[6],
                       .n_diagnoses = v[7],
                       .n_medications = v[8],
                       .norm = v[9] != 0 ? RZ_NORM_PRE : RZ_NORM_POST,
                       .pooling = v[10] != 0 ? RZ_POOLING_MEAN : RZ_POOLING_CLS,
                       .onset = v[11] != 0,
                       .recency = v[12] != 0};
}

static void read_batch(golden *g)
{
    rz_error error = {0};
    int32_t numbers[1024];
    size_t n_offsets = read_integers(g, "batch.offsets", numbers);
    size_t n_tokens = (size_t)numbers[n_offsets - 1];
    check_ok(rz_batch_reserve(&g->batch, n_offsets - 1, n_tokens, &error));
    for (size_t i = 0; i < n_offsets; i++)
        g->batch.offsets[i] = (uint32_t)numbers[i];
    g->batch.n_seqs = n_offsets - 1;
    g->batch.n_tokens = n_tokens;
    read_integers(g, "batch.tokens", g->batch.tokens);
    float *ages = read_floats(g, "batch.age_days", NULL);
    memcpy(g->batch.age_days, ages, n_tokens * sizeof *ages);
    free(ages);
    read_integers(g, "batch.age_hidden", numbers);
    for (size_t i = 0; i < n_tokens; i++)
        g->batch.age_hidden[i] = (uint8_t)numbers[i];
    if (!g->model->config.recency)
        return;
    float *days = read_floats(g, "batch.days_before", NULL);
    memcpy(g->batch.days_before, days, n_tokens * sizeof *days);
    free(days);
}

static void read_targets(golden *g)
{
    rz_error error = {0};
    rz_targets *t = &g->targets;
    size_t n, n_labels;
    check_ok(rz_targets_reserve(t, g->batch.n_tokens, &error));
    t->n_diagnoses =
        read_integers(g, "targets.diagnosis_positions", (int32_t *)t->diagnosis_positions);
    read_integers(g, "targets.diagnosis_labels", t->diagnosis_labels);
    t->n_medications =
        read_integers(g, "targets.medication_positions", (int32_t *)t->medication_positions);
    read_integers(g, "targets.medication_labels", t->medication_labels);
    t->n_ages = read_integers(g, "targets.age_positions", (int32_t *)t->age_positions);
    float *values = read_floats(g, "targets.age_values", &n);
    memcpy(t->age_values, values, n * sizeof *values);
    free(values);
    values = read_floats(g, "targets.weights", &n);
    t->diagnosis_weight = values[0];
    t->medication_weight = values[1];
    t->age_weight = values[2];
    free(values);
    g->labels = read_floats(g, "targets.labels", &n_labels);
    for (size_t i = 0; i < n_labels; i++)
        if (g->labels[i] < 0.0f)
            g->labels[i] = NAN;
    g->head_weights = read_floats(g, "targets.head_weights", NULL);
    t->labels = g->labels;
    t->head_weights = g->head_weights;
    t->pretrain = t->finetune = true;
}

static void read_onsets(golden *g)
{
    size_t n, n_codes = rz_model_codes(g->model), words = rz_onset_words(n_codes);
    if (!g->model->config.onset)
        return;
    float *values = read_floats(g, "targets.onset", &n);
    assert_int_equal(n, g->batch.n_seqs * n_codes);
    g->onset_bits = calloc(g->batch.n_seqs * 2 * words, sizeof *g->onset_bits);
    assert_non_null(g->onset_bits);
    for (size_t i = 0; i < n; i++) {
        uint64_t *bits = g->onset_bits + i / n_codes * 2 * words + (values[i] < 0.0f ? words : 0);
        if (values[i] != 0.0f)
            bits[i % n_codes / 64] |= (uint64_t)1 << (i % n_codes % 64);
        g->targets.n_onsets += values[i] >= 0.0f;
    }
    free(values);
    values = read_floats(g, "targets.onset_weight", NULL);
    g->targets.onset_weight = values[0];
    g->targets.onset_bits = g->onset_bits;
    g->targets.onset = true;
    free(values);
}

static void open_case(golden *g, const char *path)
{
    static const char *const heads[] = {"alpha", "beta", "gamma"};
    rz_error error = {0};
    *g = (golden){0};
    check_ok(rz_safetensors_open(path, &g->file, &error));
    rz_config config = read_config(g);
    check_ok(rz_vocabulary_synthetic((size_t)config.n_diagnoses * 2, &g->vocabulary, &error));
    check_ok(rz_model_new(&config, g->vocabulary, heads, 3, 1, NULL, &g->model, &error));
    assert_int_equal(g->model->config.n_diagnoses, config.n_diagnoses);
    for (size_t i = 0; i < g->model->n_tensors; i++) {
        const rz_tensor_spec *spec = &g->model->tensors[i];
        char name[96];
        size_t count;
        (void)snprintf(name, sizeof name, "parameter.%s", spec->name);
        float *values = read_floats(g, name, &count);
        assert_int_equal(count, spec->count);
        memcpy(g->model->parameters + spec->offset, values, count * sizeof *values);
        free(values);
    }
    read_batch(g);
    read_targets(g);
    read_onsets(g);
    g->grads = calloc(g->model->n_parameters, sizeof *g->grads);
    assert_non_null(g->grads);
    check_ok(g->model->family->scratch_new(g->model, &g->scratch, &error));
}

static void close_case(golden *g)
{
    g->model->family->scratch_free(g->scratch);
    rz_model_free(g->model);
    rz_vocabulary_free(g->vocabulary);
    rz_safetensors_close(g->file);
    rz_batch_done(&g->batch);
    rz_targets_done(&g->targets);
    free(g->labels);
    free(g->head_weights);
    free(g->onset_bits);
    free(g->grads);
}

static double norm(const float *x, const float *y, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)x[i] - (y == NULL ? 0.0 : (double)y[i]);
        sum += d * d;
    }
    return sqrt(sum);
}

static void compare(const golden *g, const char *name, const float *actual, size_t count,
                    double whole)
{
    size_t n;
    float *wanted = read_floats(g, name, &n);
    assert_int_equal(n, count);
    double difference = norm(actual, wanted, n), size = norm(wanted, NULL, n);
    if (!(difference <= TOLERANCE * size + TOLERANCE_WHOLE * whole))
        fail_msg("%s: differs by %g of %g (relative %.2e)", name, difference, size,
                 difference / size);
    free(wanted);
}

/* Gradients under a prefix; tensors that the reference leaves out must be zero here. */
static void compare_gradients(const golden *g, const char *prefix)
{
    double whole = norm(g->grads, NULL, g->model->n_parameters);
    for (size_t i = 0; i < g->model->n_tensors; i++) {
        const rz_tensor_spec *spec = &g->model->tensors[i];
        char name[96];
        (void)snprintf(name, sizeof name, "%s.%s", prefix, spec->name);
        if (rz_safetensors_find(g->file, name) != NULL)
            compare(g, name, g->grads + spec->offset, spec->count, whole);
        else
            check_near(norm(g->grads + spec->offset, NULL, spec->count), 0.0, 0.0);
    }
}

static double weighted_loss(const golden *g, const rz_losses *l)
{
    const rz_targets *t = &g->targets;
    double sum = 0.0;
    if (t->pretrain)
        sum = (double)t->diagnosis_weight * l->diagnosis +
              (double)t->medication_weight * l->medication + (double)t->age_weight * l->age;
    for (size_t i = 0; i < g->model->n_heads; i++)
        sum += (double)g->head_weights[i] * l->head[i];
    if (t->onset)
        sum += (double)t->onset_weight * l->onset;
    return sum;
}

static void check_losses(const golden *g, const rz_losses *l)
{
    float *wanted = read_floats(g, "expected.losses", NULL);
    check_near(l->diagnosis, (double)wanted[0], TOLERANCE * (double)wanted[0]);
    check_near(l->medication, (double)wanted[1], TOLERANCE * (double)wanted[1]);
    check_near(l->age, (double)wanted[2], TOLERANCE * (double)wanted[2]);
    free(wanted);
    wanted = read_floats(g, "expected.head_losses", NULL);
    for (size_t i = 0; i < 3; i++)
        check_near(l->head[i], (double)wanted[i], TOLERANCE * (double)wanted[i]);
    if (g->targets.onset) {
        check_near(l->onset, (double)wanted[3], TOLERANCE * (double)wanted[3]);
        assert_int_equal(l->n_onsets, g->targets.n_onsets);
    }
    free(wanted);
}

/* In two parts: rows do not depend on where a part begins. */
static void compare_onsets(const golden *g)
{
    rz_error error = {0};
    size_t n = g->batch.n_seqs, n_codes = rz_model_codes(g->model);
    size_t stride = rz_onset_stride(n_codes);
    float *rows = calloc((n + 1) * stride, sizeof *rows);
    assert_non_null(rows);
    check_ok(g->model->family->onsets(g->model, 0, 3, rows, g->scratch, &error));
    check_ok(g->model->family->onsets(g->model, 3, n - 3, rows + 3 * stride, g->scratch, &error));
    for (size_t i = 1; i < n; i++)
        memmove(rows + i * n_codes, rows + i * stride, n_codes * sizeof *rows);
    compare(g, "expected.onsets", rows, n * n_codes, 0.0);
    check_fails(g->model->family->onsets(g->model, 3, n, rows, g->scratch, &error), RZ_E_RANGE,
                "onsets of timelines");
    free(rows);
}

static void forward_and_gradients(golden *g)
{
    rz_error error = {0};
    const rz_family *family = g->model->family;
    rz_outputs out;
    rz_losses losses = {0};
    size_t n_seqs = g->batch.n_seqs, h = (size_t)g->model->config.hidden;
    check_ok(family->forward(g->model, &g->batch, &out, g->scratch, &error));
    compare(g, "expected.pooled", out.pooled, n_seqs * h, 0.0);
    compare(g, "expected.logits", out.logits, n_seqs * 3, 0.0);
    if (g->model->config.onset)
        compare_onsets(g);
    check_ok(family->train(g->model, &g->batch, &g->targets, NULL, &losses, g->scratch, &error));
    check_losses(g, &losses);
    check_ok(
        family->train(g->model, &g->batch, &g->targets, g->grads, &losses, g->scratch, &error));
    check_losses(g, &losses);
    compare_gradients(g, "gradient");
    /* Gradients add up: a second call doubles them, which halving undoes. */
    check_ok(
        family->train(g->model, &g->batch, &g->targets, g->grads, &losses, g->scratch, &error));
    for (size_t i = 0; i < g->model->n_parameters; i++)
        g->grads[i] *= 0.5f;
    compare_gradients(g, "gradient");
    if (g->model->config.pooling == RZ_POOLING_CLS) {
        memset(g->grads, 0, g->model->n_parameters * sizeof *g->grads);
        g->targets.pretrain = false;
        check_ok(
            family->train(g->model, &g->batch, &g->targets, g->grads, &losses, g->scratch, &error));
        compare_gradients(g, "finetune_gradient");
        g->targets.pretrain = true;
    }
}

static void ten_steps(golden *g)
{
    rz_error error = {0};
    rz_optimizer_options options = rz_optimizer_options_defaults();
    rz_optimizer optimizer = {0};
    options.weight_decay = 0.01;
    options.clip = 0.0;
    check_ok(rz_optimizer_init(&optimizer, g->model, NULL, &options, &error));
    float *wanted = read_floats(g, "expected.steps", NULL);
    for (size_t step = 0; step < 10; step++) {
        rz_losses losses = {0};
        double grad_norm;
        memset(g->grads, 0, g->model->n_parameters * sizeof *g->grads);
        check_ok(g->model->family->train(g->model, &g->batch, &g->targets, g->grads, &losses,
                                         g->scratch, &error));
        double loss = weighted_loss(g, &losses);
        if (!(fabs(loss - (double)wanted[step]) <= TOLERANCE * (double)wanted[step]))
            fail_msg("step %zu: loss %.9g, reference %.9g", step, loss, (double)wanted[step]);
        check_ok(rz_optimizer_update(&optimizer, g->model, g->grads, 1e-3, &grad_norm, &error));
    }
    free(wanted);
    rz_optimizer_done(&optimizer);
}

static void parity(void **state)
{
    (void)state;
    const char *folder = getenv("REZEPT_GOLDEN_ENCODER");
    assert_non_null(folder);
    DIR *listing = opendir(folder);
    if (listing == NULL)
        fail_msg("%s cannot be read", folder);
    size_t cases = 0;
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        char path[1024];
        golden g;
        if (strstr(entry->d_name, ".safetensors") == NULL)
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        print_message("# %s\n", entry->d_name);
        open_case(&g, path);
        forward_and_gradients(&g);
        ten_steps(&g);
        close_case(&g);
        cases++;
    }
    (void)closedir(listing);
    assert_true(cases > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(parity)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
