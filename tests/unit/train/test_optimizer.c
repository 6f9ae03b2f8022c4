/* AdamW against PyTorch 1.13 in double precision: torch.optim.AdamW with weight_decay 0.1 on the
 * first tensor and 0 on the second, clip_grad_norm_(…, 1.0), learning rate 0.01 t in step t,
 * gradients (((7 i + 3 t) mod 5) - 2) / 2 and (((5 i + 2 t) mod 7) - 3) / 4. */
#include "check.h"

#include "base/rng.h"
#include "base/size.h"
#include "train/optimizer.h"

enum { STEPS = 5, N_W = 5, N_B = 3, OFFSET_B = 16, BLOCK = 32 };

static const double norms[STEPS] = {1.8371173070873836, 1.7853571071357126, 1.7853571071357126,
                                    1.8371173070873836, 1.8200274723201297};
static const double weights[STEPS][N_W] = {
    {0.4895, -1.23875, 1.998, -0.01, -0.73925},
    {0.489859258, -1.231168755, 2.008886736, -0.023381165, -0.745304291},
    {0.473552265, -1.214115919, 2.009719287, -0.020384686, -0.751802682},
    {0.455452845, -1.212546019, 2.017822538, -0.024941126, -0.74066689},
    {0.456954696, -1.209955659, 2.003902192, -0.020858112, -0.737420203}};
static const double biases[STEPS][N_B] = {{0.109999999, -0.19, 0.29},
                                          {0.108661741, -0.172493677, 0.295208078},
                                          {0.090626995, -0.159106883, 0.306189464},
                                          {0.08542727, -0.163803769, 0.311897668},
                                          {0.079933578, -0.157122003, 0.300065557}};

static void fill_gradient(float *g, int t)
{
    for (int i = 0; i < N_W; i++)
        g[i] = (float)(((i * 7 + t * 3) % 5 - 2) * 0.5);
    for (int i = 0; i < N_B; i++)
        g[OFFSET_B + i] = (float)(((i * 5 + t * 2) % 7 - 3) * 0.25);
}

static void steps_agree_with_torch(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_tensor_spec specs[2] = {{.name = "w", .offset = 0, .count = N_W, .decay = true},
                               {.name = "b", .offset = OFFSET_B, .count = N_B}};
    float parameters[BLOCK] = {0.5f, -1.25f, 2.0f, 0.0f, -0.75f}, grads[BLOCK] = {0};
    parameters[OFFSET_B] = 0.1f;
    parameters[OFFSET_B + 1] = -0.2f;
    parameters[OFFSET_B + 2] = 0.3f;
    rz_model model = {
        .tensors = specs, .n_tensors = 3, .n_parameters = BLOCK, .parameters = parameters};
    rz_optimizer_options options = rz_optimizer_options_defaults();
    options.weight_decay = 0.1;
    rz_optimizer o;
    check_ok(rz_optimizer_init(&o, &model, NULL, &options, &error));
    for (int t = 1; t <= STEPS; t++) {
        double norm;
        fill_gradient(grads, t);
        check_ok(rz_optimizer_update(&o, &model, grads, 0.01 * t, &norm, &error));
        check_near(norm, norms[t - 1], 1e-12);
        for (int i = 0; i < N_W; i++)
            check_near(parameters[i], weights[t - 1][i], 5e-7);
        for (int i = 0; i < N_B; i++)
            check_near(parameters[OFFSET_B + i], biases[t - 1][i], 5e-7);
    }
    assert_int_equal(model.parameters_version, STEPS);
    for (size_t i = N_W; i < OFFSET_B; i++) /* padding stays as it is */
        assert_true(parameters[i] == 0.0f);
    rz_optimizer_done(&o);
}

static void gradients_that_are_not_finite_change_nothing(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_tensor_spec spec = {.name = "w", .count = 4, .decay = true};
    float parameters[16] = {1, 2, 3, 4}, grads[16] = {1, NAN, 1, 1};
    rz_model model = {
        .tensors = &spec, .n_tensors = 1, .n_parameters = 16, .parameters = parameters};
    rz_optimizer_options options = rz_optimizer_options_defaults();
    rz_optimizer o;
    double norm;
    check_ok(rz_optimizer_init(&o, &model, NULL, &options, &error));
    check_fails(rz_optimizer_update(&o, &model, grads, 0.1, &norm, &error), RZ_E_RANGE, "step 1");
    assert_true(parameters[0] == 1.0f && parameters[3] == 4.0f && o.step == 0);
    rz_optimizer_done(&o);
}

static void tensors_have_their_rates(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_tensor_spec specs[3] = {{.name = "a", .count = 4, .decay = true},
                               {.name = "b", .offset = 16, .count = 4},
                               {.name = "c", .offset = 20, .count = 4}};
    float parameters[32] = {1, 1, 1, 1}, grads[32] = {9, 9, 9, 9};
    grads[16] = 3.0f;
    grads[20] = 4.0f;
    const float rates[3] = {0.0f, 1.0f, 10.0f};
    rz_model model = {
        .tensors = specs, .n_tensors = 3, .n_parameters = 32, .parameters = parameters};
    rz_optimizer_options options = rz_optimizer_options_defaults();
    rz_optimizer o;
    double norm;
    check_ok(rz_optimizer_init(&o, &model, rates, &options, &error));
    check_ok(rz_optimizer_update(&o, &model, grads, 0.1, &norm, &error));
    check_near(norm, 5.0, 1e-12);
    assert_true(parameters[0] == 1.0f);
    /* The first step of Adam is the rate, whatever the gradient. */
    check_near(parameters[16], -0.1, 1e-6);
    check_near(parameters[20], -1.0, 1e-5);
    rz_optimizer_done(&o);
}

/* One thread and four give the same bytes, over a tensor of several pieces. */
static void threads_do_not_matter(void **state)
{
    (void)state;
    enum { N = 70000 };
    rz_error error = {0};
    float *block[2], *grads = malloc(N * sizeof *grads);
    rz_pool *pool = NULL;
    check_ok(rz_pool_new(4, &pool, &error));
    for (int run = 0; run < 2; run++) {
        rz_tensor_spec spec = {.name = "w", .count = N, .decay = true};
        block[run] = calloc(N, sizeof **block);
        rz_model model = {.tensors = &spec,
                          .n_tensors = 1,
                          .n_parameters = N,
                          .parameters = block[run],
                          .pool = run == 0 ? NULL : pool};
        rz_optimizer_options options = rz_optimizer_options_defaults();
        rz_optimizer o;
        rz_rng rng;
        double norm;
        rz_rng_init(&rng, 1, 2);
        check_ok(rz_optimizer_init(&o, &model, NULL, &options, &error));
        for (int t = 0; t < 3; t++) {
            for (size_t i = 0; i < N; i++)
                grads[i] = (float)rz_rng_normal(&rng);
            check_ok(rz_optimizer_update(&o, &model, grads, 0.1, &norm, &error));
        }
        rz_optimizer_done(&o);
    }
    assert_memory_equal(block[0], block[1], N * sizeof **block);
    free(block[0]);
    free(block[1]);
    free(grads);
    rz_pool_free(pool);
}

static void schedule_rises_and_falls(void **state)
{
    (void)state;
    check_near(rz_schedule(2.0, 0.05, 0.1), 1.0, 1e-12);
    check_near(rz_schedule(2.0, 0.1, 0.1), 2.0, 1e-12);
    check_near(rz_schedule(2.0, 0.55, 0.1), 2.0 * (0.1 + 0.9 * 0.5), 1e-12);
    check_near(rz_schedule(2.0, 1.0, 0.1), 0.2, 1e-12);
    check_near(rz_schedule(2.0, 0.0, 0.0), 2.0, 1e-12);
}

/* Larger models step less: with the width above 128, with its square root below. */
static void rates_fall_with_the_width(void **state)
{
    (void)state;
    static const struct {
        int hidden;
        double rate;
    } wanted[] = {{32, 3e-3},     {128, 1.5e-3},    {256, 7.5e-4},
                  {512, 3.75e-4}, {1024, 1.875e-4}, {2048, 9.375e-5}};
    for (size_t i = 0; i < RZ_COUNT(wanted); i++) {
        rz_config config = {.hidden = wanted[i].hidden, .norm = RZ_NORM_PRE};
        check_near(rz_learning_rate_default(&config), wanted[i].rate, 1e-12);
        config.norm = RZ_NORM_POST;
        check_near(rz_learning_rate_default(&config), wanted[i].rate / 5.0, 1e-12);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_agree_with_torch),
        cmocka_unit_test(gradients_that_are_not_finite_change_nothing),
        cmocka_unit_test(tensors_have_their_rates),
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(schedule_rises_and_falls),
        cmocka_unit_test(rates_fall_with_the_width)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
